//! [`Memo`]: the decisions of a pure filter by their inputs, so that the filter is not called again
//! for the same inputs.

use std::hash::{BuildHasher as _, RandomState};

use super::function::Function;
use crate::message::edit::Edits;

/// A decision that lets a message pass: unchanged, or with edits and a context.
pub type StoredDecision = Option<(Edits, Vec<u8>)>;

/// The decision of a filter.
#[derive(Debug, Clone, Copy)]
pub enum Conclusion<'a> {
    /// The message passes unchanged.
    Next,
    /// The message passes with edits and a context.
    Edit(&'a Edits, &'a [u8]),
    /// Any other decision. It is not stored.
    Other,
}

/// The inputs of a call. A pure filter decides by them alone.
#[derive(Debug, Clone, Copy)]
pub struct CallInput<'a> {
    /// `on-request` or `on-response`.
    pub function: Function,
    /// The status of a response.
    pub status: u16,
    /// The inputs. Every call of the function has the same number of them.
    pub inputs: &'a [Option<&'a [u8]>],
    /// The context of a response.
    pub context: &'a [u8],
}

/// The stored decisions of one filter on one worker.
///
/// There are at most [`PLACES`] decisions. The inputs of each have at most [`MOST_GIVEN`] bytes,
/// and its result has at most [`MOST_DECIDED`] bytes. Each decision has exactly one possible place.
/// It gets the place after two consecutive misses there. Inputs that never come again thus take no
/// room and displace nothing.
#[derive(Debug, Default)]
pub struct Memo {
    places: Vec<Bucket>,
    hashes: RandomState,
    /// The encoded inputs of the last search.
    key: Vec<u8>,
    sought: Option<Lookup>,
    /// Number of searches that found a decision.
    found: u32,
}

/// One place of the table.
#[derive(Debug, Default)]
struct Bucket {
    entry: Option<MemoEntry>,
    /// The hash of the last miss at this place.
    missed: u64,
}

/// A stored decision and the inputs that it was made for.
#[derive(Debug)]
struct MemoEntry {
    key: Box<[u8]>,
    passing: StoredDecision,
}

/// The last search in the table.
#[derive(Debug, Clone, Copy)]
struct Lookup {
    place: usize,
    hash: u64,
    /// Whether a decision was found, and the filter is called again to check it.
    is_doubted: bool,
}

impl Memo {
    /// Returns the earlier decision on the same inputs. At intervals it returns `None` for a known
    /// decision, so that [`Self::learn`] can compare.
    pub fn find(&mut self, given: CallInput<'_>) -> Option<&StoredDecision> {
        self.sought = None;
        if !self.spell(given) {
            return None;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Bucket::default);
        }
        let hash = self.hashes.hash_one(&self.key);
        let place = usize::try_from(hash).unwrap_or(usize::MAX) % PLACES;
        let entry = self.places.get(place)?.entry.as_ref();
        let known = entry.filter(|entry| *entry.key == *self.key);
        let mut sought = Lookup { place, hash, is_doubted: false };
        if let Some(entry) = known {
            self.found = self.found.wrapping_add(1);
            if !self.found.is_multiple_of(DOUBT_EVERY) {
                return Some(&entry.passing);
            }
            sought.is_doubted = true;
        }
        self.sought = Some(sought);
        None
    }

    /// Discards the last search, so that the next answer does not belong to it.
    pub fn forget_sought(&mut self) {
        self.sought = None;
    }

    /// Stores the answer to the last search. Returns false if a pure filter cannot have given it.
    pub fn learn(&mut self, answer: Conclusion<'_>) -> bool {
        let Some(Lookup { place, hash, is_doubted }) = self.sought.take() else { return true };
        let Some(place) = self.places.get_mut(place) else { return true };
        if is_doubted {
            return place.entry.as_ref().is_some_and(|entry| answer.is(&entry.passing));
        }
        let is_second = std::mem::replace(&mut place.missed, hash) == hash;
        if is_second && let Some(passing) = answer.to_remember() {
            place.entry = Some(MemoEntry { key: self.key.as_slice().into(), passing });
        }
        true
    }

    /// Encodes the inputs of a call as one key. Returns whether the inputs are short enough.
    fn spell(&mut self, given: CallInput<'_>) -> bool {
        let CallInput { function, status, inputs, context } = given;
        let length = |input: &Option<&[u8]>| input.map_or(0, <[u8]>::len);
        if inputs.iter().map(length).sum::<usize>() + context.len() > MOST_GIVEN {
            return false;
        }
        self.key.clear();
        self.key.push(function as u8);
        self.key.extend_from_slice(&status.to_ne_bytes());
        for input in inputs {
            let length = input.map_or(ABSENT, |input| u32::try_from(input.len()).unwrap_or(ABSENT));
            self.key.extend_from_slice(&length.to_ne_bytes());
            self.key.extend_from_slice(input.unwrap_or_default());
        }
        self.key.extend_from_slice(context);
        true
    }
}

impl Conclusion<'_> {
    fn is(self, passing: &StoredDecision) -> bool {
        match (self, passing) {
            (Self::Next, None) => true,
            (Self::Edit(edits, context), Some((known, with))) => known == edits && with == context,
            _ => false,
        }
    }

    /// Returns a copy of the decision, unless it is too large.
    fn to_remember(self) -> Option<StoredDecision> {
        match self {
            Self::Next => Some(None),
            Self::Edit(edits, context) => {
                let is_small = edits.bytes() + context.len() <= MOST_DECIDED;
                is_small.then(|| Some((edits.clone(), context.to_vec())))
            }
            Self::Other => None,
        }
    }
}

