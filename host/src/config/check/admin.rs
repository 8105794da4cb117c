//! The admin API: its tokens and its address.

use std::net::SocketAddr;

use super::Check;
use crate::config::document::{below, item};
use crate::config::secret::SecretSource;
use crate::config::{Admin, AdminToken, ControlAddress, Listener, Role, Telemetry, file};

impl Check<'_> {
    pub(in crate::config) fn admin(&mut self, admin: file::Admin) -> Admin {
        let tokens = match (admin.token, admin.tokens) {
            (Some(token), tokens) if tokens.is_empty() => {
                let token = self.admin_token("admin.token", token.0);
                vec![AdminToken { token, role: Role::Write }]
            }
            (None, tokens) if !tokens.is_empty() => self.admin_tokens(tokens),
            (token, _) => {
                let message = match token {
                    Some(_) => "admin: needs exactly one of token and tokens, has both",
                    None => "missing key \"token\" in admin, or \"tokens\"",
                };
                self.problem("admin", message.to_owned());
                Vec::new()
            }
        };
        let address = match admin.address {
            ControlAddress::Unix(path) => ControlAddress::Unix(self.base.join(path)),
            address @ ControlAddress::Tcp(_) => address,
        };
        Admin { address, tokens }
    }

    fn admin_tokens(&mut self, tokens: Vec<file::AdminToken>) -> Vec<AdminToken> {
        let mut read = Vec::<AdminToken>::with_capacity(tokens.len());
        for (at, token) in tokens.into_iter().enumerate() {
            let path = below(&item("admin.tokens", at), "token");
            let own = self.admin_token(&path, token.token.0);
            // An empty token stands for one that could not be read.
            if !own.is_empty() && read.iter().any(|earlier| earlier.token == own) {
                self.problem(&path, format!("{path}: is the same as an earlier token"));
            }
            read.push(AdminToken { token: own, role: token.role });
        }
        read
    }

    fn admin_token(&mut self, path: &str, source: SecretSource) -> String {
        let token = source.read(self.base).map(|token| token.trim().to_owned());
        let token = token.and_then(|token| {
            let is_sendable = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
            if is_sendable {
                Ok(token)
            } else {
                Err("must be one or more visible ASCII characters".to_owned())
            }
        });
        token.unwrap_or_else(|message| {
            self.problem(path, format!("{path}: {message}"));
            String::new()
        })
    }

    /// Checks the addresses of the listeners for operators.
    pub(super) fn own_addresses(
        &mut self,
        telemetry: &Telemetry,
        admin: Option<&Admin>,
        listeners: &[Listener],
    ) {
        let metrics = telemetry.metrics.as_ref().map(|metrics| metrics.address);
        let admin = admin.and_then(|admin| match admin.address {
            ControlAddress::Tcp(address) => Some(address),
            ControlAddress::Unix(_) => None,
        });
        let is_listeners = |address: SocketAddr| {
            let takes_tcp = |l: &&Listener| l.protocols.h2 || l.protocols.h1;
            listeners.iter().filter(takes_tcp).any(|listener| listener.address == address)
        };
        for (path, address) in [("telemetry.metrics.address", metrics), ("admin.address", admin)] {
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            if is_listeners(address) {
                self.problem(path, format!("{path}: {address} is a listener's address"));
            }
        }
        if let (Some(metrics), Some(admin)) = (metrics, admin)
            && metrics == admin
            && admin.port() != 0
        {
            let path = "admin.address";
            self.problem(path, format!("{path}: {admin} is the address of the metrics"));
        }
        if let Some(address) = admin.filter(|address| !address.ip().is_loopback()) {
            let message = format!(
                "admin.address: {address} is not a loopback address; the token crosses the network \
                 unencrypted"
            );
            self.warn("admin.address", message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, ControlAddress, Overrides, Role, from_text};

    fn read(admin: &str) -> Result<Config, String> {
        let text = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nroutes: [{{ respond: {{}} }}]\nadmin: {admin}\n"
        );
        let base = Path::new("/etc/weir");
        from_text("weir.yaml", &text, base, &Overrides::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn one_token_writes_and_several_have_their_roles() {
        let admin = read("{ token: one }").unwrap().admin.unwrap();
        assert_eq!((admin.tokens[0].role, admin.strongest()), (Role::Write, Some("one")));
        let tokens = "{ tokens: [{ token: a, role: read }, { token: b, role: write }] }";
        let admin = read(tokens).unwrap().admin.unwrap();
        assert_eq!((admin.tokens.len(), admin.tokens[0].role), (2, Role::Read));
        assert_eq!(admin.strongest(), Some("b"));
    }

    #[test]
    fn an_admin_without_clear_tokens_is_refused_at_its_place() {
        for (admin, fault) in [
            ("{}", "weir.yaml:3:8: missing key \"token\" in admin, or \"tokens\""),
            (
                "{ token: a, tokens: [{ token: b, role: read }] }",
                "weir.yaml:3:8: admin: needs exactly one of token and tokens, has both",
            ),
            ("{ tokens: [] }", "weir.yaml:3:18: admin.tokens: is an empty list"),
            ("{ tokens: [{ token: a }] }", "missing key \"role\""),
            ("{ tokens: [{ token: a, role: rule }] }", "admin.tokens[0].role"),
            ("{ token: \"a b\" }", "admin.token: must be one or more visible ASCII characters"),
            (
                "{ tokens: [{ token: a, role: read }, { token: a, role: write }] }",
                "admin.tokens[1].token: is the same as an earlier token",
            ),
            ("{ token: a, address: \"unix:\" }", "\"unix:\" names no file"),
            ("{ token: a, address: localhost }", "is not an IP address and port"),
        ] {
            let told = read(admin).unwrap_err();
            assert!(told.contains(fault), "{admin}: {told}");
        }
    }

    #[test]
    fn a_unix_socket_is_relative_to_the_configuration() {
        let of = |path: &str| {
            read(&format!("{{ token: a, address: \"unix:{path}\" }}"))
                .unwrap()
                .admin
                .unwrap()
                .address
        };
        assert_eq!(of("run/admin.sock"), ControlAddress::Unix("/etc/weir/run/admin.sock".into()));
        assert_eq!(of("/run/admin.sock").to_string(), "unix:/run/admin.sock");
    }
}
