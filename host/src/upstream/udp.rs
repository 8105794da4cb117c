//! Tunnels of UDP to targets outside of all upstreams (CONNECT-UDP, RFC 9298).
//!
//! Each tunnel has a socket that is connected to its target, so that packets of others never reach
//! the client.

mod body;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::net::UdpSocket;

use self::body::UdpBody;
use super::discover::{Family, addresses};
use crate::config::{self, UdpHost, UdpTarget};
use crate::message::body::Body;

/// The targets of a route, and its open tunnels.
#[derive(Debug)]
pub struct Relay {
    targets: Vec<UdpTarget>,
    idle: Duration,
    limit: usize,
    open: Arc<AtomicUsize>,
}

/// The target that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: Host,
    port: u16,
}

/// The host of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// A name in lower case, without a final dot.
    Name(String),
}

/// The reason why a tunnel is not opened.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// The route does not lead there.
    #[error("the route does not allow UDP to {0}")]
    Forbidden(Target),
    /// All tunnels of the route are in use.
    #[error("the route has {0} tunnels of UDP, and no more are allowed")]
    Full(usize),
    /// The name has no address.
    #[error("look up {0}: {1}")]
    Lookup(Target, String),
    /// The machine has no way there, or no socket left.
    #[error("open a socket of UDP to {0}")]
    Socket(Target, #[source] io::Error),
}

impl UdpError {
    /// Returns one word for access records and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "udp_forbidden",
            Self::Full(_) => "udp_full",
            Self::Lookup(..) => "udp_lookup",
            Self::Socket(..) => "udp_socket",
        }
    }
}

impl Target {
    /// Reads a target from the two parts of a path, as they were sent (RFC 9298 §3). Returns `None`
    /// if they are none.
    pub fn parse(host: &str, port: &str) -> Option<Self> {
        let host = percent_decode_str(host).decode_utf8().ok()?;
        let port = percent_decode_str(port).decode_utf8().ok()?;
        // A sign is not a digit, though Rust's parser takes it.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = is_number.then(|| port.parse().ok()).flatten().filter(|port| *port != 0)?;
        let is_name = |name: &str| {
            let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=254).contains(&name.len()) && name.bytes().all(is_of_names)
        };
        let host = match host.parse::<IpAddr>() {
            // An address in another form reaches the same machine.
            Ok(address) => Host::Address(address.to_canonical()),
            Err(_) if is_name(&host) => Host::Name(host.trim_end_matches('.').to_ascii_lowercase()),
            Err(_) => return None,
        };
        Some(Self { host, port })
    }

    /// Returns whether it is one of these.
    fn is_within(&self, target: &UdpTarget) -> bool {
        let is_host = match (&target.host, &self.host) {
            (UdpHost::Name(allowed), Host::Name(name)) => allowed == name,
            (UdpHost::Network(allowed), Host::Address(address)) => {
                allowed.contains(address) && is_meant(*allowed, *address)
            }
            _ => false,
        };
        is_host && target.port.is_none_or(|port| port == self.port)
    }
}

/// Whether a network allows an address of a special range. A wide network such as `0.0.0.0/0` means
/// the internet, not this machine or the networks around it.
fn is_meant(allowed: IpNet, address: IpAddr) -> bool {
    special(address).is_none_or(|range| range.contains(&allowed))
}

/// Returns the special range of an address.
fn special(address: IpAddr) -> Option<IpNet> {
    let mut ranges =
        SPECIAL.iter().filter_map(|(network, prefix)| IpNet::new(*network, *prefix).ok());
    ranges.find(|range| range.contains(&address))
}

