//! Regular expressions that are tried together, a lane of them in one reading of a text.
//!
//! A lane is a deterministic automaton whose states are built when a text first needs them. One that outgrows its memory gives
//! way to a search that is a hundred times slower, and building a state takes a thousand times as long as using it. So that
//! no text is slow, lanes have few expressions (states may multiply with each), whole automata fit the memory of a lane,
//! and the states of the built-in ones are built when an instance is made.

use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

/// Which regular expressions are tried together: those of the same lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A lane of the built-in rules.
    BuiltIn(&'static str),
    /// A few neighbours among the rules of the user.
    User(usize),
}

impl Lane {
    /// The lane of a user's rule, by its place.
    pub(crate) fn of_user(rule: usize) -> Lane {
        Lane::User(rule / NEIGHBOURS)
    }

    pub(crate) fn is_user(self) -> bool {
        matches!(self, Lane::User(_))
    }

    /// Bytes of its states, of so many lanes of users.
    pub(crate) fn cache(self, of_users: usize) -> usize {
        match self {
            Lane::BuiltIn(_) => CACHE,
            Lane::User(_) => (USERS_CACHE / of_users.max(1)).clamp(LEAST_CACHE, CACHE),
        }
    }
}

/// The expressions of a lane.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) regexes: RegexSet,
    /// Which patterns of the subject they are.
    pub(crate) members: Vec<usize>,
}

impl Set {
    pub(crate) fn new(
        lane: Lane,
        members: Vec<usize>,
        patterns: &[&String],
        cache: usize,
    ) -> Result<Set, String> {
        let regexes = RegexSetBuilder::new(patterns)
            .unicode(false)
            .size_limit(SET_SIZE)
            .dfa_size_limit(cache)
            .build()
            .map_err(|error| format!("{} regular expressions together: {error}", members.len()))?;
        if !lane.is_user() {
            warm(&regexes, patterns);
        }
        Ok(Set { regexes, members })
    }
}

/// Whether a regular expression of a user is small enough to be used.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN {
        return Err(format!("a regular expression has at most {PATTERN} bytes"));
    }
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_SIZE).build();
    // The last line says what is wrong, those before show where.
    let reason = |error: regex::Error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim();
        last.strip_prefix("error: ").unwrap_or(last).to_owned()
    };
    built.map(drop).map_err(|error| format!("the regular expression: {}", reason(error)))
}

/// Builds the states that texts lead to which are made to lead to many: words of the patterns, whole and cut, with signs
/// between them.
fn warm(regexes: &RegexSet, patterns: &[&String]) {
    let words: Vec<&[u8]> = patterns.iter().flat_map(|pattern| words(pattern)).collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..TEXTS {
        let mut text = Vec::with_capacity(TEXT);
        while text.len() < TEXT {
            let word = words.get(dice.below(words.len())).copied().unwrap_or_default();
            match dice.below(8) {
                0..3 => text.extend_from_slice(word),
                3 => text.extend(word.iter().take(1 + dice.below(word.len()))),
                4 => text.push(b' '),
                _ => text.extend(SIGNS.get(dice.below(SIGNS.len()))),
            }
        }
        // All that match are wanted: otherwise the search would end with the first.
        let _ = regexes.matches(&text);
    }
}

/// The words in a pattern. An escape such as `\\b` is no part of them.
fn words(pattern: &str) -> impl Iterator<Item = &[u8]> {
    let parts = pattern.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '\\');
    let unescaped = parts.flat_map(|part| {
        part.split('\\').enumerate().map(|(at, word)| match at {
            0 => word,
            _ => word.get(1..).unwrap_or_default(),
        })
    });
    unescaped.filter(|word| !word.is_empty()).map(str::as_bytes)
}

/// Numbers that repeat (xorshift), so that every instance is the same.
struct Dice(u64);

impl Dice {
    /// A number below a bound, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).unwrap_or(1).max(1);
        usize::try_from((self.0 >> 16) % bound).unwrap_or(0)
    }
}

/// Texts that states are built with, and the bytes of each: more of them find few more states.
const TEXTS: usize = 64;
const TEXT: usize = 1024;

/// Signs that patterns look at, and some that they do not.
const SIGNS: &[u8] = b" '\"`()<>[]{}|&;,=/\\.-#*@:!$%~_?^01a";

/// Bytes of a regular expression.
const PATTERN: usize = 1024;

/// Bytes that a user's regular expression may take when compiled.
const PATTERN_SIZE: usize = 256 << 10;

/// Bytes that those of a lane may take.
const SET_SIZE: usize = 2 << 20;

/// Rules of a user that share a lane.
const NEIGHBOURS: usize = 4;

/// Bytes of the states that a lane keeps from one request to the next. Whole automata of the built-in lanes take up to
/// 800 KiB, so that none is ever thrown away, whatever clients send.
const CACHE: usize = 2 << 20;

/// The same for all lanes of users together, and the least for each.
const USERS_CACHE: usize = 6 << 20;
const LEAST_CACHE: usize = 128 << 10;
