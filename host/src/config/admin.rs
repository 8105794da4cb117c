//! The admin API as the rest of the program sees it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The admin API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The address where it is served, over plain HTTP.
    pub address: ControlAddress,
    /// The bearer tokens; at least one.
    pub tokens: Vec<AdminToken>,
}

/// An address of a listener for operators.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ControlAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

/// A bearer token of the admin API.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// The token.
    pub token: String,
    /// The requests that it allows.
    pub role: Role,
}

/// The requests that a client of the admin API may send.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Requests that change nothing.
    Read,
    /// Every request.
    Write,
}

impl Admin {
    /// Returns the token that allows the most. Commands use it.
    pub fn strongest(&self) -> Option<&str> {
        let strongest = self.tokens.iter().max_by_key(|token| token.role);
        strongest.map(|token| token.token.as_str())
    }
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// Leaves the token out: a configuration may be written to a log.
impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").field("role", &self.role).finish_non_exhaustive()
    }
}
