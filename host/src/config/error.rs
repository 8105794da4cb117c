//! The faults of a configuration, and their places in the file.

use std::fmt;

/// All faults of a configuration, in the order of the file.
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

    /// Returns the faults, in the order of the file.
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
        Self { place, message: message.into() }
    }

    /// Sorts problems by place. Those at one place stay in the order of discovery.
    pub(super) fn sort(problems: &mut Vec<Self>) {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
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
            Self::Argument(name) | Self::File(name) => f.write_str(name),
            Self::At(name, line, column) => write!(f, "{name}:{line}:{column}"),
        }
    }
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
    use super::{did_you_mean, nearest};

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
}
