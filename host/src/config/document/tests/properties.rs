use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::{by_serde, is_yaml_1_2, value};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_that_serde_yaml_writes_is_read(expected in values()) {
        let text = serde_yaml::to_string(&expected).unwrap();
        agree(&text)?;
        prop_assert_eq!(value(&text), Some(expected), "{}", text);
    }

    #[test]
    fn a_value_in_any_style_is_read(expected in repetitive(), styles in vec(any::<u8>(), 1..200)) {
        let text = Emitter::text(&expected, &styles, usize::MAX);
        agree(&text)?;
        prop_assert_eq!(value(&text), Some(expected), "{}", text);
    }

    /// `serde_yaml` reads these wrong.
    #[test]
    fn a_value_with_redefined_anchors_is_read(expected in repetitive(),
        styles in vec(any::<u8>(), 1..200))
    {
        let text = Emitter::text(&expected, &styles, 3);
        prop_assert_eq!(value(&text), Some(expected), "{}", text);
    }

    #[test]
    fn a_truncated_text_is_read_alike(expected in repetitive(), styles in vec(any::<u8>(), 1..200),
        length in any::<prop::sample::Index>())
    {
        let text = Emitter::text(&expected, &styles, usize::MAX);
        let length = length.index(text.len() + 1);
        prop_assume!(text.is_char_boundary(length));
        agree_where_both_read(&format!("{}\n", &text[..length]))?;
        agree_where_both_read(&text[..length])?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 4000, ..ProptestConfig::default()
    })]

    #[test]
    fn a_scalar_has_the_value_that_serde_yaml_reads(text in scalars(), tag in tags()) {
        let (quoted, block) = (format!("'{text}'"), format!("|-\n  {text}"));
        for text in [&text, &quoted, &block] {
            let text = format!("{tag}{text}");
            agree(&format!("a: {text}\n"))?;
            agree(&format!("? {text}\n: b\n"))?;
        }
        agree(&format!("[{tag}{text}, b]"))?;
    }

    /// Without brackets and tabs the two parsers agree about every text, in a mapping.
    #[test]
    fn noise_without_brackets_is_read_alike(noise in noise(BLOCK)) {
        agree_where_both_read(&noise)?;
        if let Some(value) = value(&noise) {
            prop_assert_eq!(Some(value), by_serde(&noise), "{:?}", noise);
        }
    }

    /// In brackets YAML 1.2 allows more, see `texts_that_only_yaml_1_2_allows_are_read`.
    #[test]
    fn noise_that_both_parsers_take_is_read_alike(noise in noise(FLOW)) {
        agree_where_both_read(&noise)?;
    }
}

/// Both readers have the same value, or both refuse the text.
fn agree(text: &str) -> Result<(), TestCaseError> {
    // As text: 1 differs from 1.0, and 0.0 from -0.0.
    let shown = |value: Option<Value>| value.map(|value| value.to_string());
    prop_assert_eq!(shown(value(text)), shown(by_serde(text)), "{:?}", text);
    Ok(())
}

/// The reader has the value of `serde_yaml` if its own parser takes the text.
fn agree_where_both_read(text: &str) -> Result<(), TestCaseError> {
    // An alias in place of a key is refused, and a text without values as well.
    let is_refused = text.contains("*x :") || text.contains("? *x") || text.trim().is_empty();
    if let Some(expected) = by_serde(text).filter(|_| is_yaml_1_2(text) && !is_refused) {
        prop_assert_eq!(value(text), Some(expected), "{:?}", text);
    }
    Ok(())
}

