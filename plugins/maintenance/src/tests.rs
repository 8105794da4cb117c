use weir_sdk::Edit;
use weir_sdk::bindings::filtering;

use super::*;
use crate::except::Secret;

/// The filter with the names of its inputs.
struct Tested {
    filter: Maintenance,
    inputs: Vec<String>,
}

fn tested(config: Config) -> Tested {
    let mut needs = FilterNeeds::default();
    let filter = Maintenance::new(config, &mut needs).unwrap();
    Tested { filter, inputs: filtering::FilterNeeds::from(needs).inputs }
}

impl Tested {
    fn request(&mut self, values: &[(&str, &str)]) -> RequestDecision {
        let value = |name: &String| values.iter().find(|(known, _)| known == name);
        let names = self.inputs.iter();
        let inputs: Vec<_> =
            names.map(|name| value(name).map(|(_, value)| value.as_bytes().to_vec())).collect();
        self.filter.on_request(&Request { inputs: &inputs })
    }

    fn passes(&mut self, values: &[(&str, &str)]) -> bool {
        !matches!(self.request(values), RequestDecision::Reply(_))
    }
}

fn down() -> Config {
    Config { enabled: true, ..Config::default() }
}

fn except(paths: &[&str], clients: &[&str]) -> Except {
    let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    Except { paths: texts(paths), clients: texts(clients), header: None }
}

fn secret(name: &str, value: &str) -> Except {
    let header = Some(Secret { name: name.to_owned(), value: value.to_owned() });
    Except { header, ..Except::default() }
}

fn reply(decision: RequestDecision) -> weir_sdk::Reply {
    let RequestDecision::Reply(reply) = decision else { panic!("{decision:?}") };
    reply
}

#[test]
fn a_site_is_up_unless_something_says_otherwise() {
    assert!(matches!(tested(Config::default()).request(&[]), RequestDecision::Next));
}

#[test]
fn while_enabled_the_answer_is_a_page() {
    let reply = reply(tested(down()).request(&[]));
    assert_eq!(reply.status, 503);
    assert_eq!(reply.field("retry-after"), Some("300"));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.field("vary"), Some("Accept"));
    let body = String::from_utf8(reply.body).unwrap();
    assert!(body.contains("<h1>Down for maintenance</h1>"), "{body}");
}

#[test]
fn the_form_is_what_the_client_prefers_or_what_is_configured() {
    let form = |format, accept: &str| {
        let mut tested = tested(Config { format, ..down() });
        let reply = reply(tested.request(&[("header:accept", accept)]));
        let is_json = reply.field("content-type") == Some("application/problem+json");
        (is_json, reply.field("vary").is_some())
    };
    assert_eq!(form(Format::Auto, "application/json"), (true, true));
    assert_eq!(form(Format::Auto, "text/html"), (false, true));
    assert_eq!(form(Format::Json, "text/html"), (true, false));
    assert_eq!(form(Format::Html, "application/json"), (false, false));
}

#[test]
fn a_window_is_open_from_its_beginning_to_its_end() {
    let windows = [(100, 200), (150, 300), (400, 500)];
    let wanted = [
        (99, None),
        (100, Some(100)),
        (160, Some(140)),
        (299, Some(1)),
        (300, None),
        (450, Some(50)),
        (500, None),
    ];
    for (now, seconds) in wanted {
        assert_eq!(left(&windows, now), seconds, "{now}");
    }
}

#[test]
fn windows_are_held_against_the_clock() {
    let window = |from: &str, until: &str| Config {
        windows: vec![Window { from: from.to_owned(), until: until.to_owned() }],
        ..Config::default()
    };
    assert!(tested(window("1970-01-01T00:00:00Z", "2001-01-01T00:00:00Z")).passes(&[]));
    assert!(tested(window("9990-01-01T00:00:00Z", "9999-01-01T00:00:00Z")).passes(&[]));
    let open = reply(tested(window("2001-01-01T00:00:00Z", "9999-01-01T00:00:00Z")).request(&[]));
    let seconds: u64 = open.field("retry-after").unwrap().parse().unwrap();
    assert!(seconds > 300, "it is the window's end: {seconds}");
}

#[test]
fn a_value_in_the_state_turns_it_on_and_off() {
    let switch = Switch { space: "ops".to_owned(), key: "down".to_owned() };
    let mut tested = tested(Config { switch: Some(switch), ..Config::default() });
    assert!(tested.passes(&[]), "there is no value");
    for (value, passes) in
        [("1", false), ("on", false), ("0", true), ("off", true), ("false", true), ("", true)]
    {
        state::set("ops", "down", value.as_bytes(), 0);
        assert_eq!(tested.passes(&[]), passes, "{value:?}");
    }
    state::remove("ops", "down");
    state::add("ops", "down", 1, 0);
    assert!(!tested.passes(&[]), "a counter is a value too");
    state::add("ops", "down", -1, 0);
    assert!(tested.passes(&[]));
}

