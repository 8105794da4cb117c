//! The Capsule Protocol (RFC 9297 §3): datagrams and other messages on the bytes of a tunnel.
//!
//! A capsule has a type, a length and a value. Only datagrams are understood here. All others pass
//! in pieces as they come, so that their length costs no memory.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::code::{Code, Violation};
use crate::varint;

/// A part of a stream of capsules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capsule {
    /// The payload of a whole DATAGRAM capsule.
    Datagram(Bytes),
    /// Bytes of another capsule, with its type and length.
    Other(Bytes),
}

/// Reads capsules from bytes in pieces of any size.
#[derive(Debug, Default)]
pub struct Capsules {
    held: BytesMut,
    /// Bytes of another capsule that are still to come.
    passing: u64,
}

impl Capsules {
    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Returns the next part, or `None` if more bytes are needed for it.
    ///
    /// # Errors
    /// [`Code::H3_DATAGRAM_ERROR`] if a datagram is larger than any of UDP.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at `None`")]
    pub fn next(&mut self) -> Result<Option<Capsule>, Violation> {
        if self.passing == 0 {
            let Some((kind, behind)) = varint::decode(&self.held) else { return Ok(None) };
            let Some((length, value)) = varint::decode(behind) else { return Ok(None) };
            let head = self.held.len() - value.len();
            if kind == DATAGRAM {
                if length > LARGEST as u64 {
                    return Err(LARGE);
                }
                let whole = head + length as usize;
                if self.held.len() < whole {
                    // The rest arrives in one allocation.
                    self.held.reserve(whole - self.held.len());
                    return Ok(None);
                }
                let mut capsule = self.take(whole);
                capsule.advance(head);
                return Ok(Some(Capsule::Datagram(capsule)));
            }
            self.passing = head as u64 + length;
        }
        let length = self.held.len().min(usize::try_from(self.passing).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(None);
        }
        self.passing -= length as u64;
        Ok(Some(Capsule::Other(self.take(length))))
    }

    /// Checks that the stream may end here (RFC 9297 §3.3).
    ///
    /// # Errors
    /// [`Code::H3_MESSAGE_ERROR`] within a capsule.
    pub fn end(&self) -> Result<(), Violation> {
        if self.is_between() { Ok(()) } else { Err(CUT) }
    }

    /// Whether the bytes until here are whole capsules, and each was returned.
    pub fn is_between(&self) -> bool {
        self.held.is_empty() && self.passing == 0
    }

    fn take(&mut self, length: usize) -> Bytes {
        let bytes = self.held.split_to(length).freeze();
        // A tunnel that waits, perhaps for hours, holds no buffer.
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        bytes
    }
}

/// Returns a DATAGRAM capsule with this payload.
pub fn datagram(payload: &[u8]) -> Bytes {
    capsule(payload.len(), |out| out.put_slice(payload))
}

/// Returns a DATAGRAM capsule with a packet of UDP (RFC 9298 §5): the payload of context 0.
pub fn packet(packet: &[u8]) -> Bytes {
    capsule(1 + packet.len(), |out| {
        varint::encode(PACKETS, out);
        out.put_slice(packet);
    })
}

/// Returns the packet of UDP in a datagram's payload. A payload of another context than 0, which
/// nobody has registered, has none (RFC 9298 §4).
///
/// # Errors
/// [`Code::H3_DATAGRAM_ERROR`] if there is no context, or a packet larger than any of UDP.
pub fn as_packet(mut payload: Bytes) -> Result<Option<Bytes>, Violation> {
    let (context, packet) = varint::decode(&payload).ok_or(NO_CONTEXT)?;
    if context != PACKETS {
        return Ok(None);
    }
    if packet.len() > LARGEST_PACKET {
        return Err(LARGE);
    }
    payload.advance(payload.len() - packet.len());
    Ok(Some(payload))
}

fn capsule(length: usize, put: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + length);
    varint::encode(DATAGRAM, &mut out);
    varint::encode(length as u64, &mut out);
    put(&mut out);
    out.freeze()
}

/// The type of DATAGRAM (RFC 9297 §3.5).
const DATAGRAM: u64 = 0;

/// The context of packets of UDP (RFC 9298 §4).
const PACKETS: u64 = 0;

/// Bytes for the type and the length of a datagram.
const HEAD: usize = 5;

/// The largest payload of UDP without options of IPv6 (RFC 9298 §5).
const LARGEST_PACKET: usize = 65_527;

