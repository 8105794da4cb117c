//! The configuration as the user writes it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Rules in order: the first that matches is taken.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) rules: Vec<Rule>,
    /// The status of rules that have none of their own: 301, 302, 303, 307 or 308. With 307 and 308 clients repeat method and
    /// body, with 303 they make a GET, with 301 and 302 a POST becomes a GET. 301 and 308 are permanent.
    #[serde(default)]
    pub(crate) status: Status,
    /// Seconds that caches may keep a redirect, as `cache-control: max-age`. Left out: no such field, with which caches may keep
    /// a 301 or 308 as long as they like.
    #[schemars(range(max = 31_536_000))]
    pub(crate) max_age: Option<u32>,
}

/// Which requests, and where they are sent. All that a rule says of a request must be so; what it does not say may be anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Requests that came with `http` or with `https`, by the client's connection to Weir.
    pub(crate) scheme: Option<Scheme>,
    /// Requests for this host, as `example.com`, or `*.example.com` for all below it; without regard to case or port.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) host: Option<String>,
    /// The path and all below it, as in `/blog`, which is `/blog` and `/blog/x` but not `/blogs`. Percent-encoding and case are
    /// compared as the client sent them.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) prefix: Option<String>,
    /// Exactly this path.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) path: Option<String>,
    /// Paths in which this regular expression is found, as in `^/blog/(\d+)$` (syntax of the crate `regex`, of ASCII, without
    /// look-around and back references; time is in proportion to the path). It compiles to 32 KiB at the most.
    #[schemars(length(max = 1024))]
    pub(crate) regex: Option<String>,
    /// Where to: a path from a slash on, or a whole URI. May have `${scheme}`, `${host}` (without port), `${path}`, `${query}`,
    /// and the groups `$1`, `${1}` and `${name}` of `regex`; `$$` is a dollar. Before the path only `${scheme}` and `${host}` may
    /// stand. Either this or `trailing_slash`.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) to: Option<String>,
    /// To the same path with a slash at its end (`add`: if its last segment has no dot, as files have) or without (`remove`).
    pub(crate) trailing_slash: Option<TrailingSlash>,
    /// Whether the query goes with it. A `to` that has a query of its own has that alone; `${query}` in it is the request's.
    #[serde(default = "yes")]
    pub(crate) keep_query: bool,
    /// The status of this rule. Left out: that of all.
    pub(crate) status: Option<Status>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TrailingSlash {
    /// `/a` to `/a/`; `/a.css` stays.
    Add,
    /// `/a/` to `/a`; `/` stays.
    Remove,
}

/// The status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub(crate) struct Status(u16);

impl Status {
    pub(crate) fn code(self) -> u16 {
        self.0
    }
}

impl Default for Status {
    fn default() -> Self {
        Status(308)
    }
}

impl TryFrom<u16> for Status {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, String> {
        if STATUSES.contains(&code) {
            return Ok(Status(code));
        }
        Err(format!("status: {code} is none of 301, 302, 303, 307 and 308"))
    }
}

impl JsonSchema for Status {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "enum": STATUSES })
    }
}

/// Those that say where to, without asking (RFC 9110 §15.4).
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

fn yes() -> bool {
    true
}
