//! Decisions by place.

use weir_sdk::{Edit, Header};

use super::*;

fn list(countries: &[&str], asns: &[u32]) -> List {
    let countries = countries.iter().map(|name| (*name).to_owned()).collect();
    List { countries, asns: asns.to_vec() }
}

fn route(countries: &[&str], asns: &[u32], upstream: &str) -> Route {
    let List { countries, asns } = list(countries, asns);
    Route { countries, asns, upstream: upstream.to_owned() }
}

fn geo(config: Config) -> Geo {
    Geo::new(config, &mut FilterNeeds::default()).unwrap()
}

/// Decides for a filter that needs both inputs, or one of them.
fn decide(geo: &mut Geo, country: Option<&str>, asn: Option<&str>) -> RequestDecision {
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let inputs: Vec<_> = [(geo.country, country), (geo.asn, asn)]
        .into_iter()
        .filter_map(|(input, value)| input.map(|_| bytes(value)))
        .collect();
    geo.on_request(&Request { inputs: &inputs })
}

fn status(geo: &mut Geo, country: Option<&str>, asn: Option<&str>) -> Option<u16> {
    match decide(geo, country, asn) {
        RequestDecision::Reply(reply) => Some(reply.status),
        _ => None,
    }
}

fn edits(decision: RequestDecision) -> Vec<String> {
    let RequestDecision::Edit(changes) = decision else { panic!("{decision:?}") };
    let shown = |edit: Edit| match edit {
        Edit::Set(Header { name, value }) => {
            format!("{name}={}", String::from_utf8(value).unwrap())
        }
        Edit::Remove(name) => format!("-{name}"),
        Edit::Upstream(name) => format!("upstream {name}"),
        other => panic!("{other:?}"),
    };
    changes.edits.into_iter().map(shown).collect()
}

#[test]
fn the_headers_tell_what_is_known_and_take_away_what_is_claimed() {
    let mut geo = geo(Config {
        country_header: Some("X-Client-Country".to_owned()),
        asn_header: Some("x-client-asn".to_owned()),
        ..Config::default()
    });
    let known = decide(&mut geo, Some("DE"), Some("64512"));
    assert_eq!(edits(known), ["x-client-country=DE", "x-client-asn=64512"]);
    assert_eq!(edits(decide(&mut geo, None, None)), ["-x-client-country", "-x-client-asn"]);
    let nonsense = decide(&mut geo, Some("D\r\n"), Some("x"));
    assert_eq!(edits(nonsense), ["-x-client-country", "-x-client-asn"]);
}

#[test]
fn deny_goes_before_allow() {
    let mut geo = geo(Config {
        allow: Some(list(&["DE", "FR"], &[])),
        deny: Some(list(&[], &[64512])),
        ..Config::default()
    });
    assert_eq!(status(&mut geo, Some("DE"), Some("1")), None);
    assert_eq!(status(&mut geo, Some("DE"), Some("64512")), Some(403));
    assert_eq!(status(&mut geo, Some("US"), Some("1")), Some(403));
}

#[test]
fn what_is_not_known_is_denied_unless_told() {
    let config = |unknown| Config {
        deny: Some(list(&["XX"], &[])),
        unknown,
        status: Some(451),
        ..Config::default()
    };
    let mut shut = geo(config(Unknown::Deny));
    assert_eq!(status(&mut shut, None, None), Some(451));
    assert_eq!(status(&mut shut, Some("DE"), None), None);
    let mut open = geo(config(Unknown::Allow));
    assert_eq!(status(&mut open, None, None), None);
    assert_eq!(status(&mut open, Some("XX"), None), Some(451));
    let allow = |unknown| Config { allow: Some(list(&["DE"], &[])), unknown, ..Config::default() };
    assert_eq!(status(&mut geo(allow(Unknown::Deny)), None, None), Some(403));
    assert_eq!(status(&mut geo(allow(Unknown::Allow)), None, None), None);
}

#[test]
fn unknown_says_nothing_where_no_list_asks() {
    let mut geo = geo(Config { country_header: Some("x-c".to_owned()), ..Config::default() });
    assert_eq!(status(&mut geo, None, None), None);
}

#[test]
fn the_first_route_that_fits_takes_the_request() {
    let mut geo = geo(Config {
        routes: vec![route(&["DE", "FR"], &[64512], "eu"), route(&["DE", "US"], &[], "us")],
        ..Config::default()
    });
    assert_eq!(edits(decide(&mut geo, Some("DE"), None)), ["upstream eu"]);
    assert_eq!(edits(decide(&mut geo, Some("US"), Some("64512"))), ["upstream eu"]);
    assert_eq!(edits(decide(&mut geo, Some("US"), None)), ["upstream us"]);
    assert!(matches!(decide(&mut geo, Some("JP"), Some("1")), RequestDecision::Next));
    assert!(matches!(decide(&mut geo, None, None), RequestDecision::Next));
}

#[test]
fn it_asks_only_for_what_it_needs() {
    let asks = |config| {
        let geo = geo(config);
        (geo.country.is_some(), geo.asn.is_some())
    };
    assert_eq!(asks(Config::default()), (false, false));
    assert_eq!(asks(Config { deny: Some(list(&["DE"], &[])), ..Config::default() }), (true, false));
    assert_eq!(asks(Config { allow: Some(list(&[], &[1])), ..Config::default() }), (false, true));
    let routes = vec![route(&[], &[1], "a"), route(&["DE"], &[], "b")];
    assert_eq!(asks(Config { routes, ..Config::default() }), (true, true));
}

#[test]
fn what_is_denied_is_not_cached() {
    let mut geo = geo(Config {
        deny: Some(list(&["DE"], &[])),
        body: Some("no\n".to_owned()),
        ..Config::default()
    });
    let decision = decide(&mut geo, Some("DE"), None);
    let RequestDecision::Reply(reply) = decision else { panic!("{decision:?}") };
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.body, b"no\n");
}

#[test]
fn mistakes_are_named() {
    let wrong = [
        (Config { allow: Some(list(&[], &[])), ..Config::default() }, "allow: "),
        (Config { allow: Some(list(&["D"], &[])), ..Config::default() }, "allow.countries[0]: "),
        (Config { deny: Some(list(&[], &[0])), ..Config::default() }, "deny.asns[0]: "),
        (Config { status: Some(404), ..Config::default() }, "status: "),
        (Config { body: Some("x".repeat(16_385)), ..Config::default() }, "body: "),
        (
            Config { country_header: Some("a b".to_owned()), ..Config::default() },
            "country_header: ",
        ),
        (Config { asn_header: Some("Host".to_owned()), ..Config::default() }, "asn_header: "),
        (
            Config {
                country_header: Some("X-A".to_owned()),
                asn_header: Some("x-a".to_owned()),
                ..Config::default()
            },
            "asn_header: ",
        ),
        (Config { routes: vec![route(&[], &[], "a")], ..Config::default() }, "routes[0]: "),
        (
            Config { routes: vec![route(&["DE"], &[], "")], ..Config::default() },
            "routes[0].upstream",
        ),
        (
            Config {
                routes: vec![route(&["DE"], &[], "a"), route(&["?"], &[], "a")],
                ..Config::default()
            },
            "routes[1].countries[0]: ",
        ),
    ];
    for (config, hint) in wrong {
        let error = Geo::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with(hint), "{error:?}");
    }
}
