//! Hosts, ports and addresses as they are written in the file.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::admin::ControlAddress;
use super::text::Kind;

/// `IP:PORT` of a listener.
pub(super) struct SocketAddress;

/// `IP:PORT` or `unix:PATH` of the admin API.
pub(super) struct AdminAddress;

/// `HOST:PORT` of an endpoint.
pub(super) struct HostPort;

/// A name to look up in the DNS.
pub(super) struct DnsName;

/// The address of a DNS server.
pub(super) struct DnsServer;

/// A subject of a self-signed certificate.
pub(super) struct CertificateName;

/// A name that a server's certificate has.
pub(super) struct ServerName;

/// The place that a listener redirects to.
pub(super) struct Redirect;

/// A network of IP addresses.
pub(super) struct Network;

/// A host of requests, or a pattern of hosts.
pub(super) struct HostPattern;

/// The address that spans are sent to.
pub(super) struct Collector;

/// The value of a Host field.
pub(super) struct Authority;

impl Kind for SocketAddress {
    type Value = SocketAddr;
    const FORMAT: &'static str = "socket-address";
    const MEANING: &'static str = "`IP:PORT`, IPv6 in brackets; port 0 takes a free one";
    const PATTERN: &'static str = "^.+:[0-9]+$";
    const EXAMPLES: &'static [&'static str] = &["0.0.0.0:443", "[::]:443", "127.0.0.1:8443"];

    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            let example = match text.rsplit_once(':') {
                Some(("" | "*", port)) => format!("0.0.0.0:{port}"),
                Some(("localhost", port)) => format!("127.0.0.1:{port}"),
                _ => "0.0.0.0:443".to_owned(),
            };
            format!("\"{text}\" is not an IP address and port, as in \"{example}\"")
        })
    }

    fn print(value: &SocketAddr) -> String {
        value.to_string()
    }
}

impl Kind for AdminAddress {
    type Value = ControlAddress;
    const FORMAT: &'static str = "admin-address";
    const MEANING: &'static str =
        "`IP:PORT`, or `unix:PATH` for a Unix socket, relative to the configuration";
    const PATTERN: &'static str = "^unix:.+$|^.+:[0-9]+$";
    const EXAMPLES: &'static [&'static str] = &["127.0.0.1:9091", "unix:/run/weir/admin.sock"];

    fn parse(text: &str) -> Result<ControlAddress, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("\"unix:\" names no file".to_owned()),
            Some(path) => Ok(ControlAddress::Unix(PathBuf::from(path))),
            None => SocketAddress::parse(text).map(ControlAddress::Tcp),
        }
    }

    fn print(value: &ControlAddress) -> String {
        value.to_string()
    }
}

impl Kind for HostPort {
    type Value = (String, u16);
    const FORMAT: &'static str = "host-port";
    const MEANING: &'static str = "`HOST:PORT`, a name or an IP address, IPv6 in brackets";
    const PATTERN: &'static str = "^.+:[0-9]+$";
    const EXAMPLES: &'static [&'static str] =
        &["127.0.0.1:8080", "app.internal:8080", "[::1]:8080"];

    fn parse(text: &str) -> Result<(String, u16), String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.trim_end_matches('/');
            return Err(format!("\"{text}\" is a URL; write \"{rest}\" without {scheme}://"));
        }
        let address = text.parse::<SocketAddr>().map(|a| (a.ip().to_string(), a.port()));
        let named = || {
            let (host, port) = text.rsplit_once(':')?;
            let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok())??;
            is_host(host).then(|| (host.to_owned(), port))
        };
        match address.ok().or_else(named) {
            Some((_, 0)) => Err(format!("\"{text}\" has port 0, which no server listens on")),
            Some(found) => Ok(found),
            None if is_host(text) => Err(format!("\"{text}\" has no port; write \"{text}:8080\"")),
            None => Err(format!("\"{text}\" is not HOST:PORT, as in \"127.0.0.1:8080\"")),
        }
    }

    fn print((host, port): &Self::Value) -> String {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Kind for DnsName {
    type Value = String;
    const FORMAT: &'static str = "dns-name";
    const MEANING: &'static str =
        "a DNS name; with a `.` at its end it is complete, and no search list applies";
    const PATTERN: &'static str = "^[^:/@ ]+$";
    const EXAMPLES: &'static [&'static str] = &["app.internal", "_http._tcp.app.internal."];

    fn parse(text: &str) -> Result<String, String> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(format!("\"{text}\" is an IP address; write it in endpoints"));
        }
        if is_host(text.strip_suffix('.').unwrap_or(text)) {
            return Ok(text.to_ascii_lowercase());
        }
        Err(format!("\"{text}\" is not a DNS name, as in \"app.internal\""))
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for DnsServer {
    type Value = SocketAddr;
    const FORMAT: &'static str = "dns-server";
    const MEANING: &'static str =
        "`IP` or `IP:PORT`, IPv6 with a port in brackets; port 53 if left out";
    const PATTERN: &'static str = r"^[0-9A-Fa-f:.\[\]]+$";
    const EXAMPLES: &'static [&'static str] = &["10.0.0.2", "127.0.0.1:5353", "[::1]:5353"];

    fn parse(text: &str) -> Result<SocketAddr, String> {
        let with_port = text.parse::<SocketAddr>().ok();
        let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT));
        match with_port.or_else(alone) {
            Some(server) if server.port() != 0 => Ok(server),
            Some(_) => Err(format!("\"{text}\" has port 0, which no server listens on")),
            None => Err(format!("\"{text}\" is not IP or IP:PORT, as in \"10.0.0.2\"")),
        }
    }

    fn print(value: &SocketAddr) -> String {
        value.to_string()
    }
}

