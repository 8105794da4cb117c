//! The insertions and references of the encoder, and errors of the decoder stream.

use bytes::BytesMut;
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue};

use super::Encoder;
use crate::qpack::tests::support::{WIDE, decode, field, map};
use crate::qpack::{Decoder, Error, ErrorKind};

/// An encoder for a peer that offers `capacity` bytes, and the peer's decoder.
fn pair(capacity: usize) -> (Encoder, Decoder) {
    let mut encoder = Encoder::new(4096);
    encoder.peer_settings(capacity as u64);
    (encoder, Decoder::new(capacity, 0))
}

fn encode(encoder: &mut Encoder, stream: u64, headers: &HeaderMap) -> BytesMut {
    let mut out = BytesMut::new();
    encoder.encode_fields(stream, headers, &mut out);
    out
}

/// Delivers all instructions and feedback.
fn sync(encoder: &mut Encoder, decoder: &mut Decoder) -> Result<(), Error> {
    if let Some(instructions) = encoder.take_instructions() {
        decoder.encoder_stream(&instructions)?;
    }
    decoder.take_feedback().map_or(Ok(()), |feedback| encoder.decoder_stream(&feedback))
}

fn breaks(encoder: &mut Encoder, feedback: &[u8]) {
    let error = encoder.decoder_stream(feedback).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::DecoderStream, 0x0202), "{error}");
}

#[test]
fn a_response_of_static_lines_is_a_byte_for_each() {
    let mut encoder = Encoder::new(4096);
    let headers = map(&[("content-type", "text/css"), ("vary", "accept-encoding"), ("age", "0")]);
    let mut out = BytesMut::from(&b"before"[..]);
    encoder.encode_response(0, StatusCode::OK, &headers, &mut out);
    assert_eq!(out, &b"before\x00\x00\xd9\xf3\xfb\xc2"[..]);
    let mut out = BytesMut::new();
    encoder.encode_response(0, StatusCode::IM_A_TEAPOT, &HeaderMap::new(), &mut out);
    let fields = decode(&mut Decoder::new(0, 0), 0, &out).unwrap();
    assert_eq!(fields, [field(":status", "418")]);
}

#[test]
fn nothing_is_inserted_while_the_peer_offers_no_table() {
    for offered in [None, Some(0), Some(31)] {
        let mut encoder = Encoder::new(4096);
        offered.into_iter().for_each(|offered| encoder.peer_settings(offered));
        let headers = map(&[("server", "a value that repeats")]);
        for stream in 0..9 {
            assert_eq!(encode(&mut encoder, stream, &headers)[..2], [0, 0]);
            assert_eq!(encoder.take_instructions(), None);
        }
    }
}

#[test]
fn the_capacity_is_the_smaller_of_both_sides() {
    for (own, offered, bytes) in [(4096, 100, &[0x3f, 69][..]), (100, 1 << 40, &[0x3f, 69])] {
        let mut encoder = Encoder::new(own);
        encoder.peer_settings(offered);
        let headers = map(&[("x", "12345678")]);
        encode(&mut encoder, 0, &headers);
        encode(&mut encoder, 0, &headers);
        assert_eq!(encoder.take_instructions().unwrap()[..2], *bytes);
    }
}

#[test]
fn references_wait_for_acknowledgment() {
    let (mut encoder, mut decoder) = pair(4096);
    let headers = map(&[("server", "a value that repeats")]);
    for stream in [0, 4, 8] {
        assert_eq!(encode(&mut encoder, stream, &headers)[..2], [0, 0], "no reference yet");
    }
    let instructions = encoder.take_instructions().unwrap();
    decoder.encoder_stream(&instructions).unwrap();
    assert_eq!(decoder.insert_count(), 1, "once is enough");
    assert_eq!(encode(&mut encoder, 12, &headers)[..2], [0, 0], "still on its way");
    encoder.decoder_stream(&decoder.take_feedback().unwrap()).unwrap();
    let section = encode(&mut encoder, 16, &headers);
    assert_eq!(section, &[2, 0, 0x80][..]);
    let fields = decode(&mut decoder, 16, &section).unwrap();
    assert_eq!(fields, [field("server", "a value that repeats")]);
}

