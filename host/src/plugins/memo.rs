//! [`Memo`]: what a pure filter decided, by what it was given, so that it need not be asked the same again.

use std::hash::{BuildHasher as _, RandomState};

use super::function::Function;
use crate::message::edit::Edits;

/// A decision to let a message pass: as it is, or with edits and a context.
pub type Passing = Option<(Edits, Vec<u8>)>;

/// What a filter decided when it was asked.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// The message passes as it is.
    Next,
    /// It passes with edits and a context.
    Edit(&'a Edits, &'a [u8]),
    /// Anything else, which is not remembered.
    Other,
}

/// What a call is given, which is all that a pure filter decides by.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// `on-request` or `on-response`.
    pub function: Function,
    /// Of a response.
    pub status: u16,
    /// As many for each call of the function.
    pub inputs: &'a [Option<&'a [u8]>],
    /// Of a response.
    pub context: &'a [u8],
}

/// The decisions of one filter on one worker, at most [`PLACES`] of at most [`MOST_GIVEN`] and [`MOST_DECIDED`] bytes. Each has one place where it can be,
/// and takes it when it is missed twice in a row there: what never comes again costs no room, and pushes nothing out.
#[derive(Debug, Default)]
pub struct Memo {
    places: Vec<Place>,
    hashes: RandomState,
    /// What was looked for last: the bytes that stand for it, and where it would be.
    key: Vec<u8>,
    sought: Option<Sought>,
    /// How often something was found.
    found: u32,
}

#[derive(Debug, Default)]
struct Place {
    entry: Option<Entry>,
    /// The hash of what was missed here last.
    missed: u64,
}

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    passing: Passing,
}

#[derive(Debug, Clone, Copy)]
struct Sought {
    place: usize,
    hash: u64,
    /// It was there, and is asked about again to see whether it is still so.
    is_doubted: bool,
}

impl Memo {
    /// What was decided on the same before. Now and then nothing, although it is known, so that [`Self::learn`] can compare.
    pub fn find(&mut self, given: Given<'_>) -> Option<&Passing> {
        self.sought = None;
        if !self.spell(given) {
            return None;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Place::default);
        }
        let hash = self.hashes.hash_one(&self.key);
        let place = usize::try_from(hash).unwrap_or(usize::MAX) % PLACES;
        let entry = self.places.get(place)?.entry.as_ref();
        let known = entry.filter(|entry| *entry.key == *self.key);
        let mut sought = Sought { place, hash, is_doubted: false };
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

    /// Has the next answer be to nothing that was looked for.
    pub fn forget_sought(&mut self) {
        self.sought = None;
    }

    /// Takes note of the answer to what was looked for last; whether a pure filter can have given it.
    pub fn learn(&mut self, answer: Answer<'_>) -> bool {
        let Some(Sought { place, hash, is_doubted }) = self.sought.take() else { return true };
        let Some(place) = self.places.get_mut(place) else { return true };
        if is_doubted {
            return place.entry.as_ref().is_some_and(|entry| answer.is(&entry.passing));
        }
        let is_second = std::mem::replace(&mut place.missed, hash) == hash;
        if is_second && let Some(passing) = answer.to_remember() {
            place.entry = Some(Entry { key: self.key.as_slice().into(), passing });
        }
        true
    }

    /// Writes down what a call is given as one text of bytes; whether it is short enough.
    fn spell(&mut self, given: Given<'_>) -> bool {
        let Given { function, status, inputs, context } = given;
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

impl Answer<'_> {
    fn is(self, passing: &Passing) -> bool {
        match (self, passing) {
            (Self::Next, None) => true,
            (Self::Edit(edits, context), Some((known, with))) => known == edits && with == context,
            _ => false,
        }
    }

    /// A copy, unless it is a large one.
    fn to_remember(self) -> Option<Passing> {
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

/// Decisions that are remembered at once.
pub const PLACES: usize = 1024;

/// Bytes of what one is about.
pub const MOST_GIVEN: usize = 512;

/// Bytes of one: a response's security fields with a content-security-policy are a kilobyte.
pub const MOST_DECIDED: usize = 2048;

/// One in so many that are known is asked again. A prime: what comes in turns, a request and its response, is asked about in turns.
pub const DOUBT_EVERY: u32 = 1021;

/// In place of the length of an input that is absent.
const ABSENT: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use weir_runtime::filter::{Edit, Header};

    use super::*;

    fn given<'a>(inputs: &'a [Option<&'a [u8]>]) -> Given<'a> {
        Given { function: Function::Request, status: 0, inputs, context: &[] }
    }

    fn sets(value: &[u8]) -> Passing {
        let header = Header { name: "x-a".to_owned(), value: value.to_vec() };
        Some((Edits::of_request(vec![Edit::Set(header)], |_| None).unwrap(), b"c".to_vec()))
    }

    fn answer(passing: &Passing) -> Answer<'_> {
        match passing {
            None => Answer::Next,
            Some((edits, context)) => Answer::Edit(edits, context),
        }
    }

    /// Learns a decision as one does that comes again.
    fn teach(memo: &mut Memo, given: Given<'_>, passing: &Passing) {
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
        let known = Given {
            function: Function::Response,
            status: 200,
            inputs: &[Some(b"ab"), Some(b"c"), None],
            context: b"d",
        };
        teach(&mut memo, known, &None);
        assert_eq!(memo.find(known), Some(&None));
        let others = [
            Given { function: Function::Request, ..known },
            Given { status: 201, ..known },
            Given { context: b"", ..known },
            Given { context: b"e", ..known },
            Given { inputs: &[Some(b"a"), Some(b"bc"), None], ..known },
            Given { inputs: &[Some(b"ab"), Some(b"c"), Some(b"")], ..known },
            Given { inputs: &[Some(b"ab"), None, Some(b"c")], ..known },
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
            // Its call failed, and the next was not looked for.
            memo.forget_sought();
            assert!(memo.learn(answer(&sets(b"1"))));
        }
    }

    #[test]
    fn a_reply_is_not_remembered() {
        let mut memo = Memo::default();
        for _ in 0..3 {
            assert!(memo.find(given(&[])).is_none());
            assert!(memo.learn(Answer::Other));
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
                memo.learn(again.as_ref().map_or(Answer::Other, answer)),
                is_pure,
                "{again:?}"
            );
        }
    }
}
