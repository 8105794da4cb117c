//! Tokens with a recent signature check: the next request with the same token costs only a hash.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use weir_sdk::Edit;

use crate::claims::Times;

/// The SHA-256 of a token. Nobody can construct another token with the same hash.
pub(crate) type Fingerprint = [u8; 32];

/// The tokens that were used last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    tokens: BTreeMap<Fingerprint, Entry>,
    most: usize,
    /// The bytes of all edits.
    size: usize,
    /// A counter of uses.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    times: Times,
    edits: Vec<Edit>,
    size: usize,
    used: u64,
}

impl Recent {
    pub(crate) fn new(most: usize) -> Recent {
        Recent { most, ..Recent::default() }
    }

    pub(crate) fn fingerprint(token: &str) -> Fingerprint {
        Sha256::digest(token).into()
    }

    /// Returns the times and the edits of a token.
    pub(crate) fn find(&mut self, token: &Fingerprint) -> Option<(Times, &[Edit])> {
        self.clock += 1;
        let entry = self.tokens.get_mut(token)?;
        entry.used = self.clock;
        Some((entry.times, &entry.edits))
    }

    /// Remembers a token. It replaces the least recently used tokens.
    pub(crate) fn put(&mut self, token: Fingerprint, times: Times, edits: &[Edit]) {
        let size = edits.iter().map(size).sum();
        if self.most == 0 || size > MOST_BYTES {
            return;
        }
        self.remove(token);
        while self.tokens.len() >= self.most || self.size + size > MOST_BYTES {
            let oldest = self.tokens.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(token, _)| *token) else { break };
            self.remove(oldest);
        }
        self.clock += 1;
        self.size += size;
        let entry = Entry { times, edits: edits.to_vec(), size, used: self.clock };
        self.tokens.insert(token, entry);
    }

    /// Forgets all tokens, because the keys have changed.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.size = 0;
    }

    fn remove(&mut self, token: Fingerprint) {
        self.size -= self.tokens.remove(&token).map_or(0, |entry| entry.size);
    }
}

/// Estimates the bytes that an edit takes.
fn size(edit: &Edit) -> usize {
    let text = match edit {
        Edit::Set(header) | Edit::Append(header) => header.name.len() + header.value.len(),
        Edit::Remove(text) | Edit::Path(text) | Edit::Authority(text) | Edit::Upstream(text) => {
            text.len()
        }
        Edit::Attribute(attribute) => attribute.name.len() + attribute.value.len(),
        Edit::Status(_) | Edit::Body => 0,
    };
    text + size_of::<Edit>()
}

/// The most bytes of remembered tokens. An instance has 16 MiB by default.
const MOST_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::times;

    fn edits(length: usize) -> Vec<Edit> {
        vec![Edit::Remove("x".repeat(length))]
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut recent = Recent::new(2);
        let [a, b, c] = ["a", "b", "c"].map(Recent::fingerprint);
        recent.put(a, times(), &edits(1));
        recent.put(b, times(), &edits(1));
        assert!(recent.find(&a).is_some());
        recent.put(c, times(), &edits(1));
        assert!(recent.find(&b).is_none());
        assert!(recent.find(&a).is_some() && recent.find(&c).is_some());
        recent.clear();
        assert!(recent.find(&a).is_none());
        assert_eq!(recent.size, 0);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut recent = Recent::new(1000);
        for n in 0..100 {
            recent.put(Recent::fingerprint(&n.to_string()), times(), &edits(100 << 10));
            assert!(recent.size <= MOST_BYTES);
        }
        assert!(recent.tokens.len() >= 9);
        recent.put(Recent::fingerprint("huge"), times(), &edits(MOST_BYTES));
        assert!(recent.find(&Recent::fingerprint("huge")).is_none());
    }

    #[test]
    fn none_may_be_remembered() {
        let mut recent = Recent::new(0);
        recent.put(Recent::fingerprint("a"), times(), &[]);
        assert!(recent.find(&Recent::fingerprint("a")).is_none());
    }
}
