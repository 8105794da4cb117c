//! A plugin's configuration held against the JSON Schema that the plugin brings.

use serde_json::Value;

/// What is wrong with a configuration: where, such as `.request.set` (empty for the whole), and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The path below the configuration.
    pub(super) path: String,
    /// What is wrong there.
    pub(super) message: String,
}

/// Checks `config` against `schema`; a plugin without a schema takes anything.
///
/// # Errors
/// What is wrong with the schema itself, which is the plugin's fault.
pub(super) fn check(schema: &str, config: &Value) -> Result<Vec<Fault>, String> {
    if schema.is_empty() {
        return Ok(Vec::new());
    }
    let schema = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    // A user who gives no configuration gives the empty one.
    let empty = Value::Object(serde_json::Map::new());
    let config = if config.is_null() { &empty } else { config };
    let faults = validator.iter_errors(config).take(MAX_FAULTS);
    Ok(faults
        .map(|error| Fault {
            path: dotted(error.instance_path().as_str()),
            message: error.to_string(),
        })
        .collect())
}

/// `/request/set/0` as `.request.set[0]`.
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

/// More than this many at once help nobody.
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
        let faults = check(SCHEMA, &json!({ "limit": [] })).unwrap();
        assert!(faults[0].message.contains("limit"), "{}", faults[0].message);
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
