//! [`Alternative`]: whether an endpoint is to be reached by QUIC now.

use std::cell::Cell;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::ALT_SVC;

/// The knowledge of one worker about HTTP/3 at one endpoint. An endpoint that does not answer over
/// QUIC is reached over TCP for some time.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Alternative {
    /// The port, if the endpoint is believed to serve HTTP/3.
    port: Cell<Option<u16>>,
    /// The time until which that is believed. `None` if the configuration tells so.
    until: Cell<Option<Instant>>,
    /// The time until which QUIC is not tried.
    pause: Cell<Option<Instant>>,
    /// Failures in a row.
    failures: Cell<u32>,
}

impl Alternative {
    /// An endpoint that serves HTTP/3 at this port by configuration.
    pub(super) fn configured(port: u16) -> Self {
        Self { port: Cell::new(Some(port)), ..Self::default() }
    }

    /// Returns the port, if QUIC is to be tried now.
    pub(in crate::upstream) fn port(&self) -> Option<u16> {
        let port = self.port.get()?;
        if self.until.get().is_none() && self.pause.get().is_none() {
            return Some(port);
        }
        let now = Instant::now();
        if self.until.get().is_some_and(|until| until <= now) {
            self.port.set(None);
            return None;
        }
        if self.pause.get().is_some_and(|pause| now < pause) {
            return None;
        }
        self.pause.set(None);
        Some(port)
    }

    /// Notes that a response came over QUIC.
    pub(super) fn work(&self) {
        self.failures.set(0);
    }

    /// Forgets an alternative that the endpoint has told.
    pub(in crate::upstream) fn forget(&self) {
        self.port.set(None);
    }

    /// Notes that QUIC did not work, and returns the time until it is tried again. Several failures
    /// of one time count once.
    pub(super) fn fail(&self) -> Duration {
        let left = self.pause.get().map(|pause| pause.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return left;
        }
        let failures = self.failures.get();
        self.failures.set(failures + 1);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
        self.pause.set(Some(Instant::now() + pause));
        pause
    }

    /// Learns from the Alt-Svc fields of a response that came over TLS (RFC 7838 §3). The
    /// alternative must be at `host`, the endpoint's own.
    pub(in crate::upstream) fn learn(&self, fields: &HeaderMap, host: &str) {
        let lines = || fields.get_all(ALT_SVC).iter().filter_map(|line| line.to_str().ok());
        if lines().next().is_none() {
            return;
        }
        let told = lines().find_map(|line| offered(line, host));
        self.port.set(told.map(|(port, _)| port));
        self.until.set(told.map(|(_, age)| Instant::now() + age));
    }
}

/// Returns the port of the first alternative that is HTTP/3 at `host`, and the time that it is
/// valid for.
fn offered(line: &str, host: &str) -> Option<(u16, Duration)> {
    let alternatives = split(line, ',');
    alternatives.into_iter().find_map(|alternative| {
        let mut parts = split(alternative, ';').into_iter().map(str::trim);
        let (protocol, authority) = parts.next()?.split_once('=')?;
        let authority = authority.trim().strip_prefix('"')?.strip_suffix('"')?;
        let (named, port) = authority.rsplit_once(':')?;
        let named =
            named.strip_prefix('[').and_then(|named| named.strip_suffix(']')).unwrap_or(named);
        let is_ours = named.is_empty() || named.eq_ignore_ascii_case(host);
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        if protocol.trim() != "h3" || !is_ours {
            return None;
        }
        let age = parts.find_map(|part| part.strip_prefix("ma=")?.trim_matches('"').parse().ok());
        Some((port, age.map_or(DEFAULT_AGE, Duration::from_secs).min(LONGEST_AGE)))
    })
}

/// Splits at a separator that is not within quotation marks.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|character| {
        is_quoted ^= character == '"';
        character == separator && !is_quoted
    })
    .collect()
}

/// The time without QUIC after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Longest time without QUIC.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The age of an alternative without `ma` (RFC 7838 §3.1).
const DEFAULT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest time that an alternative is believed. Every response renews it.
const LONGEST_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn learned(lines: &[&'static str]) -> Option<u16> {
        let alternative = Alternative::default();
        let fields = lines.iter().map(|line| (ALT_SVC, HeaderValue::from_static(line)));
        alternative.learn(&fields.collect(), "app.internal");
        alternative.port()
    }

    #[test]
    fn http3_at_the_same_host_is_learned() {
        for line in [
            r#"h3=":443""#,
            r#"h3=":443"; ma=3600; persist=1"#,
            r#"h2=":8443", h3=":443""#,
            r#"h3-29="a,b:1", h3="App.Internal:443""#,
        ] {
            assert_eq!(learned(&[line]), Some(443), "{line}");
        }
        assert_eq!(learned(&[r#"h2=":1""#, r#"h3=":443""#]), Some(443));
    }

    #[test]
    fn other_alternatives_are_not() {
        for line in [
            "",
            "clear",
            "h3",
            "h3=:443",
            r#"h3=":0""#,
            r#"h3=":65536""#,
            r#"h3="other:443""#,
            r#"h3-29=":443""#,
            r#"h2=":443""#,
            r#"h3=":443"; ma=0"#,
        ] {
            assert_eq!(learned(&[line]), None, "{line}");
        }
        assert_eq!(learned(&[]), None);
    }

    #[test]
    fn the_last_response_counts() {
        let alternative = Alternative::default();
        let learn = |line| {
            let fields = [(ALT_SVC, HeaderValue::from_static(line))];
            alternative.learn(&fields.into_iter().collect(), "app.internal");
        };
        learn(r#"h3=":443""#);
        alternative.learn(&HeaderMap::new(), "app.internal");
        assert_eq!(alternative.port(), Some(443));
        learn("clear");
        assert_eq!(alternative.port(), None);
    }

    #[test]
    fn failures_pause_for_longer_each_time_until_one_attempt_works() {
        let alternative = Alternative::configured(443);
        assert_eq!(alternative.port(), Some(443));
        let over = || alternative.pause.set(Some(Instant::now()));
        assert_eq!(alternative.fail(), FIRST_PAUSE);
        assert_eq!(alternative.port(), None);
        assert!(alternative.fail() <= FIRST_PAUSE, "at the same time");
        over();
        assert_eq!(alternative.port(), Some(443));
        assert_eq!(alternative.fail(), 2 * FIRST_PAUSE);
        for _ in 0..40 {
            over();
            assert!(alternative.fail() <= LONGEST_PAUSE);
        }
        over();
        alternative.work();
        assert_eq!(alternative.port(), Some(443));
        assert_eq!(alternative.fail(), FIRST_PAUSE);
    }
}
