//! Basic authentication (RFC 7617): users with a name and a password pass.
//!
//! The configuration has slow hashes of passwords, and a slow hash blocks the worker that computes
//! it. For this reason the filter remembers a right password for a time. It refuses a client with
//! too many wrong passwords before it computes anything. An unknown name costs the same as a known
//! one.

mod config;
mod hash;
mod users;

use base64ct::{Base64, Encoding as _};
use config::{Config, SECOND, milliseconds};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use users::{User, Users};
use weir_filter_common::client::network;
use weir_sdk::credential::is_identity_field;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, Response,
    ResponseDecision, host, state,
};

#[derive(Debug)]
struct BasicAuth {
    authorization: Input,
    address: Input,
    users: Users,
    challenge: String,
    user_header: String,
    forward: bool,
    /// Milliseconds. 0 turns it off.
    remember: u64,
    failures: i64,
    ipv6_prefix: u8,
}

/// The reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Missing,
    Wrong,
    TooMany,
}

#[weir_sdk::filter]
impl Filter for BasicAuth {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let users = Users::new(&config)?;
        let remember = milliseconds("remember", &config.remember, 0, 24 * 3600 * SECOND)?;
        let is_quotable = |b: u8| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\';
        if config.realm.is_empty() || !config.realm.bytes().all(is_quotable) {
            return Err("realm: must be visible ASCII without quotes and backslashes".into());
        }
        if !is_identity_field(&config.user_header) {
            let name = &config.user_header;
            return Err(format!(
                "user_header: {name:?} is not the name of a header field that can be set"
            )
            .into());
        }
        advise(users.time());
        needs.on_response();
        Ok(BasicAuth {
            authorization: needs.header(AUTHORIZATION),
            address: needs.client_address(),
            users,
            challenge: format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm),
            user_header: config.user_header.to_ascii_lowercase(),
            forward: config.forward,
            remember,
            failures: config.failures.into(),
            ipv6_prefix: config.ipv6_prefix,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let user = match self.user(request) {
            Ok(user) => user,
            Err(refusal) => {
                host::count(refusal.metric(), 1);
                return self.refuse(refusal).into();
            }
        };
        // Removes or replaces all fields of the name, not only the one that was checked.
        let changes = match request.bytes(self.authorization) {
            Some(value) if self.forward => Changes::new().set(AUTHORIZATION, value),
            _ => Changes::new().remove(AUTHORIZATION),
        };
        changes.set(self.user_header.as_str(), user.shown.as_str()).into()
    }

    fn on_response(&mut self, _response: &Response<'_>) -> ResponseDecision {
        Changes::new().append("vary", AUTHORIZATION).into()
    }
}

impl BasicAuth {
    fn user(&self, request: &Request<'_>) -> Result<&User, Refusal> {
        let given = request.bytes(self.authorization).and_then(scheme).ok_or(Refusal::Missing)?;
        let network = network(request.text(self.address).unwrap_or_default(), self.ipv6_prefix);
        let counter = format!("failed:{network}");
        // Applies to a remembered password too. Otherwise a client could guess it without limit.
        let failed = state::get("", &counter).as_deref().and_then(number).unwrap_or(0);
        if failed >= self.failures {
            return Err(Refusal::TooMany);
        }
        let (name, password) = credentials(given).ok_or(Refusal::Wrong)?;
        let (user, is_known) = self.users.find(&name);
        let mark = self.mark(&name, &password, user);
        if is_known && self.remember > 0 && state::get("", &mark).is_some() {
            return Ok(user);
        }
        // Counts before the check: several workers together must not allow more attempts than one.
        if state::add("", &counter, 1, MINUTE) > self.failures {
            return Err(Refusal::TooMany);
        }
        if !user.hash.is_of(password.as_bytes()) || !is_known {
            return Err(Refusal::Wrong);
        }
        state::add("", &counter, -1, MINUTE);
        if self.remember > 0 {
            state::set("", &mark, b"1", self.remember);
        }
        Ok(user)
    }

    /// Returns the key under which a right name and password are remembered. It changes with the
    /// hash of the user.
    fn mark(&self, name: &str, password: &str, user: &User) -> String {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&key()) else { return String::new() };
        let text = [name, password, &user.text].join("\0");
        let mark = mac.chain_update(text).finalize().into_bytes();
        let hex: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("right:{hex}")
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let (status, text) = match refusal {
            Refusal::Missing => (401, "a name and a password are required\n"),
            Refusal::Wrong => (401, "the name or the password is wrong\n"),
            Refusal::TooMany => (429, "too many wrong passwords\n"),
        };
        let reply = Reply::new(status)
            .header("cache-control", "no-store")
            .header("content-type", "text/plain; charset=utf-8")
            .body(text);
        match refusal {
            Refusal::TooMany => reply.header("retry-after", (MINUTE / SECOND).to_string()),
            _ => reply.header("www-authenticate", self.challenge.as_str()),
        }
    }
}

impl Refusal {
    fn metric(self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Wrong => "wrong",
            Refusal::TooMany => "too_many",
        }
    }
}

/// Logs the time limit that the slowest hash needs, once for all workers. A plugin cannot ask for
/// its limit.
fn advise(time: u64) {
    if 2 * time > DEFAULT_LIMIT && state::replace("", &format!("advised:{time}"), None, b"1", DAY) {
        let limit = 2 * time;
        let advice = format!(
            "the slowest hash takes about {time} ms: limits.time of this plugin must be {limit}ms"
        );
        host::log(host::Level::Warn, &advice);
    }
}

/// Returns the credentials after the scheme `Basic`.
fn scheme(value: &[u8]) -> Option<&str> {
    let (scheme, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| rest.trim_matches(' '))
}

/// Decodes the name and the password (RFC 7617 §2). The name has no colon, and neither has control
/// characters.
fn credentials(text: &str) -> Option<(String, String)> {
    let bytes = Base64::decode_vec(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    let is_short = name.len() <= LONGEST_NAME && password.len() <= LONGEST_PASSWORD;
    (is_short && !text.contains(char::is_control)).then(|| (name.to_owned(), password.to_owned()))
}

/// Returns the random key of the marks. The first call makes it, and it ends with the process.
fn key() -> Vec<u8> {
    if let Some(key) = state::get("", KEY) {
        return key;
    }
    let made: Vec<u8> = (0..4).flat_map(|_| host::random().to_le_bytes()).collect();
    match state::replace("", KEY, None, &made, 0) {
        true => made,
        false => state::get("", KEY).unwrap_or(made),
    }
}

fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

const AUTHORIZATION: &str = "authorization";
const KEY: &str = "key";
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 3600 * SECOND;

/// Milliseconds that a call may take by default, with the 2 ms that are granted beyond.
const DEFAULT_LIMIT: u64 = 7;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 255;
/// The longest password, in bytes. SHA-crypt takes more time for a longer one.
const LONGEST_PASSWORD: usize = 128;

#[cfg(test)]
mod tests;
