//! The peer's control stream (RFC 9114 §6.2.1), as a state machine without I/O.

use bytes::Bytes;

use crate::code::{Code, Violation};
use crate::frame::{Event, Frames, Kind, Treatment};
use crate::priority::Priority;
use crate::settings::Settings;
use crate::shared::Side;
use crate::varint;

/// Reads a peer's control stream.
#[derive(Debug)]
pub(crate) struct Control {
    frames: Frames,
    /// The rules about the order of frames.
    order: Order,
}

#[derive(Debug)]
struct Order {
    /// The side that writes the stream.
    peer: Side,
    has_settings: bool,
    /// The id of the last GOAWAY, which may only fall (RFC 9114 §5.2). It is a push's if the client
    /// sends it, and a request's if the server does.
    goaway: Option<u64>,
    /// The largest push id that the client allows, which may only rise (RFC 9114 §7.2.7).
    max_push: Option<u64>,
}

/// A message of the peer on its control stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Its settings, once.
    Settings(Settings),
    /// A client opens no more requests. A server processes none from this id on.
    Goaway(u64),
    /// The priority of a request stream.
    Priority(u64, Priority),
}

impl Control {
    /// Returns a reader of the stream of `peer`.
    pub(crate) fn of(peer: Side) -> Self {
        let order = Order { peer, has_settings: false, goaway: None, max_push: None };
        Self { frames: Frames::default(), order }
    }

    /// Adds bytes of the stream; only after [`Control::next`] returned `None`.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.frames.push(bytes);
    }

    /// Returns the next message, or `None` if more bytes are needed. Calls `count` for each frame.
    ///
    /// # Errors
    /// The violation that ends the connection.
    pub(crate) fn next(
        &mut self,
        mut count: impl FnMut() -> Result<(), Violation>,
    ) -> Result<Option<Word>, Violation> {
        loop {
            let order = &self.order;
            let event = self.frames.next(|kind, _| {
                count()?;
                order.treat(kind)
            })?;
            match event {
                None => return Ok(None),
                Some(Event::Whole(kind, payload)) => {
                    if let Some(word) = self.order.read(kind, &payload)? {
                        return Ok(Some(word));
                    }
                }
                Some(Event::TooLarge(_)) => return Err(LARGE),
                Some(Event::Piece(_)) => {}
            }
        }
    }
}

impl Order {
    fn treat(&self, kind: Kind) -> Result<Treatment, Violation> {
        // RFC 9114 §6.2.1, §7.2.4
        match (kind, self.has_settings) {
            (Kind::Settings, false) => Ok(Treatment::Collect(LARGEST)),
            (_, false) => Err(MISSING),
            // Only clients send these (RFC 9114 §7.2.7, RFC 9218 §7.2).
            (Kind::MaxPushId | Kind::PriorityRequest | Kind::PriorityPush, true)
                if self.peer == Side::Server =>
            {
                Err(UNEXPECTED)
            }
            (
                Kind::CancelPush
                | Kind::Goaway
                | Kind::MaxPushId
                | Kind::PriorityRequest
                | Kind::PriorityPush,
                true,
            ) => Ok(Treatment::Collect(LARGEST)),
            (Kind::Unknown, true) => Ok(Treatment::Skip),
            (
                Kind::Settings | Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Http2,
                true,
            ) => Err(UNEXPECTED),
        }
    }

    fn read(&mut self, kind: Kind, payload: &[u8]) -> Result<Option<Word>, Violation> {
        match kind {
            Kind::Settings => {
                self.has_settings = true;
                Settings::decode(payload).map(|settings| Some(Word::Settings(settings)))
            }
            Kind::Goaway => {
                let id = integer(payload)?;
                if self.peer == Side::Server && id & 0b11 != 0 {
                    return Err(Violation::new(Code::H3_ID_ERROR, "GOAWAY with no request's id"));
                }
                if self.goaway.is_some_and(|before| id > before) {
                    return Err(Violation::new(Code::H3_ID_ERROR, "GOAWAY takes a promise back"));
                }
                self.goaway = Some(id);
                Ok(Some(Word::Goaway(id)))
            }
            Kind::MaxPushId => {
                let id = integer(payload)?;
                if self.max_push.is_some_and(|before| id < before) {
                    return Err(Violation::new(Code::H3_ID_ERROR, "MAX_PUSH_ID falls"));
                }
                self.max_push = Some(id);
                Ok(None)
            }
            // There are no pushes, so nobody can cancel one or give it a priority (RFC 9114 §7.2.3,
            // RFC 9218 §7.2).
            Kind::CancelPush => {
                integer(payload)?;
                Err(NO_PUSH)
            }
            Kind::PriorityPush => {
                varint::decode(payload).ok_or(LENGTH)?;
                Err(NO_PUSH)
            }
            Kind::PriorityRequest => {
                let (id, value) = varint::decode(payload).ok_or(LENGTH)?;
                if id & 0b11 != 0 {
                    return Err(Violation::new(Code::H3_ID_ERROR, "a priority of no request"));
                }
                Ok(Some(Word::Priority(id, Priority::parse(value))))
            }
            // These frames are not collected.
            Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Http2 | Kind::Unknown => {
                Ok(None)
            }
        }
    }
}

/// Reads the one integer that a frame consists of.
fn integer(payload: &[u8]) -> Result<u64, Violation> {
    match varint::decode(payload) {
        Some((value, [])) => Ok(value),
        _ => Err(LENGTH),
    }
}

/// Bytes of a frame on the control stream: SETTINGS with every registered setting has under 200, a
/// priority under 20.
const LARGEST: usize = 4096;