/// The largest packet, with the longest context before it.
const LARGEST: usize = 8 + LARGEST_PACKET;

const LARGE: Violation =
    Violation::new(Code::H3_DATAGRAM_ERROR, "a datagram larger than any of UDP");
const CUT: Violation = Violation::new(Code::H3_MESSAGE_ERROR, "the stream ended within a capsule");
const NO_CONTEXT: Violation =
    Violation::new(Code::H3_DATAGRAM_ERROR, "a datagram without a context");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn other(kind: u64, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::encode(kind, &mut bytes);
        varint::encode(value.len() as u64, &mut bytes);
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn a_datagram_beyond_udp_is_an_error_before_its_bytes() {
        let mut capsules = Capsules::default();
        let mut head = BytesMut::new();
        varint::encode(DATAGRAM, &mut head);
        varint::encode(LARGEST as u64 + 1, &mut head);
        capsules.push(&head);
        assert_eq!(capsules.next(), Err(LARGE));
    }

    #[test]
    fn another_capsule_holds_no_memory_whatever_its_length() {
        let mut capsules = Capsules::default();
        let mut head = BytesMut::new();
        varint::encode(0x2575, &mut head);
        varint::encode(varint::MAX, &mut head);
        capsules.push(&head);
        assert_eq!(capsules.next(), Ok(Some(Capsule::Other(head.freeze()))));
        for _ in 0..100 {
            capsules.push(&[7; 1000]);
            assert_eq!(capsules.next(), Ok(Some(Capsule::Other(Bytes::from(vec![7; 1000])))));
            assert_eq!(capsules.next(), Ok(None));
            assert!(!capsules.is_between());
            assert_eq!(capsules.end(), Err(CUT));
            assert_eq!(capsules.held.capacity(), 0);
        }
    }

    #[test]
    fn a_packet_has_context_0_before_it() {
        let mut capsules = Capsules::default();
        capsules.push(&packet(b"x"));
        let Some(Capsule::Datagram(payload)) = capsules.next().unwrap() else { panic!() };
        assert_eq!(as_packet(payload), Ok(Some(Bytes::from_static(b"x"))));
        assert_eq!(
            as_packet(Bytes::from_static(&[0x40, 0, 9])),
            Ok(Some(Bytes::from_static(&[9])))
        );
        assert_eq!(as_packet(Bytes::from_static(&[0x40, 2, 9])), Ok(None));
        assert_eq!(as_packet(Bytes::new()), Err(NO_CONTEXT));
        assert_eq!(as_packet(Bytes::from_static(&[0x40])), Err(NO_CONTEXT));
        let of = |length| as_packet(Bytes::from(vec![0; length]));
        assert!(of(1 + LARGEST_PACKET).is_ok_and(|packet| packet.is_some()));
        assert_eq!(of(2 + LARGEST_PACKET), Err(LARGE));
    }

    proptest! {
        /// Datagrams come whole, the bytes of others in order, whatever the pieces are.
        #[test]
        fn pieces_change_nothing(
            given in proptest::collection::vec((0u64..3, proptest::collection::vec(any::<u8>(), 0..300)), 0..12),
            size in 1usize..50,
        ) {
            let mut stream = Vec::new();
            let (mut datagrams, mut others) = (Vec::new(), Vec::new());
            for (kind, value) in &given {
                if *kind == DATAGRAM {
                    stream.extend_from_slice(&datagram(value));
                    datagrams.push(Bytes::copy_from_slice(value));
                } else {
                    stream.extend_from_slice(&other(*kind, value));
                    others.extend_from_slice(&other(*kind, value));
                }
            }
            let mut capsules = Capsules::default();
            let (mut seen, mut passed) = (Vec::new(), Vec::new());
            for piece in stream.chunks(size) {
                capsules.push(piece);
                while let Some(capsule) = capsules.next().unwrap() {
                    match capsule {
                        Capsule::Datagram(payload) => seen.push(payload),
                        Capsule::Other(bytes) => passed.extend_from_slice(&bytes),
                    }
                }
            }
            prop_assert!(capsules.is_between() && capsules.end().is_ok());
            prop_assert_eq!(seen, datagrams);
            prop_assert_eq!(passed, others);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut capsules = Capsules::default();
            capsules.push(&bytes);
            while let Ok(Some(_)) = capsules.next() {}
        }
    }
}
