//! [`Voice`]: the lines that one instance logs, the request that they belong to, and the last of them when a call fails.

use crate::environment::{Environment, Level, Line};
use crate::imports::log::printable;
use std::sync::Arc;

/// What one instance says, and in whose name.
pub(crate) struct Voice {
    environment: Environment,
    plugin: Arc<str>,
    /// The request that the instance works on.
    request: Option<u64>,
    /// The warnings and errors of the call that runs, as far as there is room.
    words: String,
    /// How many bytes of them the first line has.
    first: usize,
}

impl Voice {
    pub(crate) fn new(environment: &Environment, plugin: &Arc<str>) -> Self {
        let (environment, plugin) = (environment.clone(), Arc::clone(plugin));
        Self { environment, plugin, request: None, words: String::new(), first: 0 }
    }

    /// Whose it is.
    pub(crate) fn plugin(&self) -> &Arc<str> {
        &self.plugin
    }

    /// What its plugin can reach.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Notes the request that the calls from here on belong to.
    #[inline]
    pub(crate) fn serve(&mut self, request: Option<u64>) {
        self.request = request;
    }

    /// Notes that a call begins: an earlier one's words explain nothing of it.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if !self.words.is_empty() {
            self.words.clear();
        }
    }

    /// Writes a line to the log, as far as the plugin's budget goes.
    pub(crate) fn say(&mut self, level: Level, message: &str) {
        let message = printable(message);
        if matches!(level, Level::Warn | Level::Error) {
            self.remember(&message);
        }
        let Self { environment, plugin, request, .. } = self;
        environment.log(Line { plugin, request: *request, level, message: &message });
    }

    /// Takes the words of the call that failed, if it had any.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let words = std::mem::take(&mut self.words);
        (!words.is_empty()).then_some(words)
    }

    /// Keeps the beginning of a long line, and the first and the latest of many: some languages begin with what happened, others
    /// end with it.
    fn remember(&mut self, message: &str) {
        let message = message.get(..message.floor_char_boundary(WORDS)).unwrap_or_default().trim();
        if message.is_empty() {
            return;
        }
        if self.words.is_empty() {
            self.first = message.len();
        } else if self.words.len() + message.len() > 2 * WORDS {
            self.words.truncate(self.first);
            self.words.push_str(" | … | ");
        } else {
            self.words.push_str(" | ");
        }
        self.words.push_str(message);
    }
}

/// Bytes of one line in the words of a call, and half of what all have: room for a message with its places, in an error that is one
/// line itself.
const WORDS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lines: &[(Level, &str)]) -> Option<String> {
        let mut voice = Voice::new(&Environment::default(), &"p".into());
        lines.iter().for_each(|(level, line)| voice.say(*level, line));
        voice.last_words()
    }

    #[test]
    fn the_last_words_are_the_warnings_and_errors_of_one_call() {
        let lines = [(Level::Info, "a"), (Level::Warn, "b\nc"), (Level::Error, " d ")];
        assert_eq!(words(&lines).as_deref(), Some("b c | d"));
        assert_eq!(words(&[(Level::Debug, "a")]), None);
        let mut voice = Voice::new(&Environment::default(), &"p".into());
        voice.say(Level::Error, "of the call before");
        voice.begin();
        assert_eq!(voice.last_words(), None);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_kept_and_of_many_lines_the_first_and_the_latest() {
        let long = "é".repeat(2000);
        assert_eq!(words(&[(Level::Error, &long)]).unwrap(), "é".repeat(512));
        let (second, last) = ("b".repeat(1000), "c".repeat(1000));
        let lines = ["a", "", &second, &second, &last, "d"].map(|line| (Level::Warn, line));
        assert_eq!(words(&lines).unwrap(), format!("a | … | {last} | d"));
    }
}
