//! The configuration as the user writes it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Rules in order. The first rule that matches counts.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) rules: Vec<Rule>,
    /// The status of rules without their own: 301, 302, 303, 307 or 308. With 307 and 308 clients
    /// repeat method and body. With 303 they send a GET. With 301 and 302 a POST becomes a GET. 301
    /// and 308 are permanent.
    #[serde(default)]
    pub(crate) status: Status,
    /// Seconds that caches may keep a redirect, as `cache-control: max-age`. Left out: no
    /// `max-age`, and caches may keep a 301 or 308 for any time.
    #[schemars(range(max = 31_536_000))]
    pub(crate) max_age: Option<u32>,
}

/// The requests of a rule, and their target. A request must match every key that the rule has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The scheme of the client's connection to Weir, `http` or `https`.
    pub(crate) scheme: Option<Scheme>,
    /// The host of the request, such as `example.com`, or `*.example.com` for every host below it.
    /// Case and port are ignored.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) host: Option<String>,
    /// A path and every path below it: `/blog` covers `/blog` and `/blog/x`, not `/blogs`.
    /// Percent-encoding and case are compared as sent.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) prefix: Option<String>,
    /// Exactly this path.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) path: Option<String>,
    /// A regular expression that is found in the path, such as `^/blog/(\d+)$` (syntax of the crate
    /// `regex`, ASCII only, without look-around and back references). It takes time in proportion
    /// to the path and compiles to at most 32 KiB.
    #[schemars(length(max = 1024))]
    pub(crate) regex: Option<String>,
    /// The target: a path that begins with a slash, or a whole URI. It may have `${scheme}`,
    /// `${host}` (without port), `${path}`, `${query}`, and the groups `$1`, `${1}` and `${name}`
    /// of `regex`. `$$` is a dollar sign. Before the path only `${scheme}` and `${host}` are
    /// allowed. A rule has either this or `trailing_slash`.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) to: Option<String>,
    /// Redirects to the same path with a slash at its end (`add`: only if the last segment has no
    /// dot, as files have) or without (`remove`).
    pub(crate) trailing_slash: Option<TrailingSlash>,
    /// Whether the target gets the query of the request. If `to` has its own query, only that query
    /// counts. `${query}` in it is the query of the request.
    #[serde(default = "yes")]
    pub(crate) keep_query: bool,
    /// The status of this rule. Left out: the general status.
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
    /// `/a` to `/a/`. `/a.css` stays.
    Add,
    /// `/a/` to `/a`. `/` stays.
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
        Err(format!("status: {code} is not one of 301, 302, 303, 307 and 308"))
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

/// The statuses that name a target to follow automatically (RFC 9110 §15.4).
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

fn yes() -> bool {
    true
}
