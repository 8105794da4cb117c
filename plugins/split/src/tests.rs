use weir_sdk::Edit;

use super::*;

/// Makes a filter from a JSON configuration, as the host does.
fn split(config: &str) -> Result<Split, String> {
    let config = <Config as weir_sdk::Config>::parse(config)?;
    Ok(Split::new(config, &mut FilterNeeds::default())?)
}

const GROUPS: &str = r#""groups": [{"name": "a", "upstream": "app", "weight": 1},
    {"name": "b", "upstream": "new", "weight": 1}, {"name": "off", "upstream": "old", "weight": 0}]"#;

fn with(rest: &str) -> Split {
    split(&format!("{{{GROUPS}{rest}}}")).unwrap()
}

fn ask(filter: &mut Split, inputs: &[Option<&str>]) -> Changes {
    let inputs: Vec<_> =
        inputs.iter().map(|value| value.map(|value| value.as_bytes().to_vec())).collect();
    match filter.on_request(&Request { inputs: &inputs }) {
        RequestDecision::Edit(changes) => changes,
        other => panic!("{other:?}"),
    }
}

fn upstream(changes: &Changes) -> &str {
    let found = changes.edits.iter().find_map(|edit| match edit {
        Edit::Upstream(name) => Some(name.as_str()),
        _ => None,
    });
    found.unwrap_or("-")
}

/// Returns the fields of a response to a request with this context, as `name: value`.
fn fields(filter: &mut Split, context: &[u8]) -> Vec<String> {
    match filter.on_response(&Response { status: 200, inputs: &[], context }) {
        ResponseDecision::Edit(changes) => {
            let field = |edit: Edit| match edit {
                Edit::Set(field) | Edit::Append(field) => {
                    format!("{}: {}", field.name, String::from_utf8(field.value).unwrap())
                }
                other => panic!("{other:?}"),
            };
            changes.edits.into_iter().map(field).collect()
        }
        ResponseDecision::Next => Vec::new(),
        ResponseDecision::Reply(_) => panic!("a reply"),
    }
}

#[test]
fn a_client_stays_where_it_is_and_the_origin_is_told() {
    let mut filter = with("");
    let mut seen = Vec::new();
    for number in 0..50 {
        let client = format!("192.0.2.{number}");
        let changes = ask(&mut filter, &[Some(&client)]);
        assert_eq!(upstream(&ask(&mut filter, &[Some(&client)])), upstream(&changes));
        let told = if upstream(&changes) == "app" { "a" } else { "b" };
        assert!(changes.edits.iter().any(|edit| matches!(edit, Edit::Set(field)
            if field.name == "x-variant" && field.value == told.as_bytes())));
        seen.push(upstream(&changes).to_owned());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["app", "new"], "nobody gets to a group of weight 0");
}

#[test]
fn shares_are_met_over_many_clients() {
    let config = r#"{"by": "header:x-user", "groups": [
        {"name": "stable", "upstream": "app", "weight": 95}, {"name": "canary", "upstream": "new", "weight": 5}]}"#;
    let mut filter = split(config).unwrap();
    let mut canary = 0;
    for user in 0..100_000 {
        let user = format!("user-{user}");
        let changes = ask(&mut filter, &[Some(&user), None]);
        canary += u32::from(upstream(&changes) == "new");
    }
    assert!((4_650..5_350).contains(&canary), "{canary} of 100000");
}

