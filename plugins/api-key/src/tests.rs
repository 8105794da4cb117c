//! Tests of decisions.

use weir_sdk::Config as _;

use super::*;

const KEY: &str = "acme-0123456789abcdef";
const OPS: &str = "ops-0123456789abcdef";

fn new(config: &str) -> Result<ApiKey, String> {
    Ok(ApiKey::new(Config::parse(config)?, &mut FilterNeeds::default())?)
}

fn with(more: &str) -> ApiKey {
    let keys = format!(r#""keys": {{ "acme": "{KEY}", "ops": "{OPS}" }}"#);
    new(&format!("{{ {keys} {more} }}")).unwrap()
}

fn ask(filter: &mut ApiKey, inputs: &[Option<&str>]) -> Result<Vec<String>, (u16, Reply)> {
    let inputs: Vec<_> =
        inputs.iter().map(|input| input.map(|text| text.as_bytes().to_vec())).collect();
    match filter.on_request(&Request { inputs: &inputs }) {
        RequestDecision::Edit(changes) => Ok(changes.edits.iter().map(shown).collect()),
        RequestDecision::Reply(reply) => Err((reply.status, reply)),
        other => panic!("{other:?}"),
    }
}

fn status(filter: &mut ApiKey, inputs: &[Option<&str>]) -> u16 {
    ask(filter, inputs).unwrap_err().0
}

fn shown(edit: &Edit) -> String {
    match edit {
        Edit::Set(header) => format!("{}={}", header.name, String::from_utf8_lossy(&header.value)),
        Edit::Remove(name) => format!("-{name}"),
        Edit::Upstream(name) => format!("to {name}"),
        Edit::Path(path) => path.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_known_key_passes_and_its_owner_is_told_in_its_place() {
    let mut filter = with("");
    assert_eq!(ask(&mut filter, &[Some(KEY)]).unwrap(), ["-x-api-key", "x-consumer=acme"]);
    assert_eq!(ask(&mut filter, &[Some(OPS)]).unwrap(), ["-x-api-key", "x-consumer=ops"]);
    let mut filter = with(r#", "forward": true, "consumer_header": "X-Who""#);
    let key = format!("x-api-key={KEY}");
    assert_eq!(ask(&mut filter, &[Some(KEY)]).unwrap(), [key, "x-who=acme".to_owned()]);
}

#[test]
fn other_keys_do_not_pass() {
    let mut filter = with("");
    let near = [&KEY[1..], &KEY.to_uppercase(), &[KEY, " "].concat(), "", &"x".repeat(100_000)];
    for other in near {
        assert_eq!(status(&mut filter, &[Some(other)]), 401, "{other}");
    }
    // The hash of a key is not the key.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut hashed = new(&format!(r#"{{ "keys": {{ "a": "{abc}" }} }}"#)).unwrap();
    assert!(ask(&mut hashed, &[Some("abc")]).is_ok());
    for wrong in [abc, &abc[7..]] {
        assert_eq!(status(&mut hashed, &[Some(wrong)]), 401);
    }
}

#[test]
fn refusals_are_clear_and_not_kept() {
    let mut filter = with("");
    let (status, reply) = ask(&mut filter, &[None]).unwrap_err();
    assert_eq!((status, &reply.body[..]), (401, &b"a key is required\n"[..]));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("www-authenticate"), Some("ApiKey"));
    let mut json = with(r#", "body": "json""#);
    let (_, reply) = ask(&mut json, &[Some("no")]).unwrap_err();
    assert_eq!(&reply.body[..], b"{\"error\":\"the key is not known\"}\n");
    assert_eq!(reply.field("content-type"), Some("application/json"));
}

#[test]
fn keys_in_queries_and_cookies_are_taken_out() {
    let mut query = with(r#", "from": ["query:key"]"#);
    let path = format!("/a?b=1&key={KEY}");
    assert_eq!(ask(&mut query, &[Some(&path)]).unwrap(), ["/a?b=1", "x-consumer=acme"]);
    let twice = format!("/a?key={KEY}&key=x");
    assert_eq!(status(&mut query, &[Some(&twice)]), 400);
    let mut cookie = with(r#", "from": ["cookie:key"]"#);
    let fields = format!("cookie: a=1; key={KEY}\n");
    assert_eq!(ask(&mut cookie, &[Some(&fields)]).unwrap(), ["cookie=a=1", "x-consumer=acme"]);
    let mut two = with(r#", "from": ["header:x-api-key", "bearer"]"#);
    let bearer = format!("Bearer {KEY}");
    assert_eq!(
        ask(&mut two, &[None, Some(&bearer)]).unwrap(),
        ["-authorization", "x-consumer=acme"]
    );
    assert_eq!(status(&mut two, &[Some(KEY), Some(&bearer)]), 400);
}

#[test]
fn responses_vary_by_where_the_key_is() {
    let ResponseDecision::Edit(changes) = with("").on_response(&Response::default()) else {
        panic!()
    };
    let [Edit::Append(header)] = &changes.edits[..] else { panic!("{changes:?}") };
    assert_eq!((header.name.as_str(), &header.value[..]), ("vary", &b"x-api-key"[..]));
    let mut query = with(r#", "from": ["query:key"]"#);
    assert!(matches!(query.on_response(&Response::default()), ResponseDecision::Next));
}

#[test]
fn rules_bind_their_keys_only() {
    let rule = r#", "rules": { "ops": { "paths": ["/ops"], "methods": ["GET"], "upstream": "ops-app", "consumer": "team" } }"#;
    let mut filter = with(rule);
    // Inputs: the key, the method, the path.
    let mut ask = |key, method, path| ask(&mut filter, &[Some(key), Some(method), Some(path)]);
    let passed = ask(OPS, "GET", "/ops/x?y").unwrap();
    assert_eq!(passed, ["-x-api-key", "x-consumer=team", "to ops-app"]);
    assert_eq!(ask(OPS, "POST", "/ops/x").unwrap_err().0, 403);
    assert_eq!(ask(OPS, "GET", "/").unwrap_err().0, 403);
    assert_eq!(ask(OPS, "GET", "/ops/../admin").unwrap_err().0, 403);
    assert_eq!(ask(KEY, "POST", "/").unwrap(), ["-x-api-key", "x-consumer=acme"]);
}

#[test]
fn mistakes_are_named_and_tell_no_key() {
    let one = format!(r#""keys": {{ "a": "{KEY}" }}"#);
    let rule = |rule: &str| format!(r#"{{ {one}, "rules": {{ "a": {rule} }} }}"#);
    let all = [
        (r#"{ "keys": {} }"#.to_owned(), "keys: "),
        (r#"{ "keys": { "a": "sesame" } }"#.to_owned(), "keys.a: "),
        (format!(r#"{{ "keys": {{ "a": "{KEY}", "b": "{KEY}" }} }}"#), "keys.b: "),
        (format!(r#"{{ "keys": {{ " a": "{KEY}" }} }}"#), "rules. a: "),
        (format!(r#"{{ {one}, "rules": {{ "b": {{}} }} }}"#), "rules.b: "),
        (rule(r#"{ "paths": ["a"] }"#), "rules.a: paths[0]: "),
        (rule(r#"{ "paths": ["/a", "/b/.."] }"#), "rules.a: paths[1]: "),
        (rule(r#"{ "paths": ["/a?b"] }"#), "rules.a: paths[0]: "),
        (rule(r#"{ "methods": ["get"] }"#), "rules.a: methods[0]: "),
        (rule(r#"{ "consumer": "a\nb" }"#), "rules.a: "),
        (format!(r#"{{ {one}, "from": [] }}"#), "from: "),
        (format!(r#"{{ {one}, "consumer_header": "Host" }}"#), "consumer_header: "),
        (format!(r#"{{ {one}, "consumer_header": "a b" }}"#), "consumer_header: "),
        (format!(r#"{{ {one}, "key": 1 }}"#), "unknown field"),
    ];
    for (config, hint) in all {
        let error = new(&config).unwrap_err();
        assert!(error.starts_with(hint), "{error}");
        assert!(!error.contains(KEY) && !error.contains("sesame"), "{error}");
    }
}
