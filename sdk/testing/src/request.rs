//! A request in the form that a plugin under test sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_runtime::PluginError;

/// A request, with all inputs that a plugin may ask for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// Host and port.
    pub authority: String,
    /// `https` or `http`.
    pub scheme: String,
    /// The client's address.
    pub client: String,
    /// The client's country, as two letters; unknown if left out.
    pub country: Option<String>,
    /// The number of the client's autonomous system; unknown if left out.
    pub asn: Option<u32>,
    /// The request's id.
    pub id: String,
    /// The route's name.
    pub route: String,
    /// The parts of the path that the route's pattern names.
    pub parts: BTreeMap<String, String>,
    /// Header fields; the names in lower case.
    #[serde(deserialize_with = "fields")]
    #[schemars(with = "BTreeMap<String, Values>")]
    pub headers: Vec<(String, String)>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            authority: "localhost".to_owned(),
            scheme: "https".to_owned(),
            client: "192.0.2.1".to_owned(),
            country: None,
            asn: None,
            id: "0000000000000001".to_owned(),
            route: "default".to_owned(),
            parts: BTreeMap::new(),
            headers: Vec::new(),
        }
    }
}

impl Request {
    /// A GET of `path`.
    pub fn get(path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// The id as a number; the lines that a plugin logs carry it.
    pub(crate) fn number(&self) -> u64 {
        u64::from_str_radix(&self.id, 16).unwrap_or_default()
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    pub(crate) fn values(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, PluginError> {
        names.iter().map(|name| self.value(name)).collect()
    }

    pub(crate) fn response_values(
        &self,
        names: &[String],
        fields: &[(String, String)],
    ) -> Result<Vec<Option<Vec<u8>>>, PluginError> {
        let value = |name: &String| match name.as_str() {
            "headers" => Ok(Some(lines(fields))),
            _ => match name.split_once(':') {
                Some(("header", field)) => Ok(find(fields, field)),
                Some(("request-header", field)) => Ok(find(&self.headers, field)),
                _ => self.value(name),
            },
        };
        names.iter().map(value).collect()
    }

    fn value(&self, name: &str) -> Result<Option<Vec<u8>>, PluginError> {
        let text = match name {
            ":path" => &self.path,
            ":method" => &self.method,
            ":authority" => &self.authority,
            ":scheme" => &self.scheme,
            "client.address" => &self.client,
            "request.id" => &self.id,
            "route.name" => &self.route,
            "headers" => return Ok(Some(lines(&self.headers))),
            "client.country" => return Ok(self.country.clone().map(String::into_bytes)),
            "client.asn" => return Ok(self.asn.map(|asn| asn.to_string().into_bytes())),
            _ => match name.split_once(':') {
                Some(("header", field)) => return Ok(find(&self.headers, field)),
                Some(("cookie", cookie)) => return Ok(self.cookie(cookie)),
                Some(("path", part)) if !part.is_empty() => {
                    return Ok(self.parts.get(part).map(|value| value.clone().into_bytes()));
                }
                _ => {
                    let what = format!("it asks for the input {name:?}, which does not exist");
                    return Err(PluginError::invalid(&Arc::from("plugin"), what));
                }
            },
        };
        Ok(Some(text.clone().into_bytes()))
    }

    fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        let cookies = self.headers.iter().filter(|(field, _)| field == "cookie");
        let mut pairs = cookies.flat_map(|(_, value)| value.split(';'));
        pairs.find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.as_bytes().to_vec())
        })
    }
}

fn find(fields: &[(String, String)], name: &str) -> Option<Vec<u8>> {
    let (_, value) = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    Some(value.as_bytes().to_vec())
}

fn lines(fields: &[(String, String)]) -> Vec<u8> {
    let lines: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    lines.concat().into_bytes()
}

/// The value of a field, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Values {
    One(String),
    Several(Vec<String>),
}

/// Reads fields from a map of names to one value or several.
pub(crate) fn fields<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
    let map = BTreeMap::<String, Values>::deserialize(deserializer)?;
    let mut fields = Vec::new();
    for (name, values) in map {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        };
        let name = name.to_ascii_lowercase();
        fields.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(fields)
}