/// Addresses that are not of the internet at large (RFC 6890): this machine, private and local
/// networks, groups, and ways from IPv6 to IPv4.
const SPECIAL: [(IpAddr, u8); 19] = [
    (IpAddr::V4(Ipv4Addr::new(0, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 0, 0, 0)), 24),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 3),
    // The unspecified address, loopback, and old forms of IPv4.
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 96),
    // Translators to IPv4 (RFC 6052, RFC 8215), and tunnels to it.
    (IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0)), 96),
    (IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0)), 48),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0)), 32),
    (IpAddr::V6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl Relay {
    /// Creates the relay of a route. Tunnels of `before`, the same route under the configuration
    /// before, count among its own.
    pub fn new(config: &config::ConnectUdp, before: Option<&Relay>) -> Self {
        Self {
            targets: config.targets.clone(),
            idle: config.idle,
            limit: config.tunnels,
            open: before.map(|before| Arc::clone(&before.open)).unwrap_or_default(),
        }
    }

    /// Opens a tunnel. `capsules` are those of the client; the body that is returned has those for
    /// it.
    ///
    /// # Errors
    /// [`UdpError`].
    pub async fn open(&self, target: Target, capsules: Body) -> Result<Body, UdpError> {
        if !self.allows(&target) {
            return Err(UdpError::Forbidden(target));
        }
        let permit = Permit(Arc::clone(&self.open));
        // Counting first prevents two workers from taking the last one.
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            return Err(UdpError::Full(self.limit));
        }
        let socket = self.connect(target).await?;
        Ok(Body::stream(UdpBody::new(socket, capsules, self.idle, permit)))
    }

    fn allows(&self, target: &Target) -> bool {
        self.targets.iter().any(|allowed| target.is_within(allowed))
    }

    /// Connects a socket to a target. No packet is sent.
    async fn connect(&self, target: Target) -> Result<UdpSocket, UdpError> {
        let name = match &target.host {
            Host::Address(address) => {
                let socket = connect(SocketAddr::new(*address, target.port)).await;
                return match socket {
                    Ok(socket) if is_own(&socket, *address) && !self.means_own(&target) => {
                        Err(UdpError::Forbidden(target))
                    }
                    Ok(socket) => Ok(socket),
                    Err(error) => Err(UdpError::Socket(target, error)),
                };
            }
            Host::Name(name) => name,
        };
        // IPv4 comes first: a socket of UDP does not show whether the way by IPv6 works.
        let mut last = None;
        for family in [Family::V4, Family::V6] {
            match addresses(name, family).await {
                Ok(found) => {
                    for address in found {
                        match connect(SocketAddr::new(address, target.port)).await {
                            Ok(socket) => return Ok(socket),
                            Err(error) => last = Some(UdpError::Socket(target.clone(), error)),
                        }
                    }
                }
                Err(why) => {
                    last.get_or_insert(UdpError::Lookup(target.clone(), why));
                }
            }
        }
        let none = || UdpError::Lookup(target.clone(), "it has no address".to_owned());
        Err(last.unwrap_or_else(none))
    }

    /// Whether the list means this machine by the target's address, and not only a wide network
    /// around it.
    fn means_own(&self, target: &Target) -> bool {
        self.targets.iter().filter(|allowed| target.is_within(allowed)).any(|allowed| {
            let UdpHost::Network(network) = allowed.host else { return false };
            network.prefix_len() == network.max_prefix_len() || special(network.addr()).is_some()
        })
    }
}

/// Connects a socket. It fails where the machine has no way to this family of addresses.
async fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    whole_packets(&socket, to)?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Has the kernel drop packets that would be sent in fragments (RFC 9298 §5). The client's end
/// finds the size of packets by that.
#[cfg(target_os = "linux")]
fn whole_packets(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    match to {
        SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?,
    }
    Ok(())
}

