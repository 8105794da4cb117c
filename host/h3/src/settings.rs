//! SETTINGS (RFC 9114 §7.2.4), which each side sends once at the start of its control stream.

use bytes::BufMut;

use crate::code::{Code, Violation};
use crate::varint;

/// Settings of one side; an absent setting has the default of its RFC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY, in bytes (RFC 9204 §5). Default 0.
    pub table_capacity: u64,
    /// SETTINGS_QPACK_BLOCKED_STREAMS (RFC 9204 §5). Default 0.
    pub blocked_streams: u64,
    /// SETTINGS_MAX_FIELD_SECTION_SIZE, in bytes of decoded fields (RFC 9114 §4.2.2). Default:
    /// none.
    pub field_section: Option<u64>,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 9220 §3). Default false.
    pub extended_connect: bool,
    /// SETTINGS_H3_DATAGRAM (RFC 9297 §2.1.1). Default false.
    pub datagrams: bool,
}

impl Settings {
    /// The settings of a peer that has sent none yet.
    pub(crate) const DEFAULT: Self = Self {
        table_capacity: 0,
        blocked_streams: 0,
        field_section: None,
        extended_connect: false,
        datagrams: false,
    };

    /// Reads the payload of a SETTINGS frame.
    ///
    /// # Errors
    /// [`Code::H3_FRAME_ERROR`] if it is cut short, [`Code::H3_SETTINGS_ERROR`] if it breaks a
    /// rule.
    pub(crate) fn decode(mut payload: &[u8]) -> Result<Self, Violation> {
        let mut settings = Self::DEFAULT;
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let (id, rest) = varint::decode(payload).ok_or(CUT)?;
            let (value, rest) = varint::decode(rest).ok_or(CUT)?;
            payload = rest;
            if seen.contains(&id) {
                return Err(TWICE);
            }
            if seen.len() == MOST {
                return Err(MANY);
            }
            seen.push(id);
            match id {
                TABLE_CAPACITY => settings.table_capacity = value,
                BLOCKED_STREAMS => settings.blocked_streams = value,
                FIELD_SECTION => settings.field_section = Some(value),
                EXTENDED_CONNECT => settings.extended_connect = flag(value)?,
                DATAGRAMS => settings.datagrams = flag(value)?,
                // ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE (RFC
                // 9114 §7.2.4.1)
                0x02..=0x05 => return Err(HTTP2),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Writes the payload of a SETTINGS frame without the defaults.
    pub(crate) fn encode(&self, out: &mut impl BufMut) {
        let mut put = |id, value| {
            varint::encode(id, out);
            varint::encode(value, out);
        };
        if self.table_capacity > 0 {
            put(TABLE_CAPACITY, self.table_capacity);
        }
        if let Some(size) = self.field_section {
            put(FIELD_SECTION, size);
        }
        if self.blocked_streams > 0 {
            put(BLOCKED_STREAMS, self.blocked_streams);
        }
        if self.extended_connect {
            put(EXTENDED_CONNECT, 1);
        }
        if self.datagrams {
            put(DATAGRAMS, 1);
        }
    }
}

fn flag(value: u64) -> Result<bool, Violation> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Violation::new(Code::H3_SETTINGS_ERROR, "a setting that is neither 0 nor 1")),
    }
}

const TABLE_CAPACITY: u64 = 0x01;
const FIELD_SECTION: u64 = 0x06;
const BLOCKED_STREAMS: u64 = 0x07;
const EXTENDED_CONNECT: u64 = 0x08;
const DATAGRAMS: u64 = 0x33;

/// Settings that a peer may send: several times the number of registered ones.
const MOST: usize = 64;

const CUT: Violation = Violation::new(Code::H3_FRAME_ERROR, "SETTINGS is cut short");
const TWICE: Violation = Violation::new(Code::H3_SETTINGS_ERROR, "a setting comes twice");
const MANY: Violation = Violation::new(Code::H3_EXCESSIVE_LOAD, "too many settings");
const HTTP2: Violation = Violation::new(Code::H3_SETTINGS_ERROR, "a setting of HTTP/2");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(payload: &[u8]) -> Option<Code> {
        Settings::decode(payload).err().map(|violation| violation.code)
    }

    #[test]
    fn rules_are_kept() {
        assert_eq!(Settings::decode(&[]), Ok(Settings::DEFAULT));
        assert_eq!(code(&[0x01]), Some(Code::H3_FRAME_ERROR));
        assert_eq!(code(&[0x06, 0x40]), Some(Code::H3_FRAME_ERROR));
        assert_eq!(code(&[0x06, 1, 0x06, 1]), Some(Code::H3_SETTINGS_ERROR));
        assert_eq!(code(&[0x21, 1, 0x21, 1]), Some(Code::H3_SETTINGS_ERROR));
        assert_eq!(code(&[0x08, 2]), Some(Code::H3_SETTINGS_ERROR));
        assert_eq!(code(&[0x33, 2]), Some(Code::H3_SETTINGS_ERROR));
        for http2 in 2..=5 {
            assert_eq!(code(&[http2, 0]), Some(Code::H3_SETTINGS_ERROR));
        }
        assert_eq!(code(&[0x21, 63, 0x06, 5]), None);
        let many: Vec<u8> = (0x0a..0x40).chain(0x0a..0x40).flat_map(|id| [0x40, id, 0]).collect();
        assert_eq!(code(&many), Some(Code::H3_SETTINGS_ERROR));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            table_capacity in 0..=varint::MAX,
            blocked_streams in 0..=varint::MAX,
            field_section in proptest::option::of(0..=varint::MAX),
            extended_connect: bool,
            datagrams: bool,
        ) {
            let settings =
                Settings { table_capacity, blocked_streams, field_section, extended_connect, datagrams };
            let mut payload = Vec::new();
            settings.encode(&mut payload);
            prop_assert_eq!(Settings::decode(&payload), Ok(settings));
        }

        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = Settings::decode(&payload);
        }
    }
}
