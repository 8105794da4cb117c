//! The permissions of a plugin under test.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_runtime::filter::{Edit, RequestDecision, not_allowed};

/// The permissions of a plugin under test, in the form of `allow` in Weir's configuration. Nothing
/// by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Upstreams that it may fetch from and send requests to.
    pub upstreams: Vec<String>,
    /// Spaces of the shared state that it may reach besides its own.
    pub state: Vec<String>,
}

impl Allow {
    /// Refuses a decision that names another upstream. A running Weir answers that request with
    /// 503.
    pub(crate) fn check(&self, decision: &RequestDecision) -> Result<(), String> {
        let mut named = match decision {
            RequestDecision::Next | RequestDecision::Reply(_) => Vec::new(),
            RequestDecision::Fetch(fetch) => vec![&fetch.upstream],
            RequestDecision::Edit(changes) => {
                let upstreams = changes.edits.iter().filter_map(|edit| match edit {
                    Edit::Upstream(name) => Some(name),
                    _ => None,
                });
                upstreams.collect()
            }
        };
        named.retain(|name| !self.upstreams.contains(name));
        named.first().map_or(Ok(()), |name| Err(not_allowed(name)))
    }
}
