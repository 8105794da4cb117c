use hickory_proto::op::ResponseCode;

use super::*;
use crate::upstream::discover::testing::{Reply, Server, run};

fn written(host: &str, port: u16) -> NamedEndpoint {
    let (zone, labels) = (String::new(), BTreeMap::new());
    NamedEndpoint { host: host.to_owned(), port, weight: 1, zone, labels }
}

fn names(server: &Server, written: Vec<NamedEndpoint>, present: &[Endpoint]) -> Names {
    let mut names = Names::new(written, present);
    names.servers = vec![server.address];
    names.limit = Duration::from_secs(2);
    names
}

/// One look at which every name is due: the endpoints as text, and the number of faults.
fn look(names: &mut Names) -> (Vec<String>, usize) {
    run(async {
        names.hosts.values_mut().for_each(|host| host.due = Instant::now());
        let look = names.look().await;
        let shown = |endpoint: &Endpoint| format!("{} {}", endpoint.name, endpoint.address);
        (look.found.unwrap().iter().map(shown).collect(), look.troubles.len())
    })
}

#[test]
fn a_name_keeps_its_address_while_that_is_among_the_answers() {
    let server = Server::start();
    let mut names = names(&server, vec![written("a.test", 1), written("127.0.0.9", 2)], &[]);
    let steps: [(&[&str], _); 5] = [
        (&["127.0.0.2", "127.0.0.1", "::1"], "127.0.0.1"),
        (&["127.0.0.2", "127.0.0.1"], "127.0.0.1"),
        (&["127.0.0.3", "127.0.0.2"], "127.0.0.2"),
        (&["::1"], "[::1]"),
        (&["127.0.0.1", "::1"], "[::1]"),
    ];
    for (addresses, expected) in steps {
        server.set_addresses("a.test.", 60, addresses);
        let expected = [format!("a.test:1 {expected}:1"), "127.0.0.9:2 127.0.0.9:2".to_owned()];
        assert_eq!(look(&mut names), (expected.to_vec(), 0), "{addresses:?}");
    }
}

#[test]
fn a_name_that_fails_keeps_its_address_and_holds_up_no_other() {
    let server = Server::start();
    let mut present = written("a.test", 1).at("127.0.0.5".parse().unwrap());
    present.weight = 9;
    let list = vec![written("a.test", 1), written("b.test", 2), written("c.test", 3)];
    let mut names = names(&server, list, &[present]);
    server.set_both("a.test.", &Reply::Code(ResponseCode::ServFail));
    server.set_addresses("b.test.", 60, &["127.0.0.6"]);
    let expected = ["a.test:1 127.0.0.5:1", "b.test:2 127.0.0.6:2"].map(str::to_owned);
    assert_eq!(look(&mut names), (expected.to_vec(), 2));
    server.set_addresses("a.test.", 60, &["127.0.0.7"]);
    server.set_both("b.test.", &Reply::Code(ResponseCode::NXDomain));
    server.set_addresses("c.test.", 60, &["127.0.0.8"]);
    let expected = ["a.test:1 127.0.0.7:1", "b.test:2 127.0.0.6:2", "c.test:3 127.0.0.8:3"];
    assert_eq!(look(&mut names), (expected.map(str::to_owned).to_vec(), 1));
}

#[test]
fn each_name_is_looked_up_at_its_own_time() {
    let server = Server::start();
    let list = vec![written("a.test", 1), written("a.test", 2), written("b.test", 1)];
    let mut names = names(&server, list, &[]);
    server.set_addresses("a.test.", 60, &["127.0.0.1"]);
    server.set_addresses("b.test.", 100, &["127.0.0.2"]);
    run(async {
        let next = names.look().await.next.unwrap().as_secs();
        assert!((59..=66).contains(&next), "{next}");
        server.set_addresses("a.test.", 60, &["127.0.0.3"]);
        server.set_addresses("b.test.", 100, &["127.0.0.4"]);
        names.hosts.get_mut("b.test").unwrap().due = Instant::now();
        let found = names.look().await.found.unwrap();
        let addresses: Vec<String> = found.iter().map(|e| e.address.to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.4:1"]);
    });
}

#[test]
fn a_list_of_addresses_needs_no_look() {
    let server = Server::start();
    let mut names = names(&server, vec![written("::1", 1)], &[]);
    let look = run(names.look());
    assert_eq!((look.next, look.found.unwrap()[0].name.as_str()), (None, "[::1]:1"));
}

#[test]
fn the_host_itself_is_known_without_a_server() {
    let mut names = Names::new(vec![written("localhost", 1)], &[]);
    let look = run(names.look());
    assert!(look.troubles.is_empty(), "{:?}", look.troubles);
    assert_eq!(look.found.unwrap()[0].address.to_string(), "127.0.0.1:1");
}
