//! Why a package could not be had or stored.

use std::error::Error;
use std::io;

use http::StatusCode;

use super::access::Origin;
use super::signature::SignatureError;
use super::{Digest, access};

/// Why a package could not be had or stored. What would help is part of the message.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// No connection, or it broke, three times.
    #[error("{what}: no answer from {registry}{}", hint(.source))]
    Unreachable {
        /// What was attempted.
        what: String,
        /// The host.
        registry: String,
        /// What happened last.
        source: reqwest::Error,
    },
    /// The registry said no.
    #[error("{what}: {registry} answered {status}{said}{help}")]
    Refused {
        /// What was attempted.
        what: String,
        /// The host.
        registry: String,
        /// What it answered.
        status: StatusCode,
        /// Its own words, in brackets.
        said: String,
        /// What would help.
        help: String,
    },
    /// A request to the registry cannot be made.
    #[error("{what}: {reason}")]
    Request {
        /// What was attempted.
        what: String,
        /// Why not.
        reason: String,
    },
    /// It took longer than a pull may.
    #[error("{name}: not done after {seconds} s; is the registry slow, or something between?")]
    Late {
        /// The package.
        name: String,
        /// The bound.
        seconds: u64,
    },
    /// An answer is larger than anything sensible.
    #[error("{what}: larger than {limit} bytes")]
    TooLarge {
        /// What was attempted.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// What came is not what was asked for.
    #[error(
        "{what}: what {registry} sent has the digest {found}; it is damaged, or not what it claims to be"
    )]
    Digest {
        /// What was attempted, with the digest expected.
        what: String,
        /// The host.
        registry: String,
        /// The digest of what came.
        found: Digest,
    },
    /// It is not a package of a component.
    #[error("{name} is not a package of a WebAssembly component: {reason}")]
    Layout {
        /// The package.
        name: String,
        /// What is missing or too much.
        reason: String,
    },
    /// Its signature is missing or wrong.
    #[error("{name}")]
    Signature {
        /// The package.
        name: String,
        /// What is wrong.
        source: SignatureError,
    },
    /// What it takes to talk to the registry cannot be had.
    #[error("prepare to talk to {registry}")]
    Access {
        /// The host.
        registry: String,
        /// What is wrong.
        source: access::AccessError,
    },
    /// The client cannot be set up.
    #[error("set up a client for {registry}")]
    Client {
        /// The host.
        registry: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// No thread or no runtime.
    #[error("start a runtime for packages")]
    Runtime(#[source] io::Error),
}

impl OciError {
    /// Whether the registry could not be reached or is out of order, so that what is known of it may serve instead.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_tls(source),
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Late { .. } => true,
            _ => false,
        }
    }
}

/// What would help against an answer, by its status and what the request was sent with.
pub(super) fn help(status: StatusCode, registry: &str, origin: Option<&Origin>) -> String {
    match (status, origin) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => format!(
            "; it wants credentials: give username and password, or a token, for \"{registry}\" under registries (on the \
             command line --username and --password-from), or log in there with a client that keeps ~/.docker/config.json"
        ),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(origin)) => {
            format!("; it does not take the credentials from {origin}, or they do not allow this")
        }
        (StatusCode::NOT_FOUND, None) => {
            "; check the name and the tag or digest; some registries hide packages from those who are not logged in".to_owned()
        }
        (StatusCode::NOT_FOUND, Some(_)) => "; check the name and the tag or digest".to_owned(),
        _ => String::new(),
    }
}

/// What a registry says with an error (`errors`, or plain text), short and on one line.
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
        "; if its certificate is of a CA of your own, name that by ca (--ca); plain_http (--plain-http) if it has no TLS"
    } else {
        ""
    }
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    // An I/O error does not tell of the error in it as its source.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

/// Characters of it that are shown.
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
