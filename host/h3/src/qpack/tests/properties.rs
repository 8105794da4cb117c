//! Properties that hold for all fields, orders of delivery and bytes.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::model::Model;
use super::support::{Collected, Field, WIDE, decode};
use crate::qpack::{DecodeError, Decoder, Encoder, Limits};

/// One event on a connection. Numbers are taken modulo the number of candidates.
#[derive(Debug, Clone)]
enum Event {
    Send { stream: u64, fields: Vec<Sent> },
    Insert { way: u8, field: (String, Vec<u8>), index: u64 },
    Capacity(usize),
    Instructions(usize),
    Section(usize),
    Feedback(usize),
    Cancel(u64),
}

/// A field, and for the model the way to send it.
#[derive(Debug, Clone)]
struct Sent {
    name: String,
    value: Vec<u8>,
    is_sensitive: bool,
    way: u8,
    index: u64,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec!["content-type", "server", "cache-control", "x-request-id", "set-cookie", "x-a", "vary"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9-]{1,40}",
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(vec!["", "no-cache", "text/css", "a value that repeats", "nginx/1.2.3", "0123456789"])
            .prop_map(|value| value.as_bytes().to_vec()),
        1 => vec(select((0x20..=0x7e).chain(0x80..=0xff).collect::<Vec<u8>>()), 0..120),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    (name(), value(), prop::bool::weighted(0.1), any::<u8>(), any::<u64>()).prop_map(
        |(name, value, is_sensitive, way, index)| Sent { name, value, is_sensitive, way, index },
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..24_u64, vec(sent(), 0..8))
            .prop_map(|(stream, fields)| Event::Send { stream: stream * 4, fields }),
        4 => (any::<u8>(), (name(), value()), any::<u64>())
            .prop_map(|(way, field, index)| Event::Insert { way, field, index }),
        1 => (0..5000_usize).prop_map(Event::Capacity),
        3 => (1..200_usize).prop_map(Event::Instructions),
        4 => any::<usize>().prop_map(Event::Section),
        2 => (1..20_usize).prop_map(Event::Feedback),
        1 => (0..24_u64).prop_map(|stream| Event::Cancel(stream * 4)),
    ]
}

/// The bytes on their way in either direction.
#[derive(Default)]
struct Network {
    instructions: VecDeque<u8>,
    sections: BTreeMap<u64, VecDeque<(Bytes, Vec<Field>)>>,
    feedback: VecDeque<u8>,
    /// Cancelled streams, which carry no more bytes.
    cancelled: Vec<u64>,
}

impl Network {
    fn is_open(&self, stream: u64) -> bool {
        !self.cancelled.contains(&stream)
    }

    fn send(&mut self, stream: u64, section: Bytes, fields: Vec<Field>) {
        self.sections.entry(stream).or_default().push_back((section, fields));
    }

    fn instructions(&mut self, decoder: &mut Decoder, count: usize) {
        let count = count.min(self.instructions.len());
        let bytes: Vec<u8> = self.instructions.drain(..count).collect();
        decoder.encoder_stream(&bytes).unwrap();
    }

    /// Delivers the first section of a stream, and returns whether it was decoded.
    fn section(&mut self, decoder: &mut Decoder, pick: usize) -> bool {
        let Some(stream) = self.sections.keys().copied().nth(pick % self.sections.len().max(1))
        else {
            return false;
        };
        let queue = self.sections.get_mut(&stream).unwrap();
        let (section, fields) = queue.front().unwrap();
        let before = decoder.insert_count();
        match decode(decoder, stream, section) {
            Err(DecodeError::Blocked(required)) => {
                assert!(required > before);
                return false;
            }
            decoded => assert_eq!(&decoded.unwrap(), fields),
        }
        queue.pop_front();
        if queue.is_empty() {
            self.sections.remove(&stream);
        }
        true
    }

    fn feedback(&mut self, decoder: &mut Decoder) {
        self.feedback.extend(decoder.take_feedback().into_iter().flatten());
    }

    fn cancel(&mut self, decoder: &mut Decoder, stream: u64) {
        self.sections.remove(&stream);
        self.cancelled.push(stream);
        decoder.cancel(stream);
    }
}

