//! QPACK, the compression of HTTP/3's fields (RFC 9204): decodes the peer's field sections and
//! encodes ours.
//!
//! A connection has one [`Decoder`] and one [`Encoder`]. Their caller moves the bytes: sections are
//! the payloads of HEADERS frames, and each of the two has a unidirectional stream in either
//! direction. They wait for nothing and never hold more than their limits. The [`Sink`], not they,
//! checks whether the fields together form a valid message.

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
