//! Regular expressions that are tried together: all expressions of a lane in one pass over a text.
//!
//! A lane is a deterministic automaton. Its states are built when a text first needs them. A lane
//! that outgrows its memory falls back to a search that is a hundred times slower, and building a
//! state takes a thousand times as long as using it. Three measures keep every text fast. Lanes
//! have few expressions, because each can multiply the states. Whole automata fit the memory of a
//! lane. The states of the built-in lanes are built with the instance.

use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};

/// The group of regular expressions that are tried together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A lane of the built-in rules.
    BuiltIn(&'static str),
    /// A few neighbours among the user's rules.
    User(usize),
}

impl Lane {
    /// Returns the lane of a user's rule, from its index.
    pub(crate) fn of_user(rule: usize) -> Lane {
        Lane::User(rule / NEIGHBOURS)
    }

    pub(crate) fn is_user(self) -> bool {
        matches!(self, Lane::User(_))
    }

    /// Returns the bytes for the states of a lane, if users have `of_users` lanes.
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
    /// The indices of the expressions among the patterns of the subject.
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

/// Checks that a user's regular expression is small enough.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN {
        return Err(format!("a regular expression may have at most {PATTERN} bytes"));
    }
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(PATTERN_SIZE).build();
    // The last line names the fault. The lines before it show the place.
    let reason = |error: regex::Error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default().trim();
        last.strip_prefix("error: ").unwrap_or(last).to_owned()
    };
    built.map(drop).map_err(|error| format!("the regular expression: {}", reason(error)))
}

/// Builds states with texts that lead to many states: words of the patterns, whole and cut, with
/// signs between them.
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
        // Collects all matches: a plain test would end with the first match.
        let _ = regexes.matches(&text);
    }
}

/// Returns the words of a pattern. An escape such as `\\b` is not part of a word.
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

/// A fixed sequence of numbers (xorshift), so that every instance is the same.
struct Dice(u64);

impl Dice {
    /// Returns a number below a bound, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).unwrap_or(1).max(1);
        usize::try_from((self.0 >> 16) % bound).unwrap_or(0)
    }
}

/// The number of texts that build states, and the bytes of each. More texts find few more states.
const TEXTS: usize = 64;
const TEXT: usize = 1024;

/// Signs that patterns use, and some that they do not use.
const SIGNS: &[u8] = b" '\"`()<>[]{}|&;,=/\\.-#*@:!$%~_?^01a";

/// The longest regular expression, in bytes.
const PATTERN: usize = 1024;

/// The bytes of a compiled regular expression of a user.
const PATTERN_SIZE: usize = 256 << 10;

/// The bytes of the compiled expressions of a lane.
const SET_SIZE: usize = 2 << 20;

/// The number of a user's rules that share a lane.
const NEIGHBOURS: usize = 4;

/// The bytes of the states that a lane keeps between requests. Whole automata of the built-in lanes
/// take up to 800 KiB, so no client can make a lane drop its states.
const CACHE: usize = 2 << 20;

/// The bytes for all lanes of users together, and the minimum for each.
const USERS_CACHE: usize = 6 << 20;
const LEAST_CACHE: usize = 128 << 10;
