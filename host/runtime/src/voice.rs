//! [`Voice`] holds the log of one instance, the request that its lines belong to, and the last
//! lines before a failure.

use crate::environment::{Environment, Level, Line};
use crate::imports::log::printable;
use std::sync::Arc;

/// The log of one instance.
pub(crate) struct Voice {
    environment: Environment,
    plugin: Arc<str>,
    /// The request that the instance works on.
    request: Option<u64>,
    /// The warnings and errors of the running call, within a bound.
    words: String,
    /// Bytes of the first line in `words`.
    first: usize,
}

impl Voice {
    pub(crate) fn new(environment: &Environment, plugin: &Arc<str>) -> Self {
        let (environment, plugin) = (environment.clone(), Arc::clone(plugin));
        Self { environment, plugin, request: None, words: String::new(), first: 0 }
    }

    /// The plugin's name in the configuration.
    pub(crate) fn plugin(&self) -> &Arc<str> {
        &self.plugin
    }

    /// The environment of its plugin.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Notes the request for the following calls.
    #[inline]
    pub(crate) fn serve(&mut self, request: Option<u64>) {
        self.request = request;
    }

    /// Begins a call and forgets the words of the call before, which explain nothing about this
    /// one.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if !self.words.is_empty() {
            self.words.clear();
        }
    }

    /// Writes a line to the log if the plugin's budget allows it.
    pub(crate) fn say(&mut self, level: Level, message: &str) {
        let message = printable(message);
        if matches!(level, Level::Warn | Level::Error) {
            self.remember(&message);
        }
        let Self { environment, plugin, request, .. } = self;
        environment.log(Line { plugin, request: *request, level, message: &message });
    }

    /// Takes the words of the failed call, if there are any.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let words = std::mem::take(&mut self.words);
        (!words.is_empty()).then_some(words)
    }

    /// Keeps the beginning of a long line, and the first and the latest of many lines. Some
    /// languages log the cause first, others last.
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

/// Bytes kept of one line, and half the bytes kept of a call: room for a message with its source
/// positions. The error that quotes the words is itself one line.
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
