//! The errors of QPACK, and their reach: a message, a stream or the whole connection.

use std::fmt;

/// The peer broke QPACK; the connection ends (RFC 9204 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    reason: &'static str,
}

/// The QPACK error code of an error (RFC 9204 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// `QPACK_DECOMPRESSION_FAILED`: a field section cannot be read.
    Decompression,
    /// `QPACK_ENCODER_STREAM_ERROR`: an instruction of the peer's encoder cannot be followed.
    EncoderStream,
    /// `QPACK_DECODER_STREAM_ERROR`: an instruction of the peer's decoder cannot be followed.
    DecoderStream,
}

/// The reason why a field section gave no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The section needs this many insertions, and fewer have arrived (RFC 9204 §2.2.1). Keep it,
    /// and decode it again when [`Decoder::insert_count`](super::Decoder::insert_count) has reached
    /// this number.
    Blocked(u64),
    /// The section was read but is no valid message: a stream error, `H3_MESSAGE_ERROR` (RFC 9114
    /// §4.1.2).
    Malformed(Malformed),
    /// The fields are larger or more than the limits allow; the sink has the fields before that. A
    /// 431 response may tell the client (RFC 9114 §4.2.2).
    TooLarge,
    /// An integer is larger than any implementation needs: a stream error,
    /// `QPACK_DECOMPRESSION_FAILED` (RFC 9204 §7.4). Nothing was acknowledged: cancel the stream.
    Overflow,
    /// The connection ends.
    Connection(Error),
}

/// The reason why a message is malformed (RFC 9114 §4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A field's name is no token in lower case (RFC 9114 §4.2).
    Name,
    /// A pseudo-header field's name is unknown (RFC 9114 §4.3).
    Pseudo,
    /// A field's value holds a forbidden character (RFC 9114 §10.3).
    Value,
    /// The [`Sink`](super::Sink) refused a field, for this reason.
    Refused(&'static str),
}

impl Error {
    pub(super) const fn decompression(reason: &'static str) -> Self {
        Self { kind: ErrorKind::Decompression, reason }
    }

    pub(super) const fn encoder_stream(reason: &'static str) -> Self {
        Self { kind: ErrorKind::EncoderStream, reason }
    }

    pub(super) const fn decoder_stream(reason: &'static str) -> Self {
        Self { kind: ErrorKind::DecoderStream, reason }
    }

    /// The kind of this error.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code that closes the connection.
    pub const fn code(&self) -> u64 {
        match self.kind {
            ErrorKind::Decompression => 0x0200,
            ErrorKind::EncoderStream => 0x0201,
            ErrorKind::DecoderStream => 0x0202,
        }
    }

    /// The peer's act, for logs and the close frame's reason.
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::Decompression => "field section",
            ErrorKind::EncoderStream => "encoder stream",
            ErrorKind::DecoderStream => "decoder stream",
        };
        write!(formatter, "{what}: {}", self.reason)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(required) => {
                write!(formatter, "field section needs {required} insertions")
            }
            Self::Malformed(malformed) => write!(formatter, "malformed message: {malformed}"),
            Self::TooLarge => formatter.write_str("field section past the limit"),
            Self::Overflow => formatter.write_str("integer past 62 bits in a field section"),
            Self::Connection(error) => error.fmt(formatter),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "invalid field name",
            Self::Pseudo => "unknown pseudo-header field",
            Self::Value => "invalid field value",
            Self::Refused(reason) => reason,
        })
    }
}

impl std::error::Error for Error {}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            _ => None,
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Error> for DecodeError {
    fn from(error: Error) -> Self {
        Self::Connection(error)
    }
}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}
