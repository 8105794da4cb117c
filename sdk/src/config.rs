//! A plugin's configuration, from JSON text.

use serde::de::DeserializeOwned;

/// What a plugin is configured with. Every type that serde can deserialise is one.
pub trait Config: Sized {
    /// Reads a configuration from JSON text; `null`, what the host hands over when the user gave none, is `{}`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the user.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<C: DeserializeOwned> Config for C {
    fn parse(text: &str) -> Result<Self, String> {
        let text = if text.trim() == "null" { "{}" } else { text };
        serde_json::from_str(text).map_err(|error| {
            // The place is left out: the text is the host's, the user never saw its lines.
            let message = error.to_string();
            match message.split_once(" at line ") {
                Some((reason, _place)) => reason.to_owned(),
                None => message,
            }
        })
    }
}

/// The configuration of a plugin that has nothing to configure: every key is refused.
///
/// It is read without serde, which saves such a plugin two thirds of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoConfig;

impl NoConfig {
    /// Its JSON Schema.
    pub const SCHEMA: &'static str = r#"{"type":"object","additionalProperties":false}"#;
}

impl Config for NoConfig {
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

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Share {
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
    fn a_misspelt_key_is_named() {
        let error = Share::parse(r#"{"shares": 5}"#).unwrap_err();
        assert_eq!(error, "unknown field `shares`, expected `share`");
        let error = NoConfig::parse(r#"{ "on": 1}"#).unwrap_err();
        assert_eq!(error, "unknown field `on`, there are no fields");
        assert_eq!(NoConfig::parse("[1]").unwrap_err(), "expected an object");
    }
}
