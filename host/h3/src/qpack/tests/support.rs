//! Helpers of the tests.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::qpack::{DecodeError, Decoder, Limits, Malformed, Pseudo, Sink, Text, string};

/// A field as it arrived: name, value, and whether it must never be indexed.
pub(crate) type Field = (String, Vec<u8>, bool);

/// Keeps all fields.
#[derive(Debug, Default)]
pub(crate) struct Collected(pub(crate) Vec<Field>);

/// Limits that no test comes near.
pub(crate) const WIDE: Limits = Limits { bytes: 1 << 20, fields: 1 << 12 };

impl Sink for Collected {
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        self.0.push((name.as_str().to_owned(), value.to_vec(), false));
        Ok(())
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        let is_sensitive = value.is_sensitive();
        self.0.push((name.as_str().to_owned(), value.as_bytes().to_vec(), is_sensitive));
        Ok(())
    }
}

/// Decodes a section under wide limits.
pub(crate) fn decode(
    decoder: &mut Decoder,
    stream: u64,
    section: &[u8],
) -> Result<Vec<Field>, DecodeError> {
    let mut fields = Collected::default();
    decoder.decode(stream, &Bytes::copy_from_slice(section), WIDE, &mut fields)?;
    Ok(fields.0)
}

/// A field that may be indexed.
pub(crate) fn field(name: &str, value: &str) -> Field {
    (name.to_owned(), value.as_bytes().to_vec(), false)
}

/// A map of `fields`.
pub(crate) fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let parsed = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(parsed).collect()
}

/// Bytes written as hexadecimal digits; spaces do not count.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A string literal with an 8-bit prefix, in its shorter form.
pub(crate) fn literal(text: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    string::encode(text, 8, 0, &mut out);
    out.to_vec()
}

/// A string literal with an 8-bit prefix, not Huffman-coded.
pub(crate) fn raw(text: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    crate::qpack::integer::encode(text.len() as u64, 7, 0, &mut out);
    out.extend_from_slice(text);
    out.to_vec()
}
