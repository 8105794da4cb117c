//! Hashes that spread keys, also short texts that differ little. None is secret: a client that
//! knows the hash can choose its result, as it can by trying keys.

/// Returns FNV-1a, mixed.
pub fn hash(bytes: &[u8]) -> u64 {
    mix(fnv(BASIS, bytes))
}

/// Returns FNV-1a, from a basis. Its upper bits hardly change with the last byte: [`mix`] it if
/// they count.
pub fn fnv(basis: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(basis, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Applies the finaliser of SplitMix64: every bit of the result depends on every bit of the input.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The basis of FNV-1a.
pub const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_are_published() {
        // The test vectors of FNV-1a and the first output of SplitMix64 seeded with 0.
        assert_eq!(fnv(BASIS, b""), BASIS);
        assert_eq!(fnv(BASIS, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(BASIS, b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
    }
}
