//! The configuration as the user writes it.

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The groups that requests are split into.
    #[schemars(length(min = 1, max = 32))]
    pub(crate) groups: Vec<Group>,
    /// A header field with which a client chooses its group, also one of weight 0, for this request
    /// only. Every client that can send the field can choose. Left out: none.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) by_header: Option<String>,
    /// A cookie that keeps a client in its group. Left out: none.
    pub(crate) cookie: Option<Cookie>,
    /// The key of requests without a choice of their own. The same key always gives the same group:
    /// `client` (its address, or the first 64 bits of an IPv6 address), `header:NAME`,
    /// `cookie:NAME`, or `random`, which decides for each request anew. A request without the field
    /// uses its client.
    #[serde(default = "by_client")]
    #[schemars(regex(pattern = r"^(client|random|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$"))]
    pub(crate) by: String,
    /// A text that goes into the choice. Two experiments with the same keys and different texts
    /// group clients differently.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) salt: String,
    /// The header field that carries the name of the group to the origin. Fields of this name from
    /// clients are replaced. Empty: none.
    #[serde(default = "x_variant")]
    #[schemars(length(max = 255))]
    pub(crate) header: String,
    /// A header field that carries the name of the group to the client. Left out: none.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) response_header: Option<String>,
}

/// A group of requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// The name of the group, in the cookie and in header fields.
    #[schemars(regex(pattern = "^[0-9A-Za-z_-]{1,32}$"))]
    pub(crate) name: String,
    /// The upstream of the group, named in `allow.upstreams`. Left out: the upstream of the route.
    #[schemars(length(min = 1))]
    pub(crate) upstream: Option<String>,
    /// The share of the group, relative to the others. 0: only requests that name it in
    /// `by_header`.
    #[schemars(range(max = 1_000_000))]
    pub(crate) weight: u32,
}

/// A cookie with the name of the group. A cookie with an unknown group, or a group of weight 0, is
/// ignored.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cookie {
    /// The name of the cookie.
    #[serde(default = "variant")]
    #[schemars(regex(pattern = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"))]
    pub(crate) name: String,
    /// How many seconds a client keeps the cookie. Left out: until the browser is closed.
    #[schemars(range(min = 1, max = 34_560_000))]
    pub(crate) max_age: Option<u32>,
    /// Whether the cookie is sent over https only.
    #[serde(default = "yes")]
    pub(crate) secure: bool,
    /// Whether the cookie is hidden from scripts.
    #[serde(default = "yes")]
    pub(crate) http_only: bool,
    /// The requests from other sites that carry the cookie. `none` needs `secure`.
    #[serde(default)]
    pub(crate) same_site: SameSite,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SameSite {
    /// No requests from other sites.
    Strict,
    /// Only links that a user follows.
    #[default]
    Lax,
    /// All requests.
    None,
}

impl SameSite {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        }
    }
}

fn by_client() -> String {
    "client".to_owned()
}

fn x_variant() -> String {
    "x-variant".to_owned()
}

fn variant() -> String {
    "variant".to_owned()
}

fn yes() -> bool {
    true
}
