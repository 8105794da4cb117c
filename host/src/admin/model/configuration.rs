//! Configurations, their history, and their faults.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::seconds;
use crate::config::ConfigErrors;
use crate::state::current::{Refused, Revision};
use crate::state::orders;

/// The values of the configuration that serves. Secrets are masked.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Configuration(pub(crate) serde_json::Map<String, Value>);

/// A configuration as docs/configuration.md describes it. A masked secret is text like any other:
/// write `env:NAME`, `file:PATH` or the secret itself in its place.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct NewConfiguration(serde_json::Map<String, Value>);

/// A configuration that serves or has served.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RevisionStatus {
    /// The number since the start of the process, from 1.
    pub(crate) revision: u64,
    /// The tag, for `If-Match`, without quotes.
    pub(crate) tag: String,
    /// The origin: `start`, `file`, `api`, `rollback` or `upgrade`.
    pub(crate) origin: String,
    /// The time of its publication.
    pub(crate) at: f64,
}

impl From<&Revision> for RevisionStatus {
    fn from(revision: &Revision) -> Self {
        Self {
            revision: revision.number,
            tag: revision.tag.clone(),
            origin: revision.origin.to_owned(),
            at: seconds(revision.at),
        }
    }
}

/// The configurations that can be returned to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct History {
    /// The revisions, the serving one first.
    pub(crate) revisions: Vec<RevisionStatus>,
}

/// A configuration that was refused.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RefusedConfiguration {
    /// The time of the refusal.
    pub(crate) at: f64,
    /// The faults, one a line, each with file, line and column.
    pub(crate) reason: String,
}

impl From<Refused> for RefusedConfiguration {
    fn from(refused: Refused) -> Self {
        Self { at: seconds(refused.at), reason: refused.reason }
    }
}

/// The outcome of an order that was carried out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Applied {
    /// The number of the revision that serves.
    pub(crate) revision: u64,
    /// The tag of the configuration that serves, for `If-Match`, without quotes.
    pub(crate) tag: String,
    /// The differences from the configuration before. Those of a dry run were not applied.
    pub(crate) changes: Vec<Change>,
    /// Keys that changed and take effect only after a restart.
    pub(crate) needs_restart: Vec<String>,
    /// Parts that are allowed and probably a mistake.
    pub(crate) warnings: Vec<String>,
}

/// One difference between two configurations.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Change {
    /// The path of the value, such as `upstreams[app].timeouts.connect`.
    pub(crate) path: String,
    /// The value before. Absent if it was added. Secrets are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    /// The value after. Absent if it was removed. Secrets are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
}

impl From<orders::Applied> for Applied {
    fn from(applied: orders::Applied) -> Self {
        let changes = applied.changes.into_iter();
        let change = |change: orders::Change| Change {
            path: change.path,
            before: change.before,
            after: change.after,
        };
        Self {
            revision: applied.revision,
            tag: applied.tag,
            changes: changes.map(change).collect(),
            needs_restart: applied.needs_restart,
            warnings: applied.warnings,
        }
    }
}

/// A refusal, as RFC 9457 has it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status tells the kind.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The name of the status.
    pub(crate) title: String,
    /// The status.
    pub(crate) status: u16,
    /// The reason.
    pub(crate) detail: String,
    /// The reason once more, under the name that it had before.
    pub(crate) error: String,
    /// The faults of a configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Fault>,
}

/// A fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Fault {
    /// The file, or the argument of the command line.
    pub(crate) file: String,
    /// The line, from 1. Absent for a fault of the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// The column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    /// The description.
    pub(crate) message: String,
}

impl Fault {
    /// Returns the faults of a configuration in the order of the file.
    pub(crate) fn all(errors: &ConfigErrors) -> Vec<Self> {
        let fault = |problem: &crate::config::Problem| {
            let position = problem.position();
            Self {
                file: problem.file().to_owned(),
                line: position.map(|(line, _)| line),
                column: position.map(|(_, column)| column),
                message: problem.message().to_owned(),
            }
        };
        errors.problems().iter().map(fault).collect()
    }
}
