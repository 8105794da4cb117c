//! The exceptions: requests that are served during maintenance.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::field_name;
use weir_sdk::{FilterNeeds, Input, Request};

/// The requests that are served during maintenance. A request passes if one of these matches.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Except {
    /// Paths, at most 64, each with every path below it: `/health` covers `/health` and
    /// `/health/db`, not `/healthz`. A path with dot segments, doubled slashes or their
    /// percent-encoded forms is never an exception.
    #[schemars(length(max = 64))]
    pub(crate) paths: Vec<String>,
    /// Networks of clients, such as `192.0.2.0/24` or `2001:db8::/32`, and addresses, at most 256.
    #[schemars(length(max = 256))]
    pub(crate) clients: Vec<String>,
    /// A header field with a secret, for testers. The field is removed before the request goes on.
    pub(crate) header: Option<Secret>,
}

/// A header field with a secret value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    /// The name of the field, at most 128 bytes.
    #[schemars(length(min = 1, max = 128))]
    pub(crate) name: String,
    /// The value, 16 to 256 visible ASCII characters: too long to guess.
    #[schemars(length(min = 16, max = 256))]
    pub(crate) value: String,
}

/// The checked exceptions.
#[derive(Debug)]
pub(crate) struct Exceptions {
    paths: Vec<String>,
    path: Option<Input>,
    clients: Vec<IpNet>,
    client: Option<Input>,
    secret: Option<(Secret, Input)>,
}

impl Exceptions {
    pub(crate) fn new(except: Except, needs: &mut FilterNeeds) -> Result<Exceptions, String> {
        if except.paths.len() > 64 {
            return Err("except.paths: at most 64".to_owned());
        }
        if except.clients.len() > 256 {
            return Err("except.clients: at most 256".to_owned());
        }
        let paths = except.paths.iter().enumerate();
        let paths = paths
            .map(|(at, path)| prefix(path).map_err(|error| format!("except.paths[{at}]: {error}")));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let clients = except.clients.iter().enumerate();
        let clients = clients.map(|(at, text)| {
            network(text).map_err(|error| format!("except.clients[{at}]: {error}"))
        });
        let clients = clients.collect::<Result<Vec<_>, _>>()?;
        if let Some(secret) = &except.header {
            check(secret)?;
        }
        Ok(Exceptions {
            path: (!paths.is_empty()).then(|| needs.path()),
            paths,
            client: (!clients.is_empty()).then(|| needs.client_address()),
            clients,
            secret: except.header.map(|secret| {
                let input = needs.header(&secret.name);
                (secret, input)
            }),
        })
    }

    /// Returns the name of the secret's field if the request has it, with the right or a wrong
    /// value. The origin server must not see it.
    pub(crate) fn field(&self, request: &Request<'_>) -> Option<&str> {
        let (secret, input) = self.secret.as_ref()?;
        request.bytes(*input).map(|_| secret.name.as_str())
    }

    /// Whether the request is served during maintenance.
    pub(crate) fn has(&self, request: &Request<'_>) -> bool {
        self.has_path(request) || self.has_client(request) || self.has_secret(request)
    }

    fn has_path(&self, request: &Request<'_>) -> bool {
        let path = self.path.and_then(|path| request.text(path));
        let path = path.and_then(|path| path.split('?').next());
        path.is_some_and(|path| {
            self.paths.iter().any(|prefix| is_below(path, prefix)) && is_plain(path)
        })
    }

    fn has_client(&self, request: &Request<'_>) -> bool {
        let client = self.client.and_then(|client| request.text(client)?.parse::<IpAddr>().ok());
        client.is_some_and(|client| self.clients.iter().any(|network| network.contains(&client)))
    }

    fn has_secret(&self, request: &Request<'_>) -> bool {
        let Some((secret, input)) = &self.secret else { return false };
        request.bytes(*input).is_some_and(|given| is_same(given, secret.value.as_bytes()))
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether every server reads the path the same way. The path has no dot segments (RFC 3986
/// §5.2.4), also with parameters as in `..;x`, no doubled slashes, no backslashes, and no
/// percent-encoded dot, slash, backslash or percent sign.
fn is_plain(path: &str) -> bool {
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    let hides = |at: usize| {
        let code = path.get(at + 1..at + 3);
        let code = code.filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        byte.is_none_or(|byte| b"./\\%".contains(&byte))
    };
    !path.contains("//")
        && !path.contains('\\')
        && !path.split('/').any(is_dots)
        && !path.match_indices('%').any(|(at, _)| hides(at))
}

/// Compares in a time that does not depend on the place of a difference. The length is not a
/// secret.
fn is_same(given: &[u8], secret: &[u8]) -> bool {
    let differences =
        given.iter().zip(secret).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    given.len() == secret.len() && differences == 0
}

/// Returns a path without its final slash.
fn prefix(path: &str) -> Result<String, String> {
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let is_path = prefix.starts_with('/')
        && path.len() <= 1024
        && path.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b))
        && is_plain(path);
    if !is_path {
        return Err(format!(
            "{path:?} is not a path below / without dot segments, query and fragment"
        ));
    }
    Ok(prefix.to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet =
        text.parse().map_err(|_| format!("{text:?} is not a network such as 192.0.2.0/24"))?;
    if network != network.trunc() {
        let meant = network.trunc();
        return Err(format!("{text} has bits behind its prefix; the network is {meant}"));
    }
    Ok(network)
}

fn check(secret: &Secret) -> Result<(), String> {
    if secret.name.len() > 128 {
        return Err("except.header.name: more than 128 bytes".to_owned());
    }
    field_name(&secret.name).map_err(|what| format!("except.header.name: {what}"))?;
    let value = &secret.value;
    if !(16..=256).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("except.header.value: must be 16 to 256 visible ASCII characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_its_prefix_at_a_slash() {
        for path in ["/health", "/health/", "/health/db"] {
            assert!(is_below(path, "/health"), "{path}");
        }
        for path in ["/healthz", "/Health", "/", "/x/health", "/%68ealth"] {
            assert!(!is_below(path, "/health"), "{path}");
        }
    }

    #[test]
    fn a_path_that_may_be_another_is_not_plain() {
        for path in [
            "/health/../admin",
            "/health/..",
            "/health/./x",
            "/health/..;a=b/admin",
            "/health/%2e%2E/admin",
            "/health%2F..%2fadmin",
            "/health/%252e%252e/admin",
            "/health\\..\\admin",
            "/health/%5C../x",
            "/health//admin",
            "/health/%",
            "/health/%é",
            "/health/%+e",
        ] {
            assert!(!is_plain(path), "{path}");
        }
        for path in ["/health", "/health/a.b", "/health/.well-known", "/health/...", "/a%20b/c;v=1"]
        {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn secrets_are_compared_as_a_whole() {
        assert!(is_same(b"0123456789abcdef", b"0123456789abcdef"));
        for given in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!is_same(given.as_bytes(), b"0123456789abcdef"), "{given}");
        }
    }

    #[test]
    fn networks_and_addresses_are_read() {
        for text in ["192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            assert!(network(text).is_ok(), "{text}");
        }
        let mapped = network("::ffff:192.0.2.7").unwrap();
        assert!(mapped.contains(&"192.0.2.7".parse::<IpAddr>().unwrap()));
        for text in ["", "192.0.2.7/24", "192.0.2.0/33", "192.0.2", "example.com", "192.0.2.0/ 24"]
        {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
