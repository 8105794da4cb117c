//! The ground floor: the types of a message that all layers share, and the rules that every message
//! keeps, over each protocol.
//!
//! Nothing here knows a socket, a pool, an instance of a plugin, or a protocol's framing. `listen`
//! turns a client's bytes into these types, `upstream` turns them into an origin's, `plugins` and
//! `proxy` read and edit them, `telemetry` reports them.

pub(crate) mod ahead;
pub mod body;
pub mod check;
pub mod complete;
pub mod edit;
pub mod exchange;
pub mod forwarded;
pub mod grpc;
pub mod headers;
pub mod input;
pub mod interim;
mod list;
pub mod nominated;
pub mod peer;
pub mod subject;
pub mod tunnel;
