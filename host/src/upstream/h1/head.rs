//! Heads of HTTP/1.1 messages: requests as they are written, responses as they are read (RFC 9112 §§3–6).

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};

use super::framing::Decoder;

/// A response's head and what it says of the body.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status and fields.
    pub head: http::response::Parts,
    /// Where the body ends.
    pub decoder: Decoder,
    /// Whether the connection outlives the exchange.
    pub keep_alive: bool,
}

/// Why a response's head is refused.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// No HTTP/1.x response.
    #[error("parse head")]
    Parse(#[from] httparse::Error),
    /// Larger than any sensible head.
    #[error("head is larger than {MAX_HEAD} bytes")]
    TooLarge,
    /// Two readers could disagree about where the body ends (RFC 9112 §6.3).
    #[error("ambiguous framing: {0}")]
    Framing(&'static str),
    /// A field's name or value breaks RFC 9110 §5.
    #[error("malformed field")]
    Field,
    /// A status below 100 or above 999.
    #[error("malformed status")]
    Status,
    /// 101 without having been asked, or too many interim responses.
    #[error("unexpected interim response")]
    Interim,
}

/// Writes a request's head. `has_body` is whether anything follows.
///
/// The target and every field were checked by the types that hold them: no line can end early.
pub fn encode(request: &Parts, has_body: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(ENCODED_HEAD);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(request.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    // RFC 9110 §7.2: Host first, wherever the client's version of HTTP had the authority.
    if let Some(host) = request.headers.get(header::HOST) {
        put_field(&mut out, &header::HOST, host);
    }
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

/// Whether a body of this request is sent in chunks: its length is not known.
pub fn is_chunked(request: &Parts) -> bool {
    !request.headers.contains_key(header::CONTENT_LENGTH)
}

/// RFC 9110 §8.6: methods whose content has a meaning tell that there is none.
fn expects_length(request: &Parts) -> bool {
    matches!(request.method, Method::POST | Method::PUT | Method::PATCH) && is_chunked(request)
}

/// A head of a response.
#[derive(Debug)]
pub enum Head {
    /// One before the final one (RFC 9110 §15.2).
    Interim(http::response::Parts),
    /// The final one.
    Final(ResponseHead),
}

/// Reads a response's head from the front of `buffer`; `None` when it is not whole yet.
///
/// # Errors
/// [`HeadError`].
pub fn parse(buffer: &mut BytesMut, method: &Method) -> Result<Option<Head>, HeadError> {
    let Some((mut head, keep_alive)) = parse_one(buffer)? else { return Ok(None) };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Interim);
    }
    if head.status.is_informational() {
        return Ok(Some(Head::Interim(head)));
    }
    let decoder = framing(&mut head, method)?;
    Ok(Some(Head::Final(ResponseHead { head, decoder, keep_alive })))
}

fn parse_one(buffer: &mut BytesMut) -> Result<Option<(http::response::Parts, bool)>, HeadError> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(buffer)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if buffer.len() > MAX_HEAD => return Err(HeadError::TooLarge),
        httparse::Status::Partial => return Ok(None),
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default());
    let status = status.map_err(|_| HeadError::Status)?;
    let http10 = response.version == Some(0);
    // Fields by their place, so that values can share the buffer instead of being copied.
    let base = buffer.as_ptr() as usize;
    let mut places = [(0, 0); MAX_FIELDS];
    let mut map = HeaderMap::with_capacity(response.headers.len());
    let mut names = Vec::with_capacity(response.headers.len());
    for (field, place) in response.headers.iter().zip(&mut places) {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Field)?;
        let start = (field.value.as_ptr() as usize).saturating_sub(base);
        *place = (start, start + field.value.len());
        names.push(name);
    }
    let raw = buffer.split_to(length).freeze();
    for (name, (start, end)) in names.into_iter().zip(places) {
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
    head.version = Version::HTTP_11;
    Ok(Some((head, keep_alive)))
}

/// RFC 9112 §9.3.
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

