//! Commands that talk to a running Weir.

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::{PluginCliError, print, progress, read_file};
use crate::cli::remote::{Admin, RemoteError, cell, items, table};
use crate::config;

/// Returns the query of a swap.
pub(super) fn terms(share: Option<&str>, time: Option<&str>, shadow: bool) -> String {
    let mut query = Vec::new();
    if let Some(share) = share {
        query.push(format!("share={share}"));
    }
    if let Some(time) = time {
        query.push(format!("for={time}"));
    }
    if shadow {
        query.push("shadow=true".to_owned());
    }
    query.join("&")
}

/// Checks a share in percent, with or without the sign, and removes the sign. The server reads it
/// again.
pub(super) fn share(text: &str) -> Result<String, String> {
    config::trial_share(text).map(|_| text.strip_suffix('%').unwrap_or(text).to_owned())
}

/// Checks a duration. The server reads it again.
pub(super) fn time(text: &str) -> Result<String, String> {
    config::trial_time(text).map(|_| text.to_owned())
}

pub(super) fn list(admin: &Admin, as_json: bool) -> Result<(), PluginCliError> {
    let answer = admin.call(Method::GET, "/api/plugins", Vec::new())?;
    if as_json {
        return print(&format!("{answer:#}\n"));
    }
    let mut rows =
        vec![["NAME", "WORLD", "STATE", "GENERATION", "VERSION", "SOURCE"].map(str::to_owned)];
    for plugin in items(&answer, "/plugins") {
        let text = |path: &str| cell(plugin, path);
        rows.push([
            text("/name"),
            text("/world"),
            state(plugin, text("/state")),
            text("/generation/number"),
            text("/generation/version"),
            serves(plugin),
        ]);
    }
    print(&table(&rows))
}

pub(super) fn swap(
    name: &str,
    component: &Path,
    terms: &str,
    admin: &Admin,
) -> Result<(), PluginCliError> {
    let client = admin.client()?;
    let wasm = read_file(component)?;
    progress(&format!("compiling {} on the server", component.display()));
    let path = format!("/api/plugins/{name}?{terms}");
    let answer = client.call(Method::PUT, &path, wasm).map_err(RemoteError::from)?;
    print(&told(name, &answer))
}

pub(super) fn rollback(name: &str, admin: &Admin) -> Result<(), PluginCliError> {
    let path = format!("/api/plugins/{name}/rollback");
    let answer = admin.call(Method::POST, &path, Vec::new())?;
    print(&told(name, &answer))
}

/// Describes the serving generation and the one on trial, in a line.
fn told(name: &str, status: &Value) -> String {
    let number = |path: &str| status.pointer(path).map(Value::to_string);
    let serving = number("/generation/number").unwrap_or_default();
    let Some(tried) = number("/trial/generation/number") else {
        return format!("{name}: generation {serving} serves\n");
    };
    let (share, left) = trial(status);
    let how = match share {
        Some(share) => format!("gets {share}% of the requests"),
        None => "runs in the shadow".to_owned(),
    };
    format!("{name}: generation {tried} {how} for {left:.0} s beside generation {serving}\n")
}

/// Returns the source of the component that serves. Components from the admin API also show a
/// digest.
fn serves(status: &Value) -> String {
    let text = |path| status.pointer(path).and_then(Value::as_str).unwrap_or("-");
    let source = text("/generation/source");
    if Some(source) == status.get("source").and_then(Value::as_str) {
        return source.to_owned();
    }
    let digest = text("/generation/sha256");
    format!("{source}, sha256:{}", digest.get(..SHOWN_DIGEST).unwrap_or(digest))
}

/// Returns the state of a plugin, and of its trial.
fn state(status: &Value, state: String) -> String {
    let Some(tried) = status.pointer("/trial/generation/number") else { return state };
    let (share, left) = trial(status);
    let how = share.map_or("shadow".to_owned(), |share| format!("{share}%"));
    format!("{state} ({tried}: {how}, {left:.0} s left)")
}

/// Returns the share of a generation on trial in percent, unless it runs in the shadow, and the
/// seconds that are left.
fn trial(status: &Value) -> (Option<f64>, f64) {
    let number = |path| status.pointer(path).and_then(Value::as_f64);
    let share = number("/trial/share").map(|share| share * 100.0);
    (share, number("/trial/seconds_left").unwrap_or_default())
}

/// Digits of a digest in a list. `--json` shows all.
const SHOWN_DIGEST: usize = 12;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_swap_is_told_in_a_line() {
        let on_trial = json!({
            "generation": { "number": 1 },
            "trial": { "generation": { "number": 2 }, "share": 0.1, "seconds_left": 59.9 },
        });
        let text = told("p", &on_trial);
        assert_eq!(text, "p: generation 2 gets 10% of the requests for 60 s beside generation 1\n");
        assert_eq!(
            told("p", &json!({ "generation": { "number": 3 } })),
            "p: generation 3 serves\n"
        );
    }

    #[test]
    fn a_trial_is_listed_with_its_share_and_time() {
        let tried = |share| json!({ "trial": { "generation": { "number": 2 }, "share": share, "seconds_left": 59.9 } });
        let listed = |status: &Value| state(status, "trial".to_owned());
        assert_eq!(listed(&tried(json!(0.1))), "trial (2: 10%, 60 s left)");
        assert_eq!(listed(&tried(Value::Null)), "trial (2: shadow, 60 s left)");
        assert_eq!(listed(&json!({ "trial": null })), "trial");
    }

    #[test]
    fn what_serves_is_listed_and_not_what_is_configured() {
        let status = |source| json!({ "source": "file:a.wasm", "generation": { "source": source, "sha256": "0123456789abcdef" } });
        assert_eq!(serves(&status("file:a.wasm")), "file:a.wasm");
        assert_eq!(serves(&status("admin API")), "admin API, sha256:0123456789ab");
    }

    #[test]
    fn what_is_no_share_is_refused_before_anything_is_sent() {
        assert_eq!((share("10%"), share("2.5")), (Ok("10".to_owned()), Ok("2.5".to_owned())));
        for wrong in ["0%", "0.001", "110%", "-1", "ten", "", "NaN", "10%%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert!(time("60s").is_ok());
        for wrong in ["60", "0s", "1ms", "25h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_query_is_made_of_what_was_given() {
        assert_eq!(terms(None, None, false), "");
        assert_eq!(terms(Some("10"), Some("60s"), false), "share=10&for=60s");
        assert_eq!(terms(None, None, true), "shadow=true");
    }
}
