//! Reads a bundle's source map (ECMA-426): the source file and line of each line of the bundle.

use anyhow::{Context, bail};
use serde::Deserialize;

/// The parts of a source map that are read.
#[derive(Deserialize)]
struct Map {
    sources: Vec<String>,
    mappings: String,
}

/// Returns the places as a JSON array, `[[FILE, LINE], …]`, by the line of the bundle. Both count
/// from 1. A line without a source, or from the SDK, has 0. The path of a file is relative to the
/// project's folder.
pub(super) fn of(map: &[u8]) -> anyhow::Result<String> {
    let Map { sources, mappings } = serde_json::from_slice(map)?;
    let (mut source, mut line) = (0_i64, 0_i64);
    let mut places = Vec::new();
    for group in mappings.split(';') {
        let mut first = None;
        for segment in group.split(',').filter(|segment| !segment.is_empty()) {
            // Column in the bundle, then source, line and column there, each relative to the one
            // before.
            if let [_, of_source, of_line, ..] = numbers(segment)?[..] {
                (source, line) = (source + of_source, line + of_line);
                first.get_or_insert((source, line));
            }
        }
        let place = first.and_then(|(source, line)| {
            let name = sources.get(usize::try_from(source).ok()?)?;
            let name = name.trim_start_matches("../");
            (!name.starts_with("weir/")).then(|| serde_json::json!([name, line + 1]))
        });
        places.push(place.unwrap_or_else(|| 0.into()));
    }
    while places.last().is_some_and(serde_json::Value::is_number) {
        places.pop();
    }
    serde_json::to_string(&places).context("write the places")
}

/// Reads the numbers of a segment. A Base64 digit has five bits and one for a further digit; the
/// lowest bit of a number is its sign.
fn numbers(segment: &str) -> anyhow::Result<Vec<i64>> {
    let (mut numbers, mut value, mut shift) = (Vec::new(), 0_i64, 0_u32);
    for digit in segment.bytes() {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("{segment:?} is no segment of a source map"),
        };
        value |= i64::from(digit & 31).checked_shl(shift).unwrap_or(0);
        shift += 5;
        if digit & 32 == 0 {
            numbers.push(if value & 1 == 0 { value >> 1 } else { -(value >> 1) });
            (value, shift) = (0, 0);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_the_place_that_it_begins_with() {
        // Lines: no source; the SDK's; line 3 of the plugin; two segments, of lines 5 and 4; no
        // source again.
        let map = br#"{"version":3,"sources":["weir/weir.ts","../src/plugin.ts"],"names":[],
            "mappings":";AAAA;ACEA;AAEA,GADA;"}"#;
        assert_eq!(of(map).unwrap(), r#"[0,0,["src/plugin.ts",3],["src/plugin.ts",5]]"#);
        assert!(of(br#"{"sources":[],"mappings":"A?"}"#).is_err());
        // A missing source and a number that is too long give no place.
        assert_eq!(of(br#"{"sources":[],"mappings":"AAAA,gggggggggggggggggggA"}"#).unwrap(), "[]");
    }
}