#[test]
fn random_meets_shares_too() {
    let mut filter = with(r#", "by": "random""#);
    let count = (0..100_000).filter(|_| upstream(&ask(&mut filter, &[])) == "new").count();
    assert!((49_000..51_000).contains(&count), "{count} of 100000");
}

#[test]
fn a_header_overrides_where_it_is_on() {
    let mut filter = with(r#", "by_header": "X-Variant", "cookie": {}"#);
    let changes = ask(&mut filter, &[Some("off"), Some("a"), Some("192.0.2.1")]);
    assert_eq!(upstream(&changes), "old");
    let told = fields(&mut filter, &changes.context);
    assert_eq!(told, ["vary: cookie, x-variant"], "no cookie keeps it");
    let drawn = ask(&mut filter, &[None, None, Some("192.0.2.1")]);
    for unknown in ["", "c", "A", "a, off", "off "] {
        let changes = ask(&mut filter, &[Some(unknown), None, Some("192.0.2.1")]);
        assert_eq!(upstream(&changes), upstream(&drawn), "{unknown}");
    }
}

#[test]
fn a_cookie_keeps_a_client_in_its_group() {
    let mut filter = with(r#", "cookie": {"name": "v", "max_age": 60}"#);
    for (value, expected) in [("a", "app"), ("b", "new")] {
        let changes = ask(&mut filter, &[Some(value), Some("192.0.2.1")]);
        assert_eq!(upstream(&changes), expected);
        assert_eq!(fields(&mut filter, &changes.context), ["vary: cookie"]);
    }
    let drawn = upstream(&ask(&mut filter, &[None, Some("192.0.2.1")])).to_owned();
    for value in [None, Some(""), Some("c"), Some("off"), Some("\"a\"")] {
        let changes = ask(&mut filter, &[value, Some("192.0.2.1")]);
        assert_eq!(upstream(&changes), drawn, "{value:?} is chosen anew");
        let name = if drawn == "app" { "a" } else { "b" };
        let cookie =
            format!("set-cookie: v={name}; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax");
        let told = fields(&mut filter, &changes.context);
        assert_eq!(told, ["vary: cookie", cookie.as_str(), "cache-control: private"]);
    }
}

#[test]
fn a_cookie_has_the_attributes_that_are_told() {
    let one = r#""groups": [{"name": "a", "weight": 1}]"#;
    let of = |cookie: &str| {
        let mut filter = split(&format!("{{{one}, \"cookie\": {cookie}}}")).unwrap();
        let changes = ask(&mut filter, &[None, None]);
        assert_eq!(upstream(&changes), "-", "the route's");
        fields(&mut filter, &changes.context).swap_remove(1)
    };
    assert_eq!(of("{}"), "set-cookie: variant=a; Path=/; Secure; HttpOnly; SameSite=Lax");
    let plain = r#"{"secure": false, "http_only": false, "same_site": "strict"}"#;
    assert_eq!(of(plain), "set-cookie: variant=a; Path=/; SameSite=Strict");
    let host = r#"{"name": "__Host-v", "same_site": "none"}"#;
    assert_eq!(of(host), "set-cookie: __Host-v=a; Path=/; Secure; HttpOnly; SameSite=None");
}

#[test]
fn clients_are_told_if_asked_for() {
    let mut filter = with(r#", "response_header": "X-Served-By", "header": """#);
    let changes = ask(&mut filter, &[Some("192.0.2.1")]);
    assert_eq!(changes.edits.len(), 1, "nothing is told to the origin");
    let name = if upstream(&changes) == "app" { "a" } else { "b" };
    let told = fields(&mut filter, &changes.context);
    assert_eq!(told, [format!("x-served-by: {name}")]);
}

#[test]
fn a_context_that_is_none_changes_nothing() {
    let mut filter = with(r#", "cookie": {}, "response_header": "x-v""#);
    for context in [&b""[..], b"\x00", b"\x09\x01", b"\xff\xff", b"\x00\x01\x02"] {
        assert_eq!(fields(&mut filter, context), Vec::<String>::new(), "{context:?}");
    }
}

#[test]
fn caches_are_told_what_the_answer_depends_on() {
    for (keys, vary) in [
        (r#""by": "header:X-User""#, "vary: x-user"),
        (r#""by": "cookie:user""#, "vary: cookie"),
        (r#""by": "cookie:user", "by_header": "x-v", "cookie": {}"#, "vary: cookie, x-v"),
    ] {
        let mut filter = with(&format!(", {keys}"));
        let changes = ask(&mut filter, &[Some("ann"), None, None, None]);
        assert_eq!(fields(&mut filter, &changes.context)[0], vary);
    }
}

#[test]
fn mistakes_are_named() {
    let group = r#"{"name": "a", "weight": 1}"#;
    let many = vec![group; 33].join(",");
    let wrong = [
        (r#"{"groups": []}"#.to_owned(), "groups: "),
        (format!(r#"{{"groups": [{many}]}}"#), "groups: "),
        (r#"{"groups": [{"name": "a", "weight": 0}]}"#.to_owned(), "groups: no group"),
        (format!(r#"{{"groups": [{group}, {group}]}}"#), "groups[1].name: "),
        (r#"{"groups": [{"name": "a b", "weight": 1}]}"#.to_owned(), "groups[0].name: "),
        (r#"{"groups": [{"name": "", "weight": 1}]}"#.to_owned(), "groups[0].name: "),
        (r#"{"groups": [{"name": "a;b", "weight": 1}]}"#.to_owned(), "groups[0].name: "),
        (r#"{"groups": [{"name": "a", "weight": 1000001}]}"#.to_owned(), "groups[0].weight: "),
        (
            r#"{"groups": [{"name": "a", "weight": 1, "upstream": ""}]}"#.to_owned(),
            "groups[0].upstream: ",
        ),
        (format!(r#"{{"groups": [{group}], "by": "x"}}"#), "by: "),
        (format!(r#"{{"groups": [{group}], "by_header": "a b"}}"#), "by_header: "),
        (format!(r#"{{"groups": [{group}], "header": "host"}}"#), "header: "),
        (format!(r#"{{"groups": [{group}], "response_header": "x:y"}}"#), "response_header: "),
        (format!(r#"{{"groups": [{group}], "cookie": {{"name": "a b"}}}}"#), "cookie.name: "),
        (format!(r#"{{"groups": [{group}], "cookie": {{"max_age": 0}}}}"#), "cookie.max_age: "),
        (
            format!(
                r#"{{"groups": [{group}], "cookie": {{"secure": false, "same_site": "none"}}}}"#
            ),
            "cookie.secure: ",
        ),
        (
            format!(
                r#"{{"groups": [{group}], "cookie": {{"secure": false, "name": "__Host-a"}}}}"#
            ),
            "cookie.secure: ",
        ),
        (format!(r#"{{"groups": [{group}], "header_name": "a"}}"#), "unknown field"),
    ];
    for (config, hint) in wrong {
        let error = split(&config).unwrap_err();
        assert!(error.starts_with(hint), "{config}: {error}");
    }
}
