//! Keys of an upstream: one request fetches them, and all workers share them through the state.

use sha2::{Digest as _, Sha256};
use weir_sdk::{Fetch, Reply, host, state};

use crate::config::{Remote as Config, SECOND, milliseconds};
use crate::key::{Key, Origin, document};
use crate::reply::PAUSE_SECONDS;

/// The keys of a document, with the time of the fetch.
#[derive(Debug)]
pub(crate) struct Remote {
    fetch: Fetch,
    refresh: u64,
    /// `refresh` plus `stale`, in milliseconds: after this time the keys are dropped.
    end: u64,
    timeout: u64,
    /// The state key of the document. The keys of the marks begin with it.
    name: String,
    pub(crate) keys: Vec<Key>,
    /// The document that the keys come from.
    text: Vec<u8>,
    /// In milliseconds since the epoch, or 0 before the first fetch.
    fetched: u64,
    looked: u64,
}

impl Remote {
    pub(crate) fn new(config: Config) -> Result<Remote, String> {
        let hour = 3600 * SECOND;
        let refresh = milliseconds("jwks.refresh", &config.refresh, 30 * SECOND, 24 * hour)?;
        let stale = milliseconds("jwks.stale", &config.stale, 0, 168 * hour)?;
        let timeout = milliseconds("jwks.timeout", &config.timeout, 1, 10 * SECOND)?;
        if !config.path.starts_with('/') || config.path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(format!(
                "jwks.path: {:?} is not a path that begins with a slash",
                config.path
            ));
        }
        let authority = config.authority.unwrap_or_else(|| config.upstream.clone());
        if authority.bytes().any(|b| !b.is_ascii_graphic() || b == b'/') {
            return Err(format!("jwks.authority: {authority:?} is not a host and port"));
        }
        // Another document gets another entry, in every generation of the configuration.
        let what = [&*config.upstream, &*authority, &*config.path].join("\n");
        let digest = Sha256::digest(what);
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut fetch = Fetch::get(config.upstream, config.path)
            .header("accept", "application/jwk-set+json, application/json")
            .timeout(std::time::Duration::from_millis(timeout));
        fetch.authority = authority;
        Ok(Remote {
            fetch,
            refresh,
            end: refresh + stale,
            timeout,
            name: format!("jwks:{name}"),
            keys: Vec::new(),
            text: Vec::new(),
            fetched: 0,
            looked: 0,
        })
    }

    /// Takes the keys that other workers fetched, and drops keys that are too old. Without keys it
    /// looks on every call, otherwise at most once a second. Returns whether the keys have changed.
    pub(crate) fn look(&mut self, now: u64) -> bool {
        let is_new = now >= self.looked.saturating_add(SECOND) || now < self.looked;
        if !is_new && !self.keys.is_empty() {
            return false;
        }
        self.looked = now;
        let kept = state::get("", &self.name).unwrap_or_default();
        if let Some((fetched, text)) = kept.split_first_chunk::<8>() {
            let fetched = u64::from_le_bytes(*fetched);
            if fetched > self.fetched && now < fetched.saturating_add(self.end) {
                return self.take(text, fetched).unwrap_or(false);
            }
        }
        let is_over = !self.keys.is_empty() && now >= self.fetched.saturating_add(self.end);
        if is_over {
            self.keys.clear();
            self.text.clear();
        }
        is_over
    }

    /// Whether it is time to fetch again.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.fetched.saturating_add(self.refresh)
    }

    /// Whether this request must fetch. Over all workers only one request in [`BETWEEN`] does.
    pub(crate) fn claim(&self) -> bool {
        state::replace("", &self.asked(), None, b"1", BETWEEN)
    }

    /// Whether this request may fetch the first keys. Several may, so that the first requests do
    /// not fail.
    pub(crate) fn may_begin(&self) -> bool {
        state::get("", &self.failed()).is_none()
            && state::add("", &format!("{}:first", self.name), 1, self.timeout) <= AT_FIRST
    }

    pub(crate) fn fetch(&self, context: Vec<u8>) -> Fetch {
        self.fetch.clone().context(context)
    }

    /// Takes the answer to a fetch. Returns whether the keys have changed.
    pub(crate) fn answered(&mut self, answer: Result<Reply, String>, now: u64) -> bool {
        let text = answer.and_then(|answer| match answer.status {
            200 if answer.body.len() <= LARGEST => Ok(answer.body),
            200 => Err(format!("more than {} KiB", LARGEST >> 10)),
            status => Err(format!("status {status}")),
        });
        let taken = text.and_then(|text| {
            let is_new = self.take(&text, now)?;
            let kept = [&now.to_le_bytes()[..], &text].concat();
            state::set("", &self.name, &kept, self.end);
            Ok(is_new)
        });
        taken.unwrap_or_else(|reason| {
            host::count("jwks_failed", 1);
            let from = [self.fetch.upstream.as_str(), self.fetch.path.as_str()].concat();
            host::log(host::Level::Warn, &format!("no keys from {from}: {reason}"));
            state::set("", &self.failed(), b"1", PAUSE_SECONDS * SECOND);
            false
        })
    }

    fn take(&mut self, text: &[u8], fetched: u64) -> Result<bool, String> {
        let is_new = text != self.text || self.keys.is_empty();
        if is_new {
            let read = std::str::from_utf8(text).map_err(|_| "not UTF-8".to_owned())?;
            self.keys = document(read, Origin::Fetched)?;
            self.text = text.to_vec();
        }
        self.fetched = fetched;
        Ok(is_new)
    }

    pub(crate) fn asked(&self) -> String {
        format!("{}:asked", self.name)
    }

    pub(crate) fn failed(&self) -> String {
        format!("{}:failed", self.name)
    }
}

/// Milliseconds between two fetches once there are keys. Tokens with invented key names cannot
/// cause a fetch each.
const BETWEEN: u64 = 30 * SECOND;

/// The most requests that may fetch the first keys within one timeout.
const AT_FIRST: i64 = 32;

/// The largest document, in bytes: a value of the state holds it with its time.
const LARGEST: usize = 60 << 10;
