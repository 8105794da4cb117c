//! Quantities with their unit: `30s`, `64KiB`, `10%`. A number without one is an error, never a
//! guess.

use std::time;

use super::text::Kind;

/// A span of time that is never "none".
pub(super) struct Duration;

/// A limit on waiting. Zero means no limit.
pub(super) struct Timeout;

/// A number of bytes.
pub(super) struct Size;

/// A number of bytes that fits in memory.
pub(super) struct MemorySize;

/// A share from 0 to 1.
pub(super) struct Percent;

impl Kind for Duration {
    type Value = time::Duration;
    const FORMAT: &'static str = "duration";
    const MEANING: &'static str = "a whole number and one of the units `ms`, `s`, `m`, `h`";
    const PATTERN: &'static str = "^[0-9]+(ms|s|m|h)$";
    const EXAMPLES: &'static [&'static str] = &["30s", "500ms", "5m", "1h"];

    fn parse(text: &str) -> Result<time::Duration, String> {
        quantity(text, "duration", Self::EXAMPLES, DURATIONS, duration_unit)
            .map(time::Duration::from_millis)
    }

    fn print(value: &time::Duration) -> String {
        print(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), "s", DURATIONS)
    }

    fn magnitude(value: &time::Duration) -> Option<f64> {
        Some(value.as_secs_f64())
    }
}

impl Kind for Timeout {
    type Value = Option<time::Duration>;
    const FORMAT: &'static str = "timeout";
    const MEANING: &'static str = "a duration, where `0s` means none";
    const PATTERN: &'static str = Duration::PATTERN;
    const EXAMPLES: &'static [&'static str] = Duration::EXAMPLES;

    fn parse(text: &str) -> Result<Self::Value, String> {
        Duration::parse(text).map(|value| (!value.is_zero()).then_some(value))
    }

    fn print(value: &Self::Value) -> String {
        Duration::print(&value.unwrap_or_default())
    }

    fn magnitude(value: &Self::Value) -> Option<f64> {
        Duration::magnitude(&value.unwrap_or_default())
    }
}

impl Kind for Size {
    type Value = u64;
    const FORMAT: &'static str = "size";
    const MEANING: &'static str =
        "a whole number and one of the units `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024)";
    const PATTERN: &'static str = "^[0-9]+(B|KiB|MiB|GiB|TiB)$";
    const EXAMPLES: &'static [&'static str] = &["64KiB", "16MiB", "1GiB", "512B"];

    fn parse(text: &str) -> Result<u64, String> {
        quantity(text, "size", Self::EXAMPLES, SIZES, size_unit)
    }

    fn print(value: &u64) -> String {
        print(*value, "B", SIZES)
    }

    fn magnitude(value: &u64) -> Option<f64> {
        Some(*value as f64)
    }
}

impl Kind for MemorySize {
    type Value = usize;
    const FORMAT: &'static str = Size::FORMAT;
    const MEANING: &'static str = Size::MEANING;
    const PATTERN: &'static str = Size::PATTERN;
    const EXAMPLES: &'static [&'static str] = Size::EXAMPLES;

    fn parse(text: &str) -> Result<usize, String> {
        usize::try_from(Size::parse(text)?).map_err(|_| format!("\"{text}\" is too large"))
    }

    fn print(value: &usize) -> String {
        Size::print(&u64::try_from(*value).unwrap_or(u64::MAX))
    }
}

impl Kind for Percent {
    type Value = f64;
    const FORMAT: &'static str = "percent";
    const MEANING: &'static str = "a number from 0 to 100 and `%`";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)?%$";
    const EXAMPLES: &'static [&'static str] = &["10%", "0.1%"];

    fn parse(text: &str) -> Result<f64, String> {
        let Some(number) = text.strip_suffix('%') else {
            return Err(format!("\"{text}\" is not a share; write a percentage, as in \"10%\""));
        };
        // Rust's parser takes more than a user should write: signs, exponents, "inf".
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        match number.parse::<f64>() {
            Ok(share) if plain && share <= 100.0 => Ok(share / 100.0),
            Ok(_) if plain => Err(format!("\"{text}\" is more than 100%")),
            _ => Err(format!("\"{text}\" is not a percentage; write one as in \"10%\"")),
        }
    }

    fn print(value: &f64) -> String {
        // Rounded: 0.07 × 100 is 7.000000000000001.
        format!("{}%", (value * 1e8).round() / 1e6)
    }

    fn magnitude(value: &f64) -> Option<f64> {
        Some(*value)
    }
}

