//! Error codes of HTTP/3 and QPACK, and the errors that end a stream or a connection.

use std::fmt;

/// An error code on the wire (RFC 9114 §8.1, RFC 9204 §6, RFC 9297 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name in the registry, if it has one.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// A malformed datagram.
    H3_DATAGRAM_ERROR = 0x33,
    /// No error.
    H3_NO_ERROR = 0x100,
    /// A violation that has no code of its own.
    H3_GENERAL_PROTOCOL_ERROR = 0x101,
    /// A fault of this side.
    H3_INTERNAL_ERROR = 0x102,
    /// A stream that may not be opened.
    H3_STREAM_CREATION_ERROR = 0x103,
    /// The control stream or one of QPACK's was closed.
    H3_CLOSED_CRITICAL_STREAM = 0x104,
    /// A frame that may not come in this place or at this time.
    H3_FRAME_UNEXPECTED = 0x105,
    /// A frame with a wrong layout.
    H3_FRAME_ERROR = 0x106,
    /// Allowed behaviour in an amount that is not allowed.
    H3_EXCESSIVE_LOAD = 0x107,
    /// An identifier that may not be used, or not twice.
    H3_ID_ERROR = 0x108,
    /// Settings that contradict the rules.
    H3_SETTINGS_ERROR = 0x109,
    /// A control stream that does not begin with settings.
    H3_MISSING_SETTINGS = 0x10a,
    /// A request that this side did not look at.
    H3_REQUEST_REJECTED = 0x10b,
    /// A request that is cancelled: its response is no longer wanted.
    H3_REQUEST_CANCELLED = 0x10c,
    /// A request that ended before it was complete.
    H3_REQUEST_INCOMPLETE = 0x10d,
    /// A malformed message.
    H3_MESSAGE_ERROR = 0x10e,
    /// The TCP connection of a tunnel broke.
    H3_CONNECT_ERROR = 0x10f,
    /// HTTP/3 cannot serve this request; HTTP/1.1 may.
    H3_VERSION_FALLBACK = 0x110,
    /// A field section that cannot be decoded.
    QPACK_DECOMPRESSION_FAILED = 0x200,
    /// A wrong instruction on the encoder stream.
    QPACK_ENCODER_STREAM_ERROR = 0x201,
    /// A wrong instruction on the decoder stream.
    QPACK_DECODER_STREAM_ERROR = 0x202,
}

impl Code {
    pub(crate) fn varint(self) -> quinn::VarInt {
        quinn::VarInt::from_u64(self.0).unwrap_or(quinn::VarInt::MAX)
    }
}

impl From<quinn::VarInt> for Code {
    fn from(value: quinn::VarInt) -> Self {
        Self(value.into_inner())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule that the peer broke, and the error code for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// The code for the peer.
    pub code: Code,
    /// The peer's act, for logs and for the CONNECTION_CLOSE frame.
    pub reason: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

impl From<crate::qpack::Error> for Violation {
    fn from(error: crate::qpack::Error) -> Self {
        Self::new(Code(error.code()), error.reason())
    }
}

/// The reason why a request cannot continue.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request is malformed or breaks a limit: its stream must be reset with the code.
    #[error("request refused")]
    Stream(#[source] Violation),
    /// The field section is larger than allowed; a response may still say this.
    #[error("field section too large")]
    TooLarge,
    /// The connection has been closed for a violation.
    #[error("connection closed")]
    Connection(#[source] Violation),
    /// The peer ended its side of the stream, with this code.
    #[error("stream ended by the peer ({0})")]
    Reset(Code),
    /// The connection is gone.
    #[error("connection lost")]
    Lost(#[source] quinn::ConnectionError),
}

impl From<quinn::ConnectionError> for Error {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Lost(error)
    }
}

impl From<quinn::ReadError> for Error {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Reset(code.into()),
            quinn::ReadError::ConnectionLost(error) => Self::Lost(error),
            // Reading after the end, unordered after ordered, or data of a refused 0-RTT attempt:
            // no data is left.
            _ => Self::Reset(Code::H3_NO_ERROR),
        }
    }
}

impl From<quinn::WriteError> for Error {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Reset(code.into()),
            quinn::WriteError::ConnectionLost(error) => Self::Lost(error),
            _ => Self::Reset(Code::H3_NO_ERROR),
        }
    }
}