/// Maximum number of stored decisions.
pub const PLACES: usize = 1024;

/// Maximum number of bytes of the inputs of a decision.
pub const MOST_GIVEN: usize = 512;

/// Maximum number of bytes of a decision. The security fields of a response with a
/// content-security-policy have about a kilobyte.
pub const MOST_DECIDED: usize = 2048;

/// One in this many known decisions is checked by a call. The number is a prime, so that
/// alternating calls, of a request and its response, are both checked.
pub const DOUBT_EVERY: u32 = 1021;

/// Replaces the length of an absent input.
const ABSENT: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use weir_runtime::filter::{Edit, Header};

    use super::*;

    fn given<'a>(inputs: &'a [Option<&'a [u8]>]) -> CallInput<'a> {
        CallInput { function: Function::Request, status: 0, inputs, context: &[] }
    }

    fn sets(value: &[u8]) -> StoredDecision {
        let header = Header { name: "x-a".to_owned(), value: value.to_vec() };
        Some((Edits::of_request(vec![Edit::Set(header)], |_| None).unwrap(), b"c".to_vec()))
    }

    fn answer(passing: &StoredDecision) -> Conclusion<'_> {
        match passing {
            None => Conclusion::Next,
            Some((edits, context)) => Conclusion::Edit(edits, context),
        }
    }

    /// Stores a decision in the same way as two equal calls.
    fn teach(memo: &mut Memo, given: CallInput<'_>, passing: &StoredDecision) {
        for _ in 0..2 {
            assert!(memo.find(given).is_none());
            assert!(memo.learn(answer(passing)));
        }
    }

    #[test]
    fn what_came_twice_is_known_the_third_time() {
        let mut memo = Memo::default();
        let inputs = [Some(&b"/a"[..]), None];
        teach(&mut memo, given(&inputs), &sets(b"1"));
        assert_eq!(memo.find(given(&inputs)), Some(&sets(b"1")));
    }

    #[test]
    fn another_input_is_another_decision() {
        let mut memo = Memo::default();
        let known = CallInput {
            function: Function::Response,
            status: 200,
            inputs: &[Some(b"ab"), Some(b"c"), None],
            context: b"d",
        };
        teach(&mut memo, known, &None);
        assert_eq!(memo.find(known), Some(&None));
        let others = [
            CallInput { function: Function::Request, ..known },
            CallInput { status: 201, ..known },
            CallInput { context: b"", ..known },
            CallInput { context: b"e", ..known },
            CallInput { inputs: &[Some(b"a"), Some(b"bc"), None], ..known },
            CallInput { inputs: &[Some(b"ab"), Some(b"c"), Some(b"")], ..known },
            CallInput { inputs: &[Some(b"ab"), None, Some(b"c")], ..known },
        ];
        for other in others {
            assert_eq!(memo.find(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_never_comes_again_pushes_nothing_out() {
        let mut memo = Memo::default();
        teach(&mut memo, given(&[Some(b"known")]), &sets(b"1"));
        for number in 0..(PLACES * 8) {
            let text = number.to_string();
            let inputs = [Some(text.as_bytes())];
            assert!(memo.find(given(&inputs)).is_none());
            assert!(memo.learn(answer(&sets(b"2"))));
        }
        assert_eq!(memo.find(given(&[Some(b"known")])), Some(&sets(b"1")));
    }

    #[test]
    fn its_size_is_bounded() {
        let mut memo = Memo::default();
        let long = [b'a'; MOST_DECIDED + 1];
        for (input, passing) in [
            (&long[..=MOST_GIVEN], sets(b"1")),
            (b"a", sets(&long)),
            (b"b", Some((Edits::default(), long.to_vec()))),
        ] {
            for _ in 0..3 {
                assert!(memo.find(given(&[Some(input)])).is_none());
                assert!(memo.learn(answer(&passing)));
            }
        }
        assert!(memo.places.iter().all(|place| place.entry.is_none()));
    }

    #[test]
    fn an_answer_to_something_else_is_not_taken_for_what_was_looked_for() {
        let mut memo = Memo::default();
        let known = [Some(&b"a"[..])];
        for _ in 0..3 {
            assert!(memo.find(given(&known)).is_none());
            // The call failed, and no search precedes the next one.
            memo.forget_sought();
            assert!(memo.learn(answer(&sets(b"1"))));
        }
    }

    #[test]
    fn a_reply_is_not_remembered() {
        let mut memo = Memo::default();
        for _ in 0..3 {
            assert!(memo.find(given(&[])).is_none());
            assert!(memo.learn(Conclusion::Other));
        }
    }

    #[test]
    fn who_decides_otherwise_when_asked_again_is_not_pure() {
        for (again, is_pure) in [
            (Some(sets(b"1")), true),
            (Some(sets(b"2")), false),
            (Some(None), false),
            (None, false),
        ] {
            let mut memo = Memo::default();
            teach(&mut memo, given(&[]), &sets(b"1"));
            for _ in 1..DOUBT_EVERY {
                assert!(memo.find(given(&[])).is_some());
            }
            assert!(memo.find(given(&[])).is_none(), "it is asked again");
            assert_eq!(
                memo.learn(again.as_ref().map_or(Conclusion::Other, answer)),
                is_pure,
                "{again:?}"
            );
        }
    }
}
