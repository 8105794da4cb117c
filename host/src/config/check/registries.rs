//! Registries of plugins: resolves credentials, certificate authorities and keys.

use rustls_pki_types::CertificateDer;

use super::Check;
use crate::config::document::{below, item};
use crate::config::{Plugin, Source, file};
use crate::files;
use crate::oci::access::{Credentials, is_loopback};
use crate::oci::signature::{Policy, PublicKey};
use crate::oci::{Access, Reference};

impl Check<'_> {
    pub(super) fn registry(&mut self, path: &str, registry: file::Registry) -> Access {
        let host = registry.host.0;
        let by_default = registry.ca.is_none() && is_loopback(&host);
        let plain_http = registry.plain_http.unwrap_or(by_default);
        if plain_http && registry.ca.is_some() {
            let path = below(path, "ca");
            self.problem(&path, format!("{path}: is of no use without TLS"));
        }
        let credentials =
            self.credentials(path, registry.username, registry.password, registry.token);
        if plain_http && credentials.is_some() && !is_loopback(&host) {
            let path = below(path, "plain_http");
            self.warn(&path, format!("{path}: the credentials cross the network unencrypted"));
        }
        let ca_path = below(path, "ca");
        Access {
            ca: registry.ca.map(|ca| self.authorities(&ca_path, &ca)).unwrap_or_default(),
            policy: registry.signatures.map(|own| self.policy(&below(path, "signatures"), own)),
            host,
            credentials,
            plain_http,
        }
    }

    /// Warns that a source may change by itself.
    pub(super) fn tag(&mut self, path: &str, reference: &Reference) {
        let path = below(path, "source");
        self.warn(
            &path,
            format!(
                "{path}: the tag of {reference} can be moved; write its digest, as \
                 `weir plugin pull` prints it"
            ),
        );
    }

    pub(super) fn unused_registries(&mut self, plugins: &[Plugin], registries: &[Access]) {
        for (at, registry) in registries.iter().enumerate() {
            let is_its = |plugin: &Plugin| matches!(&plugin.source, Source::Oci(reference) if reference.registry == registry.host);
            if !plugins.iter().any(is_its) {
                let path = below(&item("registries", at), "host");
                self.warn(&path, format!("no plugin is from registry \"{}\"", registry.host));
            }
        }
    }

    fn credentials(
        &mut self,
        path: &str,
        username: Option<String>,
        password: Option<file::SecretText>,
        token: Option<file::SecretText>,
    ) -> Option<Credentials> {
        match (username, password, token) {
            (None, None, None) => None,
            (Some(username), Some(password), None) => {
                let password = self.secret(&below(path, "password"), password);
                Some(Credentials::Basic { username, password })
            }
            (None, None, Some(token)) => {
                Some(Credentials::Token(self.secret(&below(path, "token"), token)))
            }
            (_, _, Some(_)) => {
                self.problem(
                    path,
                    format!("{path}: has a token together with username or password"),
                );
                None
            }
            (username, ..) => {
                let (is, lacks) = match username {
                    Some(_) => ("username", "password"),
                    None => ("password", "username"),
                };
                self.problem(path, format!("{path}: has {is} without {lacks}"));
                None
            }
        }
    }

    fn secret(&mut self, path: &str, secret: file::SecretText) -> String {
        let text = secret.0.read(self.base).map(|text| text.trim().to_owned());
        let text =
            text.and_then(
                |text| {
                    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
                },
            );
        text.unwrap_or_else(|message| {
            self.problem(path, format!("{path}: {message}"));
            String::new()
        })
    }

    /// Reads the certificates of a file; at least one.
    pub(super) fn authorities(&mut self, path: &str, ca: &str) -> Vec<CertificateDer<'static>> {
        let why = match files::certificates(&self.base.join(ca)) {
            Ok(certificates) if !certificates.is_empty() => return certificates,
            Ok(_) => "it has none".to_owned(),
            Err(error) => error.to_string(),
        };
        self.problem(path, format!("{path}: cannot read certificates from \"{ca}\": {why}"));
        Vec::new()
    }

    fn policy(&mut self, path: &str, signatures: file::Signatures) -> Policy {
        let mut keys = Vec::new();
        for (at, key) in signatures.keys.into_iter().enumerate() {
            let path = item(&below(path, "keys"), at);
            match key.0.read(self.base).and_then(|text| PublicKey::from_pem(&text)) {
                Ok(key) => keys.push(key),
                Err(message) => self.problem(&path, format!("{path}: {message}")),
            }
        }
        Policy { keys, required: signatures.required }
    }
}
