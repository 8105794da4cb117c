use hickory_proto::op::ResponseCode;

use super::*;
use crate::upstream::discover::testing::{Reply, Server, run};

fn dns(server: &Server, records: DnsRecords) -> Dns {
    let mut dns = Dns::new(config::Dns {
        name: "app.test.".to_owned(),
        records,
        resolvers: vec![server.address],
        min_ttl: Duration::from_secs(5),
        max_ttl: Duration::from_secs(300),
        zone: "z".to_owned(),
        labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
    });
    dns.limit = Duration::from_secs(2);
    dns
}

fn addresses(server: &Server) -> Dns {
    dns(server, DnsRecords::Addresses { port: 80, weight: 3 })
}

/// One look: the endpoints as text, the faults as text, and the seconds to the next look.
fn look(dns: &mut Dns) -> (Option<Vec<String>>, Vec<String>, u64) {
    let look = run(dns.look());
    let shown = |endpoint: &Endpoint| format!("{} {}", endpoint.name, endpoint.weight);
    let found = look.found.map(|found| found.iter().map(shown).collect());
    let troubles = look.troubles.iter().map(ToString::to_string).collect();
    (found, troubles, look.next.unwrap().as_secs())
}

fn found(dns: &mut Dns) -> Vec<String> {
    let (found, troubles, _) = look(dns);
    assert!(troubles.is_empty(), "{troubles:?}");
    found.unwrap()
}

#[test]
fn addresses_of_both_types_are_endpoints_in_one_order() {
    let server = Server::start();
    let mut dns = addresses(&server);
    let expected = ["127.0.0.1:80 3", "127.0.0.3:80 3", "[::1]:80 3"];
    for order in [["127.0.0.3", "::1", "127.0.0.1"], ["127.0.0.1", "127.0.0.3", "::1"]] {
        server.set_addresses("app.test.", 60, &order);
        assert_eq!(found(&mut dns), expected);
    }
    let look = run(dns.look());
    let first = &look.found.unwrap()[0];
    assert_eq!((first.zone.as_str(), first.labels["k"].as_str()), ("z", "v"));
}

#[test]
fn an_address_that_is_there_twice_is_one_endpoint() {
    let server = Server::start();
    let twice = ["127.0.0.2", "127.0.0.2", "127.0.0.1"];
    server.set_addresses("app.test.", 60, &twice);
    assert_eq!(found(&mut addresses(&server)), ["127.0.0.1:80 3", "127.0.0.2:80 3"]);
}

