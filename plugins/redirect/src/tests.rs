use super::*;

/// Makes a filter from a JSON configuration, as the host does.
fn redirect(config: &str) -> Result<Redirect, String> {
    let config = <Config as weir_sdk::Config>::parse(config)?;
    Ok(Redirect::new(config, &mut FilterNeeds::default())?)
}

fn with_rules(rules: &str) -> Redirect {
    redirect(&format!("{{\"rules\": [{rules}]}}")).unwrap()
}

fn ask(filter: &mut Redirect, uri: &str) -> RequestDecision {
    let (scheme, rest) = uri.split_once("://").unwrap();
    let (authority, target) = rest.split_at(rest.find('/').unwrap());
    let inputs = [target, authority, scheme].map(|text| Some(text.as_bytes().to_vec()));
    filter.on_request(&Request { inputs: &inputs })
}

/// Returns the target of a request, or a dash if it goes on.
fn location(filter: &mut Redirect, uri: &str) -> String {
    match ask(filter, uri) {
        RequestDecision::Next => "-".to_owned(),
        RequestDecision::Reply(reply) => match reply.field("location") {
            Some(location) => location.to_owned(),
            None => reply.status.to_string(),
        },
        other => panic!("{other:?}"),
    }
}

fn check(rules: &str, expected: &[(&str, &str)]) {
    let mut filter = with_rules(rules);
    for (uri, made) in expected {
        assert_eq!(location(&mut filter, uri), *made, "{uri} by {rules}");
    }
}

#[test]
fn http_goes_to_https() {
    check(
        r#"{"scheme": "http", "to": "https://${host}${path}"}"#,
        &[
            ("http://a.example/x?y=%20", "https://a.example/x?y=%20"),
            ("http://a.example:8080/", "https://a.example/"),
            ("http://[::1]:80/", "https://[::1]/"),
            ("https://a.example/x", "-"),
            ("http://a.example//evil.example", "https://a.example//evil.example"),
        ],
    );
    check(
        r#"{"scheme": "http", "to": "https://${host}:8443${path}"}"#,
        &[("http://a.example:8080/x", "https://a.example:8443/x")],
    );
}

#[test]
fn one_host_stands_for_all() {
    check(
        r#"{"host": "Example.com", "to": "${scheme}://www.${host}${path}"}"#,
        &[
            ("https://example.com/a?b", "https://www.example.com/a?b"),
            ("http://EXAMPLE.com:81/a", "http://www.EXAMPLE.com/a"),
            ("https://www.example.com/a", "-"),
        ],
    );
    check(
        r#"{"host": "*.example.com", "to": "https://example.com${path}"}"#,
        &[
            ("https://www.example.com/", "https://example.com/"),
            ("https://a.b.example.com./", "https://example.com/"),
            ("https://badexample.com/", "-"),
            ("https://.example.com/", "-"),
        ],
    );
}