#[test]
fn secrets_and_what_can_be_guessed_stay_out_of_the_table() {
    let (mut encoder, mut decoder) = pair(4096);
    let mut headers = map(&[
        ("set-cookie", "session=0123456789abcdef"),
        ("cookie", "session=0123456789abcdef"),
        ("authorization", "Bearer 0123456789abcdef"),
        ("proxy-authorization", "Bearer 0123456789abcdef"),
        ("www-authenticate", "Negotiate 0123456789abcdef"),
        ("x-pin", "1234567"),
    ]);
    let mut token = HeaderValue::from_static("0123456789abcdef");
    token.set_sensitive(true);
    headers.insert("x-token", token);
    for stream in 0..9 {
        let section = encode(&mut encoder, stream, &headers);
        assert_eq!(encoder.take_instructions(), None);
        for (name, _, is_sensitive) in decode(&mut decoder, stream, &section).unwrap() {
            assert_eq!(is_sensitive, name != "x-pin", "{name}");
        }
    }
}

#[test]
fn a_sensitive_value_is_a_literal_even_if_a_table_has_it() {
    let (mut encoder, mut decoder) = pair(4096);
    let mut headers =
        map(&[("server", "a value that repeats"), ("vary", "origin"), ("cookie", "")]);
    for stream in 0..3 {
        encode(&mut encoder, stream, &headers);
        sync(&mut encoder, &mut decoder).unwrap();
    }
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    let section = encode(&mut encoder, 4, &headers);
    assert_eq!(section[..2], [0, 0]);
    let fields = decode(&mut decoder, 4, &section).unwrap();
    assert!(fields.iter().all(|(_, _, is_sensitive)| *is_sensitive));
}

#[test]
fn the_never_indexed_bit_survives_the_proxy() {
    let mut received = HeaderMap::new();
    let section = bytes::Bytes::from_static(b"\x00\x00\x7f\x4d\x05nginx");
    Decoder::new(0, 0).decode(0, &section, WIDE, &mut received).unwrap();
    let (mut encoder, _) = pair(4096);
    for stream in 0..9 {
        let sent = encode(&mut encoder, stream, &received);
        let fields = decode(&mut Decoder::new(0, 0), 0, &sent).unwrap();
        assert_eq!(fields, [("server".to_owned(), b"nginx".to_vec(), true)]);
    }
}

#[test]
fn an_entry_in_use_is_never_dropped() {
    let (mut encoder, mut decoder) = pair(128);
    let first = map(&[("x", "the first value")]);
    for _ in 0..2 {
        encode(&mut encoder, 0, &first);
    }
    sync(&mut encoder, &mut decoder).unwrap();
    let held = encode(&mut encoder, 4, &first);
    assert_eq!(held[..2], [2, 0]);
    // These values fill the table and would need the first entry's room.
    for value in ["the second value", "the third value", "the fourth value"] {
        for stream in [8, 12] {
            encode(&mut encoder, stream, &map(&[("x", value)]));
        }
        sync(&mut encoder, &mut decoder).unwrap();
    }
    assert_eq!(decoder.insert_count(), 2);
    assert_eq!(decode(&mut decoder, 4, &held).unwrap(), [field("x", "the first value")]);
    sync(&mut encoder, &mut decoder).unwrap();
    encode(&mut encoder, 16, &map(&[("x", "the fourth value")]));
    sync(&mut encoder, &mut decoder).unwrap();
    assert_eq!(decoder.insert_count(), 3, "free when the section is acknowledged");
}

#[test]
fn an_unacknowledged_entry_is_never_dropped() {
    let (mut encoder, mut decoder) = pair(128);
    for value in ["the first value", "the second value", "the third value", "the fourth value"] {
        for stream in [0, 4] {
            encode(&mut encoder, stream, &map(&[("x", value)]));
        }
    }
    sync(&mut encoder, &mut decoder).unwrap();
    assert_eq!(decoder.insert_count(), 2);
}

#[test]
fn entries_about_to_be_dropped_are_duplicated_when_they_are_used() {
    let (mut encoder, mut decoder) = pair(512);
    let hot = map(&[("x-hot", "the value in every response")]);
    let values: Vec<String> = (0..200).map(|number| format!("a passing value {number}")).collect();
    let mut references = 0;
    for (stream, value) in values.iter().enumerate() {
        let mut headers = hot.clone();
        headers.insert("x-cold", HeaderValue::from_str(value).unwrap());
        for _ in 0..2 {
            let section = encode(&mut encoder, stream as u64, &headers);
            references += usize::from(section[0] > 0);
            // The instructions come first, or the section would wait.
            sync(&mut encoder, &mut decoder).unwrap();
            decode(&mut decoder, stream as u64, &section).unwrap();
            sync(&mut encoder, &mut decoder).unwrap();
        }
    }
    assert!(references > 300, "{references} of 400");
    assert!(decoder.insert_count() > 200);
}

