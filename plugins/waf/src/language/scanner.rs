//! Words, strings, numbers, regular expressions and networks of an expression.

use super::SyntaxError;

/// Reads a text from the left.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Skips white space and returns the place of the next byte.
    pub(super) fn at(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.at() == self.text.len()
    }

    /// Returns an error at the current place, with the expected and the found text.
    pub(super) fn expected(&mut self, what: &str) -> SyntaxError {
        let at = self.at();
        self.expected_at(at, what)
    }

    /// Returns the same error for an earlier place.
    pub(super) fn expected_at(&self, at: usize, what: &str) -> SyntaxError {
        let rest = self.text.get(at..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || "()[],".contains(c));
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let found = rest.get(..end.unwrap_or(rest.len()).max(first)).unwrap_or_default();
        let found = match found {
            "" => "the end".to_owned(),
            found => format!("`{}`", found.chars().take(32).collect::<String>()),
        };
        SyntaxError { at: at + 1, what: format!("expected {what}, found {found}") }
    }

    /// Takes a sign if it is next.
    pub(super) fn takes(&mut self, sign: &str) -> bool {
        self.at();
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.at += sign.len();
        }
        is_next
    }

    /// Takes a word if it is next as a whole.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let is_next = self.peek_word() == word;
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Returns the next word, or an empty text.
    pub(super) fn peek_word(&mut self) -> &'t str {
        self.at();
        let rest = self.rest();
        let is_in = |c: char| c.is_ascii_alphanumeric() || "_.*-".contains(c);
        let end = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// Takes the word that `peek_word` returns.
    pub(super) fn word(&mut self) -> &'t str {
        let word = self.peek_word();
        self.at += word.len();
        word
    }

    /// Whether a quotation mark follows without white space.
    pub(super) fn touches_quote(&self) -> bool {
        self.rest().starts_with('"')
    }

    /// Takes a decimal number.
    pub(super) fn number(&mut self) -> Result<u64, SyntaxError> {
        let at = self.at();
        self.word().parse().map_err(|_| self.expected_at(at, "a number"))
    }

    /// Takes a text in quotation marks, with the escapes `\"`, `\\`, `\n`, `\r`, `\t` and `\xHH`.
    pub(super) fn string(&mut self) -> Result<Vec<u8>, SyntaxError> {
        if !self.takes("\"") {
            return Err(self.expected("a text in quotation marks"));
        }
        let start = self.at - 1;
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                Some('"') => return Ok(bytes),
                Some('\\') => bytes.push(self.escape()?),
                Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => {
                    let what = "a text has no closing quotation mark".to_owned();
                    return Err(SyntaxError { at: start + 1, what });
                }
            }
        }
    }

    fn escape(&mut self) -> Result<u8, SyntaxError> {
        let at = self.at - 1;
        match self.next() {
            Some('"') => Ok(b'"'),
            Some('\\') => Ok(b'\\'),
            Some('n') => Ok(b'\n'),
            Some('r') => Ok(b'\r'),
            Some('t') => Ok(b'\t'),
            Some('x') => {
                let digits = self
                    .rest()
                    .get(..2)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                self.at += digits.map_or(0, str::len);
                byte.ok_or_else(|| self.expected_at(at, "two hexadecimal digits after \\x"))
            }
            _ => Err(self.expected_at(at, "\\\", \\\\, \\n, \\r, \\t or \\xHH")),
        }
    }

    /// Takes a regular expression between slashes. `\/` in it is a slash, and an `i` after it
    /// ignores case.
    pub(super) fn regex(&mut self) -> Result<String, SyntaxError> {
        if !self.takes("/") {
            return Err(self.expected("a regular expression between slashes"));
        }
        let start = self.at - 1;
        let mut pattern = String::new();
        loop {
            match self.next() {
                Some('/') => break,
                Some('\\') if self.rest().starts_with('/') => {
                    pattern.extend(self.next());
                }
                Some('\\') => {
                    pattern.push('\\');
                    pattern.extend(self.next());
                }
                Some(c) => pattern.push(c),
                None => {
                    let what = "a regular expression has no closing slash".to_owned();
                    return Err(SyntaxError { at: start + 1, what });
                }
            }
        }
        let flags = self.at;
        match self.rest().chars().next() {
            Some('i') => {
                self.at += 1;
                pattern = format!("(?i:{pattern})");
            }
            Some(c) if c.is_alphanumeric() => {
                return Err(self.expected_at(flags, "no flag but i"));
            }
            _ => {}
        }
        Ok(pattern)
    }

    /// Takes the letters of a network.
    pub(super) fn network(&mut self) -> &'t str {
        self.at();
        let rest = self.rest();
        let is_in = |c: char| c.is_ascii_alphanumeric() || ":./".contains(c);
        let end = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }
}
