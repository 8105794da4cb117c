//! Tunnels: connections that carry bytes of another protocol after a request (RFC 9110 §7.8, RFC
//! 8441, RFC 9220).
//!
//! An HTTP/1.1 upgrade and an extended CONNECT are one request here: a GET with an [`Upgrade`]
//! among its extensions. Its body are the client's bytes. A response that opens the tunnel has a
//! [`Tunnel`] among its extensions and the origin's bytes as its body. `listen` and `upstream` turn
//! both into the form of their protocol.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::config::CONNECT_UDP;

/// The protocol of the tunnel that a request asks for, in the extensions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The name of the protocol, such as `websocket`.
    pub protocol: HeaderValue,
}

/// Marks a response that opens a tunnel, in its extensions.
#[derive(Debug, Clone)]
pub struct Tunnel {
    /// The name of the protocol.
    pub protocol: HeaderValue,
}

impl Upgrade {
    /// Returns the name of the protocol.
    pub fn name(&self) -> &str {
        self.protocol.to_str().unwrap_or_default()
    }

    /// Whether the protocol is one of these. Case does not matter.
    pub fn is_one_of(&self, protocols: &[String]) -> bool {
        let name = self.protocol.as_bytes();
        protocols.iter().any(|protocol| protocol.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether the bytes of the tunnel are capsules (RFC 9297 §3).
    pub fn has_capsules(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(CONNECT_UDP.as_bytes())
    }

    /// Whether the protocol is WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }
}

/// Returns the protocol that an HTTP/1.1 request asks to switch to, if it is one alone.
pub fn requested(fields: &HeaderMap) -> Option<Upgrade> {
    let mut protocols = fields.get_all(header::UPGRADE).iter();
    let protocol = protocols.next()?;
    let is_alone = protocols.next().is_none() && !protocol.as_bytes().contains(&b',');
    let options = fields.get_all(header::CONNECTION).iter();
    let mut options = options.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_asked = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    // A body would be before the bytes of the tunnel.
    let has_body = fields.contains_key(header::CONTENT_LENGTH)
        || fields.contains_key(header::TRANSFER_ENCODING);
    let protocol = protocol.clone();
    (is_alone && is_asked && !has_body).then_some(Upgrade { protocol })
}

/// Turns an origin's consent into the response that opens a tunnel. `accept` answers the key of the
/// client's request, if it had one.
pub fn opened(head: &mut response::Parts, upgrade: &Upgrade, accept: Option<HeaderValue>) {
    head.status = StatusCode::OK;
    // A tunnel has no content, whose length these would tell.
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, SEC_WEBSOCKET_ACCEPT] {
        head.headers.remove(name);
    }
    if let Some(accept) = accept {
        head.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    head.extensions.insert(Tunnel { protocol: upgrade.protocol.clone() });
}

/// Returns the answer to a key of WebSocket (RFC 6455 §4.2.2).
pub fn accept(key: &HeaderValue) -> Option<HeaderValue> {
    let text = [key.as_bytes(), MAGIC].concat();
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text);
    HeaderValue::try_from(STANDARD.encode(digest)).ok()
}

/// Returns a key of WebSocket (RFC 6455 §4.1). It only shows that an origin speaks WebSocket.
pub fn key() -> HeaderValue {
    let bytes: [u8; 16] = rand::random();
    HeaderValue::try_from(STANDARD.encode(bytes)).unwrap_or(HeaderValue::from_static(SOME_KEY))
}

/// The key of a client of HTTP/1.1.
pub const SEC_WEBSOCKET_KEY: HeaderName = header::SEC_WEBSOCKET_KEY;

/// The answer to the key.
pub const SEC_WEBSOCKET_ACCEPT: HeaderName = header::SEC_WEBSOCKET_ACCEPT;

const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const SOME_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        fields.iter().map(pair).collect()
    }

    #[test]
    fn an_upgrade_is_asked_for_by_both_fields_and_without_a_body() {
        let asked = [(header::UPGRADE, "WebSocket"), (header::CONNECTION, "keep-alive, Upgrade")];
        let upgrade = requested(&fields(&asked)).unwrap();
        assert!(upgrade.is_websocket());
        assert!(upgrade.is_one_of(&["websocket".to_owned()]));
        assert!(!upgrade.is_one_of(&["other".to_owned()]));
        assert!(requested(&fields(&asked[..1])).is_none());
        assert!(requested(&fields(&asked[1..])).is_none());
        let several = [(header::UPGRADE, "h2c, websocket"), (header::CONNECTION, "upgrade")];
        assert!(requested(&fields(&several)).is_none());
        let with_body = [&asked[..], &[(header::CONTENT_LENGTH, "1")]].concat();
        assert!(requested(&fields(&with_body)).is_none());
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_ne!(super::key(), super::key());
    }
}