#[test]
fn a_trailing_slash_is_added_or_removed() {
    check(
        r#"{"trailing_slash": "add"}"#,
        &[
            ("https://a/x?y", "/x/?y"),
            ("https://a/x/", "-"),
            ("https://a/", "-"),
            ("https://a/x.css", "-"),
            ("https://a/x/..", "-"),
            ("https://a//evil.example/x", "/evil.example/x/"),
        ],
    );
    check(
        r#"{"trailing_slash": "remove"}"#,
        &[
            ("https://a/x/?y", "/x?y"),
            ("https://a/x//", "/x"),
            ("https://a/", "-"),
            ("https://a/x", "-"),
            ("https://a//", "/"),
            ("https://a//evil.example/", "/evil.example"),
            ("https://a/\\evil.example/", "/%5Cevil.example"),
        ],
    );
    check(r#"{"trailing_slash": "add"}, {"path": "/x/", "to": "/y"}"#, &[("https://a/x/", "/y")]);
}

#[test]
fn groups_go_into_paths_and_queries() {
    check(
        r#"{"regex": "^/blog/(?<year>\\d{4})/(.*)$", "to": "/articles/$2?y=${year}&from=${path}&${query}#top"}"#,
        &[
            ("https://a/blog/2024/a%20b", "/articles/a%20b?y=2024&from=/blog/2024/a%20b#top"),
            ("https://a/blog/2024/a&b?c=1", "/articles/a&b?y=2024&from=/blog/2024/a%26b&c=1#top"),
            ("https://a/blog/24/a", "-"),
        ],
    );
    check(
        r#"{"path": "/login", "to": "https://id.example/?back=${scheme}://${host}${path}"}"#,
        &[("https://a/login?x", "https://id.example/?back=https://a/login")],
    );
}

#[test]
fn the_query_goes_along_unless_told() {
    check(
        r#"{"path": "/a", "to": "/b"}"#,
        &[("https://a/a?x[]=1", "/b?x[]=1"), ("https://a/a?", "/b?")],
    );
    check(r#"{"path": "/a", "to": "/b", "keep_query": false}"#, &[("https://a/a?x=1", "/b")]);
    check(r#"{"path": "/a", "to": "/b?c=1"}"#, &[("https://a/a?x=1", "/b?c=1")]);
    check(
        r#"{"path": "/a", "to": "https://b.example"}"#,
        &[("https://a/a?x", "https://b.example/?x")],
    );
}

#[test]
fn nothing_of_a_path_becomes_a_host() {
    let wrong = [
        r#"{"regex": "^/(.*)$", "to": "https://$1"}"#,
        r#"{"regex": "^/(.*)$", "to": "https://$1.example/"}"#,
        r#"{"regex": "^(.*)$", "to": "https://a.example$1"}"#,
        r#"{"regex": "^/(?<host>.*)$", "to": "https://${host}x/${host}"}"#,
        r#"{"regex": "^/(.*)$", "to": "//$1"}"#,
        r#"{"regex": "^/(.*)$", "to": "$1"}"#,
        r#"{"regex": "^/(.*)$", "to": "$1://a.example/"}"#,
        r#"{"to": "https://${query}/"}"#,
        r#"{"to": "https://a.example${query}"}"#,
        r#"{"to": "https://${scheme}/"}"#,
        r#"{"to": "https://user@a.example/"}"#,
        r#"{"to": "https://${path}"}"#,
        r#"{"to": "https:///a"}"#,
        r#"{"to": "javascript:alert(1)"}"#,
        r#"{"to": "/${query}"}"#,
        r#"{"to": "\\\\evil.example"}"#,
    ];
    for rule in wrong {
        let error = redirect(&format!("{{\"rules\": [{rule}]}}")).unwrap_err();
        assert!(error.starts_with("rules[0].to: "), "{rule}: {error}");
    }
    check(
        r#"{"regex": "^/go/(.*)$", "to": "/$1"}"#,
        &[
            ("https://a/go//evil.example", "/evil.example"),
            ("https://a/go/\\evil.example", "/%5Cevil.example"),
            ("https://a/go/https://evil.example", "/https://evil.example"),
        ],
    );
    check(
        r#"{"prefix": "/", "to": "${path}?x"}"#,
        &[("https://a//evil.example", "/evil.example?x")],
    );
    check(
        r#"{"regex": "^/to/(.*)$", "to": "https://b.example/$1"}"#,
        &[("https://a/to/@evil.example", "https://b.example/@evil.example")],
    );
}

#[test]
fn a_host_that_makes_no_authority_is_not_used() {
    let mut filter = with_rules(r#"{"to": "https://www.${host}${path}"}"#);
    for authority in ["[::1]", "a!b", "a%20b"] {
        assert_eq!(location(&mut filter, &format!("http://{authority}/")), "-", "{authority}");
    }
}

#[test]
fn what_comes_out_is_ascii_without_controls() {
    check(
        r#"{"regex": "^/a/(.*)$", "to": "/b/$1"}"#,
        &[
            ("https://a/a/ä\"?ö\"", "/b/%C3%A4%22?%C3%B6%22"),
            ("https://a/a/%0d%0aset-cookie:x", "/b/%0d%0aset-cookie:x"),
            ("https://a/a/\r\nset-cookie:x", "-"),
        ],
    );
    check(r#"{"prefix": "/a", "to": "/b${path}"}"#, &[("https://a/a/\r\nx", "/b/a/%0D%0Ax")]);
}

#[test]
fn a_request_is_not_sent_to_itself() {
    check(
        r#"{"to": "https://${host}${path}"}"#,
        &[
            ("https://a.example/x?y", "-"),
            ("https://a.example:443/x", "-"),
            ("https://a.example:8443/x", "https://a.example/x"),
            ("http://a.example/x", "https://a.example/x"),
            ("https://a.example/ä\"?\"", "-"),
        ],
    );
    check(r#"{"to": "https://A.example${path}"}"#, &[("https://a.EXAMPLE/x", "-")]);
    check(
        r#"{"to": "/x"}"#,
        &[("https://a/x", "-"), ("https://a/x?y", "-"), ("https://a/y", "/x")],
    );
    check(
        r#"{"to": "/x#top", "keep_query": false}"#,
        &[("https://a/x", "-"), ("https://a/x?y", "/x#top")],
    );
}

#[test]
fn status_and_caching_are_as_told() {
    let config = r#"{"max_age": 60, "status": 307, "rules": [
        {"path": "/a", "to": "/b", "status": 301}, {"path": "/c", "to": "/d"}]}"#;
    let mut filter = redirect(config).unwrap();
    for (uri, status) in [("https://a/a", 301), ("https://a/c", 307)] {
        let RequestDecision::Reply(reply) = ask(&mut filter, uri) else { panic!() };
        assert_eq!(reply.status, status);
        assert_eq!(reply.field("cache-control"), Some("max-age=60"));
        assert!(reply.body.is_empty());
    }
    let RequestDecision::Reply(reply) = ask(&mut with_rules(r#"{"to": "/b"}"#), "https://a/a")
    else {
        panic!()
    };
    assert_eq!((reply.status, reply.field("cache-control")), (308, None));
}

#[test]
fn what_is_too_long_is_answered() {
    let long = |bytes: usize| format!("https://a/{}", "a".repeat(bytes));
    let mut regex = with_rules(r#"{"regex": "^/(.*)$", "to": "/b/$1"}"#);
    assert_eq!(location(&mut regex, &long(2047)).len(), 2 + 2048);
    assert_eq!(location(&mut regex, &long(2048)), "414");
    let mut prefix = with_rules(r#"{"prefix": "/", "to": "/b${path}"}"#);
    assert_eq!(location(&mut prefix, &long(31 << 10)), "414");
    let quotes = format!("https://a/{}", "\"".repeat(20 << 10));
    assert_eq!(location(&mut prefix, &quotes), "414");
}

#[test]
fn what_has_no_path_is_let_be() {
    let mut filter = with_rules(r#"{"to": "/a"}"#);
    let star = [Some(b"*".to_vec()), Some(b"a".to_vec()), Some(b"https".to_vec())];
    for inputs in [&star[..], &[None, None, None]] {
        assert!(matches!(filter.on_request(&Request { inputs }), RequestDecision::Next));
    }
}

#[test]
fn mistakes_are_named() {
    let wrong = [
        (r#"{"rules": []}"#, "rules: "),
        (r#"{"rules": [{}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a", "trailing_slash": "add"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a b"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a?b c"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"regex": "(.)", "to": "/a%$1"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a?%0"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a\r\nx: y"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a#b\r\n"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a#${host}"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/$1"}]}"#, "rules[0].to: "),
        (r#"{"rules": [{"to": "/a"}, {"to": "/a", "host": "a:80"}]}"#, "rules[1].host: "),
        (r#"{"rules": [{"to": "/a", "host": "*"}]}"#, "rules[0].host: "),
        (r#"{"rules": [{"to": "/a", "host": "*a.example"}]}"#, "rules[0].host: "),
        (r#"{"rules": [{"to": "/a", "regex": "("}]}"#, "rules[0].regex: "),
        (r#"{"status": 304, "rules": [{"to": "/a"}]}"#, "status: 304"),
        (r#"{"rules": [{"to": "/a", "scheme": "ftp"}]}"#, "unknown variant"),
        (r#"{"rules": [{"to": "/a", "target": "/b"}]}"#, "unknown field"),
    ];
    for (config, hint) in wrong {
        let error = redirect(config).unwrap_err();
        assert!(error.starts_with(hint), "{config}: {error}");
    }
}
