//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Secret;
use weir_sdk::parse::duration;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Fixed keys, at most 32.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub(crate) keys: Vec<KeyConfig>,
    /// A document of keys (JWKS, RFC 7517 §5) of an upstream. The plugin fetches it and keeps it up
    /// to date. Used in addition to `keys`.
    pub(crate) jwks: Option<Remote>,
    /// The places of the token: `bearer` (the field `Authorization: Bearer …`), `header:NAME`,
    /// `cookie:NAME` or `query:NAME`, at most 4. A request with more than one token is refused.
    /// Tokens in a query end up in logs.
    #[serde(default = "bearer")]
    #[schemars(length(min = 1, max = 4))]
    pub(crate) from: Vec<String>,
    /// The accepted issuers (`iss`), one or a list. Left out: every issuer that signs with one of
    /// the keys.
    #[serde(default)]
    pub(crate) issuer: Texts,
    /// Names of this service, one or a list. A token must have one of them (`aud`). `*` accepts
    /// tokens for any audience. Left out: only tokens without `aud` (RFC 7519 §4.1.3).
    #[serde(default)]
    pub(crate) audience: Texts,
    /// How much the clocks of issuers may differ, from `0s` to `10m`. Applies to `exp`, `nbf` and
    /// `iat`.
    #[serde(default = "a_minute")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) leeway: String,
    /// Whether tokens must have an expiry (`exp`).
    #[serde(default)]
    pub(crate) expiry: Expiry,
    /// The type that the header of the token must have (`typ`), such as `at+jwt` (RFC 9068), in any
    /// case. Left out: any.
    pub(crate) typ: Option<String>,
    /// Claims that a token must have, with the accepted values, one or a list:
    /// `{ tenant: [acme, other] }`. If the claim is a list, one of its values must match.
    /// `realm_access.roles` is a nested claim. At most 32.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    pub(crate) claims: BTreeMap<String, Texts>,
    /// Scopes that a token must have, all of them (`scope` or `scp`), at most 32.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub(crate) scopes: Vec<String>,
    /// Claims that the origin sees as header fields: `{ sub: x-user, address.city: x-city }`, at
    /// most 32. Fields of these names from clients are removed. Lists are joined with commas. `%`
    /// and bytes outside visible ASCII are percent-encoded.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    pub(crate) claims_to_headers: BTreeMap<String, String>,
    /// The choice of the upstream by the value of a claim.
    pub(crate) route: Option<Route>,
    /// Whether requests without a token pass, without the fields of `claims_to_headers`. A bad
    /// token is still refused.
    #[serde(default)]
    pub(crate) optional: bool,
    /// Whether the origin sees the token.
    #[serde(default = "yes")]
    pub(crate) forward: bool,
    /// The realm in refusals.
    #[schemars(length(max = 256))]
    pub(crate) realm: Option<String>,
    /// How many tokens each instance remembers, at most 4096 and 1 MiB. A remembered token needs no
    /// new signature check. Its times are always checked.
    #[serde(default = "remembered")]
    #[schemars(range(max = 4096))]
    pub(crate) remember: u16,
}

/// A key. Its kind fixes the algorithm: HS256 for a `secret` or an octet sequence, RS256 for RSA,
/// ES256 for P-256 and EdDSA for Ed25519.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyConfig {
    /// The name of the key in tokens (`kid`). Left out: the key is tried for tokens with any name.
    /// Not allowed with `jwks`.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) id: Option<String>,
    /// A public key in PEM, as text or `file:PATH`: RSA of 2048 to 4096 bits, P-256 or Ed25519.
    pub(crate) pem: Option<Secret>,
    /// A key or a set of keys in JSON (JWK or JWKS, RFC 7517), as text or `file:PATH`.
    pub(crate) jwks: Option<Secret>,
    /// The secret of HS256, at least 32 bytes (RFC 7518 §3.2): as text, `env:NAME` or `file:PATH`.
    pub(crate) secret: Option<Secret>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote {
    /// The upstream with the document, named in `allow.upstreams`.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) upstream: String,
    /// The path and query of the document.
    #[serde(default = "well_known")]
    #[schemars(regex(pattern = "^/"), length(max = 1024))]
    pub(crate) path: String,
    /// The host and port of the request. Left out: the name of the upstream. Never the authority of
    /// the client's request.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) authority: Option<String>,
    /// The time after which the document is fetched again, from `30s` to `24h`.
    #[serde(default = "ten_minutes")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) refresh: String,
    /// How long after `refresh` old keys stay in use while there is no answer, up to `168h`. After
    /// that, requests get 503.
    #[serde(default = "an_hour")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) stale: String,
    /// The time to wait for an answer, up to `10s`. One request at a time waits.
    #[serde(default = "two_seconds")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) timeout: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The name of the claim.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) claim: String,
    /// Upstreams, named in `allow.upstreams`, by the values of the claim, at most 256. If the claim
    /// is a list, its first value in this mapping counts. Other requests go to the upstream of the
    /// route.
    #[schemars(extend("maxProperties" = 256))]
    pub(crate) upstreams: BTreeMap<String, String>,
}

/// One text or a list of at most 64.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Texts {
    One(String),
    Many(#[schemars(length(max = 64))] Vec<String>),
}

impl Texts {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Many(texts) => texts,
        }
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.list().iter().any(|own| own == text)
    }
}

impl Default for Texts {
    fn default() -> Self {
        Texts::Many(Vec::new())
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expiry {
    /// A token without an expiry is refused.
    #[default]
    Required,
    /// A token without an expiry never expires.
    Optional,
}

/// Returns the milliseconds of a time such as `30s`, within bounds.
pub(crate) fn milliseconds(key: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    let time = duration(text).and_then(|time| u64::try_from(time.as_millis()).ok());
    time.filter(|time| (least..=most).contains(time)).ok_or_else(|| {
        let (least, most) = (least / SECOND, most / SECOND);
        format!("{key}: {text:?} is not a time from {least}s to {most}s, such as 30s, 10m or 1h")
    })
}

fn bearer() -> Vec<String> {
    vec!["bearer".to_owned()]
}

fn a_minute() -> String {
    "60s".to_owned()
}

fn well_known() -> String {
    "/.well-known/jwks.json".to_owned()
}

fn ten_minutes() -> String {
    "10m".to_owned()
}

fn an_hour() -> String {
    "1h".to_owned()
}

fn two_seconds() -> String {
    "2s".to_owned()
}

fn remembered() -> u16 {
    256
}

fn yes() -> bool {
    true
}

pub(crate) const SECOND: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(milliseconds("a", "30s", 0, 60 * SECOND), Ok(30 * SECOND));
        assert_eq!(milliseconds("a", "1500ms", 0, 60 * SECOND), Ok(1500));
        for wrong in ["", "s", "30", "61s", "1h", "-1s", "1 s", "1d", "99999999999999999999s"] {
            let error = milliseconds("a", wrong, 0, 60 * SECOND).unwrap_err();
            assert!(error.starts_with("a: "), "{error}");
        }
    }
}
