//! The configuration as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Secret;
use weir_sdk::parse::duration;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Hashes of passwords by the names of users, at most 1000, each as text, `env:NAME` or `file:PATH`: bcrypt (`$2y$`, as
    /// `htpasswd -nbB NAME PASSWORD` makes it), SHA-crypt (`$5$`, `$6$`), `$pbkdf2-sha256$`, `$pbkdf2-sha512$` or `$argon2id$`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 1000))]
    pub(crate) users: BTreeMap<String, Secret>,
    /// More users as a file of Apache's htpasswd has them, as `file:PATH` for instance: a line `NAME:HASH` for each, at most
    /// 10,000; empty lines and those that begin with `#` do not count.
    pub(crate) htpasswd: Option<Secret>,
    /// What the user is asked to log in to.
    #[serde(default = "realm")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) realm: String,
    /// The header field in which the origin sees the name of the user; what a client sends of it is removed. What a field
    /// cannot hold, and `%`, is percent-encoded.
    #[serde(default = "x_user")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) user_header: String,
    /// Whether the origin sees `Authorization`.
    #[serde(default)]
    pub(crate) forward: bool,
    /// For how long a name and a password that were right are remembered, over all workers, so that the slow hash is not
    /// computed for each request, up to `24h`; `0s` is not at all.
    #[serde(default = "five_minutes")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) remember: String,
    /// How many wrong passwords a client's address may try in a minute. Past it all its requests are answered with 429.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) failures: u32,
    /// Bits of an IPv6 address that make a client: one client has a whole /64 as a rule.
    #[serde(default = "ipv6_prefix")]
    #[schemars(range(min = 1, max = 128))]
    pub(crate) ipv6_prefix: u8,
    /// How long the computation of one hash may hold up a worker, by an estimate from the cost in the hash, from `1ms` to `10s`.
    /// A hash that takes longer is refused here. `limits.time` of the plugin must be about twice as much.
    #[serde(default = "longest_hash")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    pub(crate) hash_time: String,
    /// How many MiB the computation of an Argon2 hash may take. `limits.memory` of the plugin must be 4 MiB more.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) hash_memory: u32,
}

/// Milliseconds of a time such as `30s`, within bounds.
pub(crate) fn milliseconds(key: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    let time = duration(text).and_then(|time| u64::try_from(time.as_millis()).ok());
    time.filter(|time| (least..=most).contains(time)).ok_or_else(|| {
        format!(
            "{key}: {text:?} is no time from {least}ms to {}s, such as 100ms or 5m",
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
