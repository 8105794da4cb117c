//! Heads of HTTP/1.1 messages: writes requests and reads responses (RFC 9112 §§3–6).

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};

use super::framing::Decoder;
use crate::config::UpstreamLimits;
use crate::message::tunnel::{self, SEC_WEBSOCKET_KEY, Upgrade};
use crate::status;

/// A response's head and the framing of its body.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status and fields.
    pub head: http::response::Parts,
    /// Finds the end of the body.
    pub decoder: Decoder,
    /// Whether the connection stays open after the exchange.
    pub keep_alive: bool,
}

/// The reason why a response's head is refused.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The head is not an HTTP/1.x response.
    #[error("parse head")]
    Parse(#[source] httparse::Error),
    /// The head is larger than the limit of the upstream. Holds the limit.
    #[error("head is larger than {0} bytes (limits.header_bytes of the upstream)")]
    TooLarge(usize),
    /// The head has more fields than the limit of the upstream. Holds the limit.
    #[error("head has more than {0} fields (limits.header_count of the upstream)")]
    TooMany(usize),
    /// Two readers could disagree about the end of the body (RFC 9112 §6.3).
    #[error("ambiguous framing: {0}")]
    Framing(&'static str),
    /// The name or value of a field breaks RFC 9110 §5.
    #[error("malformed field")]
    Field,
    /// The status is below 100 or above 999.
    #[error("malformed status")]
    Status,
    /// The origin sent 101 without a request for it, or too many interim responses.
    #[error("unexpected interim response")]
    Interim,
}

/// Makes a request's head conform to HTTP/1.1, which has rules that other versions lack.
pub fn prepare(request: &mut Parts) {
    let fields = &mut request.headers;
    // Only the chunked coding carries trailers (RFC 9112 §7.1.2). The body is still held to the
    // length that was declared.
    if fields.contains_key(header::TRAILER) {
        fields.remove(header::CONTENT_LENGTH);
    }
    // TE is an option of the connection here (RFC 9110 §10.1.4).
    if fields.contains_key(header::TE) {
        fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Adds the fields that ask for a tunnel. Returns the key that the origin must answer, if the
/// protocol has one.
pub fn prepare_upgrade(request: &mut Parts, upgrade: &Upgrade) -> Option<HeaderValue> {
    let fields = &mut request.headers;
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, upgrade.protocol.clone());
    // A client of HTTP/2 or HTTP/3 sends no key.
    let key = || fields.entry(SEC_WEBSOCKET_KEY).or_insert_with(tunnel::key).clone();
    upgrade.is_websocket().then(key)
}

/// Writes a request's head, for `authority`. `has_body` is whether anything follows.
///
/// The types of the target and of every field have checked them, so no line can end early.
pub fn encode(request: &Parts, authority: &str, has_body: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(ENCODED_HEAD);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(request.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    // RFC 9110 §7.2: Host comes first, independent of the place of the authority in the client's
    // version of HTTP.
    out.put_slice(b"host: ");
    out.put_slice(authority.as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in request.headers.iter().filter(|(name, _)| *name != header::HOST) {
        put_field(&mut out, name, value);
    }
    if has_body && is_chunked(request) {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    } else if !has_body && expects_length(request) {
        out.put_slice(b"content-length: 0\r\n");
    }
    out.put_slice(b"\r\n");
    out.freeze()
}

fn put_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// Returns whether the body of this request is sent in chunks, because its length is unknown.
pub fn is_chunked(request: &Parts) -> bool {
    !request.headers.contains_key(header::CONTENT_LENGTH)
}

/// RFC 9110 §8.6: a request without content states that, if its method gives content a meaning.
fn expects_length(request: &Parts) -> bool {
    matches!(request.method, Method::POST | Method::PUT | Method::PATCH) && is_chunked(request)
}

/// A head of a response.
#[derive(Debug)]
pub enum Head {
    /// A head before the final one (RFC 9110 §15.2).
    Interim(http::response::Parts),
    /// The final head.
    Final(ResponseHead),
}

/// Reads a response's head from the front of `buffer`. Returns `None` if it is incomplete. Status
/// 101 is allowed if the request asks to switch to another protocol.
///
/// # Errors
///
/// [`HeadError`] if the head is refused.
pub fn parse(
    buffer: &mut BytesMut,
    method: &Method,
    switches: bool,
    limits: &UpstreamLimits,
) -> Result<Option<Head>, HeadError> {
    let Some((mut head, keep_alive)) = parse_one(buffer, limits)? else { return Ok(None) };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        if !switches {
            return Err(HeadError::Interim);
        }
        // The rest of the connection belongs to the tunnel.
        let decoder = Decoder::until_close();
        return Ok(Some(Head::Final(ResponseHead { head, decoder, keep_alive: false })));
    }
    if head.status.is_informational() {
        return Ok(Some(Head::Interim(head)));
    }
    let decoder = framing(&mut head, method)?;
    Ok(Some(Head::Final(ResponseHead { head, decoder, keep_alive })))
}

fn parse_one(
    buffer: &mut BytesMut,
    limits: &UpstreamLimits,
) -> Result<Option<(http::response::Parts, bool)>, HeadError> {
    if buffer.is_empty() {
        return Ok(None);
    }
    // The limit counts the bytes as sent, so that it does not depend on how the head is cut into
    // segments.
    let (bytes, count) = (limits.header_bytes, limits.header_count);
    let (mut few, mut many);
    let fields = if count <= FEW {
        few = [httparse::EMPTY_HEADER; FEW];
        few.get_mut(..count).unwrap_or_default()
    } else {
        many = vec![httparse::EMPTY_HEADER; count];
        many.as_mut_slice()
    };
    let mut response = httparse::Response::new(fields);
    let length = match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= bytes => length,
        Ok(httparse::Status::Partial) if buffer.len() < bytes => return Ok(None),
        Ok(_) => return Err(HeadError::TooLarge(bytes)),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooMany(count)),
        Err(error) => return Err(HeadError::Parse(error)),
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default());
    let status = status.map_err(|_| HeadError::Status)?;
    let http10 = response.version == Some(0);
    // The places of the fields are kept, so that values share the buffer instead of being copied.
    let base = buffer.as_ptr() as usize;
    let mut map = HeaderMap::with_capacity(response.headers.len());
    let mut places = Vec::with_capacity(response.headers.len());
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Field)?;
        let start = (field.value.as_ptr() as usize).saturating_sub(base);
        places.push((name, start, start + field.value.len()));
    }
    let raw = buffer.split_to(length).freeze();
    for (name, start, end) in places {
        let value = if start == end { Bytes::new() } else { raw.slice(start..end) };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| HeadError::Field)?;
        map.append(name, value);
    }
    let keep_alive = keeps_alive(&map, http10);
    if http10 && map.contains_key(header::TRANSFER_ENCODING) {
        return Err(HeadError::Framing("transfer-encoding in HTTP/1.0"));
    }
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status;
    head.headers = map;
    head.version = if http10 { Version::HTTP_10 } else { Version::HTTP_11 };
    Ok(Some((head, keep_alive)))
}

