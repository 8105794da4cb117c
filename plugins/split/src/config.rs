//! The configuration as the user writes it.

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The groups that requests are split into.
    #[schemars(length(min = 1, max = 32))]
    pub(crate) groups: Vec<Group>,
    /// A header field by whose value a client chooses a group itself, one of weight 0 too, for that request alone. Whoever can
    /// send it can choose. Left out: none.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) by_header: Option<String>,
    /// A cookie that keeps a client in its group. Left out: none.
    pub(crate) cookie: Option<Cookie>,
    /// What a request without a choice of its own is put into a group by, always into the same: `client` (its address; of IPv6 the first
    /// 64 bits), `header:NAME`, `cookie:NAME`, or `random`, each request anew. A request that lacks the field goes by its client.
    #[serde(default = "by_client")]
    #[schemars(regex(pattern = r"^(client|random|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$"))]
    pub(crate) by: String,
    /// Text that goes into the choice, so that two experiments with the same keys put clients together differently.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) salt: String,
    /// The header field that tells the origin the group's name. What a client sends of that name is replaced. Empty: none.
    #[serde(default = "x_variant")]
    #[schemars(length(max = 255))]
    pub(crate) header: String,
    /// A header field that tells the client the group's name. Left out: none.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) response_header: Option<String>,
}

/// A group of requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// Its name, in the cookie and in header fields.
    #[schemars(regex(pattern = "^[0-9A-Za-z_-]{1,32}$"))]
    pub(crate) name: String,
    /// The upstream that serves it, named in `allow.upstreams`. Left out: the route's.
    #[schemars(length(min = 1))]
    pub(crate) upstream: Option<String>,
    /// Its share relative to the others. 0: only who names it in `by_header` gets there.
    #[schemars(range(max = 1_000_000))]
    pub(crate) weight: u32,
}

/// A cookie whose value is the group's name. One that names no group, or one of weight 0, is as if it were not there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cookie {
    /// Its name.
    #[serde(default = "variant")]
    #[schemars(regex(pattern = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"))]
    pub(crate) name: String,
    /// Seconds that a client keeps it. Left out: until the browser is closed.
    #[schemars(range(min = 1, max = 34_560_000))]
    pub(crate) max_age: Option<u32>,
    /// Whether it is sent over https only.
    #[serde(default = "yes")]
    pub(crate) secure: bool,
    /// Whether scripts cannot read it.
    #[serde(default = "yes")]
    pub(crate) http_only: bool,
    /// Whether it goes along with requests that other sites cause; `none` needs `secure`.
    #[serde(default)]
    pub(crate) same_site: SameSite,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SameSite {
    /// With none.
    Strict,
    /// With links that a user follows.
    #[default]
    Lax,
    /// With all.
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
