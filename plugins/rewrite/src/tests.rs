use weir_sdk::Edit;

use super::*;

/// Makes a filter from a JSON configuration, as the host does.
fn rewrite(config: &str) -> Result<Rewrite, String> {
    let config = <Config as weir_sdk::Config>::parse(config)?;
    Ok(Rewrite::new(config, &mut FilterNeeds::default())?)
}

fn with_rules(rules: &str) -> Rewrite {
    rewrite(&format!("{{\"rules\": [{rules}]}}")).unwrap()
}

fn decide(filter: &mut Rewrite, target: &str) -> RequestDecision {
    let inputs = [Some(target.as_bytes().to_vec())];
    filter.on_request(&Request { inputs: &inputs })
}

/// Returns the target that the origin sees.
fn become_of(filter: &mut Rewrite, target: &str) -> String {
    match decide(filter, target) {
        RequestDecision::Next => target.to_owned(),
        RequestDecision::Edit(changes) => {
            let path = changes.edits.into_iter().find_map(|edit| match edit {
                Edit::Path(path) => Some(path),
                _ => None,
            });
            path.unwrap_or_else(|| target.to_owned())
        }
        RequestDecision::Reply(reply) => reply.status.to_string(),
        RequestDecision::Fetch(_) => panic!("a fetch"),
    }
}

fn check(rules: &str, expected: &[(&str, &str)]) {
    let mut filter = with_rules(rules);
    for (target, made) in expected {
        assert_eq!(become_of(&mut filter, target), *made, "{target} by {rules}");
    }
}

