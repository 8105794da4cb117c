//! The configuration of a connection.

use crate::settings::Settings;

/// Limits and announcements of this side of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bytes of a decoded field section, with each field counted by RFC 9114 §4.2.2. The client is
    /// told this limit too. Default 64 KiB. Larger values than 768,000 count as 768,000, since a
    /// header map holds no more fields than fit in that.
    pub section_bytes: usize,
    /// Fields of a section. Default 128. Larger values than 24,000 count as 24,000.
    pub section_fields: usize,
    /// Bytes of unfinished frames that all request streams of a connection may hold together.
    /// Default 1 MiB.
    pub buffered: usize,
    /// Bytes of QPACK's dynamic table for requests. Default 4096; 0 forbids its use.
    pub table_capacity: usize,
    /// Requests that may wait at once because their sections need the dynamic table. Default 16.
    pub blocked_streams: usize,
    /// Request streams that the client may have open; it must equal QUIC's limit. Priorities for
    /// later streams are refused. Default 128.
    pub concurrent_requests: u64,
    /// Whether extended CONNECT is announced and accepted (RFC 9220). Default false.
    pub extended_connect: bool,
    /// Whether HTTP datagrams are announced and accepted (RFC 9297). QUIC must accept datagrams
    /// too. Default false.
    pub datagrams: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            section_bytes: 64 << 10,
            section_fields: 128,
            buffered: 1 << 20,
            table_capacity: 4096,
            blocked_streams: 16,
            concurrent_requests: 128,
            extended_connect: false,
            datagrams: false,
        }
    }
}

impl Config {
    /// The limits of a section, within the capacity of a header map.
    pub(crate) fn section(&self) -> crate::qpack::Limits {
        crate::qpack::Limits {
            bytes: self.section_bytes.min(SECTION_CEILING),
            fields: self.section_fields.min(SECTION_CEILING / 32),
        }
    }

    /// Bytes that the payload of a HEADERS frame may have. It is a little more than a section: a
    /// section that is slightly too large is decoded until the excess shows. No encoder gains from
    /// a Huffman code that is longer than its text.
    pub(crate) fn headers_frame(&self) -> usize {
        self.section().bytes + FRAME_SLACK
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            table_capacity: self.table_capacity as u64,
            blocked_streams: self.blocked_streams as u64,
            field_section: Some(self.section().bytes as u64),
            extended_connect: self.extended_connect,
            datagrams: self.datagrams,
        }
    }
}

/// `http::HeaderMap` panics past 24,576 names, and a field counts for at least 32 bytes.
const SECTION_CEILING: usize = 24_000 * 32;

const FRAME_SLACK: usize = 16 << 10;
