//! Errors of pulls and pushes.

use std::error::Error;
use std::io;

use http::StatusCode;

use super::access::Origin;
use super::signature::SignatureError;
use super::{Digest, access};

/// An error of a pull or push. Its message includes a remedy.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The connection failed or broke, three times.
    #[error("{what}: no answer from {registry}{}", hint(.source))]
    Unreachable {
        /// The attempt.
        what: String,
        /// The host.
        registry: String,
        /// The last error.
        source: reqwest::Error,
    },
    /// The registry refused the request.
    #[error("{what}: {registry} answered {status}{said}{help}")]
    Refused {
        /// The attempt.
        what: String,
        /// The host.
        registry: String,
        /// The status of its response.
        status: StatusCode,
        /// The registry's own message, in brackets.
        said: String,
        /// The remedy.
        help: String,
    },
    /// A request to the registry cannot be made.
    #[error("{what}: {reason}")]
    Request {
        /// The attempt.
        what: String,
        /// The reason.
        reason: String,
    },
    /// The pull or push took longer than its bound.
    #[error("{name}: not done after {seconds} s; the registry or the network may be slow")]
    Late {
        /// The package.
        name: String,
        /// The bound.
        seconds: u64,
    },
    /// A response is larger than any sensible one.
    #[error("{what}: larger than {limit} bytes")]
    TooLarge {
        /// The attempt.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// The data does not have the expected digest.
    #[error("{what}: the data from {registry} has the digest {found}; it is damaged or forged")]
    Digest {
        /// The attempt, with the expected digest.
        what: String,
        /// The host.
        registry: String,
        /// The digest of the data.
        found: Digest,
    },
    /// The package does not hold a component.
    #[error("{name} is not a package of a WebAssembly component: {reason}")]
    Layout {
        /// The package.
        name: String,
        /// The part that is missing or superfluous.
        reason: String,
    },
    /// The signature is missing or wrong.
    #[error("{name}")]
    Signature {
        /// The package.
        name: String,
        /// The fault.
        source: SignatureError,
    },
    /// The access to the registry cannot be prepared.
    #[error("prepare access to {registry}")]
    Access {
        /// The host.
        registry: String,
        /// The reason.
        source: access::AccessError,
    },
    /// The client cannot be set up.
    #[error("set up a client for {registry}")]
    Client {
        /// The host.
        registry: String,
        /// The error of the client.
        source: reqwest::Error,
    },
    /// No thread or no runtime is available.
    #[error("start a runtime for packages")]
    Runtime(#[source] io::Error),
}

impl OciError {
    /// Whether the registry is unreachable or out of order. If it is, cached knowledge of it may
    /// serve instead.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_tls(source),
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Late { .. } => true,
            _ => false,
        }
    }
}

/// Returns a remedy for a status, which depends on the origin of the credentials in the request.
pub(super) fn help(status: StatusCode, registry: &str, origin: Option<&Origin>) -> String {
    match (status, origin) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => format!(
            "; it requires credentials: set username and password, or token, for \"{registry}\" under \
             registries (on the command line --username and --password-from), or log in with a \
             client that keeps ~/.docker/config.json"
        ),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(origin)) => {
            format!("; it rejects the credentials from {origin}, or they do not permit this")
        }
        (StatusCode::NOT_FOUND, None) => {
            "; check the name and the tag or digest; some registries hide packages from clients \
             without credentials"
                .to_owned()
        }
        (StatusCode::NOT_FOUND, Some(_)) => "; check the name and the tag or digest".to_owned(),
        _ => String::new(),
    }
}

/// Returns the message in a registry's error (`errors`, or plain text), short and on one line.
pub(super) fn said(body: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let first = value.as_ref().and_then(|value| value.pointer("/errors/0"));
    let text = |name| first.and_then(|first| first.get(name)).and_then(serde_json::Value::as_str);
    let words = match (text("code"), text("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (None, Some(said)) | (Some(said), None) => said.to_owned(),
        (None, None) => return String::new(),
    };
    let is_shown = |c: &char| !c.is_control();
    format!(" ({})", words.chars().filter(is_shown).take(MAX_SAID).collect::<String>())
}

fn hint(error: &reqwest::Error) -> &'static str {
    if is_tls(error) {
        "; for a certificate of a private CA, set ca (--ca); for a registry without TLS, set \
         plain_http (--plain-http)"
    } else {
        ""
    }
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    // An I/O error does not return the error in it as its source.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

/// The most characters of the message.
const MAX_SAID: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_short_and_harmless() {
        let json = br#"{"errors": [{"code": "DENIED", "message": "not\nyou"}]}"#;
        assert_eq!(said(json), " (DENIED: notyou)");
        assert_eq!(said(br#"{"errors": [{"code": "DENIED"}]}"#), " (DENIED)");
        assert_eq!(said(b"<html>"), "");
        let long = format!(r#"{{"errors": [{{"message": "{}"}}]}}"#, "x".repeat(1000));
        assert_eq!(said(long.as_bytes()).len(), MAX_SAID + 3);
    }
}
