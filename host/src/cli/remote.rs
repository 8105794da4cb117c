//! Access to a running Weir: its address, a token, and the text of answers.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use http::Method;
use serde_json::Value;

use crate::admin::client::{Client, ClientError};
use crate::config;

/// The access to a running Weir.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// Address of the admin API, or unix:PATH; or set WEIR_ADMIN. [default: 127.0.0.1:9091]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Token of the admin API; better set WEIR_ADMIN_TOKEN.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Take both from this configuration.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["admin", "token"])]
    config: Option<PathBuf>,
}

/// The reason why a command on a running Weir failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] config::ConfigErrors),
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error("{0}")]
    Failed(String),
    #[error("write to standard output")]
    Output(#[source] std::io::Error),
}

impl RemoteError {
    /// Whether a configuration is at fault, here or at the running Weir.
    pub(super) fn is_of_configuration(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Client(ClientError::Faults(_)))
    }
}

impl Admin {
    /// Finds the address and a token.
    pub(super) fn client(&self) -> Result<Client, RemoteError> {
        if let Some(path) = &self.config {
            // The rest of the file may be broken: a missing plugin is a reason to roll back.
            let admin = config::admin(path)?.ok_or_else(|| {
                RemoteError::Failed(format!("{} has no `admin:`", path.display()))
            })?;
            let token = admin.strongest().unwrap_or_default().to_owned();
            return Ok(Client { address: admin.address.to_string(), token });
        }
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = self.admin.clone().or_else(|| variable("WEIR_ADMIN"));
        let address = address.unwrap_or_else(|| config::defaults::ADMIN_ADDRESS.to_string());
        let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let token = self.token.clone().or_else(|| variable("WEIR_ADMIN_TOKEN"));
        let token = token.ok_or_else(|| {
            let hint =
                "the admin API needs a token: set WEIR_ADMIN_TOKEN, or pass --token or --config";
            RemoteError::Failed(hint.to_owned())
        })?;
        Ok(Client { address, token })
    }

    /// Sends one request.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Value, RemoteError> {
        Ok(self.client()?.call(method, path, body)?)
    }
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), RemoteError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(RemoteError::Output)
}

/// Returns the text of a value for a table.
pub(super) fn cell(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

/// Returns the members of a list.
pub(super) fn items<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// Pads each column to its widest cell.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_configuration_s_faults_are_the_configuration_s() {
        let faults = RemoteError::from(ClientError::Faults("weir.yaml:1:2: wrong".to_owned()));
        assert!(faults.is_of_configuration());
        let reason = "no".to_owned();
        let refused = ClientError::Refused { status: http::StatusCode::CONFLICT, reason };
        assert!(!RemoteError::from(refused).is_of_configuration());
    }
}
