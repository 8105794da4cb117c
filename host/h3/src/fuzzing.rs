//! The fuzz targets. Each function takes any bytes and panics where an invariant fails. A stream
//! that is cut into pieces must read the same as in one piece. Nothing may be held or decoded
//! beyond its limit.
//!
//! Compiled for `cargo fuzz`, and for the test that runs all seeds.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use crate::capsule::{Capsule, Capsules, as_packet};
use crate::code::{Code, Violation};
use crate::control::{Control, Word};
use crate::frame::{Event, Frames, Kind, Treatment};
use crate::message::{self, LastAuthority, RequestSection, ResponseSection};
use crate::qpack::{DecodeError, Decoder, Encoder, Limits, Sink};
use crate::receive::{Phase, treat};
use crate::shared::Side;

/// Reads frames of every treatment.
pub fn frames(data: &[u8]) {
    let (size, data) = piece(data);
    assert_eq!(read_frames(data, data.len()), read_frames(data, size), "pieces of {size}");
}

/// Reads a control stream, as if of either side.
pub fn control(data: &[u8]) {
    let (size, data) = piece(data);
    for peer in [Side::Client, Side::Server] {
        let whole = read_control(peer, data, data.len());
        assert_eq!(whole, read_control(peer, data, size), "pieces of {size} from {peer:?}");
    }
}

/// Reads a request's stream without its I/O, and then the same bytes as the responses to a GET:
/// frames, sections, lengths.
pub fn request(data: &[u8]) {
    let (size, data) = piece(data);
    for peer in [Side::Client, Side::Server] {
        let whole = read_message(peer, data, data.len());
        assert_eq!(whole, read_message(peer, data, size), "pieces of {size} from {peer:?}");
    }
}

