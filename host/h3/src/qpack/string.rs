//! String literals (RFC 9204 §4.1.2).

use bytes::{BufMut as _, BytesMut};

use super::{huffman, integer};

/// A string as it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Literal<'a> {
    pub(super) is_huffman: bool,
    pub(super) bytes: &'a [u8],
}

/// The reason why a string is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its length is no possible integer.
    Overflow,
    /// It is longer than the limit after decoding.
    TooLong,
}

/// Reads a string with its Huffman flag and length in the last `prefix` bits of `input`'s first
/// byte, and returns it with the bytes after it. `None` if `input` ends inside the string.
///
/// # Errors
/// [`Fault`]. [`Fault::TooLong`] comes as soon as the length shows that the string decodes to more
/// than `limit` bytes, so that nothing waits for its end.
#[inline]
pub(super) fn decode(
    input: &[u8],
    prefix: u32,
    limit: usize,
) -> Result<Option<(Literal<'_>, &[u8])>, Fault> {
    let Some(first) = input.first() else { return Ok(None) };
    let is_huffman = first & (1 << (prefix - 1)) != 0;
    let Some((length, rest)) = integer::decode(input, prefix - 1).map_err(|_| Fault::Overflow)?
    else {
        return Ok(None);
    };
    let length = usize::try_from(length).map_err(|_| Fault::TooLong)?;
    let least = if is_huffman { length / LONGEST_CODE * 8 } else { length };
    if least > limit {
        return Err(Fault::TooLong);
    }
    Ok(rest.split_at_checked(length).map(|(bytes, rest)| (Literal { is_huffman, bytes }, rest)))
}

/// Appends `text`, Huffman-coded if that is shorter, after the bits of `pattern`. The pattern
/// leaves `prefix` bits of the first byte to the Huffman flag and the length.
#[inline]
pub(super) fn encode(text: &[u8], prefix: u32, pattern: u8, out: &mut BytesMut) {
    let shorter = huffman::encoded_len(text);
    if shorter < text.len() {
        integer::encode(shorter as u64, prefix - 1, pattern | 1 << (prefix - 1), out);
        huffman::encode(text, out);
    } else {
        integer::encode(text.len() as u64, prefix - 1, pattern, out);
        out.put_slice(text);
    }
}

impl Literal<'_> {
    /// Appends the decoded string to `out`, at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`huffman::Fault`].
    pub(super) fn decode_into(
        &self,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), huffman::Fault> {
        if !self.is_huffman {
            let text = self.bytes.get(..limit.min(self.bytes.len())).unwrap_or_default();
            out.extend_from_slice(text);
            return if text.len() < self.bytes.len() { Err(huffman::Fault::Full) } else { Ok(()) };
        }
        let start = out.len();
        out.resize(start + self.most().min(limit), 0);
        let length = huffman::decode(self.bytes, out.get_mut(start..).unwrap_or_default())?;
        out.truncate(start + length);
        Ok(())
    }

    /// The most bytes that the decoded string can have: the shortest code has five bits.
    pub(super) fn most(&self) -> usize {
        if self.is_huffman { self.bytes.len() * 8 / 5 } else { self.bytes.len() }
    }
}

/// Bits of the longest Huffman code.
const LONGEST_CODE: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_form_is_sent() {
        for (text, bytes) in
            [("", &b"\x00"[..]), ("a", b"\x01a"), ("aaa", b"\x82\x18\xc7"), ("\x01", b"\x01\x01")]
        {
            let mut out = BytesMut::new();
            encode(text.as_bytes(), 8, 0, &mut out);
            assert_eq!(out, bytes, "{text:?}");
            let (literal, rest) = decode(&out, 8, 10).unwrap().unwrap();
            let mut decoded = Vec::new();
            literal.decode_into(10, &mut decoded).unwrap();
            assert_eq!((&decoded[..], rest), (text.as_bytes(), &[][..]));
        }
    }

    #[test]
    fn a_string_that_begins_inside_a_byte_leaves_the_bits_before() {
        let mut out = BytesMut::new();
        encode(b"custom-key", 4, 0b0011_0000, &mut out);
        assert_eq!(out.first(), Some(&0b0011_1111));
        let (literal, _) = decode(&out, 4, 100).unwrap().unwrap();
        assert!(literal.is_huffman);
        assert_eq!(literal.bytes.len(), 8);
    }

    #[test]
    fn a_length_past_the_limit_is_refused_before_the_string_has_come() {
        assert_eq!(decode(&[101], 8, 100).unwrap_err(), Fault::TooLong);
        assert!(decode(&[100], 8, 100).unwrap().is_none());
        let mut long = BytesMut::new();
        integer::encode(1000, 7, 0x80, &mut long);
        assert_eq!(
            decode(&long, 8, 200).unwrap_err(),
            Fault::TooLong,
            "a thousand bytes are 266 codes or more"
        );
        assert!(decode(&long, 8, 300).unwrap().is_none());
    }
}
