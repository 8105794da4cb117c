//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Rules in order. The first rule that matches counts. With `continue` the rules after it are
    /// tried too.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) rules: Vec<Rule>,
    /// A header field for the origin with the original path and query, such as `x-original-uri`. It
    /// is set on every request, so that a client cannot forge it. Left out: none.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) original: Option<String>,
    /// The treatment of a request with a segment `..` in a path that a rule has changed: `refuse`
    /// answers 400, `keep` leaves it to the origin. Percent-encoded spellings count.
    #[serde(default)]
    pub(crate) dot_segments: DotSegments,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DotSegments {
    /// They get 400.
    #[default]
    Refuse,
    /// They pass.
    Keep,
}

/// The paths of a rule, and the changes to them. Without `prefix`, `path` and `regex` the rule
/// covers every path. A rule without changes protects its paths from later rules.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// A path and every path below it: `/api` covers `/api` and `/api/x`, not `/apis`.
    /// Percent-encoding and case are compared as sent.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) prefix: Option<String>,
    /// Exactly this path.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) path: Option<String>,
    /// A regular expression that is found in the path, such as `^/user/(\d+)$` (syntax of the crate
    /// `regex`, ASCII only, without look-around and back references). It takes time in proportion
    /// to the path and compiles to at most 32 KiB.
    #[schemars(length(max = 1024))]
    pub(crate) regex: Option<String>,
    /// The new path. `$1`, `${1}` and `${name}` are groups of `regex`, inserted as the client sent
    /// them. `$$` is a dollar sign. It begins with a slash or a group.
    #[schemars(length(max = 1024))]
    pub(crate) replace: Option<String>,
    /// A prefix to remove from paths that begin with it, in whole segments: `/api` turns `/api/x`
    /// into `/x` and `/api` into `/`.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) strip_prefix: Option<String>,
    /// A prefix to add to the path, after `strip_prefix`: `/v2` turns `/x` into `/v2/x`.
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) add_prefix: Option<String>,
    /// The changes to the parameters of the query.
    #[serde(default)]
    pub(crate) query: Query,
    /// Host and port, or host alone, that the origin sees as Host. `X-Forwarded-Host` stays the
    /// client's.
    #[schemars(length(min = 1, max = 261))]
    pub(crate) authority: Option<String>,
    /// Whether the rules after this one are tried too, with the new path.
    #[serde(default, rename = "continue")]
    pub(crate) go_on: bool,
}

/// The changes to parameters: first `clear` or `remove`, then `set`, then `append`. Other
/// parameters stay as the client sent them, in their order.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Query {
    /// Whether all parameters are removed.
    pub(crate) clear: bool,
    /// Names of parameters to remove, in any percent-encoding. A name that ends with `*` is a
    /// prefix.
    #[schemars(length(max = 64))]
    pub(crate) remove: Vec<String>,
    /// Parameters that replace all parameters of the same name. Values are plain text, and may have
    /// groups as in `replace`. Characters with a meaning in a query are encoded.
    #[schemars(length(max = 64))]
    pub(crate) set: BTreeMap<String, String>,
    /// Parameters that are added after the parameters of the same name.
    #[schemars(length(max = 64))]
    pub(crate) append: BTreeMap<String, String>,
}
