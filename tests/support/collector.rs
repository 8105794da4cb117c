//! A collector of spans.

use std::io::{BufRead as _, BufReader};
use std::process::{ChildStdout, Stdio};

use serde_json::Value;

use super::tools::{Running, python};
use super::within;

/// A gRPC server made from the published OTLP definitions; it prints each span as a line of JSON.
pub(crate) struct Collector {
    _process: Running,
    lines: Option<BufReader<ChildStdout>>,
    pub(crate) port: u16,
}

impl Collector {
    /// Starts the server on a free port.
    pub(crate) fn start() -> Self {
        let mut process = Running::start(python("collector.py").stdout(Stdio::piped()));
        let mut lines = BufReader::new(process.child().stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let port = first.trim().parse().unwrap_or_else(|_| panic!("the collector did not start"));
        Self { _process: process, lines: Some(lines), port }
    }

    /// Waits for this many spans.
    pub(crate) async fn spans(&mut self, count: usize) -> Vec<Value> {
        let mut lines = self.lines.take().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut spans = Vec::new();
            let mut line = String::new();
            while spans.len() < count && lines.read_line(&mut line).unwrap() > 0 {
                spans.push(serde_json::from_str(&line).unwrap());
                line.clear();
            }
            spans
        });
        within("spans", read).await.unwrap()
    }
}