#[test]
fn an_answer_that_is_cut_over_udp_is_asked_for_over_tcp() {
    let server = Server::start();
    let many: Vec<String> = (1..=200).map(|last| format!("127.0.1.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    server.set_addresses("app.test.", 60, &many);
    assert_eq!(found(&mut addresses(&server)).len(), 200);
}

#[test]
fn the_next_look_follows_the_ttl_within_its_bounds() {
    let server = Server::start();
    let mut dns = addresses(&server);
    for (ttl, least, most) in [(0, 5, 5), (100, 100, 110), (86_400, 300, 330)] {
        server.set_addresses("app.test.", ttl, &["127.0.0.1"]);
        let (_, _, next) = look(&mut dns);
        assert!((least..=most).contains(&next), "{ttl}: {next}");
    }
}

#[test]
fn a_name_without_records_and_a_failing_server_leave_the_list() {
    let server = Server::start();
    let mut dns = addresses(&server);
    server.set_addresses("app.test.", 60, &["127.0.0.1"]);
    found(&mut dns);
    for reply in [Reply::Code(ResponseCode::NXDomain), Reply::Records(60, Vec::new())] {
        server.set_both("app.test.", &reply);
        let (found, troubles, _) = look(&mut dns);
        assert_eq!((found, troubles), (None, vec!["\"app.test.\" has no records".to_owned()]));
    }
    for reply in [Reply::Code(ResponseCode::ServFail), Reply::Silence] {
        dns.limit = Duration::from_millis(300);
        server.set_both("app.test.", &reply);
        let (found, troubles, next) = look(&mut dns);
        assert_eq!(found.unwrap(), ["127.0.0.1:80 3"]);
        assert!(troubles[0].starts_with("cannot look up \"app.test.\": "), "{troubles:?}");
        assert!(next <= 33, "{next}");
    }
    dns.limit = Duration::from_secs(2);
    server.set_addresses("app.test.", 100, &["127.0.0.2"]);
    let (found, troubles, next) = look(&mut dns);
    assert_eq!((found.unwrap(), troubles.len()), (vec!["127.0.0.2:80 3".to_owned()], 0));
    assert!(next >= 100);
}

#[test]
fn a_server_that_never_answered_gives_no_list() {
    let server = Server::start();
    let mut dns = addresses(&server);
    dns.limit = Duration::from_millis(300);
    server.set_both("app.test.", &Reply::Silence);
    let (found, troubles, next) = look(&mut dns);
    assert_eq!(found, None);
    assert_eq!(troubles, ["cannot look up \"app.test.\": no answer in time"]);
    assert_eq!(next, 5);
}

#[test]
fn a_type_of_addresses_that_fails_does_not_hold_up_the_other() {
    let server = Server::start();
    let mut dns = addresses(&server);
    server.set_addresses("app.test.", 60, &["127.0.0.1", "::1"]);
    found(&mut dns);
    server.set_addresses("app.test.", 60, &["127.0.0.2"]);
    server.set("app.test.", RecordType::AAAA, Reply::Code(ResponseCode::ServFail));
    let (found, troubles, _) = look(&mut dns);
    assert_eq!(found.unwrap(), ["127.0.0.2:80 3", "[::1]:80 3"]);
    assert_eq!(troubles.len(), 1);
    server.set_addresses("app.test.", 60, &["127.0.0.2"]);
    assert_eq!(look(&mut dns).0.unwrap(), ["127.0.0.2:80 3"]);
}

#[test]
fn services_of_the_lowest_priority_are_endpoints_with_their_weights() {
    let server = Server::start();
    let mut dns = dns(&server, DnsRecords::Services);
    server.set_addresses("a.test.", 60, &["127.0.0.1", "::1"]);
    server.set_addresses("b.test.", 20, &["::2"]);
    server.set_addresses("c.test.", 60, &["127.0.0.9"]);
    let all = [
        (10, 5, 8001, "b.test."),
        (10, 0, 8000, "a.test."),
        (10, 7, 8002, "a.test."),
        (20, 9, 8009, "c.test."),
    ];
    server.set_services("app.test.", 100, &all);
    let (found, _, next) = look(&mut dns);
    assert_eq!(found.unwrap(), ["127.0.0.1:8000 0", "127.0.0.1:8002 7", "[::2]:8001 5"]);
    assert!((20..=22).contains(&next), "{next}");
}

#[test]
fn services_without_weights_weigh_the_same() {
    let server = Server::start();
    let mut dns = dns(&server, DnsRecords::Services);
    server.set_addresses("a.test.", 60, &["127.0.0.1"]);
    server.set_services("app.test.", 60, &[(1, 0, 1, "a.test."), (1, 0, 2, "a.test.")]);
    assert_eq!(found(&mut dns), ["127.0.0.1:1 1", "127.0.0.1:2 1"]);
}

#[test]
fn a_service_that_is_not_there_leaves_the_list() {
    let server = Server::start();
    let mut dns = dns(&server, DnsRecords::Services);
    server.set_services("app.test.", 60, &[(0, 0, 1, ".")]);
    let (found, troubles, _) = look(&mut dns);
    assert_eq!((found, troubles), (None, vec!["\"app.test.\" has no records".to_owned()]));
}

#[test]
fn a_target_that_fails_keeps_its_addresses_and_one_that_is_gone_does_not() {
    let server = Server::start();
    let mut dns = dns(&server, DnsRecords::Services);
    server.set_addresses("a.test.", 60, &["127.0.0.1"]);
    server.set_addresses("b.test.", 60, &["127.0.0.2"]);
    server.set_services("app.test.", 60, &[(0, 1, 1, "a.test."), (0, 1, 2, "b.test.")]);
    found(&mut dns);
    server.set_both("a.test.", &Reply::Code(ResponseCode::ServFail));
    server.set_both("b.test.", &Reply::Code(ResponseCode::NXDomain));
    let (found, troubles, _) = look(&mut dns);
    assert_eq!(found.unwrap(), ["127.0.0.1:1 1"]);
    assert_eq!(troubles.len(), 2, "{troubles:?}");
}

#[test]
fn more_endpoints_than_the_limit_are_left_out() {
    let mut dns = addresses(&Server::start());
    let many = (0..=u16::try_from(MAX_ENDPOINTS).unwrap())
        .map(|port| Endpoint::at(SocketAddr::from(([127, 0, 0, 1], port))));
    let ttl = Some(Duration::from_secs(60));
    let found = Found { endpoints: many.rev().collect(), ttl, troubles: Vec::new() };
    let look = dns.found(found);
    let ports = look.found.unwrap().into_iter().map(|endpoint| endpoint.address.port());
    assert!(ports.eq(0..u16::try_from(MAX_ENDPOINTS).unwrap()));
    assert!(matches!(look.troubles.as_slice(), [Trouble::TooMany]));
    assert!(look.next.unwrap() >= Duration::from_secs(60), "the limit is no reason to hurry");
}
