//! Parsed field lines, for both tables and for a [`Sink`].

use std::ops::Deref;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::error::Malformed;

/// The known pseudo-header fields (RFC 9114 §4.3, RFC 9220 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pseudo {
    /// `:authority` of a request.
    Authority,
    /// `:method` of a request.
    Method,
    /// `:path` of a request.
    Path,
    /// `:scheme` of a request.
    Scheme,
    /// `:status` of a response.
    Status,
    /// `:protocol` of an extended CONNECT.
    Protocol,
}

/// A field's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// The name of a pseudo-header field.
    Pseudo(Pseudo),
    /// The name of any other field.
    Field(HeaderName),
}

/// Takes a section's field lines in their order.
///
/// A refusal makes the message malformed and ends the delivery; it does nothing else.
pub trait Sink {
    /// Takes a pseudo-header field. The sink must check its value: the rules are narrower than for
    /// other fields.
    ///
    /// # Errors
    /// The message is malformed: the field is out of place, comes twice, or has an invalid value.
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed>;

    /// Takes any other field. The value is marked sensitive if the peer forbids indexing it (RFC
    /// 9204 §7.1.3). An [`Encoder`](super::Encoder) obeys the mark.
    ///
    /// # Errors
    /// The message is malformed.
    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed>;
}

/// Borrowed bytes. Only a caller that keeps them takes a share of the memory, because each share is
/// counted.
#[derive(Debug)]
pub struct Text<'a>(Memory<'a>);

#[derive(Debug)]
enum Memory<'a> {
    /// A part of these bytes.
    Of(&'a Bytes, &'a [u8]),
    Own(Bytes),
}

/// Takes a trailer section, which has no pseudo-header fields (RFC 9114 §4.3).
impl Sink for HeaderMap {
    fn pseudo(&mut self, _: Pseudo, _: Text<'_>) -> Result<(), Malformed> {
        Err(Malformed::Refused("pseudo-header field in a trailer section"))
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        let full = |_| Malformed::Refused("more fields than a map holds");
        self.try_append(name, value).map(|_| ()).map_err(full)
    }
}

/// A valid field line. The sink must check the value of a pseudo-header field.
#[derive(Debug, Clone)]
pub(super) enum Line {
    Pseudo(Pseudo, Bytes),
    Field(HeaderName, HeaderValue),
}

impl<'a> Text<'a> {
    /// Makes a text of `part`, which is a part of `whole`.
    pub(super) fn of(whole: &'a Bytes, part: &'a [u8]) -> Self {
        Self(Memory::Of(whole, part))
    }

    /// Returns the bytes as an owned share.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Memory::Of(whole, part) => whole.slice_ref(part),
            Memory::Own(bytes) => bytes,
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Of(_, part) => part,
            Memory::Own(bytes) => bytes,
        }
    }
}

impl From<Bytes> for Text<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(Memory::Own(bytes))
    }
}

impl Pseudo {
    /// The name as sent, colon included.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => ":authority",
            Self::Method => ":method",
            Self::Path => ":path",
            Self::Scheme => ":scheme",
            Self::Status => ":status",
            Self::Protocol => ":protocol",
        }
    }

    const fn from_bytes(name: &[u8]) -> Option<Self> {
        Some(match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":scheme" => Self::Scheme,
            b":status" => Self::Status,
            b":protocol" => Self::Protocol,
            _ => return None,
        })
    }
}

impl Name {
    /// The name as sent.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pseudo(name) => name.as_str(),
            Self::Field(name) => name.as_str(),
        }
    }

    /// Reads a name as a peer sent it.
    pub(super) fn parse(name: &[u8]) -> Result<Self, Malformed> {
        if name.first() == Some(&b':') {
            return Pseudo::from_bytes(name).map(Self::Pseudo).ok_or(Malformed::Pseudo);
        }
        // `HeaderName` accepts a quotation mark, which is no token character (RFC 9110 §5.6.2).
        if name.contains(&b'"') {
            return Err(Malformed::Name);
        }
        HeaderName::from_lowercase(name).map(Self::Field).map_err(|_| Malformed::Name)
    }

    /// Adds a value as a peer sent it.
    pub(super) fn with(self, value: Bytes) -> Result<Line, Malformed> {
        match self {
            Self::Pseudo(name) => Ok(Line::Pseudo(name, value)),
            Self::Field(name) => field_value(value).map(|value| Line::Field(name, value)),
        }
    }

    /// Delivers a line with a value as a peer sent it.
    #[inline]
    pub(super) fn deliver(
        self,
        value: Text<'_>,
        is_sensitive: bool,
        sink: &mut impl Sink,
    ) -> Result<(), Malformed> {
        match self {
            Self::Pseudo(name) => sink.pseudo(name, value),
            Self::Field(name) => {
                let mut value = field_value(value.into_bytes())?;
                value.set_sensitive(is_sensitive);
                sink.field(name, value)
            }
        }
    }
}

impl Line {
    /// Makes a line of the static table at compile time.
    pub(super) const fn from_static(name: &'static str, value: &'static str) -> Self {
        match Pseudo::from_bytes(name.as_bytes()) {
            Some(name) => Self::Pseudo(name, Bytes::from_static(value.as_bytes())),
            None => Self::Field(HeaderName::from_static(name), HeaderValue::from_static(value)),
        }
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Pseudo(name, _) => Name::Pseudo(*name),
            Self::Field(name, _) => Name::Field(name.clone()),
        }
    }

    /// Bytes of the name and of the value, and 32 (RFC 9114 §4.2.2, RFC 9204 §3.2.1).
    pub(super) fn size(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Pseudo(name, value) => name.as_str().len() + value.len(),
                Self::Field(name, value) => name.as_str().len() + value.len(),
            }
    }

    /// Delivers the line to a sink.
    #[inline]
    pub(super) fn deliver(&self, sink: &mut impl Sink) -> Result<(), Malformed> {
        match self {
            Self::Pseudo(name, value) => sink.pseudo(*name, Text::of(value, value)),
            Self::Field(name, value) => sink.field(name.clone(), value.clone()),
        }
    }
}

fn field_value(value: Bytes) -> Result<HeaderValue, Malformed> {
    HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::Value)
}

/// The count of each field besides its name and value (RFC 9114 §4.2.2, RFC 9204 §3.2.1).
pub(super) const OVERHEAD: usize = 32;
