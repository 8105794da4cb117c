//! HTTP/3 (RFC 9114) on quinn's streams, with QPACK (RFC 9204): strict, bounded, without copies.
//!
//! On the server's side, [`Connection::accept`] returns each request's [`Stream`]. The caller reads
//! the head and the parts after it and sends the response. On the client's side, [`Client::open`]
//! returns the stream of a request to send. All of one connection runs on one thread and in the
//! tasks of its caller. The crate spawns nothing, and waits only for the peer.
//!
//! Pieces from the outside in: [`Connection`] or [`Client`], and the driver of the control streams;
//! [`Stream`], a request; `frame` and `control`, state machines without I/O; [`qpack`];
//! [`message`], the rules for messages; [`capsule`], datagrams on the bytes of a tunnel.
//!
//! Deliberately absent: server push. A peer's attempts to use it end as the RFC says.

pub mod capsule;
mod client;
mod code;
mod config;
mod connection;
mod control;
mod datagram;
mod driver;
mod frame;
#[cfg(any(fuzzing, test))]
#[allow(
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a panic is what a fuzz target is there for"
)]
pub mod fuzzing;
mod gate;
pub mod message;
mod priority;
pub mod qpack;
mod receive;
mod sending;
mod settings;
mod shared;
mod stream;
mod useless;
mod varint;

pub use client::Client;
pub use code::{Code, Error, Violation};
pub use config::Config;
pub use connection::{Connection, Handle};
pub use message::Protocol;
pub use priority::Priority;
pub use receive::Part;
pub use sending::{DataFrame, Sending};
pub use settings::Settings;
pub use stream::{DatagramError, Stream};
pub use useless::Useless;
