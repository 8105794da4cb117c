//! IP allow: lets requests pass or denies them by the address of the client.
//!
//! The most specific network with the address decides. If both lists have the same network, `deny`
//! wins. An unreadable address is denied.

mod networks;
mod origin;

use ipnet::IpNet;
use networks::Networks;
use origin::Origin;
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{Filter, FilterNeeds, Refused, Reply, Request, RequestDecision, host};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Networks that may pass: IPv4 or IPv6 in CIDR notation, or single addresses, at most 10,000.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    allow: Vec<String>,
    /// Networks that are denied, at most 10,000.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    deny: Vec<String>,
    /// The treatment of addresses in no list. Left out: `deny` if there is an allow list, otherwise
    /// `allow`.
    default: Option<Verdict>,
    /// The status for denied requests: 403, 404 or 429.
    #[serde(default = "forbidden")]
    #[schemars(extend("enum" = STATUSES))]
    status: u16,
    /// The body for denied requests, as plain text, at most 16 KiB.
    #[serde(default = "denied")]
    #[schemars(length(max = 16_384))]
    body: String,
    /// A header field with the addresses of the hops, such as `x-forwarded-for`. The last address
    /// that is not in `trusted` is the client. Left out: the client is the peer of the connection.
    from_header: Option<String>,
    /// Networks of the proxies that append to `from_header`, required with it, at most 10,000.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    trusted: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// The request passes.
    Allow,
    /// The request is denied.
    Deny,
}

#[derive(Debug)]
struct IpAllow {
    origin: Origin,
    networks: Networks<Verdict>,
    default: Verdict,
    status: u16,
    body: String,
}

#[weir_sdk::filter]
impl Filter for IpAllow {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        if !STATUSES.contains(&config.status) {
            return Err(format!("status: {} is none of 403, 404 and 429", config.status).into());
        }
        if config.body.len() > BODY {
            return Err(format!("body: more than {BODY} bytes").into());
        }
        let allow = nets("allow", &config.allow)?;
        let deny = nets("deny", &config.deny)?;
        let trusted = nets("trusted", &config.trusted)?;
        let origin = match &config.from_header {
            None if trusted.is_empty() => Origin::peer(needs),
            None => return Err("trusted: has no meaning without from_header".into()),
            Some(_) if trusted.is_empty() => {
                return Err("trusted: from_header needs the networks of the proxies".into());
            }
            Some(name) => {
                let trusted = Networks::new(trusted.into_iter().map(|net| (net, ())));
                Origin::forwarded(name, trusted, needs)?
            }
        };
        needs.pure();
        let by_list = if allow.is_empty() { Verdict::Allow } else { Verdict::Deny };
        // For the same network the later entry counts, so `deny` comes last.
        let allow = allow.into_iter().map(|net| (net, Verdict::Allow));
        let deny = deny.into_iter().map(|net| (net, Verdict::Deny));
        Ok(IpAllow {
            origin,
            networks: Networks::new(allow.chain(deny)),
            default: config.default.unwrap_or(by_list),
            status: config.status,
            body: config.body,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let metric = match self.origin.of(request) {
            None => "unreadable",
            Some(address) => match self.networks.find(address).unwrap_or(self.default) {
                Verdict::Allow => return RequestDecision::Next,
                Verdict::Deny => "denied",
            },
        };
        host::count(metric, 1);
        Reply::new(self.status)
            .header("content-type", "text/plain; charset=utf-8")
            .header("cache-control", "no-store")
            .body(self.body.as_str())
            .into()
    }
}

fn nets(key: &str, texts: &[String]) -> Result<Vec<IpNet>, String> {
    if texts.len() > NETWORKS {
        return Err(format!("{key}: more than {NETWORKS} networks"));
    }
    let read = |(at, text): (usize, &String)| {
        networks::parse(text).map_err(|error| format!("{key}[{at}]: {error}"))
    };
    texts.iter().enumerate().map(read).collect()
}

fn forbidden() -> u16 {
    403
}

fn denied() -> String {
    "access denied\n".to_owned()
}

const STATUSES: [u16; 3] = [403, 404, 429];

/// The most networks in a list. Two full lists of IPv6 networks take 1.3 MiB of an instance.
const NETWORKS: usize = 10_000;

/// The longest body, in bytes.
const BODY: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(allow: &[&str], deny: &[&str]) -> Config {
        let list = |nets: &[&str]| nets.iter().map(|net| (*net).to_owned()).collect();
        Config {
            allow: list(allow),
            deny: list(deny),
            default: None,
            status: 403,
            body: denied(),
            from_header: None,
            trusted: Vec::new(),
        }
    }

    fn filter(config: Config) -> Result<IpAllow, String> {
        Ok(IpAllow::new(config, &mut FilterNeeds::default())?)
    }

    fn passes(filter: &mut IpAllow, client: Option<&str>) -> bool {
        let inputs = [client.map(|client| client.as_bytes().to_vec())];
        matches!(filter.on_request(&Request { inputs: &inputs }), RequestDecision::Next)
    }

