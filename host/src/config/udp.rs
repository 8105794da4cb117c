//! Tunnels of UDP to targets of a route (RFC 9298).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::addresses::{DnsName, Network};
use super::text::{As, AsList, Kind};
use super::{defaults, units};

/// Tunnels of UDP that Weir opens itself (CONNECT-UDP, RFC 9298). The path of the route names the
/// target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectUdp {
    /// The targets that clients may reach. A request for another one is answered with 403.
    #[serde(with = "AsList::<UdpTarget>")]
    #[schemars(length(min = 1))]
    pub targets: Vec<UdpTarget>,
    /// The time without a packet in either direction after which a tunnel ends.
    #[serde(default = "defaults::udp_idle", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h"))]
    pub idle: Duration,
    /// Tunnels that are open at the same time. Each takes a socket. A request beyond them is
    /// answered with 503.
    #[serde(default = "defaults::udp_tunnels")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub tunnels: usize,
}

/// A target of UDP, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpTarget {
    /// The host.
    pub host: UdpHost,
    /// The port. `None`: any port.
    pub port: Option<u16>,
}

/// The host of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpHost {
    /// A name of the DNS in lower case, without a final dot.
    Name(String),
    /// Addresses.
    Network(IpNet),
}

impl Kind for UdpTarget {
    type Value = Self;
    const FORMAT: &'static str = "udp-target";
    const MEANING: &'static str =
        "`HOST:PORT`: a DNS name, an IP address or a network, IPv6 in brackets, and a port or `*`";
    const PATTERN: &'static str = r"^.+:([0-9]+|\*)$";
    const EXAMPLES: &'static [&'static str] =
        &["dns.example:53", "192.0.2.0/24:443", "[2001:db8::1]:*"];

    fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("\"{text}\" is not HOST:PORT, as in \"dns.example:53\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
        let port = match port {
            "*" => None,
            _ => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(fault)?),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.split_once(']'));
        let host = match bracketed {
            Some((address, prefix)) => {
                let network = Network::parse(&[address, prefix].concat())?;
                if is_mapped(network) {
                    return Err(format!("\"{text}\": write IPv4 as in \"192.0.2.1:53\""));
                }
                UdpHost::Network(network)
            }
            None if host.contains(':') => {
                return Err(format!(
                    "\"{text}\": write IPv6 in brackets, as in \"[2001:db8::1]:53\""
                ));
            }
            None if host.contains('/') || host.parse::<IpAddr>().is_ok() => {
                UdpHost::Network(Network::parse(host)?)
            }
            None => {
                let name = DnsName::parse(host)?;
                UdpHost::Name(name.trim_end_matches('.').to_owned())
            }
        };
        Ok(Self { host, port })
    }

    fn print(value: &Self) -> String {
        value.to_string()
    }
}

/// Whether a network is one of IPv4 in the form of IPv6, which no client's address has.
fn is_mapped(network: IpNet) -> bool {
    matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

impl fmt::Display for UdpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            UdpHost::Name(name) => f.write_str(name)?,
            UdpHost::Network(IpNet::V4(network)) => write!(f, "{network}")?,
            UdpHost::Network(IpNet::V6(network)) => {
                write!(f, "[{}]/{}", network.addr(), network.prefix_len())?;
            }
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

/// The protocol of tunnels of UDP (RFC 9298 §3).
pub const CONNECT_UDP: &str = "connect-udp";

/// The part of a path that names the host of a target (RFC 9298 §2).
pub const TARGET_HOST: &str = "target_host";

/// The part of a path that names the port of a target.
pub const TARGET_PORT: &str = "target_port";

impl FromStr for UdpTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as Kind>::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_an_address_or_a_network() {
        for (text, printed) in [
            ("DNS.example.:53", "dns.example:53"),
            ("192.0.2.1:*", "192.0.2.1/32:*"),
            ("192.0.2.0/24:443", "192.0.2.0/24:443"),
            ("[2001:db8::]/32:53", "[2001:db8::]/32:53"),
            ("[::1]:53", "[::1]/128:53"),
        ] {
            assert_eq!(UdpTarget::print(&UdpTarget::parse(text).unwrap()), printed);
        }
        for text in [
            "a",
            "a:",
            "a:0",
            "a:65536",
            ":53",
            "::1:53",
            "192.0.2.1/24:5",
            "[x]:5",
            "a b:5",
            "[::ffff:192.0.2.1]:5",
        ] {
            assert!(UdpTarget::parse(text).is_err(), "{text}");
        }
    }
}
