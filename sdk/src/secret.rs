//! Secret values of a configuration.

use std::borrow::Cow;
use std::fmt;
use std::hint::black_box;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// A password, a key or a token of the configuration. The user writes its text, or `env:NAME` or
/// `file:PATH`. The schema's annotation `x-weir-secret` makes Weir replace such a reference by its
/// value before the plugin sees it.
///
/// It cannot be empty, and `Debug` does not show it.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::Deserialize;
/// use weir_sdk::{Config, Secret};
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Login {
///     /// The password.
///     password: Secret,
/// }
///
/// let login = Login::parse(r#"{"password": "open sesame"}"#).unwrap();
/// assert!(login.password.eq_bytes(b"open sesame"));
/// ```
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret as text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares `given` with the secret. The time reveals nothing about the secret except its
    /// length.
    pub fn eq_bytes(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differences = own.iter().zip(given).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        own.len() == given.len() && differences == 0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            Err(D::Error::custom("a secret cannot be empty"))
        } else {
            Ok(Self(text))
        }
    }
}

impl JsonSchema for Secret {
    /// In place, so that the annotation stands where the value does.
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "A secret: its text, `env:NAME` for the value of an environment variable, or `file:PATH` for \
                the content of a file.",
            "x-weir-secret": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::Config;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    struct Login {
        /// The password.
        password: Secret,
        other: Option<Secret>,
        #[serde(default)]
        more: BTreeMap<String, Secret>,
    }

    #[test]
    fn it_is_read_from_text_and_not_shown() {
        let login = Login::parse(r#"{"password":"open sesame","more":{"a":"b"}}"#).unwrap();
        assert_eq!(login.password.expose(), "open sesame");
        assert_eq!(login.more["a"].expose(), "b");
        assert!(login.other.is_none());
        let shown = format!("{login:?}");
        assert!(shown.contains("password: Secret(…)") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn an_empty_one_and_other_types_are_refused() {
        assert_eq!(Login::parse(r#"{"password":""}"#).unwrap_err(), "a secret cannot be empty");
        assert!(Login::parse(r#"{"password":5}"#).is_err());
    }

    #[test]
    fn only_the_whole_secret_is_equal() {
        let secret = Secret::from("key");
        assert!(secret.eq_bytes(b"key"));
        for other in ["", "k", "kez", "Key", "keys", "key\0"] {
            assert!(!secret.eq_bytes(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn the_annotation_stands_where_the_value_does() {
        let schema: Value = serde_json::from_str(&Login::schema()).unwrap();
        let properties = &schema["properties"];
        for place in [
            &properties["password"],
            &properties["other"],
            &properties["more"]["additionalProperties"],
        ] {
            assert_eq!(place["x-weir-secret"], true, "{place}");
        }
        assert_eq!(properties["password"]["description"], "The password.");
        let told = properties["other"]["description"].as_str().unwrap();
        assert!(told.contains("`env:NAME`") && told.contains("`file:PATH`"), "{told}");
    }
}
