//! Tests of finding and removing credentials.

use super::*;

fn places(texts: &[&str]) -> Places {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    Places::new("from", &texts, &mut FilterNeeds::default()).unwrap()
}

/// Returns the credential in one place of a request.
fn found(place: &str, input: &str) -> Result<Option<String>, Unclear> {
    let inputs = [Some(input.as_bytes().to_vec())];
    let found = places(&[place]).find(&Request { inputs: &inputs })?;
    Ok(found.map(Cow::into_owned))
}

fn removed(place: &str, input: &str) -> Option<Edit> {
    let inputs = [Some(input.as_bytes().to_vec())];
    places(&[place]).remove(&Request { inputs: &inputs }).pop()
}

fn is(text: &str) -> Result<Option<String>, Unclear> {
    Ok(Some(text.to_owned()))
}

#[test]
fn a_bearer_token_is_found_by_its_scheme() {
    for value in ["Bearer a.b", "bearer a.b", "BEARER   a.b"] {
        assert_eq!(found("bearer", value), is("a.b"), "{value}");
    }
    assert_eq!(found("bearer", "Bearer"), is(""));
    for value in ["Basic a.b", "", "a.b", "Bearera.b"] {
        assert_eq!(found("bearer", value), Ok(None), "{value}");
    }
    assert_eq!(places(&["bearer"]).find(&Request { inputs: &[None] }), Ok(None));
}

#[test]
fn a_cookie_is_found_in_any_field_and_only_once() {
    let fields = "host: a\ncookie: x=1; sid=abc\ncookie: y=2\n";
    assert_eq!(found("cookie:sid", fields), is("abc"));
    assert_eq!(found("cookie:SID", fields), Ok(None));
    assert_eq!(found("cookie:sid", "x-cookie: sid=abc\n"), Ok(None));
    for twice in ["cookie: sid=a; sid=b\n", "cookie: sid=a\ncookie: sid=a\n"] {
        assert_eq!(found("cookie:sid", twice), Err(Unclear), "{twice}");
    }
}

#[test]
fn a_parameter_is_found_decoded_and_only_once() {
    assert_eq!(found("query:key", "/a?x=1&key=a%2Eb+c"), is("a.b c"));
    assert_eq!(found("query:key", "/a?k%65y=1"), is("1"));
    assert_eq!(found("query:key", "/a?key"), is(""));
    assert_eq!(found("query:key", "/key=1"), Ok(None));
    assert_eq!(found("query:key", "/a?key=1&k%65y=2"), Err(Unclear));
    assert_eq!(found("query:key", "/a?key=%ff"), Err(Unclear));
    assert_eq!(found("query:key", "/a?key=%zz%2"), is("%zz%2"));
}

#[test]
fn two_places_with_one_each_are_unclear() {
    let places = places(&["bearer", "header:x-key"]);
    let ask = |first: Option<&str>, second: Option<&str>| {
        let inputs = [first, second].map(|value| value.map(|text| text.as_bytes().to_vec()));
        places.find(&Request { inputs: &inputs }).map(|found| found.map(Cow::into_owned))
    };
    assert_eq!(ask(Some("Bearer a"), Some("b")), Err(Unclear));
    assert_eq!(ask(Some("Basic a"), Some("b")), is("b"));
    assert_eq!(ask(Some("Bearer a"), None), is("a"));
    assert_eq!(ask(None, None), Ok(None));
    let inputs = [Some(vec![0xff]), None];
    assert_eq!(places.find(&Request { inputs: &inputs }), Err(Unclear));
}

#[test]
fn what_is_removed_is_only_the_credential() {
    let remove = |edit: Option<Edit>| match edit {
        Some(Edit::Remove(name)) => format!("-{name}"),
        Some(Edit::Set(Header { name, value })) => {
            format!("{name}={}", String::from_utf8(value).unwrap())
        }
        Some(Edit::Path(path)) => path,
        other => format!("{other:?}"),
    };
    assert_eq!(remove(removed("bearer", "Bearer a")), "-authorization");
    assert_eq!(remove(removed("bearer", "Basic a")), "authorization=Basic a");
    assert_eq!(remove(removed("header:X-Key", "a")), "-x-key");
    assert_eq!(remove(removed("cookie:s", "cookie: s=1\n")), "-cookie");
    let two = "cookie: a=1; s=1\nhost: x\ncookie: b = 2;\n";
    assert_eq!(remove(removed("cookie:s", two)), "cookie=a=1; b = 2");
    assert_eq!(remove(removed("cookie:s", "cookie: a=1\n")), "None");
    assert_eq!(remove(removed("query:k", "/a?k=1")), "/a");
    assert_eq!(remove(removed("query:k", "/a?b=%6b&%6b=1&c")), "/a?b=%6b&c");
    assert_eq!(remove(removed("query:k", "/a?b")), "None");
}

#[test]
fn what_was_looked_at_takes_the_place_of_all_fields_of_its_name() {
    let inputs = [Some(b"Bearer a".to_vec()), None];
    let edits = places(&["bearer", "header:x-key"]).keep(&Request { inputs: &inputs });
    let [Edit::Set(header)] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!((header.name.as_str(), &header.value[..]), ("authorization", &b"Bearer a"[..]));
}

#[test]
fn responses_vary_by_the_fields_that_were_looked_at() {
    let all = places(&["cookie:a", "bearer", "cookie:b", "header:X-Key", "query:q"]);
    assert_eq!(all.vary().as_deref(), Some("authorization, cookie, x-key"));
    assert_eq!(places(&["query:q"]).vary(), None);
}

#[test]
fn mistakes_are_named() {
    let new = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Places::new("from", &texts, &mut FilterNeeds::default()).unwrap_err()
    };
    for wrong in ["", "Bearer", "header:", "header:a b", "header:Host", "header:cookie", "q:a"] {
        assert!(new(&["bearer", wrong]).starts_with("from[1]: "), "{wrong}");
    }
    assert!(new(&[]).starts_with("from: "));
}