#[test]
fn sections_on_their_way_are_bounded() {
    let (mut encoder, mut decoder) = pair(4096);
    let headers = map(&[("server", "a value that repeats")]);
    for _ in 0..2 {
        encode(&mut encoder, 0, &headers);
    }
    sync(&mut encoder, &mut decoder).unwrap();
    let referring =
        (0..1000).filter(|stream| encode(&mut encoder, *stream, &headers)[0] > 0).count();
    assert_eq!(referring, 256);
    encoder.decoder_stream(&[0x80]).unwrap();
    assert!(encode(&mut encoder, 0, &headers)[0] > 0);
}

#[test]
fn an_increment_of_nothing_or_too_much_fails() {
    for feedback in [&[0x00][..], &[0x02], &[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]]
    {
        let (mut encoder, _) = pair(4096);
        for stream in [0, 4] {
            encode(&mut encoder, stream, &map(&[("server", "a value that repeats")]));
        }
        breaks(&mut encoder, feedback);
    }
    breaks(&mut Encoder::new(4096), &[0x01]);
}

#[test]
fn what_was_not_sent_cannot_be_acknowledged() {
    let headers = map(&[("server", "a value that repeats")]);
    let inserted = || {
        let (mut encoder, _) = pair(4096);
        for stream in [0, 4] {
            encode(&mut encoder, stream, &headers);
        }
        encoder
    };
    breaks(&mut inserted(), &[0x01]);
    let mut sent = inserted();
    assert!(sent.take_instructions().is_some());
    sent.decoder_stream(&[0x01]).unwrap();
}

#[test]
fn instructions_that_nobody_takes_are_bounded_by_the_table() {
    let (mut encoder, _) = pair(4096);
    let mut value = 0;
    let mut fill = |encoder: &mut Encoder| {
        for _ in 0..1000 {
            value += 1;
            let text = format!("a value that is new: {value}");
            let value = HeaderValue::try_from(text).unwrap();
            let headers = HeaderMap::from_iter([(http::header::SERVER, value)]);
            for _ in 0..2 {
                encode(encoder, 0, &headers);
            }
            // A false acknowledgment, which ends the connection.
            let _ = encoder.decoder_stream(&[0x01]);
        }
    };
    fill(&mut encoder);
    let first = encoder.take_instructions().unwrap();
    assert!(first.len() <= 4096, "{}", first.len());
    // A peer that acknowledges instructions without reading them gets as many again, and no more.
    encoder.decoder_stream(&[0x01]).unwrap();
    while encoder.decoder_stream(&[0x01]).is_ok() {}
    fill(&mut encoder);
    let second = encoder.take_instructions().unwrap();
    assert!(second.len() <= 4096, "{}", second.len());
}

#[test]
fn an_acknowledgment_of_no_section_fails() {
    let (mut encoder, mut decoder) = pair(4096);
    breaks(&mut encoder, &[0x80]);
    let headers = map(&[("server", "a value that repeats")]);
    for _ in 0..2 {
        encode(&mut encoder, 0, &headers);
    }
    sync(&mut encoder, &mut decoder).unwrap();
    for _ in 0..2 {
        encode(&mut encoder, 4, &headers);
    }
    encode(&mut encoder, 8, &map(&[]));
    encoder.decoder_stream(&[0x84, 0x84]).unwrap();
    breaks(&mut encoder, &[0x84]);
    let (mut encoder, _) = pair(4096);
    encode(&mut encoder, 8, &map(&[]));
    breaks(&mut encoder, &[0x88]);
    breaks(&mut Encoder::new(4096), &[0x80]);
}

#[test]
fn a_cancellation_needs_no_section() {
    Encoder::new(4096).decoder_stream(&[0x48]).unwrap();
    let (mut encoder, mut decoder) = pair(4096);
    encoder.decoder_stream(&[0x48]).unwrap();
    let headers = map(&[("server", "a value that repeats")]);
    for _ in 0..2 {
        encode(&mut encoder, 0, &headers);
    }
    sync(&mut encoder, &mut decoder).unwrap();
    encode(&mut encoder, 8, &headers);
    encoder.decoder_stream(&[0x48]).unwrap();
    breaks(&mut encoder, &[0x88]);
}

#[test]
fn an_integer_past_62_bits_fails() {
    breaks(&mut Encoder::new(4096), &[0xff; 12]);
    let mut encoder = Encoder::new(4096);
    let mut parts = [0xff; 12].chunks(1);
    assert!(parts.any(|part| encoder.decoder_stream(part).is_err()));
    assert!(encoder.partial.len() <= 10);
}