impl Kind for CertificateName {
    type Value = String;
    const FORMAT: &'static str = "certificate-name";
    const MEANING: &'static str =
        "a DNS name, `*.` before it for all names one label below, or an IP address";
    const PATTERN: &'static str = "^[^/@ ]+$";
    const EXAMPLES: &'static [&'static str] = &["localhost", "*.example.com", "127.0.0.1", "::1"];

    fn parse(text: &str) -> Result<String, String> {
        if text.parse::<IpAddr>().is_ok() || is_host(text.strip_prefix("*.").unwrap_or(text)) {
            return Ok(text.to_ascii_lowercase());
        }
        Err(format!("\"{text}\" is not a DNS name or an IP address, as in \"localhost\""))
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for ServerName {
    type Value = String;
    const FORMAT: &'static str = "server-name";
    const MEANING: &'static str = "a DNS name or an IP address";
    const PATTERN: &'static str = "^[^*/@ ]+$";
    const EXAMPLES: &'static [&'static str] = &["app.internal", "10.0.0.2"];

    fn parse(text: &str) -> Result<String, String> {
        if rustls_pki_types::ServerName::try_from(text).is_ok() {
            return Ok(text.to_ascii_lowercase());
        }
        Err(format!("\"{text}\" is not a DNS name or an IP address, as in \"app.internal\""))
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for Redirect {
    type Value = u16;
    const FORMAT: &'static str = "redirect";
    const MEANING: &'static str = "`https`, or `https:PORT`";
    const PATTERN: &'static str = "^https(:[0-9]+)?$";
    const EXAMPLES: &'static [&'static str] = &["https", "https:8443"];

    fn parse(text: &str) -> Result<u16, String> {
        let port = match text.split_once(':') {
            None if text == "https" => Some(HTTPS_PORT),
            Some(("https", port)) => port.parse().ok().filter(|port| *port != 0),
            _ => None,
        };
        port.ok_or_else(|| format!("\"{text}\" is not \"https\" or \"https:PORT\""))
    }

    fn print(value: &u16) -> String {
        if *value == HTTPS_PORT { "https".to_owned() } else { format!("https:{value}") }
    }
}

/// The port of `https` (RFC 9110 §4.2.2).
pub(super) const HTTPS_PORT: u16 = 443;

impl Kind for Network {
    type Value = IpNet;
    const FORMAT: &'static str = "network";
    const MEANING: &'static str = "an IP network as `ADDRESS/PREFIX`, or one IP address";
    const PATTERN: &'static str = "^[0-9A-Fa-f:.]+(/[0-9]+)?$";
    const EXAMPLES: &'static [&'static str] = &["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"];

    fn parse(text: &str) -> Result<IpNet, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(IpNet::from(address));
        }
        let network: IpNet = text.parse().map_err(|_| {
            format!("\"{text}\" is not a network, as in \"10.0.0.0/8\", or an IP address")
        })?;
        if network.addr() != network.network() {
            let network = network.trunc();
            return Err(format!("\"{text}\" has bits after its prefix; write \"{network}\""));
        }
        Ok(network)
    }

    fn print(value: &IpNet) -> String {
        value.to_string()
    }
}

impl Kind for HostPattern {
    type Value = String;
    const FORMAT: &'static str = "host-pattern";
    const MEANING: &'static str =
        "a host without port, or `*.` and a domain for every name below it; case does not matter";
    const PATTERN: &'static str = r"^(\*\.)?[^*:/@ ]+$|^\[[0-9A-Fa-f:.]+\]$";
    const EXAMPLES: &'static [&'static str] = &["example.com", "*.example.com", "[::1]"];

    fn parse(text: &str) -> Result<String, String> {
        let host = text.strip_prefix("*.").unwrap_or(text);
        if is_host(host) || is_bracketed(text) {
            return Ok(text.to_ascii_lowercase());
        }
        if text == "*" {
            return Err("\"*\" is not a host; leave the key out to match any host".to_owned());
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && (is_host(host) || is_bracketed(host))
        {
            return Err(format!(
                "\"{text}\" has the port {port}; write \"{host}\": ports are not compared"
            ));
        }
        Err(format!("\"{text}\" is not a host, as in \"example.com\" or \"*.example.com\""))
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for Collector {
    type Value = String;
    const FORMAT: &'static str = "collector";
    const MEANING: &'static str = "`http://HOST:PORT` of an OTLP collector (gRPC)";
    const PATTERN: &'static str = "^http://[^/]+/?$";
    const EXAMPLES: &'static [&'static str] = &["http://127.0.0.1:4317"];

    fn parse(text: &str) -> Result<String, String> {
        let address = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        match address.map(HostPort::parse) {
            Some(Ok(_)) => Ok(text.trim_end_matches('/').to_owned()),
            _ => {
                Err(format!("\"{text}\" is not http://HOST:PORT, as in \"http://127.0.0.1:4317\""))
            }
        }
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for Authority {
    type Value = String;
    const FORMAT: &'static str = "authority";
    const MEANING: &'static str = "`HOST` or `HOST:PORT`";
    const PATTERN: &'static str = "^[^/@ ]+$";
    const EXAMPLES: &'static [&'static str] = &["app.internal", "app.internal:8080"];

    fn parse(text: &str) -> Result<String, String> {
        if is_host(text) || is_bracketed(text) || HostPort::parse(text).is_ok() {
            return Ok(text.to_owned());
        }
        Err(format!("\"{text}\" is not HOST or HOST:PORT, as in \"app.internal\""))
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

/// The port of the DNS (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

/// Whether the text is a DNS name, an underscore allowed, or an IPv4 address.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn is_bracketed(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}
