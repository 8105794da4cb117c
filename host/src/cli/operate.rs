//! Commands on a running Weir: `status`, `reload`, `rollback`, `drain`, `upgrade`, `config diff`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::endpoints::{self, EndpointsArgs};
use super::remote::{Admin, RemoteError, cell, items, print, table};

#[derive(Debug, Subcommand)]
pub(super) enum OperateCommand {
    /// Show the state of a running Weir.
    Status(Plain),
    /// Have a running Weir read its configuration again. If it has a fault, nothing changes.
    Reload(Plain),
    /// Return to an earlier configuration of a running Weir.
    Rollback {
        /// The number of the revision. [default: the one before the present]
        revision: Option<u64>,
        #[command(flatten)]
        plain: Plain,
    },
    /// Drain a running Weir: it finishes its requests and ends. With an endpoint, drain only that.
    Drain {
        /// The upstream of the endpoint.
        #[arg(long, value_name = "NAME", requires = "endpoint")]
        upstream: Option<String>,
        /// The endpoint that gets no new requests.
        #[arg(long, value_name = "HOST:PORT", requires = "upstream")]
        endpoint: Option<String>,
        #[command(flatten)]
        plain: Plain,
    },
    /// List the endpoints of a running Weir, or change them.
    Endpoints(EndpointsArgs),
    /// Have a running Weir hand its listeners over to the binary on disk.
    Upgrade(Plain),
    /// Compare configurations with that of a running Weir.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show the changes that a file would make. Nothing is applied.
    Diff {
        /// The configuration file (YAML).
        file: PathBuf,
        #[command(flatten)]
        plain: Plain,
    },
}

