//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Rules in order: the first that matches is taken, and with `continue` those after it are looked at too.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) rules: Vec<Rule>,
    /// A header field that tells the origin which path and query the client asked for, such as `x-original-uri`. It is set on
    /// every request, so that a client cannot forge it. Left out: none.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) original: Option<String>,
    /// What becomes of a request whose path has a segment `..` after a rule has changed it: `refuse` answers 400, `keep` leaves
    /// it to the origin. Percent-encoded spellings count.
    #[serde(default)]
    pub(crate) dot_segments: DotSegments,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DotSegments {
    /// They are answered with 400.
    #[default]
    Refuse,
    /// They pass.
    Keep,
}

/// Which paths, and what becomes of them. Without `prefix`, `path` and `regex` it is for every path; without anything to change it
/// keeps its paths from the rules after it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The path and all below it, as in `/api`, which is `/api` and `/api/x` but not `/apis`. Percent-encoding and case are
    /// compared as the client sent them.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) prefix: Option<String>,
    /// Exactly this path.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) path: Option<String>,
    /// Paths in which this regular expression is found, as in `^/user/(\d+)$` (syntax of the crate `regex`, of ASCII, without
    /// look-around and back references; time is in proportion to the path). It compiles to 32 KiB at the most.
    #[schemars(length(max = 1024))]
    pub(crate) regex: Option<String>,
    /// The whole path in place of it. `$1`, `${1}` and `${name}` are groups of `regex`, inserted as the client sent them; `$$` is a
    /// dollar. Begins with a slash or a group.
    #[schemars(length(max = 1024))]
    pub(crate) replace: Option<String>,
    /// Taken from the head of paths that begin with it, whole segments only: `/api` makes `/api/x` into `/x` and `/api` into `/`.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) strip_prefix: Option<String>,
    /// Put before the path, after `strip_prefix`: `/v2` makes `/x` into `/v2/x`.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) add_prefix: Option<String>,
    /// What becomes of the query's parameters.
    #[serde(default)]
    pub(crate) query: Query,
    /// Host and port, or host alone, that the origin sees as Host. `X-Forwarded-Host` tells what the client asked for.
    #[schemars(length(min = 1, max = 261))]
    pub(crate) authority: Option<String>,
    /// Whether the rules after this one are looked at too, with the path as it has become.
    #[serde(default, rename = "continue")]
    pub(crate) go_on: bool,
}

/// What becomes of parameters: first `clear` or `remove`, then `set`, then `append`. What is not touched stays as the client sent it,
/// in its order.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Query {
    /// Whether all parameters are removed.
    pub(crate) clear: bool,
    /// Parameters that are removed, by name, however they are percent-encoded. A name that ends with `*` is a prefix.
    #[schemars(length(max = 64))]
    pub(crate) remove: Vec<String>,
    /// Parameters that replace every one of their name. Values are plain text, and may have groups as in `replace`; what has a
    /// meaning in a query is encoded.
    #[schemars(length(max = 64))]
    pub(crate) set: BTreeMap<String, String>,
    /// Parameters that are added, after those of their name.
    #[schemars(length(max = 64))]
    pub(crate) append: BTreeMap<String, String>,
}