fn values() -> impl Strategy<Value = Value> {
    leaves().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((words(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Values with equal parts, which an emitter can write as anchor and aliases.
fn repetitive() -> impl Strategy<Value = Value> {
    (values(), values(), words()).prop_map(
        |(a, b, key)| json!({ "a": a, key: [a, b, a], "c": { "d": b, "e": [[a], { "f": a }] } }),
    )
}

fn leaves() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-10..100_i64).prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        words().prop_map(Value::from),
        words().prop_map(Value::from),
    ]
}

fn words() -> impl Strategy<Value = String> {
    let pieces = select(
        &[
            "a", "b", "word", "é", "漢", "😀", " ", "  ", "\n", "\n\n", "\t", "'", "\"", "\\", ":",
            ": ", "#", " #", "-", "- ", "?", "[", "]", "{", "}", ",", "&x", "*x", "!", "|", ">",
            "%", "@", "`", "~", "null", "true", "1", "0x1f", "1e3", ".5", "007", "<<", "=", "---",
            "...", "\u{1}", "\u{7f}", "\r",
        ][..],
    );
    prop_oneof![
        2 => vec(pieces, 0..6).prop_map(|pieces| pieces.concat()),
        1 => vec(select(&["one", "two", "three"][..]), 1..6).prop_map(|words| words.join(" ")),
    ]
}

fn scalars() -> impl Strategy<Value = String> {
    let pieces = select(
        &[
            "0", "1", "7", "8", "9", "a", "f", "e", "E", "x", "o", "b", "+", "-", ".", "_", "0x",
            "0o", "0b", ".inf", ".Inf", ".nan", ".NaN", "inf", "nan", "null", "Null", "NULL", "~",
            "true", "True", "TRUE", "false", "False", "yes", "no", "on", "<<", "=", "1e", "00",
        ][..],
    );
    let long = (
        "[-+]?",
        select(&["", "0x", "0o", "0b", "0X", "1.", "1e"][..]),
        "[0-9]{15,45}|[0-9a-f]{14,34}|[01]{62,66}|[01]{126,130}|[0-7]{20,24}|[0-7]{41,44}",
    );
    let near = select(
        &[
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "0xffffffffffffffff",
            "0x10000000000000000",
            "-0x8000000000000000",
            "-0x8000000000000001",
            "340282366920938463463374607431768211455",
            "340282366920938463463374607431768211456",
            "-170141183460469231731687303715884105728",
            "-170141183460469231731687303715884105729",
            "-0x80000000000000000000000000000000",
            "-0x80000000000000000000000000000001",
            "+340282366920938463463374607431768211456",
            "0x100000000000000000000000000000000",
            "1.7976931348623157e308",
            "1.7976931348623159e308",
            "-0",
            "-0.0",
            "+0",
            "0.",
            "-.0",
            "4.9e-324",
        ][..],
    );
    prop_oneof![
        6 => vec(pieces, 1..6)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("a list", |text| text != "-"),
        2 => long.prop_map(|(sign, prefix, digits)| format!("{sign}{prefix}{digits}")),
        1 => near.prop_map(str::to_owned),
    ]
}

fn tags() -> impl Strategy<Value = &'static str> {
    let tags = select(
        &["!!str ", "!!int ", "!!float ", "!!bool ", "!!null ", "!!binary ", "!x ", "! "][..],
    );
    prop_oneof![3 => Just(""), 1 => tags]
}

fn noise(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(select(pieces), 0..16).prop_map(|pieces| format!("a:\n {}\n", pieces.concat()))
}

/// Pieces of YAML outside of brackets.
const BLOCK: &[&str] = &[
    "a", "b", "1", "é", "'", "\"", " ", "  ", "\n", "\n ", "\n  ", "-", "- ", "?", "? ", ":", ": ",
    ",", "#", " #", "&x ", "*x", "!!str ", "!y ", "|", "|\n", ">", ">\n", "|-\n  ", "%", "@", "`",
    "\\", "\\n", "~", "<<", "=", "0x", "'a'", "\"b\"", "\nk: v\n", "\na: ", "b: ", "c: ", "\r\n",
    "\n---\n",
];

/// As above, with brackets. A `?` has a space behind it: in front of a letter the parsers differ.
const FLOW: &[&str] = &[
    "a", "b", "1", "é", "'", "\"", " ", "  ", "\n", "\n ", "-", "- ", "? ", ":", ": ", ",", ", ",
    "#", " #", "&x ", "*x", "!!str ", "!y ", "|", ">", "%", "@", "`", "\\", "~", "<<", "=", "'a'",
    "\"b\"", "b: ", "c: ", "[", "[", "]", "]", "{", "{", "}", "}", "[]", "{}", "{ d: e }",
    "[ f, g ]", "\r\n", "\t",
];

/// Writes a value as YAML; each byte of `styles` is a choice between two or more ways.
struct Emitter<'a> {
    text: String,
    styles: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    /// The names of anchors with their values, `None` for a part that has not ended.
    anchors: Vec<(Option<Value>, usize)>,
    count: usize,
    /// Different names of anchors.
    names: usize,
}

impl<'a> Emitter<'a> {
    fn text(value: &Value, styles: &'a [u8], names: usize) -> String {
        let styles = styles.iter().cycle();
        let mut emitter =
            Self { text: String::new(), styles, anchors: Vec::new(), count: 0, names };
        emitter.block(value, 0);
        if !emitter.text.ends_with('\n') {
            emitter.text.push('\n');
        }
        emitter.text
    }

    fn choose(&mut self, ways: u8) -> u8 {
        self.styles.next().unwrap() % ways
    }

    fn one_of(&mut self, words: [&str; 3]) {
        let at = self.choose(3);
        self.text.push_str(words[usize::from(at)]);
    }