const MISSING: Violation =
    Violation::new(Code::H3_MISSING_SETTINGS, "the control stream does not begin with SETTINGS");
const UNEXPECTED: Violation =
    Violation::new(Code::H3_FRAME_UNEXPECTED, "a frame that the control stream has no place for");
const LENGTH: Violation =
    Violation::new(Code::H3_FRAME_ERROR, "a frame whose payload is not as long as it should be");
const LARGE: Violation =
    Violation::new(Code::H3_EXCESSIVE_LOAD, "a large frame on the control stream");
const NO_PUSH: Violation = Violation::new(Code::H3_ID_ERROR, "a push that was never promised");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: &[u8] = &[4, 0];

    /// All messages of a stream, or the code that it ends with.
    fn words(input: &[u8]) -> Result<Vec<Word>, Code> {
        words_of(Side::Client, input)
    }

    fn words_of(peer: Side, input: &[u8]) -> Result<Vec<Word>, Code> {
        let mut control = Control::of(peer);
        let mut words = Vec::new();
        control.push(Bytes::copy_from_slice(input));
        while let Some(word) = control.next(|| Ok(())).map_err(|violation| violation.code)? {
            words.push(word);
        }
        Ok(words)
    }

    fn after_settings(input: &[u8]) -> Result<Vec<Word>, Code> {
        words(&[SETTINGS, input].concat()).map(|mut words| words.split_off(1))
    }

    #[test]
    fn settings_come_first_and_once() {
        assert_eq!(words(&[4, 2, 6, 9]).unwrap().len(), 1);
        assert_eq!(words(&[7, 1, 0]), Err(Code::H3_MISSING_SETTINGS));
        assert_eq!(words(&[0x21, 0]), Err(Code::H3_MISSING_SETTINGS));
        assert_eq!(after_settings(SETTINGS), Err(Code::H3_FRAME_UNEXPECTED));
    }

    #[test]
    fn frames_of_requests_and_of_http2_are_unexpected() {
        for kind in [0, 1, 5, 2, 6, 8, 9] {
            assert_eq!(after_settings(&[kind, 0]), Err(Code::H3_FRAME_UNEXPECTED), "{kind}");
        }
        assert_eq!(after_settings(&[0x21, 2, 1, 1, 0x40, 0x40, 0]), Ok(vec![]));
    }

    #[test]
    fn ids_go_one_way() {
        assert_eq!(after_settings(&[7, 1, 4, 7, 1, 4, 7, 1, 0]).unwrap().len(), 3);
        assert_eq!(after_settings(&[7, 1, 0, 7, 1, 4]), Err(Code::H3_ID_ERROR));
        assert_eq!(after_settings(&[0xd, 1, 4, 0xd, 1, 5]), Ok(vec![]));
        assert_eq!(after_settings(&[0xd, 1, 4, 0xd, 1, 3]), Err(Code::H3_ID_ERROR));
        assert_eq!(after_settings(&[3, 1, 0]), Err(Code::H3_ID_ERROR));
    }

    #[test]
    fn lengths_must_fit() {
        for kind in [7, 0xd, 3] {
            assert_eq!(after_settings(&[kind, 0]), Err(Code::H3_FRAME_ERROR), "{kind}");
            assert_eq!(after_settings(&[kind, 2, 0, 0]), Err(Code::H3_FRAME_ERROR), "{kind}");
        }
        assert_eq!(after_settings(&[0xd, 0x50, 1]), Err(Code::H3_EXCESSIVE_LOAD));
    }

    #[test]
    fn priorities_name_a_request() {
        let update = |id, value: &[u8]| {
            let mut frame = vec![0x80, 0x0f, 0x07, 0x00, value.len() as u8 + 1, id];
            frame.extend(value);
            after_settings(&frame)
        };
        let urgent = Priority { urgency: 1, incremental: true };
        assert_eq!(update(4, b"u=1,i"), Ok(vec![Word::Priority(4, urgent)]));
        assert_eq!(update(4, b""), Ok(vec![Word::Priority(4, Priority::default())]));
        assert_eq!(update(5, b"u=1"), Err(Code::H3_ID_ERROR));
        assert_eq!(after_settings(&[0x80, 0x0f, 0x07, 0x00, 0]), Err(Code::H3_FRAME_ERROR));
        assert_eq!(after_settings(&[0x80, 0x0f, 0x07, 0x01, 1, 0]), Err(Code::H3_ID_ERROR));
    }

    #[test]
    fn a_server_names_requests_and_sends_nothing_of_clients() {
        let of_server = |input: &[u8]| {
            words_of(Side::Server, &[SETTINGS, input].concat()).map(|mut words| words.split_off(1))
        };
        assert_eq!(of_server(&[7, 1, 8, 7, 1, 4]), Ok(vec![Word::Goaway(8), Word::Goaway(4)]));
        assert_eq!(of_server(&[7, 1, 5]), Err(Code::H3_ID_ERROR));
        assert_eq!(of_server(&[7, 1, 4, 7, 1, 8]), Err(Code::H3_ID_ERROR));
        assert_eq!(of_server(&[0xd, 1, 4]), Err(Code::H3_FRAME_UNEXPECTED));
        assert_eq!(of_server(&[0x80, 0x0f, 0x07, 0, 1, 4]), Err(Code::H3_FRAME_UNEXPECTED));
        assert_eq!(of_server(&[3, 1, 0]), Err(Code::H3_ID_ERROR));
    }

    proptest! {
        #[test]
        fn no_input_panics(input: Vec<u8>) {
            let _ = words(&input);
            let _ = after_settings(&input);
            let _ = words_of(Side::Server, &[SETTINGS, &input].concat());
        }
    }
}
