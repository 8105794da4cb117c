//! Tests of decisions, with tokens of other implementations.

mod attacks;
mod decisions;
mod keys;
mod remote;

use serde_json::{Value, json};
use weir_sdk::{Config as _, state};

use super::*;
use crate::claims::Times;

/// The time of the tokens in `vectors/pyjwt.json`: 2026-01-01T00:00:00Z, in milliseconds.
const NOW: u64 = 1_767_225_600_000;

/// Tokens, keys and documents made by `vectors/make.py` with PyJWT and cryptography.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/pyjwt.json")).unwrap()
}

fn token(name: &str) -> String {
    vectors()["tokens"][name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned()
}

/// All keys of the tokens, with matching demands.
fn config() -> Value {
    let vectors = vectors();
    json!({
        "keys": [
            { "id": "h1", "secret": vectors["secret"] },
            { "id": "r1", "pem": vectors["pem"]["rs256"] },
            { "id": "r4", "pem": vectors["pem"]["rs256_4096"] },
            { "id": "e1", "pem": vectors["pem"]["es256"] },
            { "id": "d1", "pem": vectors["pem"]["eddsa"] },
        ],
        "issuer": "https://idp.example",
        "audience": "app",
    })
}

/// The configuration with some values changed.
fn with(changes: &Value) -> Value {
    let mut config = config();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn new(config: &Value) -> Result<Jwt, String> {
    Ok(Jwt::new(Config::parse(&config.to_string())?, &mut FilterNeeds::default())?)
}

fn check(config: &Value, token: &str) -> Result<Vec<String>, Refusal> {
    told(&mut new(config).unwrap(), token, NOW)
}

fn told(jwt: &mut Jwt, token: &str, now: u64) -> Result<Vec<String>, Refusal> {
    jwt.check(token, now).map(|edits| shown(&edits))
}

fn invalid(why: &'static str) -> Result<Vec<String>, Refusal> {
    Err(Refusal::Invalid(why))
}

/// Returns edits in readable form.
fn shown(edits: &[Edit]) -> Vec<String> {
    let show = |edit: &Edit| match edit {
        Edit::Set(header) => format!("{}={}", header.name, String::from_utf8_lossy(&header.value)),
        Edit::Remove(name) => format!("-{name}"),
        Edit::Upstream(name) => format!("to {name}"),
        other => format!("{other:?}"),
    };
    edits.iter().map(show).collect()
}

pub(crate) fn times() -> Times {
    Times { end: f64::MAX, start: 0.0 }
}