    /// Writes `value` behind the indicator or key on the line, or on lines of its own.
    fn block(&mut self, value: &Value, indent: usize) {
        let Some(anchor) = self.begin(value) else { return };
        let is_empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        match value {
            Value::Array(items) if !is_empty && self.choose(3) > 0 => {
                for item in items {
                    self.line(indent);
                    self.text.push_str("- ");
                    self.block(item, indent + 2);
                }
            }
            Value::Object(entries) if !is_empty && self.choose(3) > 0 => {
                for (key, value) in entries {
                    self.line(indent);
                    self.key(key);
                    self.text.push(' ');
                    self.block(value, indent + 1 + self.count % 2);
                }
            }
            Value::String(text) if self.choose(2) > 0 && is_literal(text) => {
                self.literal(text, indent);
            }
            Value::String(text) if self.choose(2) > 0 && is_foldable(text) => {
                self.folded(text, indent);
            }
            value => self.flow_content(value),
        }
        self.end(value, anchor);
    }

    /// Writes `value` in brackets or as a scalar on one line.
    fn flow(&mut self, value: &Value) {
        let Some(anchor) = self.begin(value) else { return };
        self.flow_content(value);
        self.end(value, anchor);
    }

    fn flow_content(&mut self, value: &Value) {
        match value {
            Value::Array(items) => {
                self.text.push('[');
                for item in items {
                    self.flow(item);
                    self.text.push_str(", ");
                }
                self.text.push(']');
            }
            Value::Object(entries) => {
                self.text.push('{');
                for (key, value) in entries {
                    self.key(key);
                    self.text.push(' ');
                    self.flow(value);
                    self.text.push_str(" , ");
                }
                self.text.push('}');
            }
            Value::String(text) => self.quoted(text),
            Value::Null => self.one_of(["null", "~", "Null"]),
            Value::Bool(true) => self.one_of(["true", "True", "TRUE"]),
            other => self.text.push_str(&other.to_string()),
        }
    }

    fn key(&mut self, key: &str) {
        self.quoted(key);
        self.text.push(':');
    }

    fn quoted(&mut self, text: &str) {
        let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
        let is_plain = is_word && !["null", "true"].contains(&text);
        let is_single = !text.contains(|c: char| c.is_control());
        match self.choose(3) {
            0 if is_plain => self.text.push_str(text),
            1 if is_single => {
                let text = text.replace('\'', "''");
                self.text.push_str(&format!("'{text}'"));
            }
            _ => {
                let json = Value::from(text).to_string();
                let json = json.replace('\u{7f}', "\\x7F");
                self.text.push_str(&json);
            }
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        let indent = indent.max(1);
        let lines = text.trim_end_matches('\n');
        let chomp = match text.len() - lines.len() {
            0 => "-",
            1 => "",
            _ => "+",
        };
        self.text.push('|');
        self.text.push_str(chomp);
        for line in lines.split('\n') {
            self.text.push('\n');
            if !line.is_empty() {
                self.text.push_str(&" ".repeat(indent));
                self.text.push_str(line);
            }
        }
        self.text.push_str(&"\n".repeat((text.len() - lines.len()).max(1)));
    }

    fn folded(&mut self, text: &str, indent: usize) {
        let indent = indent.max(1);
        self.text.push_str(">-");
        for word in text.split(' ') {
            self.text.push('\n');
            self.text.push_str(&" ".repeat(indent));
            self.text.push_str(word);
        }
        self.text.push('\n');
    }

    /// Begins a line, perhaps with a comment behind the one before.
    fn line(&mut self, indent: usize) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            if self.choose(4) == 0 {
                self.text.push_str(" # a comment: [");
            }
            self.text.push('\n');
        }
        self.text.push_str(&" ".repeat(indent));
    }

    /// Writes an alias and answers `None`, or an anchor and answers its number, 0 for none.
    fn begin(&mut self, value: &Value) -> Option<usize> {
        self.count += 1;
        let known = self
            .anchors
            .iter()
            .rev()
            .find(|(known, _)| known.as_ref() == Some(value))
            .map(|(_, at)| *at);
        if let Some(at) = known
            && self.choose(3) > 0
        {
            self.text.push_str(&format!("*a{at} "));
            return None;
        }
        if self.choose(3) > 0 {
            return Some(0);
        }
        let at = self.count % self.names + 1;
        self.anchors.retain(|(_, known)| *known != at);
        self.anchors.push((None, at));
        self.text.push_str(&format!("&a{at} "));
        Some(at)
    }

    fn end(&mut self, value: &Value, anchor: usize) {
        // A part inside may have taken the name.
        let is_open = |known: &&mut (Option<Value>, usize)| **known == (None, anchor);
        if let Some((known, _)) = self.anchors.iter_mut().find(is_open) {
            *known = Some(value.clone());
        }
    }
}

fn is_literal(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    !first.is_whitespace() && !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')
}

fn is_foldable(text: &str) -> bool {
    text.split(' ').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
}
