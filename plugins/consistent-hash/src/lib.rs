//! Consistent hash: requests with the same header, cookie, path or client go to the same endpoint.
//!
//! A Maglev table (D. Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load
//! Balancer", 2016) maps hashes to endpoints in proportion to their weights. It depends only on the
//! addresses and weights of the endpoints, so all workers and nodes agree. When an endpoint comes
//! or goes, few requests move besides its own. A request without the input (a first visit without
//! the cookie) has no endpoint of its own and goes to the next endpoint in turn. A retry goes to
//! the endpoint that comes next in the table. An endpoint of weight 0 gets no requests.

mod table;

use schemars::JsonSchema;
use serde::Deserialize;
use table::Table;
use weir_filter_common::hash::{hash, mix};
use weir_sdk::parse::is_token;
use weir_sdk::{Balancer, BalancerNeeds, Endpoint, Input, Pick, Refused};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The key of a request: client (the address), path (without query), header:NAME or
    /// cookie:NAME.
    #[schemars(regex(pattern = r"^(client|path|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$"))]
    #[serde(default = "client")]
    key: String,
}

#[derive(Debug)]
struct ConsistentHash {
    key: Input,
    is_path: bool,
    ids: Vec<u32>,
    table: Table,
}

#[weir_sdk::balancer]
impl Balancer for ConsistentHash {
    type Config = Config;

    fn new(config: Config, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        needs.sequence();
        let name = input(&config.key)?;
        let (is_path, key) = (name == PATH, needs.input(name));
        Ok(ConsistentHash { key, is_path, ids: Vec::new(), table: Table::new(&[]) })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let mut taking: Vec<&Endpoint> =
            endpoints.iter().filter(|endpoint| endpoint.weight > 0).collect();
        // The first endpoint in the table has the first choice of a place, so all nodes must use
        // the same order.
        taking.sort_by(|a, b| a.address.cmp(&b.address).then(a.id.cmp(&b.id)));
        self.ids = taking.iter().map(|endpoint| endpoint.id).collect();
        let members: Vec<_> =
            taking.iter().map(|endpoint| (endpoint.address.as_str(), endpoint.weight)).collect();
        self.table = Table::new(&members);
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        let key = match pick.bytes(self.key) {
            Some(path) if self.is_path => hash(path.split(|byte| *byte == b'?').next()?),
            Some(value) => hash(value),
            None => mix(pick.sequence),
        };
        let index = self.table.at(key, pick.attempt)?;
        self.ids.get(index).copied()
    }
}

/// Translates the name from the configuration to the name of the input.
fn input(key: &str) -> Result<String, String> {
    match key.split_once(':') {
        None if key == "client" => Ok("client.address".to_owned()),
        None if key == "path" => Ok(PATH.to_owned()),
        Some(("header", name)) if is_token(name) => {
            Ok(format!("header:{}", name.to_ascii_lowercase()))
        }
        Some(("cookie", name)) if is_token(name) => Ok(format!("cookie:{name}")),
        _ => Err(format!("key: {key:?} is none of client, path, header:NAME and cookie:NAME")),
    }
}

fn client() -> String {
    "client".to_owned()
}

/// The path is hashed without its query.
const PATH: &str = ":path";

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(number: u32) -> Endpoint {
        Endpoint {
            id: number,
            address: format!("10.0.0.{number}:80"),
            weight: 1,
            zone: String::new(),
            labels: Vec::new(),
        }
    }

    fn new(key: &str) -> Result<ConsistentHash, String> {
        Ok(ConsistentHash::new(Config { key: key.to_owned() }, &mut BalancerNeeds::default())?)
    }

    fn balancer(key: &str, endpoints: Vec<Endpoint>) -> ConsistentHash {
        let mut balancer = new(key).unwrap();
        balancer.update(endpoints);
        balancer
    }

    fn pick(balancer: &mut ConsistentHash, value: Option<&str>, attempt: u32) -> Option<u32> {
        let inputs = [value.map(|value| value.as_bytes().to_vec())];
        balancer.pick(&Pick { sequence: 5, attempt, inputs: &inputs, ..Pick::default() })
    }

    #[test]
    fn the_same_value_goes_to_the_same_endpoint_in_every_instance_and_order() {
        let mut one = balancer("header:x-user", (0..9).map(endpoint).collect());
        let mut other = balancer("header:x-user", (0..9).rev().map(endpoint).collect());
        for user in 0..1000 {
            let user = user.to_string();
            let choice = pick(&mut one, Some(&user), 0);
            assert!(choice.is_some());
            assert_eq!(choice, pick(&mut one, Some(&user), 0));
            assert_eq!(choice, pick(&mut other, Some(&user), 0));
        }
    }

    #[test]
    fn requests_without_the_input_are_spread() {
        let mut balancer = balancer("cookie:session", (0..4).map(endpoint).collect());
        let mut counts = [0; 4];
        for sequence in 0..4000 {
            let pick = Pick { sequence, inputs: &[None], ..Pick::default() };
            counts[balancer.pick(&pick).unwrap() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn each_attempt_goes_elsewhere() {
        let mut balancer = balancer("client", (0..4).map(endpoint).collect());
        for client in ["10.1.1.1", "::1", "192.0.2.7"] {
            let mut picks: Vec<_> =
                (0..4).filter_map(|attempt| pick(&mut balancer, Some(client), attempt)).collect();
            picks.sort_unstable();
            assert_eq!(picks, [0, 1, 2, 3]);
            assert!(pick(&mut balancer, Some(client), 4).is_some());
        }
    }

    #[test]
    fn the_query_is_no_part_of_the_path() {
        let mut balancer = balancer("path", (0..50).map(endpoint).collect());
        let path = pick(&mut balancer, Some("/a/b"), 0);
        assert_eq!(pick(&mut balancer, Some("/a/b?c=d"), 0), path);
        assert!((0..20).any(|n| pick(&mut balancer, Some(&format!("/a/{n}")), 0) != path));
    }

    #[test]
    fn weight_zero_gets_nothing_and_no_endpoints_no_choice() {
        let drained = Endpoint { weight: 0, ..endpoint(0) };
        let mut one = balancer("client", vec![drained.clone(), endpoint(1)]);
        assert!((0..100).all(|n| pick(&mut one, Some(&n.to_string()), 0) == Some(1)));
        assert_eq!(pick(&mut balancer("client", vec![drained]), Some("a"), 0), None);
        assert_eq!(pick(&mut balancer("client", vec![]), None, 3), None);
    }

    #[test]
    fn inputs_are_the_host_s_names() {
        let needs = |key| input(key).map(|name| [name]).unwrap();
        assert_eq!(needs("client"), ["client.address"]);
        assert_eq!(needs("path"), [":path"]);
        assert_eq!(needs("header:X-User"), ["header:x-user"]);
        assert_eq!(needs("cookie:Session"), ["cookie:Session"]);
    }

    #[test]
    fn what_cannot_be_hashed_on_is_refused() {
        for key in ["", "user", "header:", "header:x y", "cookie", "query:a", "header:a:b"] {
            let error = new(key).unwrap_err();
            assert!(error.contains("is none of client, path"), "{error}");
        }
    }

    #[test]
    fn no_configuration_hashes_on_the_client_and_a_misspelt_key_is_refused() {
        let config = <Config as weir_sdk::Config>::parse("null").unwrap();
        assert_eq!(config.key, "client");
        let error = <Config as weir_sdk::Config>::parse(r#"{"header": "x"}"#).unwrap_err();
        assert_eq!(error, "unknown field `header`, expected `key`");
    }
}
