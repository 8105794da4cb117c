//! Actions, scores, exceptions, bounds, and faults of a configuration.

use weir_sdk::{Filter, FilterNeeds, RequestDecision};

use super::{Sent, blocked, edits, only, rule, waf};
use crate::exclude::Exclude;
use crate::judge::{Mode, Oversize};
use crate::rules::{Action, UserRule};
use crate::sets::RuleSet;
use crate::{Config, Waf};

const ATTACK: &str = "/?id=1+union+select+1";

fn exclude(path: &str, rules: &[&str]) -> Exclude {
    Exclude { path: path.to_owned(), rules: rules.iter().map(|name| (*name).to_owned()).collect() }
}

fn status(config: Config, target: &str) -> Option<u16> {
    blocked(Sent::get(target).ask(&mut waf(config))).map(|reply| reply.status)
}

fn scored(id: &str, when: &str, score: u32) -> UserRule {
    UserRule { score, ..rule(id, when, Action::Block) }
}

#[test]
fn the_client_is_told_the_name_of_the_request_only() {
    let reply = blocked(Sent::get(ATTACK).ask(&mut waf(Config::default()))).unwrap();
    assert_eq!(reply.status, 403);
    assert_eq!(reply.body, b"request blocked, id req-1\n");
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert!(matches!(Sent::get("/").ask(&mut waf(Config::default())), RequestDecision::Next));
}

