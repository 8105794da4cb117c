//! The shared state before and after a case.

use serde_json::Value;
use weir_runtime::Preset;

use super::Spaces;
use crate::Component;

/// Sets the values.
pub(super) fn prepare(component: &Component, spaces: &Spaces) -> Result<(), String> {
    let environment = component.plugin().environment();
    for (space, values) in spaces {
        for (key, value) in values {
            let value = match value {
                Value::Null => None,
                Value::String(text) => Some(Preset::Bytes(text.as_bytes())),
                Value::Number(number) => {
                    let sum = number.as_i64();
                    let sum = sum.ok_or_else(|| format!("state: {key}: {number} is no counter"))?;
                    Some(Preset::Counter(sum))
                }
                other => return Err(format!("state: {key}: {other} is no text or number")),
            };
            if !environment.set_value(space, key, value) {
                return Err(format!("state: allow.state does not name the space {space:?}"));
            }
        }
    }
    Ok(())
}

/// Compares the values with those that are expected.
pub(super) fn compare(component: &Component, spaces: &Spaces) -> Result<(), String> {
    let environment = component.plugin().environment();
    for (space, values) in spaces {
        for (key, expected) in values {
            let found = environment.value(space, key);
            let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let expected = match expected {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            if found != expected {
                let shown = |value: &Option<String>| {
                    value.as_ref().map_or("no value".to_owned(), |value| format!("{value:?}"))
                };
                let (expected, found) = (shown(&expected), shown(&found));
                return Err(format!(
                    "expect_state: {key} in the space {space:?}: expected {expected}, got {found}"
                ));
            }
        }
    }
    Ok(())
}
