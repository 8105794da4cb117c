//! Scalars that mean more than their text, and the way each is written, checked and described.
//!
//! The JSON Schema names a [`Kind`] by its `format`. `shape` finds the parser of a value by this
//! name, and an editor finds its pattern. Durations and sizes are in `units`, names and addresses
//! in `names`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};

/// A way to write a value as text.
pub(super) trait Kind {
    /// The type that the text becomes.
    type Value;
    /// The `format` of the JSON Schema.
    const FORMAT: &'static str;
    /// The written form, for the reference.
    const MEANING: &'static str;
    /// A regular expression for editors. `parse` decides.
    const PATTERN: &'static str;
    /// Values that `parse` takes. The first is shown in errors.
    const EXAMPLES: &'static [&'static str];
    /// Whether YAML's integers are taken as text.
    const INTEGERS: bool = false;

    /// Reads the text. The error names the fault and the text to write instead.
    fn parse(text: &str) -> Result<Self::Value, String>;

    /// Writes a value as a user writes it.
    fn print(value: &Self::Value) -> String;

    /// Returns the number that `x-minimum` and `x-maximum` bound, for kinds that have an order.
    fn magnitude(_value: &Self::Value) -> Option<f64> {
        None
    }
}

/// A field of a type of its own, written as `K`: for `#[serde(with = "As::<K>")]`.
pub(super) struct As<K>(PhantomData<K>);

impl<K: Kind> As<K> {
    pub(super) fn serialize<S: Serializer>(value: &K::Value, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&K::print(value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<K::Value, D::Error> {
        Text::<K>::deserialize(from).map(|text| text.0)
    }
}

impl<K: Kind> JsonSchema for As<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        K::FORMAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({
            "type": "string",
            "format": K::FORMAT,
            "pattern": K::PATTERN,
            "examples": K::EXAMPLES,
        });
        if K::INTEGERS {
            schema.insert("type".to_owned(), serde_json::json!(["string", "integer"]));
        }
        schema
    }
}

/// A list of values written as `K`: for `#[serde(with = "AsList::<K>")]`.
pub(super) struct AsList<K>(PhantomData<K>);

impl<K: Kind> AsList<K> {
    pub(super) fn serialize<S: Serializer>(values: &[K::Value], to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(values.len()))?;
        for value in values {
            list.serialize_element(&K::print(value))?;
        }
        list.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<K::Value>, D::Error> {
        let list = Vec::<Text<K>>::deserialize(from)?;
        Ok(list.into_iter().map(|text| text.0).collect())
    }
}

impl<K: Kind> JsonSchema for AsList<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("list_of_{}", K::FORMAT).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": As::<K>::json_schema(generator) })
    }
}

/// One value that was written as `K`, or a list of them. Empty if it is left out.
pub(super) struct Texts<K: Kind>(pub(super) Vec<K::Value>);

impl<K: Kind> Default for Texts<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: Kind> Deserialize<'de> for Texts<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let list = match serde_json::Value::deserialize(from)? {
            serde_json::Value::Array(list) => list,
            one => vec![one],
        };
        let values = list.into_iter().map(|one| Text::<K>::deserialize(one).map(|text| text.0));
        Ok(Self(values.collect::<Result<_, _>>().map_err(D::Error::custom)?))
    }
}

impl<K: Kind> JsonSchema for Texts<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("one_or_list_of_{}", K::FORMAT).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = As::<K>::json_schema(generator);
        let item = schema.clone();
        // `pattern` is about text only, and `items` about lists only.
        schema.insert("type".to_owned(), serde_json::json!(["string", "array"]));
        schema.insert("items".to_owned(), item.to_value());
        schema.insert("minItems".to_owned(), 1.into());
        schema
    }
}

/// A field that may be left out: for `#[serde(default, with = "AsOption::<K>")]`.
pub(super) struct AsOption<K>(PhantomData<K>);

impl<K: Kind> AsOption<K> {
    pub(super) fn serialize<S: Serializer>(
        value: &Option<K::Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => As::<K>::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<K::Value>, D::Error> {
        As::<K>::deserialize(from).map(Some)
    }
}

impl<K: Kind> JsonSchema for AsOption<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        K::FORMAT.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        As::<K>::json_schema(generator)
    }
}

/// A value that was written as `K`.
pub(super) struct Text<K: Kind>(pub(super) K::Value);

impl<'de, K: Kind> Deserialize<'de> for Text<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }

            fn visit_u64<E>(self, number: u64) -> Result<String, E> {
                Ok(number.to_string())
            }
        }

        let text = from.deserialize_any(Scalar)?;
        K::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

impl<K: Kind> Serialize for Text<K> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        As::<K>::serialize(&self.0, to)
    }
}

impl<K: Kind> JsonSchema for Text<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        K::FORMAT.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        As::<K>::json_schema(generator)
    }
}