    #[test]
    fn without_lists_everybody_passes_but_who_has_no_address() {
        let mut filter = filter(config(&[], &[])).unwrap();
        assert!(passes(&mut filter, Some("192.0.2.1")));
        assert!(!passes(&mut filter, None));
        assert!(!passes(&mut filter, Some("192.0.2.1:80")));
        assert!(!passes(&mut filter, Some("")));
    }

    #[test]
    fn an_allow_list_denies_the_rest() {
        let mut filter =
            filter(config(&["10.0.0.0/8", "2001:db8::/32"], &["10.1.0.0/16"])).unwrap();
        assert!(passes(&mut filter, Some("10.2.0.1")));
        assert!(passes(&mut filter, Some("::ffff:10.2.0.1")));
        assert!(passes(&mut filter, Some("2001:db8::1")));
        assert!(!passes(&mut filter, Some("10.1.0.1")));
        assert!(!passes(&mut filter, Some("192.0.2.1")));
        assert!(!passes(&mut filter, Some("2001:db9::1")));
    }

    #[test]
    fn a_deny_list_lets_the_rest_pass_unless_told() {
        let deny = || config(&[], &["192.0.2.0/24"]);
        let mut open = filter(deny()).unwrap();
        assert!(!passes(&mut open, Some("192.0.2.1")) && passes(&mut open, Some("192.0.3.1")));
        let mut shut = filter(Config { default: Some(Verdict::Deny), ..deny() }).unwrap();
        assert!(!passes(&mut shut, Some("192.0.3.1")));
        let allow = config(&["192.0.2.0/24"], &[]);
        let mut open = filter(Config { default: Some(Verdict::Allow), ..allow }).unwrap();
        assert!(passes(&mut open, Some("198.51.100.1")));
    }

    #[test]
    fn the_more_specific_network_decides_and_deny_of_the_same() {
        let allow = ["10.0.0.0/8", "192.0.2.7", "10.1.2.0/24"];
        let mut filter = filter(config(&allow, &["10.1.0.0/16", "192.0.2.7"])).unwrap();
        assert!(passes(&mut filter, Some("10.1.2.3")));
        assert!(!passes(&mut filter, Some("10.1.3.3")));
        assert!(!passes(&mut filter, Some("192.0.2.7")));
    }

    #[test]
    fn what_is_denied_is_answered_as_told() {
        let told = Config { status: 404, body: "gone\n".to_owned(), ..config(&["10.0.0.1"], &[]) };
        let inputs = [Some(b"192.0.2.1".to_vec())];
        let decision = filter(told).unwrap().on_request(&Request { inputs: &inputs });
        let RequestDecision::Reply(reply) = decision else { panic!("{decision:?}") };
        assert_eq!((reply.status, reply.body.as_slice()), (404, &b"gone\n"[..]));
        assert_eq!(reply.field("cache-control"), Some("no-store"));
    }

    #[test]
    fn behind_proxies_the_header_tells_the_client() {
        let behind = Config {
            from_header: Some("X-Forwarded-For".to_owned()),
            trusted: vec!["10.0.0.0/8".to_owned()],
            ..config(&["192.0.2.0/24"], &[])
        };
        let mut filter = filter(behind).unwrap();
        let mut passes = |peer: &str, headers: &str| {
            let inputs = [Some(peer.as_bytes().to_vec()), Some(headers.as_bytes().to_vec())];
            matches!(filter.on_request(&Request { inputs: &inputs }), RequestDecision::Next)
        };
        assert!(passes("10.0.0.1", "x-forwarded-for: 192.0.2.1\n"));
        assert!(!passes("10.0.0.1", "x-forwarded-for: 198.51.100.1\n"));
        assert!(!passes("10.0.0.1", "x-forwarded-for: 192.0.2.1\nx-forwarded-for: 198.51.100.1\n"));
        assert!(!passes("198.51.100.1", "x-forwarded-for: 192.0.2.1\n"));
        assert!(!passes("10.0.0.1", "x-forwarded-for: 192.0.2.1, unknown\n"));
        assert!(!passes("10.0.0.1", ""));
    }

    #[test]
    fn mistakes_are_named() {
        let header = |name: &str, trusted: &[&str]| Config {
            from_header: Some(name.to_owned()),
            trusted: trusted.iter().map(|net| (*net).to_owned()).collect(),
            ..config(&[], &[])
        };
        let wrong = [
            (config(&["10.0.0.0/8", "10.0.0.1/8"], &[]), "allow[1]: "),
            (config(&[], &["nowhere"]), "deny[0]: "),
            (config(&vec!["10.0.0.1"; 10_001], &[]), "allow: more than"),
            (Config { status: 200, ..config(&[], &[]) }, "status: "),
            (Config { body: "x".repeat(16_385), ..config(&[], &[]) }, "body: "),
            (header("x-forwarded-for", &[]), "trusted: "),
            (header("x-forwarded-for", &["10.0.0.0/x"]), "trusted[0]: "),
            (header("x forwarded", &["10.0.0.0/8"]), "from_header: "),
            (header("Forwarded", &["10.0.0.0/8"]), "from_header: "),
            (Config { from_header: None, ..header("", &["10.0.0.0/8"]) }, "trusted: "),
        ];
        for (config, hint) in wrong {
            let error = filter(config).unwrap_err();
            assert!(error.starts_with(hint), "{error}");
        }
    }
}