#[test]
fn a_path_is_served_all_the_same() {
    let mut tested =
        tested(Config { except: except(&["/health", "/.well-known/"], &[]), ..down() });
    for path in ["/health", "/health?full=1", "/health/db", "/.well-known/acme-challenge/x"] {
        assert!(tested.passes(&[(":path", path)]), "{path}");
    }
    for path in ["/", "/healthz", "/x?/health", "/health/../admin", "/health/%2e%2e/admin"] {
        assert!(!tested.passes(&[(":path", path)]), "{path}");
    }
    assert!(tested.passes(&[(":path", "/health?x=/../")]), "a query is no path");
}

#[test]
fn a_client_is_served_all_the_same() {
    let networks = &["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"];
    let mut tested = tested(Config { except: except(&[], networks), ..down() });
    for client in ["192.0.2.1", "2001:db8:1::1", "198.51.100.7"] {
        assert!(tested.passes(&[("client.address", client)]), "{client}");
    }
    for client in ["192.0.3.1", "2001:db9::1", "198.51.100.8", "", "nonsense"] {
        assert!(!tested.passes(&[("client.address", client)]), "{client}");
    }
    assert!(!tested.passes(&[]));
}

#[test]
fn a_secret_is_served_all_the_same_and_goes_no_further() {
    const SECRET: &str = "correct-horse-battery";
    let mut tested = tested(Config { except: secret("X-Preview", SECRET), ..down() });
    let RequestDecision::Edit(changes) = tested.request(&[("header:x-preview", SECRET)]) else {
        panic!("it is not served")
    };
    assert!(matches!(&changes.edits[..], [Edit::Remove(name)] if name == "X-Preview"));
    for wrong in ["", "correct-horse-batterx", "correct-horse-battery0", "correct"] {
        assert!(!tested.passes(&[("header:x-preview", wrong)]), "{wrong}");
    }
    assert!(!tested.passes(&[]));
}

#[test]
fn the_secret_goes_no_further_when_the_site_is_up_either() {
    let except = secret("x-preview", "correct-horse-battery");
    let mut tested = tested(Config { except, ..Config::default() });
    let decision = tested.request(&[("header:x-preview", "anything")]);
    assert!(matches!(decision, RequestDecision::Edit(_)));
    assert!(matches!(tested.request(&[]), RequestDecision::Next));
}

#[test]
fn only_what_is_needed_is_asked_for() {
    assert_eq!(tested(Config { format: Format::Html, ..down() }).inputs, [""; 0]);
    assert_eq!(tested(down()).inputs, ["header:accept"]);
    let except = Except {
        header: secret("x-preview", "correct-horse-battery").header,
        ..except(&["/health"], &["::1"])
    };
    assert_eq!(tested(Config { except, ..down() }).inputs.len(), 4);
}

#[test]
fn mistakes_are_named() {
    let windows = |pairs: &[(&str, &str)]| Config {
        windows: pairs
            .iter()
            .map(|(from, until)| Window { from: (*from).into(), until: (*until).into() })
            .collect(),
        ..Config::default()
    };
    let good = ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z");
    let switch = |space: &str, key: &str| Config {
        switch: Some(Switch { space: space.to_owned(), key: key.to_owned() }),
        ..Config::default()
    };
    let excepting = |except| Config { except, ..Config::default() };
    let wrong = [
        (windows(&[good, ("2027-01-01", good.1)]), "windows[1].from:"),
        (windows(&[(good.0, "2027-02-30T00:00:00Z")]), "windows[0].until:"),
        (windows(&[(good.1, good.0)]), "windows[0].until: must be later"),
        (windows(&[(good.0, good.0)]), "windows[0].until: must be later"),
        (windows(&[good; 65]), "windows: at most"),
        (Config { retry_after: "0s".to_owned(), ..Config::default() }, "retry_after:"),
        (Config { title: "a".repeat(257), ..Config::default() }, "title:"),
        (Config { text: "a".repeat(4097), ..Config::default() }, "text:"),
        (Config { html: Some("a".repeat(65_537)), ..Config::default() }, "html:"),
        (switch("", "down"), "switch.space:"),
        (switch("ops", ""), "switch.key:"),
        (switch("ops", &"a".repeat(1025)), "switch.key:"),
        (excepting(except(&["/a", "b"], &[])), "except.paths[1]:"),
        (excepting(except(&["/"], &[])), "except.paths[0]:"),
        (excepting(except(&["/a?b"], &[])), "except.paths[0]:"),
        (excepting(except(&["/a/../b"], &[])), "except.paths[0]:"),
        (excepting(except(&["/a b"], &[])), "except.paths[0]:"),
        (excepting(except(&["/a"; 65], &[])), "except.paths: at most"),
        (excepting(except(&[], &["::1", "192.0.2.1/24"])), "except.clients[1]:"),
        (excepting(except(&[], &["::1"; 257])), "except.clients: at most"),
        (excepting(secret("x a", "correct-horse-battery")), "except.header.name:"),
        (excepting(secret("Host", "correct-horse-battery")), "except.header.name:"),
        (excepting(secret("x-a", "short")), "except.header.value:"),
        (excepting(secret("x-a", "correct horse battery")), "except.header.value:"),
    ];
    for (config, place) in wrong {
        let error = Maintenance::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with(place), "{place} {error:?}");
    }
}
