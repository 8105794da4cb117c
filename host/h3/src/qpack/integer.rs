//! Integers that share their first byte with other bits (RFC 9204 §4.1.1, RFC 7541 §5.1).

use bytes::{BufMut as _, BytesMut};

/// The largest integer: 62 bits, as RFC 9204 §4.1.1 requires and QUIC needs.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// An integer that is past [`MAX`] or takes more bytes than it can need.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// Reads an integer that begins in the last `prefix` bits of `input`'s first byte, and returns it
/// with the bytes after it.
///
/// `None` if `input` ends inside the integer. Bits of the first byte before the prefix are ignored.
///
/// # Errors
/// [`Overflow`], which may show before the integer is complete.
#[inline]
pub(super) fn decode(input: &[u8], prefix: u32) -> Result<Option<(u64, &[u8])>, Overflow> {
    let Some((first, rest)) = input.split_first() else { return Ok(None) };
    let mask = mask(prefix);
    let value = first & mask;
    if value < mask { Ok(Some((u64::from(value), rest))) } else { decode_long(mask, rest) }
}

/// Appends `value`, at most [`MAX`], after the bits of `pattern` in its first byte.
#[inline]
pub(super) fn encode(value: u64, prefix: u32, pattern: u8, out: &mut BytesMut) {
    let mask = mask(prefix);
    match u8::try_from(value) {
        Ok(small) if small < mask => out.put_u8(pattern | small),
        _ => {
            out.put_u8(pattern | mask);
            encode_rest(value - u64::from(mask), out);
        }
    }
}

fn decode_long(mask: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Overflow> {
    let mut value = u64::from(mask);
    let mut rest = rest;
    for shift in (0..MAX_CONTINUATION).map(|position| position * 7) {
        let Some((byte, behind)) = rest.split_first() else { return Ok(None) };
        // Nine groups of seven bits and the prefix stay below 2^64.
        value += u64::from(byte & 0x7f) << shift;
        rest = behind;
        if byte & 0x80 == 0 {
            return if value <= MAX { Ok(Some((value, rest))) } else { Err(Overflow) };
        }
    }
    Err(Overflow)
}

fn encode_rest(mut value: u64, out: &mut BytesMut) {
    loop {
        let [low, ..] = value.to_le_bytes();
        if value < 0x80 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
        value >>= 7;
    }
}

const fn mask(prefix: u32) -> u8 {
    u8::MAX >> (8 - prefix)
}

/// The most bytes after the first: nine hold 63 bits.
const MAX_CONTINUATION: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: u64, prefix: u32, pattern: u8) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(value, prefix, pattern, &mut out);
        out.to_vec()
    }

    /// RFC 7541 C.1.
    #[test]
    fn the_examples_of_the_rfc_are_met() {
        assert_eq!(encoded(10, 5, 0), [0b01010]);
        assert_eq!(encoded(1337, 5, 0xe0), [0xff, 0x9a, 0x0a]);
        assert_eq!(encoded(42, 8, 0), [42]);
        assert_eq!(decode(&[0xff, 0x9a, 0x0a, 7], 5), Ok(Some((1337, &[7][..]))));
        assert_eq!(decode(&[0xea], 5), Ok(Some((10, &[][..]))));
    }

    #[test]
    fn every_prefix_carries_62_bits() {
        for prefix in 1..=8 {
            for value in [0, 1, 30, 31, 126, 127, 128, 254, 255, 256, 16_383, 1 << 32, MAX] {
                let bytes = encoded(value, prefix, 0);
                assert_eq!(decode(&bytes, prefix), Ok(Some((value, &[][..]))));
                for cut in 0..bytes.len() {
                    assert_eq!(decode(&bytes[..cut], prefix), Ok(None), "{value} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn an_integer_past_62_bits_is_refused() {
        for value in [MAX + 1, u64::MAX >> 1] {
            assert_eq!(decode(&encoded(value, 7, 0), 7), Err(Overflow));
        }
        assert_eq!(decode(&[[0xff; 9].as_slice(), &[0xff, 0x01]].concat(), 8), Err(Overflow));
    }

    #[test]
    fn an_integer_padded_past_any_use_is_refused() {
        let mut bytes = vec![0xff; 1];
        bytes.extend([0x80; 9]);
        assert_eq!(decode(&bytes, 8), Err(Overflow), "before its end has come");
    }
}
