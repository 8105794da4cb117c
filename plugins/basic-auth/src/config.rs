//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Secret;
use weir_sdk::parse::duration;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Hashes of passwords by the names of users, at most 1000. A hash is text, `env:NAME` or
    /// `file:PATH`, of the kind bcrypt (`$2y$`, as `htpasswd -nbB NAME PASSWORD` makes it),
    /// SHA-crypt (`$5$`, `$6$`), `$pbkdf2-sha256$`, `$pbkdf2-sha512$` or `$argon2id$`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 1000))]
    pub(crate) users: BTreeMap<String, Secret>,
    /// More users, in the format of Apache's htpasswd, for example as `file:PATH`: one line
    /// `NAME:HASH` per user, at most 10,000 lines. Empty lines and lines that begin with `#` are
    /// skipped.
    pub(crate) htpasswd: Option<Secret>,
    /// The name of the protected area, which the browser shows to the user.
    #[serde(default = "realm")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) realm: String,
    /// The header field in which the origin sees the name of the user. Fields of this name from
    /// clients are removed. `%` and bytes outside visible ASCII are percent-encoded.
    #[serde(default = "x_user")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) user_header: String,
    /// Whether the origin sees `Authorization`.
    #[serde(default)]
    pub(crate) forward: bool,
    /// How long a right name and password are remembered, over all workers, up to `24h`. A
    /// remembered request needs no hash. `0s` turns this off.
    #[serde(default = "five_minutes")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) remember: String,
    /// How many wrong passwords an address may try in a minute. After that, all its requests get
    /// 429.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) failures: u32,
    /// How many leading bits of an IPv6 address identify a client. One client usually has a whole
    /// /64.
    #[serde(default = "ipv6_prefix")]
    #[schemars(range(min = 1, max = 128))]
    pub(crate) ipv6_prefix: u8,
    /// How long a worker may spend on one hash, from `1ms` to `10s`. The time is estimated from the
    /// cost in the hash. The plugin refuses a slower hash when it is loaded. `limits.time` of the
    /// plugin must be about twice as long.
    #[serde(default = "longest_hash")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) hash_time: String,
    /// How many MiB an Argon2 hash may take. `limits.memory` of the plugin must be 4 MiB more.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) hash_memory: u32,
}

/// Returns the milliseconds of a time such as `30s`, within bounds.
pub(crate) fn milliseconds(key: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    let time = duration(text).and_then(|time| u64::try_from(time.as_millis()).ok());
    time.filter(|time| (least..=most).contains(time)).ok_or_else(|| {
        format!(
            "{key}: {text:?} is not a time from {least}ms to {}s, such as 100ms or 5m",
            most / SECOND
        )
    })
}

fn realm() -> String {
    "restricted".to_owned()
}

fn x_user() -> String {
    "x-user".to_owned()
}

fn five_minutes() -> String {
    "5m".to_owned()
}

fn ten() -> u32 {
    10
}

fn ipv6_prefix() -> u8 {
    64
}

fn longest_hash() -> String {
    "100ms".to_owned()
}

fn eight() -> u32 {
    8
}

pub(crate) const SECOND: u64 = 1000;