#[test]
fn a_prefix_is_stripped_at_a_segment() {
    check(
        r#"{"prefix": "/api", "strip_prefix": "/api"}"#,
        &[
            ("/api/a", "/a"),
            ("/api", "/"),
            ("/api/", "/"),
            ("/api?x=1", "/?x=1"),
            ("/apis", "/apis"),
            ("/api//evil.example/x", "/evil.example/x"),
            ("/api/%2Fa%20b", "/%2Fa%20b"),
            ("/%61pi/a", "/%61pi/a"),
            ("//api/a", "//api/a"),
        ],
    );
    check(r#"{"strip_prefix": "/api/"}"#, &[("/api/a", "/a"), ("/api", "/"), ("/b", "/b")]);
}

#[test]
fn a_prefix_is_added() {
    check(
        r#"{"add_prefix": "/v2/"}"#,
        &[("/a", "/v2/a"), ("/", "/v2/"), ("/a?b=%20", "/v2/a?b=%20"), ("//a", "/v2//a")],
    );
    check(
        r#"{"prefix": "/api", "strip_prefix": "/api", "add_prefix": "/v2"}"#,
        &[("/api/a", "/v2/a"), ("/api", "/v2"), ("/b", "/b")],
    );
    check(r#"{"add_prefix": "/"}"#, &[("/a", "/a"), ("//a", "/a")]);
}

#[test]
fn captures_go_in_as_they_came() {
    check(
        r#"{"regex": "^/user/(?<id>[^/]+)/(.*)$", "replace": "/u/${id}/x$$/$2"}"#,
        &[
            ("/user/4%2F2/a%20b?q=1", "/u/4%2F2/x$/a%20b?q=1"),
            ("/user/%2525/", "/u/%2525/x$/"),
            ("/user/4", "/user/4"),
        ],
    );
    check(
        r#"{"regex": "^/x(.*)$", "replace": "$1"}"#,
        &[("/xa", "/a"), ("/x", "/"), ("/x//evil.example", "/evil.example"), ("/x/a", "/a")],
    );
}

#[test]
fn an_exact_path_is_replaced() {
    check(
        r#"{"path": "/old", "replace": "/new"}"#,
        &[("/old", "/new"), ("/old?a", "/new?a"), ("/old/", "/old/"), ("/older", "/older")],
    );
}

#[test]
fn a_cut_character_is_encoded() {
    check(r#"{"regex": "^/(.)", "replace": "/$1"}"#, &[("/ä", "/%C3"), ("/a", "/a")]);
}

#[test]
fn the_first_rule_that_matches_is_taken() {
    let rules = r#"{"prefix": "/a/keep"}, {"prefix": "/a", "replace": "/1"}, {"replace": "/2"}"#;
    check(rules, &[("/a/keep/x", "/a/keep/x"), ("/a/x", "/1"), ("/b", "/2")]);
    let rules = r#"{"prefix": "/a", "strip_prefix": "/a", "continue": true},
        {"prefix": "/b", "add_prefix": "/c", "query": {"set": {"b": "1"}}}"#;
    check(rules, &[("/a/b", "/c/b?b=1"), ("/b", "/c/b?b=1"), ("/a/a/b", "/a/b")]);
}

#[test]
fn parameters_are_removed_set_and_appended() {
    check(
        r#"{"query": {"remove": ["token", "utm_*"], "set": {"a": "1 & 2"}, "append": {"b": "+"}}}"#,
        &[
            ("/?x=%20&token=1&a=0&b=0&a=5", "/?x=%20&b=0&a=1%20%26%202&b=%2B"),
            ("/", "/?a=1%20%26%202&b=%2B"),
            ("/?%74oken=1&UTM_a&utm_a=1&y", "/?UTM_a&y&a=1%20%26%202&b=%2B"),
        ],
    );
    check(
        r#"{"query": {"remove": ["t"]}}"#,
        &[
            ("/?t=1", "/"),
            ("/?t", "/"),
            ("/?a&&b&t=", "/?a&&b"),
            ("/?", "/?"),
            ("/a", "/a"),
            ("/?a=t&T=1", "/?a=t&T=1"),
        ],
    );
    check(r#"{"query": {"clear": true}}"#, &[("/?a=1&b", "/"), ("/?", "/"), ("/", "/")]);
    check(r#"{"query": {"clear": true, "append": {"a": ""}}}"#, &[("/?b=1", "/?a=")]);
}

#[test]
fn a_capture_in_a_query_makes_no_parameter() {
    check(
        r#"{"regex": "^/find/(.*)$", "replace": "/find", "query": {"set": {"q": "$1"}}}"#,
        &[("/find/a&admin=1+%26", "/find?q=a%26admin%3D1%2B%26"), ("/find/", "/find?q=")],
    );
}

#[test]
fn the_authority_is_set_and_the_rest_stays() {
    let mut filter = with_rules(r#"{"prefix": "/a", "authority": "b.internal:81"}"#);
    let RequestDecision::Edit(changes) = decide(&mut filter, "/a?x") else { panic!() };
    assert!(matches!(&changes.edits[..], [Edit::Authority(name)] if name == "b.internal:81"));
    assert!(matches!(decide(&mut filter, "/c"), RequestDecision::Next));
}

#[test]
fn the_origin_is_told_what_was_asked() {
    let config = r#"{"original": "X-Original-URI", "rules": [{"path": "/a", "replace": "/b"}]}"#;
    let mut filter = rewrite(config).unwrap();
    for (target, edits) in [("/a?x=%20", 2), ("/other", 1), ("*", 1)] {
        let RequestDecision::Edit(changes) = decide(&mut filter, target) else { panic!() };
        assert!(matches!(&changes.edits[0], Edit::Set(field)
            if field.name == "x-original-uri" && field.value == target.as_bytes()));
        assert_eq!(changes.edits.len(), edits, "{target}");
    }
}

#[test]
fn a_made_path_does_not_climb() {
    let rule = r#"{"prefix": "/pub", "strip_prefix": "/pub", "add_prefix": "/site"}"#;
    check(
        rule,
        &[
            ("/pub/../secret", "400"),
            ("/pub/%2e%2E/secret", "400"),
            ("/pub/..;/x", "400"),
            ("/pub/..%2fx", "400"),
            ("/pub/a..b", "/site/a..b"),
            ("/pub/?a=/../", "/site/?a=/../"),
            ("/b/../a", "/b/../a"),
        ],
    );
    let keep = format!("{{\"dot_segments\": \"keep\", \"rules\": [{rule}]}}");
    assert_eq!(become_of(&mut rewrite(&keep).unwrap(), "/pub/../a"), "/site/../a");
}

#[test]
fn what_is_too_long_is_answered() {
    let long = |bytes: usize| format!("/{}", "a".repeat(bytes));
    let mut plain = with_rules(r#"{"add_prefix": "/v2"}"#);
    assert_eq!(become_of(&mut plain, &long(31 << 10)), "414");
    assert_eq!(become_of(&mut plain, &long(20 << 10)), format!("/v2{}", long(20 << 10)));
    let mut regex = with_rules(r#"{"regex": "^/(.*)$", "replace": "/$1/$1/$1"}"#);
    assert_eq!(become_of(&mut regex, &long(2047)).len(), 3 * 2048);
    assert_eq!(become_of(&mut regex, &long(2048)), "414");
    let groups = "$1".repeat(500);
    let mut many = with_rules(&format!(r#"{{"regex": "^/(.*)$", "replace": "/{groups}"}}"#));
    assert_eq!(become_of(&mut many, &long(1000)), "414");
    assert_eq!(become_of(&mut many, "/ab").len(), 1001);
}

#[test]
fn what_has_no_path_is_let_be() {
    let mut filter = with_rules(r#"{"replace": "/a"}"#);
    assert!(matches!(decide(&mut filter, "*"), RequestDecision::Next));
    assert!(matches!(filter.on_request(&Request { inputs: &[None] }), RequestDecision::Next));
}

#[test]
fn mistakes_are_named() {
    let wrong = [
        (r#"{"rules": []}"#, "rules: "),
        (r#"{"rules": [{}, {"regex": "("}]}"#, "rules[1].regex: "),
        (r#"{"rules": [{"prefix": "api"}]}"#, "rules[0].prefix: "),
        (r#"{"rules": [{"prefix": "/a", "path": "/a"}]}"#, "rules[0].prefix: "),
        (r#"{"rules": [{"replace": "a"}]}"#, "rules[0].replace: "),
        (r#"{"rules": [{"replace": ""}]}"#, "rules[0].replace: "),
        (r#"{"rules": [{"replace": "/a b"}]}"#, "rules[0].replace: ' '"),
        (r#"{"rules": [{"replace": "/a?b"}]}"#, "rules[0].replace: '?'"),
        (r#"{"rules": [{"replace": "/a\r\n"}]}"#, "rules[0].replace: "),
        (r#"{"rules": [{"replace": "/$1"}]}"#, "rules[0].replace: "),
        (r#"{"rules": [{"replace": "/a", "add_prefix": "/b"}]}"#, "rules[0].replace: "),
        (r#"{"rules": [{"strip_prefix": "a"}]}"#, "rules[0].strip_prefix: "),
        (r#"{"rules": [{"add_prefix": "/ä"}]}"#, "rules[0].add_prefix: "),
        (r#"{"rules": [{"authority": "u@h"}]}"#, "rules[0].authority: "),
        (r#"{"rules": [{"query": {"set": {"": "1"}}}]}"#, "rules[0].query.set."),
        (r#"{"rules": [{"query": {"set": {"a*": "1"}}}]}"#, "rules[0].query.set.a*"),
        (r#"{"rules": [{"query": {"append": {"a": "$"}}}]}"#, "rules[0].query.append.a: "),
        (r#"{"rules": [{"query": {"remove": ["a", ""]}}]}"#, "rules[0].query.remove[1]: "),
        (r#"{"original": "host", "rules": [{}]}"#, "original: "),
        (r#"{"rules": [{"prefixes": "/a"}]}"#, "prefixes"),
    ];
    for (config, hint) in wrong {
        let error = rewrite(config).unwrap_err();
        assert!(error.starts_with(hint) || error.contains("unknown field"), "{config}: {error}");
        assert!(error.contains(hint), "{config}: {error}");
    }
    let many = vec!["{}"; 65].join(",");
    assert!(rewrite(&format!("{{\"rules\": [{many}]}}")).is_err());
}
