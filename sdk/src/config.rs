//! Reads a plugin's configuration from JSON text.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;

/// A plugin's configuration. Every type that derives `Deserialize` and `JsonSchema` implements it.
pub trait Config: Sized {
    /// Returns a JSON Schema. Every configuration that [`Config::parse`] accepts must satisfy it.
    fn schema() -> String;

    /// Reads a configuration from JSON text. `null`, which the host sends if the user gave none,
    /// counts as `{}`.
    ///
    /// # Errors
    ///
    /// The problem, for the user.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<C: DeserializeOwned + JsonSchema> Config for C {
    fn schema() -> String {
        let generator = SchemaSettings::draft2020_12().into_generator();
        serde_json::to_string(&generator.into_root_schema_for::<C>()).unwrap_or_default()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = if text.trim() == "null" { "{}" } else { text };
        serde_json::from_str(text).map_err(|error| {
            // The position is left out: the text comes from the host, and the user never saw its
            // lines.
            let message = error.to_string();
            match message.split_once(" at line ") {
                Some((reason, _place)) => reason.to_owned(),
                None => message,
            }
        })
    }
}

/// The configuration of a plugin without options: every key is refused.
///
/// It is read without serde, which saves such a plugin two thirds of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoConfig;

impl Config for NoConfig {
    fn schema() -> String {
        r#"{"type":"object","additionalProperties":false}"#.to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "null" {
            return Ok(NoConfig);
        }
        let Some(rest) = text.strip_prefix('{') else {
            return Err("expected an object".to_owned());
        };
        match rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) {
            Some(key) => Err(["unknown field `", key, "`, there are no fields"].concat()),
            None => Ok(NoConfig),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Share {
        /// How much.
        #[serde(default)]
        share: u32,
    }

    #[test]
    fn no_configuration_is_the_default_one() {
        assert_eq!(Share::parse("null"), Ok(Share { share: 0 }));
        assert_eq!(Share::parse(" {\"share\": 5} "), Ok(Share { share: 5 }));
        for text in ["null", "{}", " { } "] {
            assert_eq!(NoConfig::parse(text), Ok(NoConfig));
        }
    }

    #[test]
    fn the_schema_says_what_the_type_says() {
        let schema: serde_json::Value = serde_json::from_str(&Share::schema()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["share"]["description"], "How much.");
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = Share::parse(r#"{"shares": 5}"#).unwrap_err();
        assert_eq!(error, "unknown field `shares`, expected `share`");
        let error = NoConfig::parse(r#"{ "on": 1}"#).unwrap_err();
        assert_eq!(error, "unknown field `on`, there are no fields");
        assert_eq!(NoConfig::parse("[1]").unwrap_err(), "expected an object");
    }
}
