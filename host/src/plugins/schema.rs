//! The check of a plugin's configuration against the JSON Schema of the plugin.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::config::did_you_mean;
use crate::config::json_schema::properties;

/// An error in a configuration: its path, such as `.request.set` (empty for the whole), and a
/// message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The path below the configuration.
    pub(super) path: String,
    /// The message.
    pub(super) message: String,
}

/// Checks `config` against `schema`. A plugin without a schema accepts any configuration.
///
/// # Errors
///
/// The schema itself is invalid, which is an error of the plugin.
pub(super) fn check(schema: &str, config: &Value) -> Result<Vec<Fault>, String> {
    if schema.is_empty() {
        return Ok(Vec::new());
    }
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    // A missing configuration counts as the empty one.
    let empty = Value::Object(serde_json::Map::new());
    let config = if config.is_null() { &empty } else { config };
    let errors = validator.iter_errors(config);
    Ok(errors.flat_map(|error| faults(&error, &schema)).take(MAX_FAULTS).collect())
}

/// Converts an error of the validator. Each unknown key becomes one fault.
fn faults(error: &ValidationError<'_>, schema: &Value) -> Vec<Fault> {
    let path = dotted(error.instance_path().as_str());
    let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() else {
        return vec![Fault { path, message: error.to_string() }];
    };
    let around = error.schema_path().as_str().rsplit_once('/').map_or("", |(around, _)| around);
    let around = schema.pointer(around).unwrap_or(&Value::Null);
    let known: Vec<_> = properties(around).map(|(key, _)| key.as_str()).collect();
    let unknown = |key: &String| Fault {
        path: format!("{path}.{key}"),
        message: format!("unknown key {key:?}{}", did_you_mean(key, &known)),
    };
    unexpected.iter().map(unknown).collect()
}

/// Converts `/request/set/0` to `.request.set[0]`.
pub(super) fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push('.');
            path.push_str(&part);
        }
    }
    path
}

/// Maximum number of reported faults. A longer list is of no use.
const MAX_FAULTS: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,
        "properties":{"limits":{"type":"array","items":{"type":"integer"}}}}"#;

    #[test]
    fn a_fault_has_its_path() {
        let faults = check(SCHEMA, &json!({ "limits": [1, "two"] })).unwrap();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].path, ".limits[1]");
        assert!(faults[0].message.contains("integer"), "{}", faults[0].message);
    }

    #[test]
    fn a_key_that_there_is_not_is_told_with_the_one_that_is_meant() {
        let faults = check(SCHEMA, &json!({ "limit": [], "x": 1 })).unwrap();
        let told: Vec<_> = faults.iter().map(|f| (f.path.as_str(), f.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (".limit", "unknown key \"limit\"; did you mean \"limits\"?"),
                (".x", "unknown key \"x\"; expected limits"),
            ]
        );
        let nested = r##"{"$defs":{"s":{"additionalProperties":false,"properties":{"set":{}}}},
            "properties":{"request":{"$ref":"#/$defs/s"}}}"##;
        let faults = check(nested, &json!({ "request": { "sett": {} } })).unwrap();
        assert_eq!(faults[0].path, ".request.sett");
        assert_eq!(faults[0].message, "unknown key \"sett\"; did you mean \"set\"?");
    }

    #[test]
    fn no_configuration_is_the_empty_one() {
        assert_eq!(check(SCHEMA, &Value::Null), Ok(Vec::new()));
        assert_eq!(check("", &json!([1])), Ok(Vec::new()));
        let needs = r#"{"type":"object","required":["rate"]}"#;
        assert_eq!(check(needs, &Value::Null).unwrap().len(), 1);
    }

    #[test]
    fn a_schema_that_is_none_is_told() {
        assert!(check("{", &Value::Null).is_err());
        assert!(check(r#"{"type": 5}"#, &Value::Null).is_err());
    }
}