/// The options of every command on a running Weir.
#[derive(Debug, Args)]
pub(super) struct Plain {
    #[command(flatten)]
    pub(super) admin: Admin,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Plain {
    /// Sends one request and prints the answer as JSON, or as `told`.
    pub(super) fn tell(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        told: impl FnOnce(&Value) -> String,
    ) -> Result<(), RemoteError> {
        let answer = self.admin.call(method, path, body)?;
        if self.json {
            return print(&format!("{answer:#}\n"));
        }
        warn(&answer);
        print(&told(&answer))
    }
}

pub(super) fn execute(command: OperateCommand) -> Result<(), RemoteError> {
    let none = Vec::new();
    match command {
        OperateCommand::Status(plain) => plain.tell(Method::GET, "/api/status", none, status),
        OperateCommand::Reload(plain) => plain.tell(Method::POST, "/api/reload", none, applied),
        OperateCommand::Rollback { revision, plain } => {
            let query = revision.map(|number| format!("?revision={number}"));
            let path = format!("/api/config/rollback{}", query.unwrap_or_default());
            plain.tell(Method::POST, &path, none, applied)
        }
        OperateCommand::Drain { upstream: Some(upstream), endpoint: Some(endpoint), plain } => {
            endpoints::drain(&plain, &upstream, &endpoint, true)
        }
        OperateCommand::Drain { plain, .. } => {
            plain.tell(Method::POST, "/api/drain", none, |_| "it drains\n".to_owned())
        }
        OperateCommand::Endpoints(args) => endpoints::execute(args),
        OperateCommand::Upgrade(plain) => {
            let told = |_: &Value| "the new process takes over; see weir status\n".to_owned();
            plain.tell(Method::POST, "/api/upgrade", none, told)
        }
        OperateCommand::Config(ConfigCommand::Diff { file, plain }) => {
            let path = "/api/config?dry_run=true";
            plain.tell(Method::PUT, path, read(&file)?, changes)
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, RemoteError> {
    let what = format!("read {}", file.display());
    fs::read(file).map_err(|source| RemoteError::Io { what, source })
}

/// Prints the warnings of an answer. They may be lost: nothing depends on a reader.
fn warn(answer: &Value) {
    for warning in items(answer, "/warnings").filter_map(Value::as_str) {
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
}

fn status(status: &Value) -> String {
    let text = |path| cell(status, path);
    let number = |path| status.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    let state =
        if status.get("draining") == Some(&Value::Bool(true)) { "draining" } else { "serving" };
    let row = |name: &str, value: String| [name.to_owned(), value];
    let mut rows = vec![
        row("state", state.to_owned()),
        row("version", format!("{}, pid {}", text("/version"), text("/pid"))),
        row("up", uptime(number("/uptime_seconds"))),
        row("workers", text("/workers")),
        row(
            "configuration",
            format!(
                "revision {} from {}, tag {}",
                text("/configuration/revision"),
                text("/configuration/origin"),
                text("/configuration/tag")
            ),
        ),
        row("routes", text("/counts/routes")),
        row("upstreams", text("/counts/upstreams")),
        row(
            "endpoints",
            format!("{} of {}", text("/counts/available_endpoints"), text("/counts/endpoints")),
        ),
        row("plugins", text("/counts/plugins")),
    ];
    if text("/upgrade/state") != "none" {
        rows.push(row(
            "upgrade",
            format!("{} {}", text("/upgrade/state"), text("/upgrade/detail")),
        ));
    }
    let mut told = table(&rows);
    for fault in
        status.pointer("/refused/reason").and_then(Value::as_str).iter().flat_map(|t| t.lines())
    {
        let _ = writeln!(told, "refused        {fault}");
    }
    told.push('\n');
    told.push_str(&table(&listeners(status)));
    told
}

fn listeners(status: &Value) -> Vec<[String; 4]> {
    let mut rows = vec![["LISTENER", "PROTOCOLS", "TLS", "CONNECTIONS"].map(str::to_owned)];
    for listener in items(status, "/listeners") {
        let protocols: Vec<&str> =
            items(listener, "/protocols").filter_map(Value::as_str).collect();
        rows.push([
            cell(listener, "/address"),
            protocols.join(","),
            if cell(listener, "/tls") == "true" { "yes" } else { "no" }.to_owned(),
            cell(listener, "/connections"),
        ]);
    }
    rows
}

/// Returns a time in its two largest units.
fn uptime(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// Describes the outcome of an order.
fn applied(answer: &Value) -> String {
    let serves =
        format!("revision {} serves, tag {}\n", cell(answer, "/revision"), cell(answer, "/tag"));
    changes(answer) + &serves
}

/// Returns a line for each change.
fn changes(answer: &Value) -> String {
    let mut told = String::new();
    for change in items(answer, "/changes") {
        let (path, before, after) =
            (cell(change, "/path"), change.get("before"), change.get("after"));
        let _ = match (before, after) {
            (Some(before), Some(after)) => writeln!(told, "~ {path}: {before} -> {after}"),
            (Some(before), None) => writeln!(told, "- {path}: {before}"),
            (None, after) => writeln!(told, "+ {path}: {}", after.unwrap_or(&Value::Null)),
        };
    }
    for key in items(answer, "/needs_restart").filter_map(Value::as_str) {
        let _ = writeln!(told, "! {key} takes effect after a restart");
    }
    if told.is_empty() { "nothing changes\n".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_is_told_in_two_tables() {
        let told = status(&json!({
            "version": "1.2.3", "pid": 7, "uptime_seconds": 90_061.0, "workers": 2,
            "draining": false, "upgrade": { "state": "failed", "detail": "it died" },
            "configuration": { "revision": 3, "tag": "abc", "origin": "file", "at": 0.0 },
            "refused": { "at": 0.0, "reason": "weir.yaml:1:2: wrong\nweir.yaml:3:4: too" },
            "listeners": [
                { "address": "[::]:443", "protocols": ["h3", "h1"], "tls": true, "connections": 5 },
            ],
            "counts": { "routes": 1, "upstreams": 2, "endpoints": 4, "available_endpoints": 3,
                        "plugins": 5 },
        }));
        for line in [
            "state          serving",
            "version        1.2.3, pid 7",
            "up             1 d 1 h",
            "configuration  revision 3 from file, tag abc",
            "endpoints      3 of 4",
            "upgrade        failed it died",
            "refused        weir.yaml:3:4: too",
            "[::]:443  h3,h1      yes  5",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }

    #[test]
    fn changes_are_told_in_lines() {
        let answer = json!({
            "revision": 4, "tag": "abc", "warnings": [], "needs_restart": ["workers"],
            "changes": [
                { "path": "a", "before": 1, "after": 2 },
                { "path": "b", "before": "x" },
                { "path": "c", "after": [] },
            ],
        });
        assert_eq!(
            applied(&answer),
            "~ a: 1 -> 2\n- b: \"x\"\n+ c: []\n! workers takes effect after a restart\n\
             revision 4 serves, tag abc\n"
        );
        assert_eq!(changes(&json!({ "changes": [] })), "nothing changes\n");
    }

    #[test]
    fn a_time_has_its_two_largest_units() {
        let told = [5.9, 60.0, 3_661.0, 200_000.0].map(uptime);
        assert_eq!(told, ["5 s", "1 min 0 s", "1 h 1 min", "2 d 7 h"]);
    }
}