/// Runs `events` between an [`Encoder`] and a [`Decoder`].
fn run_encoder(events: Vec<Event>, offered: usize, own: usize) {
    let mut encoder = Encoder::new(own);
    encoder.peer_settings(offered as u64);
    let mut decoder = Decoder::new(offered, 0);
    let mut network = Network::default();
    for event in events {
        match event {
            Event::Send { stream, fields } if network.is_open(stream) => {
                let (headers, mut expected) = headers(&fields);
                let mut section = BytesMut::from(&b"frame"[..]);
                encoder.encode_response(stream, StatusCode::OK, &headers, &mut section);
                expected.insert(0, (":status".to_owned(), b"200".to_vec(), false));
                network.send(stream, section.split_off(5).freeze(), expected);
                network.instructions.extend(encoder.take_instructions().into_iter().flatten());
            }
            Event::Send { .. } | Event::Insert { .. } | Event::Capacity(_) => {}
            Event::Instructions(count) => network.instructions(&mut decoder, count),
            Event::Section(pick) => {
                let was_there = !network.sections.is_empty();
                assert_eq!(network.section(&mut decoder, pick), was_there, "never blocked");
            }
            Event::Feedback(count) => {
                network.feedback(&mut decoder);
                let count = count.min(network.feedback.len());
                let bytes: Vec<u8> = network.feedback.drain(..count).collect();
                encoder.decoder_stream(&bytes).unwrap();
            }
            Event::Cancel(stream) => network.cancel(&mut decoder, stream),
        }
    }
    while network.section(&mut decoder, 0) {}
    assert!(network.sections.is_empty());
}

fn headers(fields: &[Sent]) -> (HeaderMap, Vec<Field>) {
    let mut headers = HeaderMap::new();
    for sent in fields {
        let mut value = HeaderValue::from_bytes(&sent.value).unwrap();
        value.set_sensitive(sent.is_sensitive);
        headers.append(HeaderName::from_bytes(sent.name.as_bytes()).unwrap(), value);
    }
    let expected = headers
        .iter()
        .map(|(name, value)| {
            let is_sensitive = value.is_sensitive() || name == "set-cookie";
            (name.as_str().to_owned(), value.as_bytes().to_vec(), is_sensitive)
        })
        .collect();
    (headers, expected)
}

/// Runs `events` between a [`Model`] and a [`Decoder`].
fn run_model(events: Vec<Event>, limit: usize, max_blocked: usize) {
    let mut model = Model::new(limit);
    model.set_capacity(limit);
    let mut decoder = Decoder::new(limit, max_blocked as u64);
    let mut network = Network::default();
    for event in events {
        match event {
            Event::Send { stream, fields } if network.is_open(stream) => {
                let (section, expected) = model_section(&mut model, stream, &fields, max_blocked);
                network.send(stream, section, expected);
            }
            Event::Send { .. } => {}
            Event::Insert { way, field: (name, value), index } => {
                let indices = model.indices();
                match way % 4 {
                    0 => model.insert_static(92, "server", &value),
                    1 if !indices.is_empty() => model.insert_dynamic(pick(&indices, index), &value),
                    2 if !indices.is_empty() => model.duplicate(pick(&indices, index)),
                    _ => model.insert_literal(&name, &value),
                }
            }
            Event::Capacity(capacity) => model.set_capacity(capacity),
            Event::Instructions(count) => network.instructions(&mut decoder, count),
            Event::Section(pick) => {
                network.section(&mut decoder, pick);
            }
            Event::Feedback(_) => {
                network.feedback(&mut decoder);
                model.feedback(network.feedback.make_contiguous());
                network.feedback.clear();
            }
            Event::Cancel(stream) => network.cancel(&mut decoder, stream),
        }
        network.instructions.extend(model.take_stream());
    }
    network.instructions(&mut decoder, usize::MAX);
    while network.section(&mut decoder, 0) {}
    assert!(network.sections.is_empty());
}

fn pick(indices: &std::ops::Range<u64>, index: u64) -> u64 {
    indices.start + index % (indices.end - indices.start)
}

