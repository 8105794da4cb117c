//! [`Live`]: the running process as the admin API sees it.
//!
//! `server` implements it, and tests use a stand-in. The calls are short and wait for nothing.
//! Orders that take longer go to the supervisor.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::model::{
    CertificateStatus, ConnectionCount, EndpointPatch, ListenerStatus, UpgradeStatus,
    UpstreamStatus,
};
use crate::config::Endpoint;
use crate::plugins::Plugins;
use crate::state::current::{Refused, Revision};

/// The running process.
pub(crate) trait Live {
    /// Returns the facts about the process.
    fn process(&self) -> Process;

    /// Returns the revision that serves, and the values of its configuration with every secret
    /// masked. Both are of one moment.
    fn serving(&self) -> (Revision, Value);

    /// Returns the revision that serves.
    fn revision(&self) -> Revision {
        self.serving().0
    }

    /// Returns the revisions that can be returned to, the serving one at the end.
    fn revisions(&self) -> Vec<Revision>;

    /// Returns the configuration that was refused since the last one that serves.
    fn refused(&self) -> Option<Refused>;

    /// Returns the plugins that serve.
    fn plugins(&self) -> Arc<Plugins>;

    /// Returns the upstreams in the order of the configuration.
    fn upstreams(&self) -> Vec<UpstreamStatus>;

    /// Serves an upstream by these endpoints in place of the configuration's, or by the
    /// configuration's again if there are none given. The list is checked: it is not empty, no
    /// name occurs twice, and a weight is above 0.
    ///
    /// # Errors
    /// [`LiveError`]. Nothing has changed in that case.
    fn set_endpoints(
        &self,
        upstream: &str,
        endpoints: Option<Vec<Endpoint>>,
    ) -> Result<(), LiveError>;

    /// Changes one endpoint until the next change of the list.
    ///
    /// # Errors
    /// [`LiveError`]. Nothing has changed in that case.
    fn patch_endpoint(
        &self,
        upstream: &str,
        endpoint: &str,
        patch: EndpointPatch,
    ) -> Result<(), LiveError>;

    /// Returns the certificates of all listeners.
    fn certificates(&self) -> Vec<CertificateStatus>;

    /// Returns the open connections of clients, one entry for each listener and protocol, and each
    /// worker if it is known.
    fn connections(&self) -> Vec<ConnectionCount>;
}

/// The facts about a process that no configuration tells.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// The time of its start.
    pub(crate) started: SystemTime,
    /// Worker threads.
    pub(crate) workers: usize,
    /// Whether it finishes its requests and accepts no more.
    pub(crate) draining: bool,
    /// The progress of an upgrade.
    pub(crate) upgrade: UpgradeStatus,
    /// The listeners in the order of the configuration.
    pub(crate) listeners: Vec<ListenerStatus>,
}

/// The reason why endpoints were not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiveError {
    /// No upstream has the name.
    #[error("no upstream has the name {0:?}")]
    NoUpstream(String),
    /// The upstream has no endpoint of the name.
    #[error("the upstream has no endpoint {0:?}")]
    NoEndpoint(String),
}