/// Other systems have no such option, or none that a library has.
#[cfg(not(target_os = "linux"))]
fn whole_packets(_: &UdpSocket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Whether a socket's packets to this address stay on the machine.
fn is_own(socket: &UdpSocket, address: IpAddr) -> bool {
    socket.local_addr().is_ok_and(|local| local.ip() == address)
}

/// One of the tunnels of a route, counted until dropped.
#[derive(Debug)]
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: &str) -> Option<String> {
        Target::parse(host, port).map(|target| target.to_string())
    }

    #[test]
    fn a_target_is_read_from_a_path() {
        assert_eq!(target("192.0.2.6", "443").unwrap(), "192.0.2.6:443");
        assert_eq!(target("2001%3Adb8%3A%3A42", "443").unwrap(), "[2001:db8::42]:443");
        assert_eq!(target("%3A%3Affff%3A127.0.0.1", "5").unwrap(), "127.0.0.1:5");
        assert_eq!(target("DNS.Example.", "53").unwrap(), "dns.example:53");
        for (host, port) in [
            ("", "53"),
            ("a", ""),
            ("a", "0"),
            ("a", "+53"),
            ("a", "65536"),
            ("a%00", "53"),
            ("a%2Fb", "53"),
            ("%ff", "53"),
            ("fe80::1%25eth0", "53"),
        ] {
            assert_eq!(target(host, port), None, "{host} {port}");
        }
    }

    #[test]
    fn only_listed_targets_are_reached() {
        let is = |host: &str, port: &str, text: &str| {
            Target::parse(host, port).unwrap().is_within(&text.parse().unwrap())
        };
        assert!(is("dns.example", "53", "DNS.example:53"));
        assert!(!is("dns.example", "54", "dns.example:53"));
        assert!(!is("a.dns.example", "53", "dns.example:53"));
        assert!(is("dns.example", "54", "dns.example:*"));
        assert!(is("198.51.100.7", "53", "198.51.100.0/24:53"));
        assert!(is("198.51.100.7", "53", "0.0.0.0/0:53"));
        assert!(is("2001%3Adb8%3A%3A1", "53", "[::]/0:53"));
        // A name is not reached by its address, nor an address by a name.
        assert!(!is("198.51.100.7", "53", "dns.example:53"));
        assert!(!is("dns.example", "53", "0.0.0.0/0:53"));
    }

    #[test]
    fn tunnels_of_the_configuration_before_count_on() {
        let config = config::ConnectUdp {
            targets: vec!["127.0.0.1:*".parse().unwrap()],
            idle: Duration::from_secs(1),
            tunnels: 1,
        };
        let before = Relay::new(&config, None);
        let after = Relay::new(&config, Some(&before));
        let permit = Permit(Arc::clone(&before.open));
        permit.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(after.open.load(Ordering::Relaxed), 1);
        drop(permit);
        assert_eq!(after.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_wide_network_does_not_mean_this_machine_or_its_neighbours() {
        for (host, narrow) in [
            ("127.0.0.1", "127.0.0.0/8:*"),
            ("0.0.0.0", "0.0.0.0:*"),
            ("10.1.2.3", "10.1.0.0/16:*"),
            ("100.64.0.1", "100.64.0.0/10:*"),
            ("169.254.169.254", "169.254.169.254:*"),
            ("172.20.0.1", "172.16.0.0/12:*"),
            ("192.168.0.1", "192.168.0.0/16:*"),
            ("224.0.0.1", "224.0.0.0/4:*"),
            ("255.255.255.255", "255.255.255.255:*"),
            ("%3A%3A1", "[::1]:*"),
            ("%3A%3Affff%3A127.0.0.1", "127.0.0.1:*"),
            ("64%3Aff9b%3A%3A7f00%3A1", "[64:ff9b::]/96:*"),
            ("64%3Aff9b%3A1%3A%3A7f00%3A1", "[64:ff9b:1::]/48:*"),
            ("2002%3A7f00%3A1%3A%3A", "[2002::]/16:*"),
            ("%3A%3A7f00%3A1", "[::]/96:*"),
            ("198.18.0.1", "198.18.0.0/15:*"),
            ("fd00%3A%3A1", "[fd00::]/8:*"),
            ("fe80%3A%3A1", "[fe80::]/64:*"),
            ("ff02%3A%3A1", "[ff02::1]:*"),
        ] {
            let target = Target::parse(host, "53").unwrap();
            assert!(target.is_within(&narrow.parse().unwrap()), "{host}");
            for wide in ["0.0.0.0/0:*", "[::]/0:*", "[2000::]/3:*", "96.0.0.0/3:*"] {
                assert!(!target.is_within(&wide.parse().unwrap()), "{host} {wide}");
            }
        }
    }
}
