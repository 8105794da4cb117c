//! UUIDs as text (RFC 9562). Time and random bits are arguments, which makes the functions
//! testable.

/// Version 4 (§5.4): 122 random bits.
pub(crate) fn v4(random: [u64; 2]) -> String {
    text(random, 4)
}

/// Version 7 (§5.7): milliseconds since the Unix epoch, then 74 random bits.
pub(crate) fn v7(milliseconds: u64, [high, low]: [u64; 2]) -> String {
    text([milliseconds << 16 | high & 0xffff, low], 7)
}

/// Formats 128 bits, with version and variant in their places.
fn text([high, low]: [u64; 2], version: u64) -> String {
    let high = high & !(0xf << 12) | version << 12;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let mut text = String::with_capacity(36);
    for (at, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xf));
    }
    text
}

/// Written by hand: a UUID is made for each request, and the formatting machinery takes as long as
/// the rest.
fn digit(four_bits: u8) -> char {
    char::from(if four_bits < 10 { b'0' + four_bits } else { b'a' - 10 + four_bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_in_their_places() {
        assert_eq!(v4([0, 0]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(v4([u64::MAX; 2]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        // RFC 9562, appendix A.6.
        assert_eq!(
            v7(0x017f_22e2_79b0, [0xcc3, 0x18c4_dc0c_0c07_398f]),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
        );
        // Appendix A.3.
        assert_eq!(
            v4([0x9191_08f7_52d1_f320, 0x1bac_f847_db41_48a8]),
            "919108f7-52d1-4320-9bac-f847db4148a8"
        );
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        assert!(v7(1, [u64::MAX; 2]) < v7(2, [0; 2]));
        assert!(v7(u64::from(u32::MAX), [0; 2]) < v7(1 << 40, [0; 2]));
    }
}
