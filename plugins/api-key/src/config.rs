//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Secret;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Keys by the names of their owners, at most 1000. A key is text, `env:NAME`, `file:PATH`, or
    /// `sha256:HEX` with the SHA-256 of the key, which keeps the key itself out of every file. A
    /// key has 16 to 256 visible ASCII characters.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 1000))]
    pub(crate) keys: BTreeMap<String, Secret>,
    /// Rules for some of the names in `keys`: allowed requests, and their upstream. A name without
    /// a rule may do everything.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 1000))]
    pub(crate) rules: BTreeMap<String, Rule>,
    /// The places of the key: `header:NAME`, `bearer` (the field `Authorization: Bearer …`),
    /// `cookie:NAME` or `query:NAME`, at most 4. A request with more than one key is refused. Keys
    /// in a query end up in logs.
    #[serde(default = "x_api_key")]
    #[schemars(length(min = 1, max = 4))]
    pub(crate) from: Vec<String>,
    /// The header field in which the origin sees the name of the owner. Fields of this name from
    /// clients are removed.
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

/// The requests that a key allows.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The name that the origin sees. Two keys can share one name while a key changes. Left out:
    /// the name in `keys`.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) consumer: Option<String>,
    /// The allowed paths: `/a` allows `/a` itself and every path below it. Left out: all. At most
    /// 64. Paths with dot segments, plain or encoded, with `//` or with backslashes are refused,
    /// because origins read them differently.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) paths: Option<Vec<String>>,
    /// The allowed methods, in upper case. Left out: all. At most 16.
    #[schemars(length(min = 1, max = 16))]
    pub(crate) methods: Option<Vec<String>>,
    /// The upstream of requests with this key, named in `allow.upstreams`. Left out: the upstream
    /// of the route.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) upstream: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    /// One line.
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
