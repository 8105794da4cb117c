//! The bytes of the streams, written by hand and read back.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use weir_h3::qpack::{Decoder, Limits, Malformed, Pseudo, Sink, Text};

pub const DATA: u64 = 0x00;
pub const HEADERS: u64 = 0x01;
pub const CANCEL_PUSH: u64 = 0x03;
pub const SETTINGS: u64 = 0x04;
pub const PUSH_PROMISE: u64 = 0x05;
pub const GOAWAY: u64 = 0x07;
pub const MAX_PUSH_ID: u64 = 0x0d;
pub const PRIORITY_REQUEST: u64 = 0xf_0700;
pub const PRIORITY_PUSH: u64 = 0xf_0701;
/// Types of HTTP/2 that must not be used (RFC 9114 §7.2.8).
pub const HTTP2: [u64; 4] = [0x02, 0x06, 0x08, 0x09];
/// A type reserved to be ignored (RFC 9114 §7.2.8).
pub const GREASE: u64 = 0x1f * 7 + 0x21;

pub const CONTROL_STREAM: u64 = 0x00;
pub const PUSH_STREAM: u64 = 0x01;
pub const ENCODER_STREAM: u64 = 0x02;
pub const DECODER_STREAM: u64 = 0x03;

/// A variable-length integer (RFC 9000 §16) in the fewest bytes.
pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// Takes the integer at the start of `bytes`.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (integer, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let value = integer.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (64 - length * 8 + 2)))
}

/// Returns a frame: type, length, payload.
pub fn frame(kind: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [&head(kind, payload.len() as u64)[..], payload].concat()
}

/// Returns a frame's type and the length that it claims.
pub fn head(kind: u64, length: u64) -> Vec<u8> {
    [varint(kind), varint(length)].concat()
}

/// A field section of literals, without tables or Huffman codes, so that a test can send any field
/// (RFC 9204 §4.5.6).
pub fn section<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        integer(name.len(), 3, 0x20, &mut out);
        out.extend(name.bytes());
        integer(value.len(), 7, 0, &mut out);
        out.extend(value.bytes());
    }
    out
}

fn integer(value: usize, prefix: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A HEADERS frame of literals.
pub fn headers<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Vec<u8> {
    frame(HEADERS, section(fields))
}

/// The pseudo-header fields of a request.
pub fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)]
}

/// The HEADERS frame of a GET.
pub fn get(path: &str) -> Vec<u8> {
    headers(&request("GET", path))
}

/// The HEADERS frame of a POST with further fields.
pub fn post(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    headers(request("POST", path).iter().chain(fields))
}

/// A decoded section of a response.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    pub status: Option<u16>,
    pub map: HeaderMap,
}

impl Sink for Fields {
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        assert_eq!(name, Pseudo::Status);
        assert!(self.map.is_empty());
        let status = std::str::from_utf8(&value).unwrap().parse().unwrap();
        assert!(self.status.replace(status).is_none());
        Ok(())
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        self.map.append(name, value);
        Ok(())
    }
}

/// Decodes a section that refers to no dynamic table, or to that of `decoder`.
pub fn decode(decoder: &mut Decoder, stream: u64, section: &[u8]) -> Fields {
    let mut fields = Fields::default();
    let limits = Limits { bytes: 1 << 20, fields: 1000 };
    let section = BytesMut::from(section).freeze();
    decoder.decode(stream, &section, limits, &mut fields).unwrap();
    fields
}