#[test]
fn a_rule_blocks_with_its_status_and_the_first_one_counts() {
    let rules = vec![
        UserRule { status: 429, ..rule("a", r#"path == "/a""#, Action::Block) },
        rule("b", r#"path starts_with "/""#, Action::Block),
    ];
    let mut waf = waf(only(rules));
    let status = |waf: &mut Waf, target| blocked(Sent::get(target).ask(waf)).unwrap().status;
    assert_eq!(status(&mut waf, "/a"), 429);
    assert_eq!(status(&mut waf, "/b"), 403);
}

#[test]
fn who_is_allowed_passes_all_later_rules() {
    let rules = vec![rule("office", "client in network 192.0.2.0/24", Action::Allow)];
    let mut waf = waf(Config { rules, ..Config::default() });
    assert!(blocked(Sent::get(ATTACK).ask(&mut waf)).is_none());
    let other = Sent { client: "198.51.100.1", ..Sent::get(ATTACK) };
    assert!(blocked(other.ask(&mut waf)).is_some());
}

#[test]
fn tags_are_told_to_the_upstream_and_never_by_the_client() {
    let rules = vec![
        rule("bot", r#"lower(header.user-agent) contains "bot""#, Action::Tag),
        rule("abroad", r#"country != "DE""#, Action::Tag),
    ];
    let mut waf = waf(only(rules));
    let bot = Sent::get("/").header("user-agent", "ABot/1").header("x-waf-tags", "trusted");
    assert_eq!(edits(bot.ask(&mut waf)), ["x-waf-tags=bot, abroad"]);
    let other = Sent { country: Some("DE"), ..Sent::get("/") };
    assert_eq!(edits(other.ask(&mut waf)), ["-x-waf-tags"]);
}

#[test]
fn what_is_logged_passes() {
    let mut waf = waf(only(vec![rule("a", r#"path == "/""#, Action::Log)]));
    assert!(matches!(Sent::get("/").ask(&mut waf), RequestDecision::Next));
}

#[test]
fn observed_requests_pass() {
    let mut waf = waf(Config { mode: Mode::Observe, ..Config::default() });
    assert!(matches!(Sent::get(ATTACK).ask(&mut waf), RequestDecision::Next));
    let long = format!("/?a={}", "x".repeat(9000));
    assert!(matches!(Sent::get(&long).ask(&mut waf), RequestDecision::Next));
}

#[test]
fn with_a_threshold_the_sum_blocks() {
    let rules = || {
        vec![
            scored("a", r#"query.a == "1""#, 3),
            UserRule { score: 3, ..rule("b", r#"query.b == "1""#, Action::Log) },
            rule("c", r#"query.c == "1""#, Action::Block),
        ]
    };
    let summed = || Config { threshold: Some(5), ..only(rules()) };
    assert_eq!(status(summed(), "/?a=1"), None);
    assert_eq!(status(summed(), "/?b=1"), None);
    assert_eq!(status(summed(), "/?a=1&b=1"), Some(403));
    // A rule without a score blocks alone.
    assert_eq!(status(summed(), "/?c=1"), Some(403));
    // Without a threshold scores do not count.
    assert_eq!(status(only(rules()), "/?a=1"), Some(403));
    assert_eq!(status(only(rules()), "/?b=1"), None);
    let built_in = |threshold| Config { threshold: Some(threshold), ..Config::default() };
    assert_eq!(status(built_in(5), ATTACK), Some(403));
    assert_eq!(status(built_in(6), ATTACK), None);
    assert_eq!(status(built_in(10), "/?id=1+union+select+1&x=<script>"), Some(403));
}

#[test]
fn the_log_has_the_rule_and_the_field_and_nothing_of_the_client() {
    let waf = waf(Config { mode: Mode::Observe, ..Config::default() });
    let message = crate::Message::new(crate::Parts {
        target: b"/?id=1+union+select+1%0aforged",
        headers: b"user-agent: curl\n",
        inspect: 8192,
        ..crate::Parts::default()
    });
    let line = waf.judge.judge(&waf.program, &message).line("req-1").unwrap();
    let expected = "would block request req-1, score 5: sqli-union in query.* (UNION SELECT with something to select)";
    assert_eq!(line, expected);
}

#[test]
fn rules_do_not_count_where_they_are_excluded() {
    let with = |excluded: Vec<Exclude>| Config { exclude: excluded, ..Config::default() };
    let query = "?id=1+union+select+1";
    for (path, rules, expected) in [
        ("/cms/*", "sqli-union", None),
        ("/cms/*", "sqli", None),
        ("/cms/page", "sqli", None),
        ("/cms", "sqli", Some(403)),
        ("/cms/*", "xss", Some(403)),
    ] {
        let target = format!("/cms/page{query}");
        let found = status(with(vec![exclude(path, &[rules])]), &target);
        assert_eq!(found, expected, "{path} {rules}");
    }
    // A path that only looks like a path below the prefix gets no exception.
    for target in
        ["/cms/../login", "/cms/%2e%2e/login", "/cms/..%2flogin", "/%63ms/page", "/x/../cms/page"]
    {
        let all = ["sqli", "traversal", "protocol"];
        let found = status(with(vec![exclude("/cms/*", &all)]), &format!("{target}{query}"));
        assert_eq!(found, Some(403), "{target}");
    }
}

#[test]
fn what_is_too_large_is_blocked_or_cut() {
    let long = format!("/?a={}", "x".repeat(8193));
    assert_eq!(status(Config::default(), &long), Some(413));
    assert_eq!(
        status(Config { inspect_bytes: "16KiB".to_owned(), ..Config::default() }, &long),
        None
    );
    let ignored = || Config { oversize: Oversize::Ignore, ..Config::default() };
    assert_eq!(status(ignored(), &long), None);
    assert_eq!(status(ignored(), &format!("/?a=1+union+select+1{}", "x".repeat(9000))), Some(403));
    let excluded = vec![exclude("/*", &["oversize"])];
    assert_eq!(status(Config { exclude: excluded, ..Config::default() }, &long), None);
    // A value that no rule reads may have any length.
    assert_eq!(status(only(vec![rule("a", r#"method == "PUT""#, Action::Block)]), &long), None);
}

#[test]
fn it_asks_only_for_what_rules_look_at() {
    let asked = |config| {
        let Waf { asked, .. } = waf(config);
        let all = [
            asked.target,
            asked.method,
            asked.authority,
            asked.client,
            asked.country,
            asked.headers,
        ];
        all.map(|input| input.is_some())
    };
    let one = |when: &str| only(vec![rule("a", when, Action::Block)]);
    assert_eq!(asked(one(r#"path == "a""#)), [true, false, false, false, false, false]);
    assert_eq!(asked(one(r#"method == "a""#)), [false, true, false, false, false, false]);
    assert_eq!(asked(one(r#"host == "a""#)), [false, false, true, false, false, false]);
    assert_eq!(asked(one("client in network ::1")), [false, false, false, true, false, false]);
    assert_eq!(asked(one(r#"country == "a""#)), [false, false, false, false, true, false]);
    assert_eq!(asked(one(r#"lower(cookie.a) == "a""#)), [false, false, false, false, false, true]);
    assert_eq!(asked(Config::default()), [true, true, true, false, false, true]);
    let excluded = Config { exclude: vec![exclude("/", &["a"])], ..one(r#"method == "a""#) };
    assert_eq!(asked(excluded), [true, true, false, false, false, false]);
}

#[test]
fn mistakes_are_named() {
    let path = r#"path == "a""#;
    let own = |rule: UserRule| only(vec![rule]);
    let wrong = [
        (only(Vec::new()), "rules: "),
        (
            only((0..257).map(|at| rule(&format!("r{at}"), path, Action::Log)).collect()),
            "rules: more than",
        ),
        (own(rule("A", path, Action::Log)), "rules[0].id: "),
        (own(rule("", path, Action::Log)), "rules[0].id: "),
        (own(rule("sqli-union", path, Action::Log)), "rules[0].id: sqli-union is taken"),
        (own(rule("xss", path, Action::Log)), "rules[0].id: xss is taken"),
        (own(rule("oversize", path, Action::Log)), "rules[0].id: oversize is taken"),
        (
            only(vec![rule("a", path, Action::Log), rule("a", path, Action::Log)]),
            "rules[1].id: a is taken",
        ),
        (own(UserRule { status: 200, ..rule("a", path, Action::Block) }), "rules[0].status: "),
        (own(UserRule { score: 1001, ..rule("a", path, Action::Block) }), "rules[0].score: "),
        (
            own(UserRule { message: "a\nb".to_owned(), ..rule("a", path, Action::Block) }),
            "rules[0].message: ",
        ),
        (own(rule("a", "path", Action::Log)), "rules[0].when: at byte 5: expected ==, "),
        (
            own(rule("a", "path matches /(/", Action::Log)),
            "rules[0].when: at byte 14: the regular expression: unclosed group",
        ),
        (
            own(rule("a", "path matches /a{9999}{9999}/", Action::Log)),
            "rules[0].when: at byte 14: the regular expression: ",
        ),
        (
            own(rule("a", r"path matches /(?u)\pL/", Action::Log)),
            "rules[0].when: at byte 14: the regular expression: ",
        ),
        (Config { threshold: Some(0), ..Config::default() }, "threshold: "),
        (Config { inspect_bytes: "8MiB".to_owned(), ..Config::default() }, "inspect_bytes: "),
        (Config { inspect_bytes: "1B".to_owned(), ..Config::default() }, "inspect_bytes: "),
        (Config { inspect_bytes: "+1KiB".to_owned(), ..Config::default() }, "inspect_bytes: "),
        (Config { tag_header: "a b".to_owned(), ..Config::default() }, "tag_header: "),
        (Config { tag_header: "Host".to_owned(), ..Config::default() }, "tag_header: "),
        (
            Config { exclude: vec![exclude("cms", &["xss"])], ..Config::default() },
            "exclude[0].path: ",
        ),
        (
            Config { exclude: vec![exclude("/*/a", &["xss"])], ..Config::default() },
            "exclude[0].path: ",
        ),
        (
            Config { exclude: vec![exclude("/", &["xss", "none"])], ..Config::default() },
            "exclude[0].rules[1]: ",
        ),
        (
            Config {
                rule_sets: vec![RuleSet::Xss],
                exclude: vec![exclude("/", &["sqli-union"])],
                ..Config::default()
            },
            "exclude[0].rules[0]: ",
        ),
        (
            Config {
                exclude: (0..65).map(|_| exclude("/", &["xss"])).collect(),
                ..Config::default()
            },
            "exclude: more than",
        ),
    ];
    for (config, hint) in wrong {
        let error = Waf::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with(hint), "{error:?} is not {hint}");
    }
}