type Units = &'static [(&'static str, u64)];

fn quantity(
    text: &str,
    what: &str,
    examples: &[&str],
    units: Units,
    meant: fn(&str) -> Option<&'static str>,
) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let example = examples.first().copied().unwrap_or_default();
    if number.is_empty() || unit.starts_with(['.', ',', '_']) {
        return Err(format!(
            "\"{text}\" is not a {what}; write a whole number and a unit, as in \"{example}\""
        ));
    }
    let listed = || units.iter().rev().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if unit.is_empty() {
        return Err(format!("\"{text}\" has no unit; add one of {}", listed()));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let unit = unit.trim();
        let known = units.iter().map(|(name, _)| *name).find(|name| *name == unit);
        return Err(match known.or_else(|| meant(unit)) {
            Some(unit) => format!("\"{text}\" is not a {what}; did you mean \"{number}{unit}\"?"),
            None => format!("\"{text}\" has the unknown unit \"{unit}\"; use one of {}", listed()),
        });
    };
    let number = number.parse::<u64>().ok();
    number.and_then(|number| number.checked_mul(*factor)).ok_or(format!("\"{text}\" is too large"))
}

fn print(value: u64, zero: &str, units: Units) -> String {
    if value == 0 {
        return format!("0{zero}");
    }
    match units.iter().find(|(_, factor)| value.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => value.to_string(),
    }
}

/// Returns the unit that a user of another one means.
fn duration_unit(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => Some("ms"),
        "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
        _ => None,
    }
}

/// Returns the unit that a user of another one means. Decimal units are not taken: `64KB` is 64,000
/// to one reader and 65,536 to the next.
fn size_unit(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => Some("B"),
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        _ => None,
    }
}

/// Largest first, in milliseconds.
const DURATIONS: Units = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Largest first, in bytes.
const SIZES: Units =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

#[cfg(test)]
mod tests {
    use super::{Duration, Kind, Percent, Size, Timeout};

    #[test]
    fn every_example_is_taken_and_printed_back() {
        for text in ["30s", "500ms", "5m", "1h", "1500ms", "0s"] {
            assert_eq!(Duration::print(&Duration::parse(text).unwrap()), text);
        }
        for text in ["64KiB", "16MiB", "1GiB", "512B", "1025B", "0B", "3TiB"] {
            assert_eq!(Size::print(&Size::parse(text).unwrap()), text);
        }
        for text in ["10%", "7%", "0.1%", "100%", "0%"] {
            assert_eq!(Percent::print(&Percent::parse(text).unwrap()), text);
        }
        assert_eq!(Timeout::parse("0s").unwrap(), None);
    }

    #[test]
    fn a_wrong_quantity_says_what_to_write() {
        let duration = |text| Duration::parse(text).unwrap_err();
        assert_eq!(duration("30"), "\"30\" has no unit; add one of ms, s, m, h");
        assert_eq!(
            duration("5 parsecs"),
            "\"5 parsecs\" has the unknown unit \"parsecs\"; use one of ms, s, m, h"
        );
        assert_eq!(duration("5 sec"), "\"5 sec\" is not a duration; did you mean \"5s\"?");
        assert_eq!(duration("5 s"), "\"5 s\" is not a duration; did you mean \"5s\"?");
        for text in ["1.5s", "-1s", "soon", "", "s", "٣s"] {
            assert!(duration(text).contains("as in \"30s\""), "{text}");
        }
        assert_eq!(
            Size::parse("64KB").unwrap_err(),
            "\"64KB\" is not a size; did you mean \"64KiB\"?"
        );
        assert!(Size::parse("99999999999TiB").unwrap_err().contains("too large"));
        for text in ["10", "1e1%", "-1%", "inf%", "101%", "NaN%", "%"] {
            Percent::parse(text).unwrap_err();
        }
    }
}
