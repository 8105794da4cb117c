//! The values of scalars: null, booleans, numbers and text.
//!
//! The rules are those of `serde_yaml`, which reads plugin manifests and cases. They differ from
//! the core schema of YAML 1.2 in these points: `0b` numbers and signs before `0x` are integers,
//! integers have 64 bits, and digits after a leading zero, as in `007`, are text.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::Value;

/// Returns the value of a scalar. Only a plain scalar, or one with a tag, can be other than text.
///
/// # Errors
/// The tag is not one of YAML's own or does not fit, or JSON cannot hold the number.
pub(super) fn value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let tag = tag.map(name);
    if let Some(tag) = tag.as_deref() {
        check(tag)?;
    }
    match tag.as_deref().map(|tag| tag.strip_prefix(CORE).unwrap_or_default()) {
        None if style == ScalarStyle::Plain => plain(text),
        Some("null") if is_null(text) => Ok(Value::Null),
        Some("bool") => boolean(text).map(Value::Bool).ok_or_else(|| unfit("boolean")),
        Some("int") => integer(text).unwrap_or_else(|| Err(unfit("integer"))),
        Some("float") => float(text).unwrap_or_else(|| Err(unfit("number"))),
        Some("null") => Err(unfit("null")),
        _ => Ok(text.into()),
    }
}

/// Refuses a tag of an application, such as `!secret`.
///
/// # Errors
/// The tag begins with `!`. Others, `!!set` among them, change nothing.
pub(super) fn check(tag: &str) -> Result<(), String> {
    if tag.starts_with('!') {
        let mut shown: String = tag.chars().take(MAX_SHOWN).collect();
        if shown.len() < tag.len() {
            shown.push('…');
        }
        return Err(format!("the tag \"{shown}\" has no meaning here"));
    }
    Ok(())
}

/// The whole name of a tag.
pub(super) fn name(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

fn plain(text: &str) -> Result<Value, String> {
    if text.is_empty() || is_null(text) {
        return Ok(Value::Null);
    }
    if let Some(value) = boolean(text) {
        return Ok(value.into());
    }
    let number = || if has_leading_zero(text) { None } else { float(text) };
    // The parser takes these inside brackets, YAML takes them nowhere.
    if let Some(first) = text.chars().next().filter(|c| "|>%@`".contains(*c)) {
        return Err(format!("text that begins with \"{first}\" must be in quotes"));
    }
    integer(text).or_else(number).unwrap_or_else(|| Ok(text.into()))
}

fn is_null(text: &str) -> bool {
    matches!(text, "null" | "Null" | "NULL" | "~")
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Reads an integer. Longer digits than those of 128 bits are none: they may be a float or text.
fn integer(text: &str) -> Option<Result<Value, String>> {
    let (is_negative, digits) = sign(text);
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x", rest)) => (16, rest),
        Some(("0o", rest)) => (8, rest),
        Some(("0b", rest)) => (2, rest),
        _ if has_leading_zero(text) => return None,
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let size = u128::from_str_radix(digits, radix).ok()?;
    let number = if is_negative { 0_i128.checked_sub_unsigned(size) } else { None };
    let value = match (is_negative, number) {
        (false, _) => u64::try_from(size).ok().map(Value::from),
        (true, Some(number)) => i64::try_from(number).ok().map(Value::from),
        (true, None) => return None,
    };
    Some(value.ok_or_else(|| "the integer does not fit into 64 bits".to_owned()))
}

fn float(text: &str) -> Option<Result<Value, String>> {
    let (_, digits) = sign(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Err("a number must be finite".to_owned()));
    }
    // `parse` would take a second sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(Ok(number.into()))
}

/// Splits off the sign; the first half tells whether it is a minus.
fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Whether only digits follow a zero, as in `007`. YAML 1.2 reads 7, YAML 1.1 an octal number, and
/// `serde_yaml` text.
fn has_leading_zero(text: &str) -> bool {
    let (_, digits) = sign(text);
    let rest = digits.strip_prefix('0').unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
}

/// Shows no value: it may be a secret.
fn unfit(kind: &str) -> String {
    format!("the value is not of the type that its tag names: {kind}")
}

/// Characters of a tag in a message.
const MAX_SHOWN: usize = 64;

/// The prefix of the tags that YAML itself defines; `!!` stands for it.
const CORE: &str = "tag:yaml.org,2002:";
