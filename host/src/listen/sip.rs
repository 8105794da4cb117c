//! SipHash-2-4 of one block: the keyed function behind the proof in a connection id.
//!
//! The standard library has a hasher whose key cannot be exported, so two processes cannot share
//! it. An id has six bytes to protect, which are one block, and the function is short for it.

/// The key of the function.
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) [u64; 2]);

impl Key {
    /// Returns the hash of `bytes`. Six bytes leave no block before the last one, which also holds
    /// the length.
    #[inline]
    pub(super) fn hash(self, bytes: [u8; 6]) -> u64 {
        let [b0, b1, b2, b3, b4, b5] = bytes;
        let block = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 6]);
        let Self([k0, k1]) = self;
        let mut state = State([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ block ^ 0x7465_6462_7974_6573,
        ]);
        state.rounds(2);
        let State([v0, v1, v2, v3]) = state;
        let mut state = State([v0 ^ block, v1, v2 ^ 0xff, v3]);
        state.rounds(4);
        let State([v0, v1, v2, v3]) = state;
        v0 ^ v1 ^ v2 ^ v3
    }
}

/// The four words of the function.
struct State([u64; 4]);

impl State {
    #[inline]
    fn rounds(&mut self, count: usize) {
        let Self([v0, v1, v2, v3]) = self;
        for _ in 0..count {
            *v0 = v0.wrapping_add(*v1);
            *v1 = v1.rotate_left(13) ^ *v0;
            *v0 = v0.rotate_left(32);
            *v2 = v2.wrapping_add(*v3);
            *v3 = v3.rotate_left(16) ^ *v2;
            *v0 = v0.wrapping_add(*v3);
            *v3 = v3.rotate_left(21) ^ *v0;
            *v2 = v2.wrapping_add(*v1);
            *v1 = v1.rotate_left(17) ^ *v2;
            *v2 = v2.rotate_left(32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_vector_of_six_bytes_holds() {
        let key = Key([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let hash = key.hash([0, 1, 2, 3, 4, 5]);
        assert_eq!(hash.to_le_bytes(), [0xce, 0xe3, 0xfe, 0x58, 0x6e, 0x46, 0xc9, 0xcb]);
    }
}
