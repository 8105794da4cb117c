//! Commands that talk to a running Weir.

use std::path::Path;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use http::Method;
use serde_json::Value;

use super::{PluginCliError, print, progress, read_file};
use crate::cli::remote::{Admin, RemoteError, cell, items, table};
use crate::config;

/// The terms of a trial, as they were given.
pub(super) struct Terms {
    pub(super) share: Option<String>,
    pub(super) time: Option<String>,
    pub(super) shadow: bool,
    pub(super) on_no_traffic: Option<String>,
}

impl Terms {
    /// Returns the query of a swap.
    fn query(&self) -> String {
        let given = |key: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{key}={value}"))
        };
        let parts = [
            given("share", &self.share),
            given("for", &self.time),
            self.shadow.then(|| "shadow=true".to_owned()),
            given("on_no_traffic", &self.on_no_traffic),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// The ends of a trial that no request reaches.
pub(super) fn no_traffic() -> PossibleValuesParser {
    PossibleValuesParser::new(config::NoTraffic::ALL.map(|(word, _)| word))
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
    let mut rows = vec![
        ["NAME", "WORLD", "STATE", "GENERATION", "VERSION", "SOURCE", "LAST SWAP"]
            .map(str::to_owned),
    ];
    for plugin in items(&answer, "/plugins") {
        let text = |path: &str| cell(plugin, path);
        rows.push([
            text("/name"),
            text("/world"),
            state(plugin, text("/state")),
            text("/generation/number"),
            text("/generation/version"),
            serves(plugin),
            last(plugin),
        ]);
    }
    print(&table(&rows))
}

pub(super) fn swap(
    name: &str,
    component: &Path,
    terms: &Terms,
    wait: bool,
    admin: &Admin,
) -> Result<(), PluginCliError> {
    let client = admin.client()?;
    let wasm = read_file(component)?;
    progress(&format!("compiling {} on the server", component.display()));
    let path = format!("/api/plugins/{name}?{}", terms.query());
    let answer = client.call(Method::PUT, &path, wasm).map_err(RemoteError::from)?;
    print(&told(name, &answer))?;
    if !wait {
        return Ok(());
    }
    let number = answer.pointer("/trial/generation/number").and_then(Value::as_u64);
    let Some(number) = number else {
        // Another swap or a reload was faster than the answer.
        let reason = "another swap or a reload came before the trial; see `weir plugin list`";
        return Err(PluginCliError::Failed(format!("{name}: {reason}")));
    };
    loop {
        std::thread::sleep(LOOK_EVERY);
        let path = format!("/api/plugins/{name}");
        let status = client.call(Method::GET, &path, Vec::new()).map_err(RemoteError::from)?;
        match ended(&status, number, terms.shadow) {
            None => {}
            Some(Ok(reason)) => return print(&format!("{name}: generation {number} {reason}\n")),
            Some(Err(reason)) => {
                let text = format!("{name}: generation {number} {reason}");
                return Err(PluginCliError::Failed(text));
            }
        }
    }
}

/// Returns the outcome of a trial, or `None` while it lasts. The error is that of a generation that
/// does not serve.
fn ended(status: &Value, number: u64, shadow: bool) -> Option<Result<String, String>> {
    let at = |path| status.pointer(path).and_then(Value::as_u64);
    if at("/trial/generation/number") == Some(number) {
        return None;
    }
    if at("/last_swap/generation") == Some(number) {
        let (outcome, reason) = verdict(status);
        let text = format!("{outcome}: {reason}");
        let is_good = outcome == "serves" || (shadow && outcome == "ended");
        return Some(if is_good { Ok(text) } else { Err(text) });
    }
    // Further swaps came, and only the last outcome is told.
    Some(match at("/generation/number") {
        Some(serving) if serving == number => Ok("serves".to_owned()),
        _ => Err("does not serve; later swaps followed, see `weir plugin list`".to_owned()),
    })
}

/// Returns the outcome of the last swap as a word, and its reason.
fn verdict(status: &Value) -> (&'static str, &str) {
    let text = |path| status.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let outcome = match text("/last_swap/outcome") {
        "promoted" => "serves",
        "rolled_back" => "was rolled back",
        "refused" => "was refused",
        _ => "ended",
    };
    (outcome, text("/last_swap/reason"))
}

/// Returns the outcome of the last swap in a line.
fn last(status: &Value) -> String {
    let Some(number) = status.pointer("/last_swap/generation").and_then(Value::as_u64) else {
        return "-".to_owned();
    };
    let (outcome, reason) = verdict(status);
    // The error of a component can have several lines.
    let reason = reason.lines().next().unwrap_or_default();
    format!("{number} {outcome}: {reason}")
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

/// Time between two looks at a trial.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
        let given = |text: &str| Some(text.to_owned());
        let none = || Terms { share: None, time: None, shadow: false, on_no_traffic: None };
        assert_eq!(none().query(), "");
        let all = Terms { share: given("10"), time: given("60s"), ..none() };
        let all = Terms { on_no_traffic: given("keep"), ..all };
        assert_eq!(all.query(), "share=10&for=60s&on_no_traffic=keep");
        assert_eq!(Terms { shadow: true, ..none() }.query(), "shadow=true");
    }

    #[test]
    fn the_outcome_of_a_trial_is_known_when_it_ends() {
        let swapped = |generation, outcome, serving| {
            json!({
                "generation": { "number": serving },
                "trial": null,
                "last_swap": { "generation": generation, "outcome": outcome, "reason": "why\nmore" },
            })
        };
        let going = json!({ "trial": { "generation": { "number": 2 } } });
        assert_eq!(ended(&going, 2, false), None);
        assert!(ended(&swapped(2, "promoted", 2), 2, false).unwrap().is_ok());
        for outcome in ["rolled_back", "refused", "superseded"] {
            assert!(ended(&swapped(2, outcome, 1), 2, false).unwrap().is_err(), "{outcome}");
        }
        assert!(ended(&swapped(2, "superseded", 1), 2, true).unwrap().is_ok(), "a shadow");
        assert!(ended(&swapped(2, "rolled_back", 1), 2, true).unwrap().is_err(), "a shadow");
        // Later swaps have hidden the outcome.
        assert!(ended(&swapped(3, "refused", 2), 2, false).unwrap().is_ok());
        assert!(ended(&swapped(3, "promoted", 3), 2, false).unwrap().is_err());
        assert_eq!(last(&swapped(2, "rolled_back", 1)), "2 was rolled back: why");
        assert_eq!(last(&json!({ "last_swap": null })), "-");
    }
}
