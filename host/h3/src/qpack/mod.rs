//! QPACK, the compression of HTTP/3's fields (RFC 9204): the peer's field sections in, ours out.
//!
//! A connection has one [`Decoder`] and one [`Encoder`]. Both work on bytes that their caller moves: sections
//! are the payloads of HEADERS frames, and each of the two has a unidirectional stream in either direction. They
//! wait for nothing and never hold more than their limits say. What a message's fields must be together is the
//! [`Sink`]'s to judge, not theirs.

mod decoder;
mod encoder;
mod error;
mod field;
mod huffman;
mod integer;
mod static_table;
mod string;
#[cfg(test)]
mod tests;

pub use decoder::{Decoded, Decoder, Limits};
pub use encoder::Encoder;
pub use error::{DecodeError, Error, ErrorKind, Malformed};
pub use field::{Name, Pseudo, Sink, Text};