fn model_section(
    model: &mut Model,
    stream: u64,
    fields: &[Sent],
    max_blocked: usize,
) -> (Bytes, Vec<Field>) {
    let indices = model.indices();
    let at_risk = model.at_risk();
    let may_block = at_risk.contains(&stream) || at_risk.len() < max_blocked;
    let usable =
        indices.start..if may_block { indices.end } else { model.known().max(indices.start) };
    let entries: Vec<_> = indices.clone().map(|index| model.entry(index).clone()).collect();
    let base = fields.first().map_or(0, |sent| sent.index % (indices.end + 3));
    let mut section = model.section(base);
    let mut expected = Vec::new();
    for sent in fields {
        let (mut name, mut value) = (sent.name.clone(), sent.value.clone());
        match sent.way % 3 {
            0 | 1 if !usable.is_empty() => {
                let index = pick(&usable, sent.index);
                let entry = &entries[(index - indices.start) as usize];
                name.clone_from(&entry.0);
                if sent.way % 3 == 0 {
                    value.clone_from(&entry.1);
                    section.indexed(index);
                } else {
                    section.literal_dynamic(index, &value);
                }
            }
            _ => section.literal(name.as_bytes(), &value),
        }
        expected.push((name, value, false));
    }
    (section.finish(stream), expected)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_encoder_sends_the_decoder_gives(
        events in vec(event(), 0..200),
        offered in prop_oneof![2 => 0..=4096_usize, 1 => Just(0)],
        own in 0..=4096_usize,
    ) {
        run_encoder(events, offered, own);
    }

    #[test]
    fn whatever_an_encoder_may_send_is_decoded(
        events in vec(event(), 0..200), limit in 0..=4096_usize, max_blocked in 0..16_usize,
    ) {
        run_model(events, limit, max_blocked);
    }

    #[test]
    fn any_bytes_are_a_section_or_an_error(
        instructions in vec(any::<u8>(), 0..100),
        section in vec(any::<u8>(), 0..300),
        bytes in 0..4000_usize,
        fields in 0..50_usize,
    ) {
        let mut decoder = Decoder::new(4096, 4);
        decoder.encoder_stream(b"\x3f\xe1\x1f\x4a\x63ustom-key\x03one\xc5\x00\x80\x04four").unwrap();
        let _ = decoder.encoder_stream(&instructions);
        for prefix in [&[][..], &[0, 0], &[2, 0], &[4, 0], &[4, 0x81]] {
            let section = Bytes::from([prefix, &section].concat());
            let mut collected = Collected::default();
            let _ = decoder.decode(0, &section, Limits { bytes, fields }, &mut collected);
            let size: usize = collected.0.iter().map(|(name, value, _)| name.len() + value.len() + 32).sum();
            prop_assert!(size <= bytes && collected.0.len() <= fields);
        }
    }

    #[test]
    fn any_bytes_are_instructions_or_an_error_however_cut(
        bytes in vec(any::<u8>(), 0..300), cut in 1..40_usize,
    ) {
        let (mut whole, mut parts) = (Decoder::new(4096, 4), Decoder::new(4096, 4));
        let start = b"\x3f\xe1\x1f\x4a\x63ustom-key\x03one\xc5\x00\x80\x04four";
        let bytes = [&start[..], &bytes].concat();
        let at_once = whole.encoder_stream(&bytes);
        let in_parts = bytes.chunks(cut).try_for_each(|part| parts.encoder_stream(part));
        prop_assert_eq!(at_once, in_parts);
        prop_assert_eq!(whole.insert_count(), parts.insert_count());
    }

    #[test]
    fn any_bytes_are_feedback_or_an_error_however_cut(
        bytes in vec(any::<u8>(), 0..100), cut in 1..40_usize,
    ) {
        let mut encoders = [Encoder::new(4096), Encoder::new(4096)];
        for encoder in &mut encoders {
            encoder.peer_settings(4096);
            let (headers, _) = headers(&[Sent {
                name: "x-a".to_owned(), value: b"a value that repeats".to_vec(), is_sensitive: false, way: 0, index: 0,
            }]);
            for stream in 0..9 {
                encoder.encode_fields(stream, &headers, &mut BytesMut::new());
                let _ = encoder.decoder_stream(&[1]);
            }
        }
        let [mut whole, mut parts] = encoders;
        let at_once = whole.decoder_stream(&bytes);
        let in_parts = bytes.chunks(cut).try_for_each(|part| parts.decoder_stream(part));
        prop_assert_eq!(at_once, in_parts);
    }

    #[test]
    fn requests_come_back(path in "/[a-z]{0,40}", fields in vec(sent(), 0..10)) {
        let (headers, mut expected) = headers(&fields);
        let pseudo = [(crate::qpack::Pseudo::Method, &b"GET"[..]), (crate::qpack::Pseudo::Path, path.as_bytes())];
        let mut section = BytesMut::new();
        Encoder::new(0).encode_request(0, &pseudo, &headers, &mut section);
        expected.insert(0, (":method".to_owned(), b"GET".to_vec(), false));
        expected.insert(1, (":path".to_owned(), path.into_bytes(), false));
        let mut collected = Collected::default();
        Decoder::new(0, 0).decode(0, &section.freeze(), WIDE, &mut collected).unwrap();
        prop_assert_eq!(collected.0, expected);
    }
}
