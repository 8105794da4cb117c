//! The language: the meaning of expressions, and their errors.

use super::{Sent, blocked, only, rule, waf};
use crate::language::parse;
use crate::rules::Action;

/// Whether an expression is true for a request.
fn is_true(when: &str, sent: &Sent<'_>) -> bool {
    let mut waf = waf(only(vec![rule("a", when, Action::Block)]));
    blocked(sent.ask(&mut waf)).is_some()
}

#[test]
fn expressions_are_true_or_false() {
    let sent = || {
        let sent = Sent::get("/Shop/a%2fb;v=1?id=1&id=2&q=Hello+World%21&empty=&a%20b=c");
        let sent = sent.header("cookie", "sid=abc; theme=dark").header("x-a", "1");
        let sent = sent.header("x-a", "2").header("cookie", "sid=def");
        Sent { country: Some("DE"), host: "Shop.Example:8443", ..sent }
    };
    for (when, expected) in [
        (r#"path == "/Shop/a%2fb;v=1""#, true),
        (r#"path.decoded == "/Shop/a/b;v=1""#, true),
        (r#"lower(path) starts_with "/shop""#, true),
        (r#"path starts_with "/shop""#, false),
        (r#"normalize_path(url_decode(path)) == "/Shop/a/b""#, true),
        (r#"query contains "q=Hello+World%21""#, true),
        (r#"query.q == "Hello World!""#, true),
        (r#"query."a b" == "c""#, true),
        (r#"query.id == "2""#, true),
        (r#"query.id == "3""#, false),
        (r#"query.id != "3""#, true),
        (r#"query.id != "1""#, false),
        (r#"query.none == """#, false),
        (r#"query.none != "x""#, true),
        (r#"query.empty == """#, true),
        (r#"query.* ends_with "World!""#, true),
        (r#"query_names contains " ""#, true),
        (r#"query_joined == "1,2""#, true),
        (r#"method == "GET""#, true),
        (r#"host == "shop.example""#, true),
        (r#"host in ["a", "shop.example"]"#, true),
        (r#"header.X-A == "2""#, true),
        (r#"header."x-a" == "1""#, true),
        (r#"headers.* contains "Firefox""#, true),
        (r#"cookie.sid == "def""#, true),
        (r#"cookie.* == "dark""#, true),
        (r#"client == "192.0.2.1""#, true),
        ("client in network 192.0.2.0/24", true),
        ("client in network [10.0.0.0/8, 2001:db8::/32, 192.0.2.1]", true),
        ("client in network [10.0.0.0/8]", false),
        ("client in network ::ffff:192.0.2.0/120", true),
        (r#"country in ["DE", "FR"]"#, true),
        ("len(query.q) == 12", true),
        ("len(query.q) > 12", false),
        ("len(query.q) < 13", true),
        ("len(query.none) == 0", false),
        ("count(query.none) == 0", true),
        ("count(query.id) in [2, 3]", true),
        ("count(query.*) != 5", false),
        ("query.q matches /^hello world!$/", false),
        ("query.q matches /^hello world!$/i", true),
        (r"path.decoded matches /^\/Shop\/a\/b/", true),
        ("query.none matches /^$/", false),
        ("query.empty matches /^$/", true),
        (r#"any(query.q, cookie.theme) == "dark""#, true),
        (r#"lower(any(query.q, cookie.theme)) contains "hello""#, true),
        (r#"not method == "GET""#, false),
        (r#"not not method == "GET""#, true),
        // And binds closer than or.
        (r#"method == "GET" or method == "PUT" and path == "/""#, true),
        (r#"(method == "GET" or method == "PUT") and path == "/""#, false),
        (r#"query.q contains "\x48\x65""#, true),
        ("\n  query.id == \"1\"\n  and query.id == \"2\"\n", true),
    ] {
        assert_eq!(is_true(when, &sent()), expected, "{when}");
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let wrong = |when: &str| parse(when).unwrap_err().to_string();
    for (when, error) in [
        (
            "",
            "at byte 1: expected a field such as path, query.NAME or header.NAME, or a function, found the end",
        ),
        (
            "pth == \"a\"",
            "at byte 1: expected a field such as path, query.NAME or header.NAME, or a function, found `pth`",
        ),
        (
            "query. == \"a\"",
            "at byte 1: expected a field such as path, query.NAME or header.NAME, or a function, found `query.`",
        ),
        (
            "path = \"a\"",
            "at byte 6: expected ==, !=, contains, starts_with, ends_with, matches or in, found `=`",
        ),
        ("path == a", "at byte 9: expected a text in quotation marks, found `a`"),
        ("path == \"a", "at byte 9: a text has no closing quotation mark"),
        (
            "path == \"a\\q\"",
            "at byte 11: expected \\\", \\\\, \\n, \\r, \\t or \\xHH, found `\\q\"`",
        ),
        (
            "path == \"\\xg0\"",
            "at byte 10: expected two hexadecimal digits after \\x, found `\\xg0\"`",
        ),
        ("path matches /a", "at byte 14: a regular expression has no closing slash"),
        ("path matches /a/g", "at byte 17: expected no flag but i, found `g`"),
        (
            "path matches \"a\"",
            "at byte 14: expected a regular expression between slashes, found `\"a\"`",
        ),
        ("path in \"a\"", "at byte 9: expected `[`, found `\"a\"`"),
        ("path in [\"a\" \"b\"]", "at byte 14: expected `,` or `]`, found `\"b\"`"),
        ("path in []", "at byte 10: expected a text in quotation marks, found `]`"),
        (
            "len(path) contains \"a\"",
            "at byte 11: expected ==, !=, <, > or in after a number, found `contains`",
        ),
        ("len(path) > \"a\"", "at byte 13: expected a number, found `\"a\"`"),
        ("len(path) > -1", "at byte 13: expected a number, found `-1`"),
        (
            "path > 1",
            "at byte 6: expected ==, !=, contains, starts_with, ends_with, matches or in, found `>`",
        ),
        (
            "lower(len(path)) == \"a\"",
            "at byte 7: expected a field such as path, query.NAME or header.NAME, or a function, found `len`",
        ),
        ("lower path == \"a\"", "at byte 7: expected `(`, found `path`"),
        ("lower(path == \"a\"", "at byte 12: expected `)`, found `==`"),
        ("(path == \"a\"", "at byte 13: expected `)`, found the end"),
        ("path == \"a\" path == \"b\"", "at byte 13: expected and, or, or the end, found `path`"),
        (
            "path == \"a\" and",
            "at byte 16: expected a field such as path, query.NAME or header.NAME, or a function, found the end",
        ),
        (
            "path in network 10.0.0.0/8",
            "at byte 6: expected in network after client only, found `in`",
        ),
        (
            "client in network 10.0.0.0/33",
            "at byte 19: expected a network such as 10.0.0.0/8, found `10.0.0.0/33`",
        ),
        (
            "client in network 10.0.0.1/8",
            "at byte 19: expected the network 10.0.0.0/8 (there are bits after its prefix), found `10.0.0.1/8`",
        ),
        ("path == \"ä\" ö", "at byte 14: expected and, or, or the end, found `ö`"),
    ] {
        assert_eq!(wrong(when), error, "{when}");
    }
}

#[test]
fn expressions_are_bounded() {
    let deep = |depth: usize| format!("{}path == \"a\"{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&deep(32)).is_ok());
    assert!(parse(&deep(33)).unwrap_err().what.contains("deep"));
    let nots = format!("{}path == \"a\"", "not ".repeat(33));
    assert!(parse(&nots).unwrap_err().what.contains("deep"));
    let functions = format!("{}path{} == \"a\"", "lower(".repeat(33), ")".repeat(33));
    assert!(parse(&functions).unwrap_err().what.contains("deep"));
    let many = vec!["path == \"\""; 129].join(" or ");
    assert!(parse(&many).unwrap_err().what.contains("tests"));
    let list = vec!["\"a\""; 257].join(",");
    assert!(parse(&format!("path in [{list}]")).unwrap_err().what.contains("items"));
    assert!(parse(&" ".repeat(4097)).unwrap_err().what.contains("bytes"));
    // A text that is cut at any place gives an error at most, and no panic.
    let whole = r#"not (lower(query."ä b") in ["a\x41", "b"] or client in network [10.0.0.0/8]) and len(path) > 5 and path matches /a\/b/i"#;
    for (at, _) in whole.char_indices() {
        let _ = parse(&whole[..at]);
        let _ = parse(&whole[at..]);
    }
    assert!(parse(whole).is_ok());
}

#[test]
fn a_test_of_several_values_tells_the_field() {
    let config = only(vec![rule("a", "any(query.*, cookie.*) matches /evil/", Action::Log)]);
    let waf = waf(config);
    let sent = Sent::get("/?a=1").header("cookie", "b=evil");
    assert_eq!(sent.found(&waf), ["a"]);
}
