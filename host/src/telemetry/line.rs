//! Lines of named values, as JSON or text, for access records and the log.
//!
//! Clients and upstreams choose many of the values, but can end neither a line nor a value. Control
//! characters, quotes and invalid UTF-8 are escaped, and long values are cut.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::config::LogFormat;
use crate::telemetry::record::Noted;

/// A line under construction. JSON contains every field, null for an absent value. Text omits
/// absent values.
#[derive(Debug)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    format: LogFormat,
}

impl Line {
    /// Begins a line.
    pub(crate) fn new(format: LogFormat) -> Self {
        let mut bytes = Vec::with_capacity(512);
        if format == LogFormat::Json {
            bytes.push(b'{');
        }
        Self { bytes, format }
    }

    /// Returns the line with a line feed at its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.format == LogFormat::Json {
            self.bytes.push(b'}');
        }
        self.bytes.push(b'\n');
        self.bytes
    }

    /// Adds a text without a name. For text lines only.
    pub(crate) fn bare(&mut self, value: &[u8]) {
        self.separate();
        self.escaped(value.get(..VALUE_BYTES).unwrap_or(value));
    }

    /// Adds a value that displays without bytes that need escaping.
    pub(crate) fn shown(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        match self.format {
            LogFormat::Json => self.put(format_args!("\"{value}\"")),
            LogFormat::Text => self.put(format_args!("{value}")),
        }
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        self.put(format_args!("{value}"));
    }

    /// Adds a duration in milliseconds, with three decimal places.
    pub(crate) fn millis(&mut self, name: &str, value: Option<Duration>) {
        let Some(value) = value else { return self.nothing(name) };
        self.name(name);
        let micros = value.as_micros();
        self.put(format_args!("{}.{:03}", micros / 1_000, micros % 1_000));
    }

    /// Adds a Boolean.
    pub(crate) fn claim(&mut self, name: &str, value: bool) {
        self.name(name);
        self.put(format_args!("{value}"));
    }

    /// Adds a value of any bytes.
    pub(crate) fn text(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return self.nothing(name) };
        let value = value.get(..VALUE_BYTES).unwrap_or(value);
        self.name(name);
        if self.format == LogFormat::Text && is_plain(value) {
            self.bytes.extend_from_slice(value);
        } else {
            self.quoted(value);
        }
    }

    fn quoted(&mut self, value: &[u8]) {
        self.bytes.push(b'"');
        self.escaped(value);
        self.bytes.push(b'"');
    }

    /// Adds several texts: an array in JSON, one value with commas in text. None is an absent
    /// value.
    pub(crate) fn list(&mut self, name: &str, values: &[Arc<str>]) {
        if values.is_empty() {
            return self.nothing(name);
        }
        if self.format == LogFormat::Text {
            return self.text(name, Some(values.join(",").as_bytes()));
        }
        self.name(name);
        for (at, value) in values.iter().enumerate() {
            self.bytes.push(if at == 0 { b'[' } else { b',' });
            self.quoted(value.as_bytes());
        }
        self.bytes.push(b']');
    }

    /// Adds named texts of plugins. JSON gets an object with an object for each plugin, text a
    /// field `NAME.PLUGIN.KEY` for each value. None is an absent value.
    pub(crate) fn notes(&mut self, name: &str, notes: &[Noted]) {
        if notes.is_empty() {
            return self.nothing(name);
        }
        if self.format == LogFormat::Text {
            for Noted { plugin, name: key, value } in notes {
                self.text(&format!("{name}.{plugin}.{key}"), Some(value.as_bytes()));
            }
            return;
        }
        self.name(name);
        for (at, Noted { plugin, .. }) in notes.iter().enumerate() {
            let is_same = |note: &&Noted| note.plugin == *plugin;
            if notes.iter().take(at).any(|note| is_same(&note)) {
                continue;
            }
            self.bytes.push(if at == 0 { b'{' } else { b',' });
            self.quoted(plugin.as_bytes());
            for (at, note) in notes.iter().filter(is_same).enumerate() {
                self.bytes.extend_from_slice(if at == 0 { b":{" } else { b"," });
                self.quoted(note.name.as_bytes());
                self.bytes.push(b':');
                self.quoted(note.value.as_bytes());
            }
            self.bytes.push(b'}');
        }
        self.bytes.push(b'}');
    }

    /// Adds an absent value: null in JSON, nothing in text.
    pub(crate) fn nothing(&mut self, name: &str) {
        if self.format == LogFormat::Json {
            self.name(name);
            self.bytes.extend_from_slice(b"null");
        }
    }

    fn name(&mut self, name: &str) {
        self.separate();
        match self.format {
            LogFormat::Json => self.put(format_args!("\"{name}\":")),
            LogFormat::Text => self.put(format_args!("{name}=")),
        }
    }

    fn separate(&mut self) {
        match self.format {
            LogFormat::Json if self.bytes.len() > 1 => self.bytes.push(b','),
            LogFormat::Text if !self.bytes.is_empty() => self.bytes.push(b' '),
            _ => {}
        }
    }

    /// Escapes for JSON. DEL, the C1 controls and the Unicode line ends are escaped too: terminals
    /// obey the controls, and some readers split at these line ends.
    fn escaped(&mut self, value: &[u8]) {
        for chunk in value.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => self.bytes.extend_from_slice(b"\\\""),
                    '\\' => self.bytes.extend_from_slice(b"\\\\"),
                    c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                        self.put(format_args!("\\u{:04x}", u32::from(c)));
                    }
                    c => self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            if !chunk.invalid().is_empty() {
                self.bytes.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a vector does not fail.
        let _ = self.bytes.write_fmt(text);
    }
}

/// Returns whether a value can stand without quotes in a text line: visible ASCII without quotes,
/// backslashes and `=`.
fn is_plain(value: &[u8]) -> bool {
    let is_plain_byte = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'=');
    !value.is_empty() && value.iter().all(is_plain_byte)
}

/// Bytes of a value that are written. A path may be as long as a header section, and readers of
/// lines have limits.
const VALUE_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let mut line = Line::new(format);
            line.text("name", Some("é".repeat(VALUE_BYTES).as_bytes()));
            assert!(line.finish().len() < VALUE_BYTES + 32);
        }
    }

    #[test]
    fn text_is_quoted_only_where_it_must_be() {
        let mut line = Line::new(LogFormat::Text);
        line.bare(b"a message\n");
        for value in ["/plain?x", "a=b", "two words", ""] {
            line.text("value", Some(value.as_bytes()));
        }
        let expected =
            "a message\\u000a value=/plain?x value=\"a=b\" value=\"two words\" value=\"\"\n";
        assert_eq!(String::from_utf8(line.finish()).unwrap(), expected);
    }
}
