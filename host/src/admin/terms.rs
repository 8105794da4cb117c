//! The query of a swap: the terms of its trial.

use crate::config;
use crate::plugins::trial::{Mode, Terms};

/// Reads `share=10&for=60s&on_no_traffic=keep` or `shadow=true&for=60s`. Missing parameters are
/// taken from `default`.
///
/// # Errors
/// The fault of a parameter.
pub(super) fn read(query: &str, default: Terms) -> Result<Terms, String> {
    let mut terms = default;
    let mut given = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if given.contains(&key) {
            return Err(format!("{key}: is given twice"));
        }
        let wrong = |error: String| format!("{key}: {error}");
        match key {
            "share" => {
                // Some clients send the sign percent-encoded.
                let share = config::trial_share(value.strip_suffix("%25").unwrap_or(value));
                terms.mode = Mode::share(share.map_err(wrong)?);
            }
            "for" => terms.time = config::trial_time(value).map_err(wrong)?,
            "on_no_traffic" => terms.on_no_traffic = value.parse().map_err(wrong)?,
            "shadow" if matches!(value, "" | "true") => terms.mode = Mode::Shadow,
            "shadow" => return Err(format!("shadow: {value:?} is not true")),
            _ => {
                return Err(format!(
                    "unknown parameter {key:?}; the parameters are share, for, shadow and \
                     on_no_traffic"
                ));
            }
        }
        given.push(key);
    }
    if given.contains(&"share") && given.contains(&"shadow") {
        return Err("share and shadow: a shadow gets no share of requests".to_owned());
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::NoTraffic;

    #[test]
    fn the_terms_of_a_swap_are_read_or_refused() {
        let on_no_traffic = NoTraffic::Promote;
        let default =
            Terms { mode: Mode::share(1.0), time: Duration::from_secs(10), on_no_traffic };
        assert_eq!(read("", default).ok(), Some(default));
        let canary =
            Terms { mode: Mode::Share(1000), time: Duration::from_secs(60), on_no_traffic };
        for query in ["share=10&for=60s", "for=1m&share=10%25", "share=10%&for=60s"] {
            assert_eq!(read(query, default).ok(), Some(canary), "{query}");
        }
        assert_eq!(read("shadow=true", default).unwrap().mode, Mode::Shadow);
        let kept = read("on_no_traffic=keep", default).unwrap();
        assert_eq!(kept, Terms { on_no_traffic: NoTraffic::Keep, ..default });
        for (query, expected) in [
            ("for=0s", "for: 0s is not between 1s and 24h"),
            ("for=1ms", "for: 1ms is not between 1s and 24h"),
            ("for=25h", "for: 25h is not between 1s and 24h"),
            ("for=60", "for: \"60\" has no unit; add one of ms, s, m, h"),
            ("share=0", "share: 0% is not between 0.01% and 100%"),
            ("share=0.001%", "share: 0.001% is not between 0.01% and 100%"),
            ("share=101", "share: \"101%\" is more than 100%"),
            ("share=10&share=20", "share: is given twice"),
            ("shadow=true&share=10", "share and shadow: a shadow gets no share of requests"),
            ("shadow=no", "shadow: \"no\" is not true"),
            ("on_no_traffic=stop", "on_no_traffic: \"stop\" is neither promote nor keep"),
            (
                "shares=1",
                "unknown parameter \"shares\"; the parameters are share, for, shadow and on_no_traffic",
            ),
        ] {
            assert_eq!(read(query, default).unwrap_err(), expected, "{query}");
        }
        for query in ["for=24h", "for=1s", "share=0.01", "share=100"] {
            assert!(read(query, default).is_ok(), "{query}");
        }
        for query in ["share=-1", "share=x", "share=", "share=1e1", "share=10%%", "share=NaN"] {
            assert!(read(query, default).is_err(), "{query}");
        }
    }
}