/// Returns whether the origin keeps the connection (RFC 9112 §9.3).
fn keeps_alive(fields: &HeaderMap, http10: bool) -> bool {
    let has = |option: &[u8]| {
        fields
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b','))
            .any(|member| member.trim_ascii().eq_ignore_ascii_case(option))
    };
    !has(b"close") && (!http10 || has(b"keep-alive"))
}

/// Finds the framing of the body by RFC 9112 §6.3, but refuses the cases that it allows to be
/// repaired.
fn framing(head: &mut http::response::Parts, method: &Method) -> Result<Decoder, HeadError> {
    let bodiless = status::ends_with_head(head.status);
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(HeadError::Framing("both transfer-encoding and content-length")),
        (Some(coding), None) => {
            let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if !chunked || codings.next().is_some() {
                return Err(HeadError::Framing("transfer-encoding other than chunked"));
            }
            Ok(if bodiless || method == Method::HEAD {
                Decoder::empty()
            } else {
                Decoder::chunked()
            })
        }
        (None, Some(length)) => {
            let digits =
                length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let number = digits.and_then(|text| text.parse().ok());
            let number = number.ok_or(HeadError::Framing("content-length is not a number"))?;
            if lengths.any(|other| other != length) {
                return Err(HeadError::Framing("different content-lengths"));
            }
            // Of several equal lengths only one is passed on (RFC 9110 §8.6). Two would make a
            // message of HTTP/2 or HTTP/3 malformed.
            let length = length.clone();
            head.headers.insert(header::CONTENT_LENGTH, length);
            let empty = bodiless || method == Method::HEAD;
            Ok(if empty { Decoder::empty() } else { Decoder::length(number) })
        }
        (None, None) if bodiless || method == Method::HEAD => Ok(Decoder::empty()),
        (None, None) => Ok(Decoder::until_close()),
    }
}

/// Maximum number of fields for which parsing allocates nothing: the default of the upstream's
/// limit.
const FEW: usize = 128;

/// Initial capacity for a head, in bytes. Most heads of requests fit without growth.
const ENCODED_HEAD: usize = 1024;

#[cfg(test)]
mod tests;
