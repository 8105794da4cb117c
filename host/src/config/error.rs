//! The faults of a configuration, and their places in the file.

use std::borrow::Cow;
use std::fmt;

/// All faults of a configuration, by file, and in the order of each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

/// One fault: `weir.yaml:12:5: unknown key "balancr" in upstreams[0]; did you mean "balancer"?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    message: String,
}

/// The place where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// An argument of the command line.
    Argument(String),
    /// A file that could not be read as a whole.
    File(String),
    /// A line and a column, both from 1, columns in characters.
    At(String, usize, usize),
}

impl ConfigErrors {
    /// Makes an error of faults that were found after the file was read.
    pub fn of(problems: Vec<Problem>) -> Self {
        Self::new(problems)
    }

    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        Problem::sort(&mut problems);
        Self(problems)
    }

    /// Returns the faults, by file, and in the order of each file.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Writes one line for each fault.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Problem {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        // Most messages have nothing to escape and are not copied.
        let message = if let Cow::Owned(escaped) = escape(&message) { escaped } else { message };
        Self { place, message }
    }

    /// Sorts problems by place. Those at one place stay in the order of discovery.
    pub(super) fn sort(problems: &mut Vec<Self>) {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
    }

    /// Returns the file, or the argument of the command line, that has the fault.
    pub fn file(&self) -> &str {
        match &self.place {
            Place::Argument(name) | Place::File(name) | Place::At(name, ..) => name,
        }
    }

    /// Returns the line and the column, both from 1, columns in characters. Returns `None` for a
    /// fault of a whole file.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self.place {
            Place::At(_, line, column) => Some((line, column)),
            Place::Argument(_) | Place::File(_) => None,
        }
    }

    /// Returns the description of the fault, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) | Self::File(name) => f.write_str(&escape(name)),
            Self::At(name, line, column) => write!(f, "{}:{line}:{column}", escape(name)),
        }
    }
}

/// Escapes the characters that end a line, steer a terminal or turn the direction of text: a
/// message may repeat keys and values of the file.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            escaped.extend(character.escape_debug());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_unsafe(character: char) -> bool {
    let is_format = matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_format || character.is_control()
}

/// Returns `; did you mean "…"?`, or the choices if none is near.
pub(crate) fn did_you_mean(word: &str, choices: &[&str]) -> String {
    match nearest(word, choices) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        // A long list helps nobody.
        None if choices.is_empty() || choices.len() > 12 => String::new(),
        None => format!("; expected {}", one_of(choices)),
    }
}

/// Returns the choice that a typing error turns into `word`.
pub(super) fn nearest<'a>(word: &str, choices: &[&'a str]) -> Option<&'a str> {
    // No choice is near a word of more than twice its length, and its steps take long to count.
    let longest = choices.iter().map(|choice| choice.chars().count()).max()?;
    if word.chars().nth(2 * longest).is_some() {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let distance = |choice: &&str| {
        strsim::damerau_levenshtein(&word, &choice.to_lowercase().replace('-', "_"))
    };
    // A third of the letters: `h4` is near `h3`, `conect` near `connect`, `retries` near nothing
    // here.
    let (near, steps) =
        choices.iter().map(|choice| (*choice, distance(choice))).min_by_key(|(_, steps)| *steps)?;
    (steps <= (word.chars().count() / 3).max(1)).then_some(near)
}

fn one_of(choices: &[&str]) -> String {
    match choices {
        [] => String::new(),
        [only] => only.to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Place, Problem, did_you_mean, nearest};

    #[test]
    fn the_nearest_word_is_one_slip_of_the_finger_away() {
        let keys = ["balancer", "balancer_config", "endpoints", "health"];
        assert_eq!(nearest("balancr", &keys), Some("balancer"));
        assert_eq!(nearest("Health", &keys), Some("health"));
        assert_eq!(nearest("balancer-config", &keys), Some("balancer_config"));
        assert_eq!(nearest("retries", &keys), None);
        assert_eq!(nearest("", &[]), None);
        assert_eq!(did_you_mean("x", &["h3", "h2", "h1"]), "; expected h3, h2 or h1");
    }

    #[test]
    fn a_long_word_is_near_nothing_at_no_cost() {
        let long = "balancer".repeat(1 << 17);
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(nearest(&long, &["balancer", "endpoints", "health"]), None);
        }
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(nearest("balancerbal", &["balancer"]), Some("balancer"));
    }

    #[test]
    fn a_fault_is_one_line_without_control_characters() {
        let place = Place::At("we\nir.yaml".to_owned(), 1, 2);
        let problem = Problem::new(place, "key \"a\nb\r\u{1b}[2J\u{9b}\u{2028}\u{202e}\" \\ 'é'");
        assert_eq!(
            problem.to_string(),
            "we\\nir.yaml:1:2: key \"a\\nb\\r\\u{1b}[2J\\u{9b}\\u{2028}\\u{202e}\" \\ 'é'"
        );
        assert_eq!(Problem::new(Place::File("\t".to_owned()), "").to_string(), "\\t: ");
        assert_eq!(Problem::new(Place::Argument("\0".to_owned()), "").to_string(), "\\0: ");
    }
}
