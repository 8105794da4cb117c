//! Access to a registry: credentials, transport and the keys of accepted signatures.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use super::signature::Policy;
use crate::files;

/// Access to a registry.
#[derive(Debug, Clone)]
pub struct Access {
    /// The host, with a port if one is given, in lower case.
    pub host: String,
    /// The credentials. If absent, those in Docker's configuration, if there are any.
    pub credentials: Option<Credentials>,
    /// Certificate authorities to trust besides the system's.
    pub ca: Vec<CertificateDer<'static>>,
    /// Whether the registry has no TLS. By default it has none if the host is a loopback address.
    pub plain_http: bool,
    /// The signatures that packages must have. If absent, signatures are not checked.
    pub policy: Option<Policy>,
}

/// The credentials that a registry gets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user. The registry may give a token for it.
    Basic {
        /// The user.
        username: String,
        /// The password, or a personal access token.
        password: String,
    },
    /// A bearer token, sent as it is.
    Token(String),
}

/// The source of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Weir's own configuration or command line.
    Configured,
    /// Docker's file.
    Docker(PathBuf),
}

/// The reason why access is not possible.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Docker's configuration exists and cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the read.
        source: io::Error,
    },
    /// Docker's configuration is malformed.
    #[error("{} is not a Docker configuration", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// An entry of Docker's configuration is malformed.
    #[error("{} has no user and password in \"auth\" for {host}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The host of the entry.
        host: String,
    },
    /// rustls supports none of its protocol versions.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The system has no certificate authorities.
    #[error("the system has no CA certificates: install ca-certificates, or set ca (--ca)")]
    NoRoots,
}

impl Access {
    /// Returns the access to a registry that is not configured.
    pub fn to(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            credentials: None,
            ca: Vec::new(),
            plain_http: is_loopback(host),
            policy: None,
        }
    }

    /// Returns the credentials and their source. Configured credentials come before Docker's.
    pub(super) fn credentials(&self) -> Result<Option<(Credentials, Origin)>, AccessError> {
        if let Some(credentials) = &self.credentials {
            return Ok(Some((credentials.clone(), Origin::Configured)));
        }
        let Some(path) = docker_file() else { return Ok(None) };
        Ok(from_docker(&path, &self.host)?.map(|found| (found, Origin::Docker(path))))
    }

    /// Returns the host to connect to.
    pub(super) fn address(&self) -> &str {
        if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host }
    }
}

/// Whether the host is this machine by its name or address.
pub fn is_loopback(host: &str) -> bool {
    let name = host.parse::<http::uri::Authority>();
    let name = name.as_ref().map_or(host, http::uri::Authority::host);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Returns `config.json` in `DOCKER_CONFIG`, or in `.docker` of the user's home.
fn docker_file() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker")))?;
    Some(folder.join("config.json"))
}

#[derive(Deserialize)]
struct Docker {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    registrytoken: Option<String>,
}

/// Reads the credentials of `host` in Docker's configuration. Its helper programs are not run.
fn from_docker(path: &Path, host: &str) -> Result<Option<Credentials>, AccessError> {
    let failed = |source| AccessError::Read { path: path.to_owned(), source };
    let text = match files::read(path, MAX_DOCKER) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let docker: Docker = serde_json::from_slice(&text)
        .map_err(|source| AccessError::Parse { path: path.to_owned(), source })?;
    let is_host = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        let key = key.split('/').next().unwrap_or_default();
        key == host || (host == "docker.io" && key == "index.docker.io")
    };
    let Some((_, login)) = docker.auths.iter().find(|(key, _)| is_host(key)) else {
        return Ok(None);
    };
    let missing = || AccessError::Entry { path: path.to_owned(), host: host.to_owned() };
    login.credentials(missing)
}

impl Login {
    /// Returns `None` for an empty entry, which stands for a helper program.
    fn credentials(
        &self,
        missing: impl Fn() -> AccessError,
    ) -> Result<Option<Credentials>, AccessError> {
        if let Some(token) = &self.registrytoken {
            return Ok(Some(Credentials::Token(token.clone())));
        }
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            let (username, password) = (username.clone(), password.clone());
            return Ok(Some(Credentials::Basic { username, password }));
        }
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else {
            return Ok(None);
        };
        let decoded = BASE64_STANDARD.decode(auth).map_err(|_| missing())?;
        let text = String::from_utf8(decoded).map_err(|_| missing())?;
        let (username, password) = text.split_once(':').ok_or_else(missing)?;
        Ok(Some(Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("Weir's configuration or command line"),
            Self::Docker(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The most bytes of Docker's configuration.
const MAX_DOCKER: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(text: &str, host: &str) -> Result<Option<Credentials>, AccessError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        from_docker(&path, host)
    }

    #[test]
    fn logins_are_found_in_dockers_configuration() {
        let text = r#"{"auths": {
            "registry.example:5000": {"auth": "dTpwOnc="},
            "https://index.docker.io/v1/": {"username": "a", "password": "b"},
            "ghcr.io": {},
            "token.example": {"registrytoken": "t"},
            "broken.example": {"auth": "%"}
        }, "credsStore": "desktop"}"#;
        let basic = |username: &str, password: &str| {
            Some(Credentials::Basic { username: username.into(), password: password.into() })
        };
        assert_eq!(found(text, "registry.example:5000").unwrap(), basic("u", "p:w"));
        assert_eq!(found(text, "docker.io").unwrap(), basic("a", "b"));
        let marked = format!("\u{feff}{text}");
        assert_eq!(found(&marked, "docker.io").unwrap(), basic("a", "b"));
        assert_eq!(found(text, "ghcr.io").unwrap(), None);
        assert_eq!(found(text, "registry.example").unwrap(), None);
        assert_eq!(found(text, "token.example").unwrap(), Some(Credentials::Token("t".into())));
        let error = found(text, "broken.example").unwrap_err().to_string();
        assert!(error.contains("broken.example"), "{error}");
        assert!(matches!(found("[", "a.b"), Err(AccessError::Parse { .. })));
        assert!(from_docker(Path::new("/none/config.json"), "a.b").unwrap().is_none());
    }

    #[test]
    fn secrets_are_not_shown() {
        let basic = Credentials::Basic { username: "user".into(), password: "hidden".into() };
        let shown = format!("{basic:?} {:?}", Credentials::Token("hidden".into()));
        assert!(shown.contains("user") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for (host, plain) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("10.0.0.1:5000", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(Access::to(host).plain_http, plain, "{host}");
        }
    }
}