/// Runs a decoder with its encoder stream, and an encoder with any feedback. One instruction is a
/// byte for the operation, a length, and as many bytes.
pub fn qpack(data: &[u8]) {
    let mut whole = Tables::new();
    let mut cut = Tables::new();
    let mut rest = data;
    while let [what, length, behind @ ..] = rest {
        let (bytes, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let result = whole.follow(*what, bytes, bytes.len());
        assert_eq!(result, cut.follow(*what, bytes, 1), "instruction {what}");
        if result.is_none() {
            break;
        }
    }
}

/// Reads capsules, and the packets in their datagrams.
pub fn capsules(data: &[u8]) {
    let (size, data) = piece(data);
    assert_eq!(read_capsules(data, data.len()), read_capsules(data, size), "pieces of {size}");
}

/// Reads the size of the pieces of the stream from its first byte.
fn piece(data: &[u8]) -> (usize, &[u8]) {
    match data {
        [size, data @ ..] => (usize::from(*size).max(1), data),
        [] => (1, data),
    }
}

/// Feeds `data` in pieces to `read` until that fails; empty pieces are left out.
fn feed(
    data: &[u8],
    size: usize,
    mut read: impl FnMut(Bytes) -> Result<(), Violation>,
) -> Result<(), Code> {
    data.chunks(size.max(1)).try_for_each(|piece| {
        read(Bytes::copy_from_slice(piece)).map_err(|violation| violation.code)
    })
}

/// Adds an event, and joins pieces of one frame's payload.
fn push(events: &mut Vec<Event>, event: Event) {
    match (events.last_mut(), event) {
        (Some(Event::Piece(before)), Event::Piece(piece)) => {
            assert!(!piece.is_empty());
            *before = [&before[..], &piece].concat().into();
        }
        (_, event) => events.push(event),
    }
}

/// The datagrams, the bytes of all other capsules, and the end.
type Read = (Vec<Result<Option<Bytes>, Code>>, Vec<u8>, Result<(), Code>);

fn read_capsules(data: &[u8], size: usize) -> Read {
    let (mut capsules, mut datagrams, mut others) = (Capsules::default(), Vec::new(), Vec::new());
    let end = feed(data, size, |piece| {
        capsules.push(&piece);
        while let Some(capsule) = capsules.next()? {
            match capsule {
                Capsule::Datagram(payload) => {
                    datagrams.push(as_packet(payload).map_err(|violation| violation.code));
                }
                Capsule::Other(bytes) => others.extend_from_slice(&bytes),
            }
        }
        Ok(())
    });
    (datagrams, others, end.and(capsules.end().map_err(|violation| violation.code)))
}

fn read_frames(data: &[u8], size: usize) -> (Vec<Event>, Result<(), Code>) {
    let mut frames = Frames::default();
    let mut events = Vec::new();
    let end = feed(data, size, |piece| {
        frames.push(piece);
        while let Some(event) = frames.next(|kind, _| match kind {
            Kind::Data => Ok(Treatment::Stream),
            Kind::Http2 => Err(Violation::new(Code::H3_FRAME_UNEXPECTED, "")),
            Kind::Unknown => Ok(Treatment::Skip),
            _ => Ok(Treatment::Collect(SMALL)),
        })? {
            push(&mut events, event);
        }
        assert!(frames.collected() <= SMALL);
        Ok(())
    });
    (events, end.and(frames.end().map_err(|violation| violation.code)))
}

fn read_control(peer: Side, data: &[u8], size: usize) -> (Vec<Word>, Result<(), Code>) {
    let mut control = Control::of(peer);
    let mut words = Vec::new();
    let end = feed(data, size, |piece| {
        control.push(piece);
        while let Some(word) = control.next(|| Ok(()))? {
            words.push(word);
        }
        Ok(())
    });
    (words, end)
}

/// An event of a request's stream.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Head(String),
    Data(usize),
    Trailers(HeaderMap),
    Refused(&'static str),
}

fn read_message(peer: Side, data: &[u8], size: usize) -> (Vec<Said>, Result<(), Code>) {
    let mut frames = Frames::default();
    let mut decoder = Decoder::new(0, 0);
    let (mut phase, mut idle, mut said) = (Phase::Head, 0, Vec::new());
    let end = feed(data, size, |piece| {
        frames.push(piece);
        loop {
            let now = phase;
            let event = frames.next(|kind, length| treat(now, kind, length, SMALL, &mut idle))?;
            assert!(frames.collected() <= SMALL);
            match (event, phase) {
                (None, _) => return Ok(()),
                (Some(Event::Piece(data)), _) => {
                    assert!(matches!(phase, Phase::Body | Phase::Tunnel));
                    match said.last_mut() {
                        Some(Said::Data(before)) => *before += data.len(),
                        _ => said.push(Said::Data(data.len())),
                    }
                }
                (Some(Event::Whole(kind, section)), Phase::Head) => {
                    assert_eq!(kind, Kind::Headers);
                    said.push(match peer {
                        Side::Client => request_head(&mut decoder, &section, &mut phase)?,
                        Side::Server => response_head(&mut decoder, &section, &mut phase)?,
                    });
                }
                (Some(Event::Whole(kind, section)), _) => {
                    assert_eq!((kind, phase), (Kind::Headers, Phase::Body));
                    phase = Phase::Rest;
                    let mut fields = HeaderMap::new();
                    let is_proper = decode(&mut decoder, &section, &mut fields)?
                        && message::section(&fields).is_ok();
                    said.push(if is_proper {
                        Said::Trailers(fields)
                    } else {
                        Said::Refused("trailers")
                    });
                }
                (Some(Event::TooLarge(_)), _) => {
                    return Err(Violation::new(Code::H3_EXCESSIVE_LOAD, "too large"));
                }
            }
        }
    });
    (said, end.and(frames.end().map_err(|violation| violation.code)))
}

fn response_head(
    decoder: &mut Decoder,
    section: &Bytes,
    phase: &mut Phase,
) -> Result<Said, Violation> {
    let mut response = Response::new(());
    let mut fields = ResponseSection::new(&mut response);
    if !decode(decoder, section, &mut fields)? {
        *phase = Phase::Body;
        return Ok(Said::Refused("section"));
    }
    let finished = fields.finish(&http::Method::GET);
    if !(finished.is_ok() && response.status().is_informational()) {
        *phase = Phase::Body;
    }
    Ok(match finished {
        Ok(length) => {
            let status = response.status();
            assert!((100..600).contains(&status.as_u16()) && status.as_u16() != 101);
            let declared = message::content_length(response.headers());
            assert!(declared == Ok(length) || length == Some(0), "{declared:?} {length:?}");
            let of_connections = &message::OF_CONNECTIONS;
            assert!(!of_connections.iter().any(|name| response.headers().contains_key(name)));
            Said::Head(format!("{response:?}"))
        }
        Err(reason) => Said::Refused(reason),
    })
}

fn request_head(
    decoder: &mut Decoder,
    section: &Bytes,
    phase: &mut Phase,
) -> Result<Said, Violation> {
    *phase = Phase::Body;
    let mut request = Request::new(());
    let last = LastAuthority::default();
    let mut fields = RequestSection::new(&mut request, &last);
    if !decode(decoder, section, &mut fields)? {
        return Ok(Said::Refused("section"));
    }
    Ok(match fields.finish(true) {
        Ok(noted) => {
            assert_eq!(message::content_length(request.headers()), Ok(noted.length));
            assert!(message::section(request.headers()).is_ok());
            assert!(request.uri().authority().is_some_and(|one| !one.host().is_empty()));
            if request.method() == http::Method::CONNECT {
                *phase = Phase::Tunnel;
            }
            Said::Head(format!("{request:?}"))
        }
        Err(reason) => Said::Refused(reason),
    })
}

/// Decodes within [`LIMITS`] and returns whether the section was well formed.
fn decode(decoder: &mut Decoder, section: &Bytes, sink: &mut impl Sink) -> Result<bool, Violation> {
    match decoder.decode(0, section, LIMITS, sink) {
        Ok(decoded) => {
            assert!(decoded.bytes <= LIMITS.bytes && decoded.fields <= LIMITS.fields);
            Ok(true)
        }
        Err(DecodeError::Connection(error)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Both directions of QPACK.
struct Tables {
    decoder: Decoder,
    encoder: Encoder,
    /// The peer's decoder, with the insertions that it has received.
    mirror: Decoder,
}

impl Tables {
    fn new() -> Self {
        let mut encoder = Encoder::new(TABLE);
        encoder.peer_settings(TABLE as u64);
        Self { decoder: Decoder::new(TABLE, 4), encoder, mirror: Decoder::new(TABLE, 0) }
    }

    /// Does one operation, with bytes that arrive in pieces. Returns the result, or `None` if the
    /// connection is over.
    fn follow(&mut self, what: u8, bytes: &[u8], size: usize) -> Option<String> {
        let stream = u64::from(what >> 3) * 4;
        let mut pieces = bytes.chunks(size.max(1));
        match what & 7 {
            0 | 1 => {
                pieces.try_for_each(|piece| self.decoder.encoder_stream(piece)).ok()?;
                Some(self.decoder.insert_count().to_string())
            }
            2 | 3 => {
                let (section, mut fields) = (Bytes::copy_from_slice(bytes), HeaderMap::new());
                let decoded = self.decoder.decode(stream, &section, LIMITS, &mut fields);
                if let Ok(decoded) = decoded {
                    assert!(decoded.bytes <= LIMITS.bytes && decoded.fields <= LIMITS.fields);
                }
                match decoded {
                    Err(DecodeError::Connection(_)) => None,
                    other => Some(format!("{other:?} {fields:?}")),
                }
            }
            4 => {
                self.decoder.cancel(stream);
                Some(String::new())
            }
            5 => {
                // The amount of feedback at once depends on the pieces, because insertions are
                // counted together.
                while self.decoder.take_feedback().is_some() {}
                assert_eq!(self.decoder.unsent(), 0);
                Some(String::new())
            }
            6 => {
                pieces.try_for_each(|piece| self.encoder.decoder_stream(piece)).ok()?;
                Some(String::new())
            }
            _ => Some(self.respond(stream, bytes)),
        }
    }

    /// Encodes a response with fields made of `bytes`. The peer has every entry that the response
    /// refers to, unless it has lied.
    fn respond(&mut self, stream: u64, bytes: &[u8]) -> String {
        let mut fields = HeaderMap::new();
        for (at, value) in bytes.chunks(16).enumerate() {
            let name =
                [http::header::ETAG, http::header::SERVER, http::header::VIA][at % 3].clone();
            if let Ok(value) = http::HeaderValue::from_bytes(value) {
                fields.append(name, value);
            }
        }
        let mut section = bytes::BytesMut::new();
        self.encoder.encode_fields(stream, &fields, &mut section);
        if let Some(instructions) = self.encoder.take_instructions() {
            assert!(self.mirror.encoder_stream(&instructions).is_ok());
        }
        let mut decoded = HeaderMap::new();
        let result = self.mirror.decode(stream, &section.freeze(), WIDE, &mut decoded);
        // All insertions are mirrored, so even a lying peer has the entries that it made the
        // encoder refer to.
        assert!(result.is_ok() || self.mirror.insert_count() == 0, "{result:?}");
        assert_eq!(fields, decoded);
        format!("{fields:?}")
    }
}

const TABLE: usize = 256;
const SMALL: usize = 600;
const LIMITS: Limits = Limits { bytes: 500, fields: 10 };
const WIDE: Limits = Limits { bytes: 1 << 20, fields: 1000 };

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the seeds of each target, and the inputs that fuzzing has found.
    #[test]
    fn every_seed_passes() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
        for (target, run) in [
            ("frames", frames as fn(&[u8])),
            ("control", control),
            ("qpack", qpack),
            ("request", request),
            ("capsules", capsules),
        ] {
            let entries: Vec<_> = std::fs::read_dir(format!("{seeds}/{target}")).unwrap().collect();
            assert!(entries.len() > 3, "{target}");
            for entry in entries {
                run(&std::fs::read(entry.unwrap().path()).unwrap());
            }
        }
    }

    /// Checks that the targets do not pass because they read nothing.
    #[test]
    fn seeds_reach_what_they_are_for() {
        let seed = |name| {
            let path = format!("{}/fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read(path).unwrap().split_off(1)
        };
        let (said, end) = read_message(Side::Client, &seed("request/trailers"), 3);
        assert!(matches!(said[..], [Said::Head(_), Said::Data(4), Said::Trailers(_)]), "{said:?}");
        assert_eq!(end, Ok(()));
        let (said, end) = read_message(Side::Server, &seed("request/response"), 2);
        let expected =
            matches!(said[..], [Said::Head(_), Said::Head(_), Said::Data(2), Said::Trailers(_)]);
        assert!(expected, "{said:?}");
        assert_eq!(end, Ok(()));
        assert_eq!(read_control(Side::Client, &seed("control/all"), 1).0.len(), 3);
        let (datagrams, others, end) = read_capsules(&seed("capsules/other"), 1);
        assert_eq!((datagrams.len(), others.len(), end), (1, 11, Ok(())));
    }
}
