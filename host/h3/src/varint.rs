//! Variable-length integers (RFC 9000 §16): one, two, four or eight bytes, with the length in the
//! two highest bits.

use bytes::BufMut;

/// The largest value.
pub(crate) const MAX: u64 = (1 << 62) - 1;

/// Reads the first integer of `bytes` and returns it with the bytes after it, or `None` if it is
/// incomplete.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Option<(u64, &[u8])> {
    match bytes.split_first()? {
        // Types of frames, and lengths of small ones.
        (first @ 0..0x40, rest) => Some((u64::from(*first), rest)),
        (first, _) => decode_long(*first, bytes),
    }
}

fn decode_long(first: u8, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (integer, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = integer.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let bits = integer.len() * 8 - 2;
    Some((value & ((1 << bits) - 1), rest))
}

/// Writes a value in the fewest bytes. Values beyond [`MAX`] are written as [`MAX`].
pub(crate) fn encode(value: u64, out: &mut impl BufMut) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0b01 << 14),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0b10 << 30),
        _ => out.put_u64(value.min(MAX) | 0b11 << 62),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9000, appendix A.1.
    #[test]
    fn the_rfc_s_examples_are_read() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x40, 0x25], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(decode(bytes), Some((value, &[][..])));
            assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0..=MAX, after: Vec<u8>) {
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            bytes.extend(&after);
            prop_assert_eq!(decode(&bytes), Some((value, &after[..])));
        }
    }
}