/// RFC 9112 §6.3, refusing what it allows to be repaired.
fn framing(head: &mut http::response::Parts, method: &Method) -> Result<Decoder, HeadError> {
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
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
            let number = number.ok_or(HeadError::Framing("content-length is no number"))?;
            if lengths.any(|other| other != length) {
                return Err(HeadError::Framing("different content-lengths"));
            }
            // Of equal ones one goes on (RFC 9110 §8.6): two make a malformed message of HTTP/2 and HTTP/3.
            let length = length.clone();
            head.headers.insert(header::CONTENT_LENGTH, length);
            let empty = bodiless || method == Method::HEAD;
            Ok(if empty { Decoder::empty() } else { Decoder::length(number) })
        }
        (None, None) if bodiless || method == Method::HEAD => Ok(Decoder::empty()),
        (None, None) => Ok(Decoder::until_close()),
    }
}

/// Bytes of a response's head, at most. Four times what common origins allow themselves.
const MAX_HEAD: usize = 128 * 1024;

/// Fields of a response, at most; more is a malformed response.
const MAX_FIELDS: usize = 128;

/// Room for most requests' heads without growing.
const ENCODED_HEAD: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &Method) -> Result<Option<ResponseHead>, HeadError> {
        read_from(&mut BytesMut::from(text), method)
    }

    /// The final head, past interim ones.
    fn read_from(
        buffer: &mut BytesMut,
        method: &Method,
    ) -> Result<Option<ResponseHead>, HeadError> {
        loop {
            match parse(buffer, method)? {
                None => return Ok(None),
                Some(Head::Interim(_)) => {}
                Some(Head::Final(head)) => return Ok(Some(head)),
            }
        }
    }

    fn request(method: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/a?b=c");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let text = |parts: &Parts, body| String::from_utf8(encode(parts, body).to_vec()).unwrap();
        assert_eq!(
            text(&request("GET", &[("host", "x")]), false),
            "GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"
        );
        assert!(text(&request("POST", &[]), false).contains("content-length: 0\r\n"));
        assert!(text(&request("POST", &[]), true).contains("transfer-encoding: chunked\r\n"));
        let sized = text(&request("POST", &[("content-length", "5")]), true);
        assert!(!sized.contains("chunked") && sized.contains("content-length: 5\r\n"));
    }

    #[test]
    fn an_interim_response_comes_before_the_final_one() {
        let text = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        let mut buffer = BytesMut::from(text);
        let Ok(Some(Head::Interim(hints))) = parse(&mut buffer, &Method::GET) else { panic!() };
        assert_eq!(
            (hints.status, &hints.headers["link"]),
            (StatusCode::EARLY_HINTS, &"x".parse().unwrap())
        );
        let Ok(Some(Head::Final(ok))) = parse(&mut buffer, &Method::GET) else { panic!() };
        assert_eq!(ok.head.status, StatusCode::OK);
        assert!(ok.head.headers.is_empty());
        assert!(read("HTTP/1.1 101 Switching\r\n\r\n", &Method::GET).is_err());
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for fields in [
            "content-length: 1\r\ntransfer-encoding: chunked\r\n",
            "content-length: 1\r\ncontent-length: 2\r\n",
            "content-length: +1\r\n",
            "content-length: 1, 1\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "x: a\r\n b\r\n",
        ] {
            assert!(
                read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET).is_err(),
                "{fields}"
            );
        }
        assert!(
            read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &Method::GET).is_err()
        );
    }

    #[test]
    fn a_head_may_come_in_pieces() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nserver: x\r\n\r\nabc";
        for cut in 0..text.len() - 3 {
            let mut buffer = BytesMut::from(&text[..cut]);
            assert!(read_from(&mut buffer, &Method::GET).unwrap().is_none(), "{cut}");
        }
        let mut buffer = BytesMut::from(text);
        let head = read_from(&mut buffer, &Method::GET).unwrap().unwrap();
        assert_eq!((&buffer[..], head.head.headers["server"].as_bytes()), (&b"abc"[..], &b"x"[..]));
        assert!(head.keep_alive);
    }

    #[test]
    fn the_connection_is_kept_as_the_origin_says() {
        let kept = |text: &str| read(text, &Method::GET).unwrap().unwrap().keep_alive;
        assert!(!kept("HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\n"));
        assert!(!kept("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(kept("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(MAX_HEAD));
        assert!(matches!(read(&long, &Method::GET), Err(HeadError::TooLarge)));
    }
}
