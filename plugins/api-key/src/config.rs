//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Secret;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Keys by the names of those whose they are, at most 1000: as text, `env:NAME`, `file:PATH`, or `sha256:HEX` with the
    /// SHA-256 of the key, so that the key itself stands nowhere. A key has 16 to 256 visible ASCII characters.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1000))]
    pub(crate) keys: BTreeMap<String, Secret>,
    /// What some of the names in `keys` may do, and where their requests go. Who is not named here may do everything.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 1000))]
    pub(crate) rules: BTreeMap<String, Rule>,
    /// Where the key is looked for: `header:NAME`, `bearer` (the field `Authorization: Bearer …`), `cookie:NAME` or
    /// `query:NAME`, at most 4. A request with more than one key is refused. Keys in a query end up in logs.
    #[serde(default = "x_api_key")]
    #[schemars(length(min = 1, max = 4))]
    pub(crate) from: Vec<String>,
    /// The header field in which the origin sees whose key it is. What a client sends of this name is removed.
    #[serde(default = "x_consumer")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) consumer_header: String,
    /// Whether the origin sees the key.
    #[serde(default)]
    pub(crate) forward: bool,
    /// The form of refusals: `text` or `json`, an object with `error`.
    #[serde(default)]
    pub(crate) body: Body,
}

/// What a key is good for.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The name that the origin sees, so that one who changes keys may have two for a time. Left out: that in `keys`.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) consumer: Option<String>,
    /// Paths that may be asked for: `/a` is `/a` itself and what is below it. Left out: all. At most 64. Paths with dot segments,
    /// encoded ones too, with `//` or with backslashes are refused: origins do not agree on what they are.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) paths: Option<Vec<String>>,
    /// Methods that may be used, in upper case. Left out: all. At most 16.
    #[schemars(length(min = 1, max = 16))]
    pub(crate) methods: Option<Vec<String>>,
    /// The upstream of its requests, named in `allow.upstreams`. Left out: the route's.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) upstream: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    /// A line.
    #[default]
    Text,
    /// An object with `error`.
    Json,
}

fn x_api_key() -> Vec<String> {
    vec!["header:x-api-key".to_owned()]
}

fn x_consumer() -> String {
    "x-consumer".to_owned()
}
