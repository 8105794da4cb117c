//! The state of a discovery, for operators: one log line for each change of it, and the status of
//! the admin API.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::config::{Discovery, MAX_ENDPOINTS};
use crate::telemetry::clock::Timestamp;

/// The state of an upstream's discovery.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DiscoveryStatus {
    /// `static`, `names`, `dns` or `file`.
    pub kind: &'static str,
    /// The number of endpoints.
    pub endpoints: usize,
    /// The time of the last look without a fault.
    #[serde(serialize_with = "moment")]
    pub last_success: Option<SystemTime>,
    /// The faults of the last look, if it had any.
    pub last_error: Option<String>,
    /// The time of the next look. A file without names is looked at when it changes.
    #[serde(serialize_with = "moment")]
    pub next: Option<SystemTime>,
}

/// A [`DiscoveryStatus`] that `follow` keeps up to date.
pub type SharedStatus = Arc<Mutex<DiscoveryStatus>>;

impl DiscoveryStatus {
    /// Returns the status of an upstream before the first look.
    pub fn of(upstream: &crate::config::Upstream) -> SharedStatus {
        let kind = match upstream.discovery {
            Discovery::Static => "static",
            Discovery::Names(_) => "names",
            Discovery::Dns(_) => "dns",
            Discovery::File(_) => "file",
        };
        let endpoints = upstream.endpoints.len();
        Arc::new(Mutex::new(Self { kind, endpoints, ..Self::default() }))
    }
}

/// A reason why endpoints may be out of date.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// A name has no records of the type, or does not exist.
    #[error("\"{0}\" has no records")]
    Empty(String),
    /// The answer of the DNS is missing or is an error.
    #[error("cannot look up \"{name}\": {why}")]
    Lookup {
        /// The name.
        name: String,
        /// The error.
        why: String,
    },
    /// A file has faults; the text has a place for each.
    #[error("{0}")]
    File(String),
    /// A file has an empty list.
    #[error("\"{0}\" has no endpoints")]
    NoEndpoints(String),
    /// There are more than [`MAX_ENDPOINTS`].
    #[error("more than {MAX_ENDPOINTS} endpoints; the rest is left out")]
    TooMany,
}

impl Trouble {
    /// Whether it is the same fault, perhaps with another cause. Servers time out and refuse by
    /// turns.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lookup { name, .. }, Self::Lookup { name: other, .. }) => name == other,
            (Self::Empty(what), Self::Empty(other))
            | (Self::File(what), Self::File(other))
            | (Self::NoEndpoints(what), Self::NoEndpoints(other)) => what == other,
            (Self::TooMany, Self::TooMany) => true,
            _ => false,
        }
    }
}

/// Tells operators about the looks of one discovery.
pub(super) struct Report<'a> {
    upstream: &'a str,
    status: &'a SharedStatus,
    /// The faults of the last look.
    troubles: Vec<Trouble>,
}

impl<'a> Report<'a> {
    pub(super) fn new(upstream: &'a str, status: &'a SharedStatus) -> Self {
        Self { upstream, status, troubles: Vec::new() }
    }

    /// Notes a look. A fault that was there before is not logged again.
    pub(super) fn note(
        &mut self,
        mut troubles: Vec<Trouble>,
        endpoints: usize,
        next: Option<Duration>,
    ) {
        troubles.truncate(MAX_TROUBLES);
        let upstream = self.upstream;
        for trouble in self.new_ones(&troubles) {
            tracing::warn!(
                upstream,
                reason = trouble.to_string(),
                "cannot follow all endpoints; those that are known stay"
            );
        }
        if troubles.is_empty() && !self.troubles.is_empty() {
            tracing::info!(upstream, endpoints, "all endpoints are up to date again");
        }
        self.tell(&troubles, endpoints, next);
        self.troubles = troubles;
    }

    fn new_ones<'t>(&self, troubles: &'t [Trouble]) -> impl Iterator<Item = &'t Trouble> {
        troubles.iter().filter(|now| !self.troubles.iter().any(|was| was.is_same(now)))
    }

    fn tell(&self, troubles: &[Trouble], endpoints: usize, next: Option<Duration>) {
        let now = SystemTime::now();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.endpoints = endpoints;
        status.next = next.and_then(|next| now.checked_add(next));
        if troubles.is_empty() {
            status.last_success = Some(now);
            status.last_error = None;
        } else {
            let texts: Vec<String> = troubles.iter().map(ToString::to_string).collect();
            status.last_error = Some(texts.join("; "));
        }
    }
}

fn moment<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(&Timestamp(*time)),
        None => to.serialize_none(),
    }
}

/// The most faults of one look that are shown. More have one cause, a server that is down.
const MAX_TROUBLES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str, why: &str) -> Trouble {
        Trouble::Lookup { name: name.to_owned(), why: why.to_owned() }
    }

    #[test]
    fn a_fault_is_new_once_whatever_its_cause() {
        let status = SharedStatus::default();
        let mut report = Report::new("app", &status);
        let news = |report: &Report<'_>, troubles: &[Trouble]| {
            report.new_ones(troubles).map(ToString::to_string).collect::<Vec<_>>()
        };
        let troubles = [lookup("a", "timeout"), Trouble::Empty("b".to_owned())];
        assert_eq!(news(&report, &troubles).len(), 2);
        report.note(troubles.to_vec(), 1, None);
        assert!(news(&report, &[lookup("a", "refused")]).is_empty());
        let changed = [Trouble::Empty("a".to_owned()), lookup("b", "refused")];
        assert_eq!(
            news(&report, &changed),
            ["\"a\" has no records", "cannot look up \"b\": refused"]
        );
        report.note(Vec::new(), 1, None);
        assert_eq!(news(&report, &troubles).len(), 2);
    }

    #[test]
    fn the_status_has_the_faults_of_the_last_look_only() {
        let status = SharedStatus::default();
        let mut report = Report::new("app", &status);
        report.note(vec![lookup("a", "timeout"), Trouble::TooMany], 3, None);
        let shown = serde_json::to_value(&*status.lock().unwrap()).unwrap();
        let error = "cannot look up \"a\": timeout; more than 1024 endpoints; the rest is left out";
        assert_eq!(shown["last_error"], error);
        assert_eq!(shown["endpoints"], 3);
        assert!(shown["last_success"].is_null() && shown["next"].is_null());
        report.note(Vec::new(), 4, Some(Duration::from_secs(60)));
        let shown = serde_json::to_value(&*status.lock().unwrap()).unwrap();
        assert!(shown["last_error"].is_null());
        assert!(shown["last_success"].as_str().unwrap().ends_with('Z'));
        assert!(shown["next"].as_str() > shown["last_success"].as_str());
    }
}
