//! Errors, limits and feedback of the decoder.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Decoded, Decoder, Limits};
use crate::qpack::tests::support::{Collected, WIDE, decode, field, literal, raw};
use crate::qpack::{DecodeError, ErrorKind, Malformed, Pseudo, Sink, Text, integer};

/// Makes a decoder with a table of 4 KiB that has `a: <value>` for each of `values`.
fn filled(values: &[&[u8]]) -> Decoder {
    let mut decoder = Decoder::new(4096, 2);
    decoder.encoder_stream(&[0x3f, 0xe1, 0x1f]).unwrap();
    for value in values {
        decoder.encoder_stream(&[&b"\x41a"[..], &raw(value)].concat()).unwrap();
    }
    decoder
}

fn prefixed(value: u64, prefix: u32, pattern: u8) -> Vec<u8> {
    let mut out = BytesMut::new();
    integer::encode(value, prefix, pattern, &mut out);
    out.to_vec()
}

fn fails(result: Result<impl std::fmt::Debug, DecodeError>) {
    match result {
        Err(DecodeError::Connection(error)) => {
            assert_eq!((error.kind(), error.code()), (ErrorKind::Decompression, 0x0200));
        }
        other => panic!("{other:?}"),
    }
}

fn breaks(decoder: &mut Decoder, instructions: &[u8]) {
    let error = decoder.encoder_stream(instructions).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::EncoderStream, 0x0201), "{error}");
}

fn malformed(lines: &[u8]) -> Malformed {
    match decode(&mut filled(&[]), 0, &[b"\x00\x00", lines].concat()) {
        Err(DecodeError::Malformed(malformed)) => malformed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_static_index_fails() {
    for line in [prefixed(99, 6, 0xc0), [prefixed(99, 4, 0x50), raw(b"")].concat()] {
        fails(decode(&mut filled(&[]), 0, &[&[0, 0], &line[..]].concat()));
    }
    breaks(&mut filled(&[]), &[prefixed(99, 6, 0xc0), raw(b"")].concat());
}

#[test]
fn a_reference_past_the_insert_count_fails() {
    // The section says that one insertion is enough, and refers to the second.
    for line in [&[0x11][..], &[0x01, 0]] {
        fails(decode(&mut filled(&[b"1", b"2"]), 0, &[&[2, 0x80], line].concat()));
    }
    fails(decode(&mut filled(&[b"1", b"2"]), 0, &[2, 1, 0x80]));
    fails(decode(&mut filled(&[b"1"]), 0, &[0, 0, 0x80]));
    fails(decode(&mut filled(&[b"1"]), 0, &[0, 0, 0x10]));
}

#[test]
fn a_reference_before_the_first_entry_fails() {
    for line in [&[0x81][..], &[0x41, 0], &[0xbf, 0xff, 0x7f]] {
        fails(decode(&mut filled(&[b"1"]), 0, &[&[2, 0], line].concat()));
    }
}

#[test]
fn a_reference_to_a_dropped_entry_fails() {
    let large = [b'x'; 2020];
    let mut decoder = filled(&[&large, &large, &large]);
    decode(&mut decoder, 0, &[4, 0, 0x80, 0x81]).unwrap_err();
    fails(decode(&mut decoder, 0, &[4, 0, 0x81]));
    decode(&mut decoder, 0, &[4, 0, 0x80]).unwrap();
}

#[test]
fn an_instruction_that_refers_to_a_dropped_entry_fails() {
    let large = [b'x'; 2020];
    for instruction in [&[0x01][..], &[0x81, 0]] {
        breaks(&mut filled(&[&large, &large]), instruction);
        breaks(&mut filled(&[]), instruction);
    }
}

#[test]
fn an_impossible_insert_count_fails() {
    // 4,096 bytes hold 128 entries, so that counts wrap at 256.
    fails(decode(&mut filled(&[]), 0, &prefixed(257, 8, 0)));
    fails(decode(&mut filled(&[]), 0, &[&prefixed(257, 8, 0)[..], &[0]].concat()));
    fails(decode(&mut filled(&[]), 0, &[&prefixed(256, 8, 0)[..], &[0]].concat()));
    fails(decode(&mut filled(&[b"1"]), 0, &[1, 0]));
    fails(decode(&mut Decoder::new(0, 0), 0, &[1, 0]));
    fails(decode(&mut Decoder::new(31, 0), 0, &[2, 0]));
}

#[test]
fn insert_counts_wrap() {
    let mut decoder = filled(&[]);
    for count in 1..=1000_u64 {
        decoder.encoder_stream(b"\x41a\x01b").unwrap();
        let section = [prefixed(count % 256 + 1, 8, 0), vec![0, 0x80]].concat();
        assert_eq!(decode(&mut decoder, 0, &section).unwrap(), [field("a", "b")], "{count}");
    }
}

#[test]
fn a_negative_base_fails() {
    fails(decode(&mut filled(&[b"1"]), 0, &[2, 0x81, 0x10]));
    fails(decode(&mut filled(&[b"1"]), 0, &[0, 0x80]));
    assert_eq!(decode(&mut filled(&[b"1"]), 0, &[2, 0x80, 0x10]).unwrap(), [field("a", "1")]);
}

#[test]
fn a_section_that_ends_inside_a_line_fails() {
    let lines = [&[2, 0][..], &[0x80], &[&[0x51][..], &raw(b"/path")].concat(), b"\x21x\x02yz"];
    let section = lines.concat();
    let ends: Vec<usize> = (1..=lines.len()).map(|count| lines[..count].concat().len()).collect();
    for cut in 0..=section.len() {
        let result = decode(&mut filled(&[b"1"]), 0, &section[..cut]);
        match ends.iter().position(|end| *end == cut) {
            Some(lines) => assert_eq!(result.unwrap().len(), lines),
            None => fails(result),
        }
    }
}

#[test]
fn an_invalid_huffman_code_fails() {
    fails(decode(&mut filled(&[]), 0, b"\x00\x00\x51\x84\xff\xff\xff\xff"));
    fails(decode(&mut filled(&[]), 0, b"\x00\x00\x29\xff\x00"));
    breaks(&mut filled(&[]), b"\x41a\x84\xff\xff\xff\xff");
    breaks(&mut filled(&[]), b"\x61\xff\x00");
}

#[test]
fn an_integer_past_62_bits_overflows() {
    let huge = [0xff; 12];
    for section in [&huge[..], &[&[0], &huge[..]].concat(), &[&[0, 0], &huge[..]].concat()] {
        let result = decode(&mut filled(&[]), 0, section);
        assert_eq!(result.unwrap_err(), DecodeError::Overflow);
    }
    breaks(&mut filled(&[]), &huge);
    breaks(&mut filled(&[]), &[&[0x3f][..], &huge].concat());
    breaks(&mut filled(&[]), &[&b"\x41a"[..], &huge].concat());
}

#[test]
fn an_overflow_is_not_acknowledged() {
    let mut decoder = filled(&[b"1"]);
    decoder.take_feedback();
    let section = [&[2, 0, 0x80][..], &[0xff; 12]].concat();
    assert_eq!(decode(&mut decoder, 0, &section).unwrap_err(), DecodeError::Overflow);
    assert_eq!(decoder.take_feedback(), None);
}

#[test]
fn a_capacity_past_the_limit_fails() {
    breaks(&mut Decoder::new(4096, 0), &prefixed(4097, 5, 0x20));
    breaks(&mut Decoder::new(0, 0), &prefixed(1, 5, 0x20));
    Decoder::new(4096, 0).encoder_stream(&prefixed(4096, 5, 0x20)).unwrap();
    Decoder::new(0, 0).encoder_stream(&prefixed(0, 5, 0x20)).unwrap();
}

#[test]
fn an_entry_larger_than_the_table_fails() {
    breaks(&mut Decoder::new(4096, 0), b"\x40\x00");
    let mut decoder = Decoder::new(4096, 0);
    decoder.encoder_stream(&prefixed(40, 5, 0x20)).unwrap();
    decoder.encoder_stream(b"\x44abcd\x04efgh").unwrap();
    breaks(&mut decoder, b"\x44abcd\x05efghi");
    breaks(&mut decoder, b"\x80\x05efghi");
    breaks(&mut decoder, b"\xc2\x06");
    decoder.encoder_stream(&prefixed(32, 5, 0x20)).unwrap();
    breaks(&mut decoder, b"\x41");
}

#[test]
fn an_entry_that_takes_its_name_from_the_one_it_drops_keeps_it() {
    let mut decoder = Decoder::new(64, 0);
    decoder.encoder_stream(&[0x3f, 33]).unwrap();
    decoder.encoder_stream(b"\x44name\x03one\x80\x03two\x00").unwrap();
    // 64 bytes are two entries at most: counts wrap at four.
    assert_eq!(decode(&mut decoder, 0, &[4, 0, 0x80]).unwrap(), [field("name", "two")]);
}

#[test]
fn a_lower_capacity_drops_entries() {
    let mut decoder = filled(&[b"1", b"2"]);
    decoder.encoder_stream(&prefixed(34, 5, 0x20)).unwrap();
    assert_eq!(decode(&mut decoder, 0, &[3, 0, 0x80]).unwrap(), [field("a", "2")]);
    fails(decode(&mut decoder, 0, &[3, 0, 0x81]));
    decoder.encoder_stream(&[0x20]).unwrap();
    fails(decode(&mut decoder, 0, &[3, 0, 0x80]));
}

#[test]
fn equal_entries_are_no_error() {
    let mut decoder = filled(&[b"1", b"1"]);
    decoder.encoder_stream(&[0x00]).unwrap();
    let fields = decode(&mut decoder, 0, &[4, 0, 0x80, 0x81, 0x82]).unwrap();
    assert_eq!(fields, [field("a", "1"), field("a", "1"), field("a", "1")]);
}

#[test]
fn an_unfinished_instruction_is_bounded() {
    let mut decoder = filled(&[]);
    let mut fed = 0;
    let name = [prefixed(15_000, 5, 0x60), vec![0xff; 15_000]].concat();
    for byte in [name, prefixed(15_000, 7, 0x80), vec![0xff; 14_999]].concat() {
        decoder.encoder_stream(&[byte]).unwrap();
        fed += 1;
        assert!(decoder.partial.len() <= fed && decoder.partial.len() < 8 * 4096);
    }
    breaks(&mut decoder, &[0xff]);
    breaks(&mut filled(&[]), &prefixed(4096, 5, 0x40));
    breaks(&mut filled(&[]), &[&b"\x41a"[..], &prefixed(20_000, 7, 0x80)].concat());
}

#[test]
fn a_blocked_section_waits_for_its_insertions() {
    let mut decoder = filled(&[]);
    for _ in 0..3 {
        assert_eq!(decode(&mut decoder, 0, &[3, 0, 0x80, 0x81]), Err(DecodeError::Blocked(2)));
        assert_eq!(decode(&mut decoder, 4, &[2, 0, 0x80]), Err(DecodeError::Blocked(1)));
    }
    decoder.encoder_stream(b"\x41a\x011").unwrap();
    assert_eq!(decode(&mut decoder, 4, &[2, 0, 0x80]).unwrap(), [field("a", "1")]);
    assert_eq!(decode(&mut decoder, 0, &[3, 0, 0x80, 0x81]), Err(DecodeError::Blocked(2)));
    decoder.encoder_stream(b"\x41a\x012").unwrap();
    assert_eq!(decoder.insert_count(), 2);
    let fields = decode(&mut decoder, 0, &[3, 0, 0x80, 0x81]).unwrap();
    assert_eq!(fields, [field("a", "2"), field("a", "1")]);
    assert_eq!(decoder.take_feedback().unwrap(), &[0x84, 0x80][..]);
}

#[test]
fn one_blocked_stream_too_many_fails() {
    let mut decoder = filled(&[]);
    for stream in [0, 4] {
        assert_eq!(decode(&mut decoder, stream, &[2, 0, 0x80]), Err(DecodeError::Blocked(1)));
    }
    fails(decode(&mut decoder, 8, &[2, 0, 0x80]));
    decoder.cancel(4);
    assert_eq!(decode(&mut decoder, 8, &[2, 0, 0x80]), Err(DecodeError::Blocked(1)));
    // A stream is no longer blocked once its insertions have arrived, even before the next
    // decoding.
    decoder.encoder_stream(b"\x41a\x011").unwrap();
    assert_eq!(decode(&mut decoder, 12, &[3, 0, 0x80]), Err(DecodeError::Blocked(2)));
    assert_eq!(decode(&mut decoder, 16, &[3, 0, 0x80]), Err(DecodeError::Blocked(2)));
    fails(decode(&mut Decoder::new(4096, 0), 0, &[2, 0, 0x80]));
}

#[test]
fn a_section_with_references_is_acknowledged() {
    let mut decoder = filled(&[b"1", b"2"]);
    decode(&mut decoder, 0, b"\x00\x00\xd1").unwrap();
    decode(&mut decoder, 8, &[2, 0, 0x80]).unwrap();
    decode(&mut decoder, 400, &[3, 0, 0x80]).unwrap();
    assert_eq!(decoder.take_feedback().unwrap(), &[0x88, 0xff, 0x91, 0x02][..]);
    assert_eq!(decoder.take_feedback(), None);
}

#[test]
fn insertions_are_counted_once() {
    let mut decoder = filled(&[b"1", b"2", b"3"]);
    decode(&mut decoder, 0, &[2, 0, 0x80]).unwrap();
    assert_eq!(
        decoder.take_feedback().unwrap(),
        &[0x80, 0x02][..],
        "the acknowledgment tells of one"
    );
    decoder.encoder_stream(&[0x00]).unwrap();
    assert_eq!(decoder.take_feedback().unwrap(), &[0x01][..]);
    assert_eq!(decoder.take_feedback(), None);
}

#[test]
fn cancellations_are_sent_only_if_there_can_be_references() {
    let mut decoder = Decoder::new(4096, 0);
    decoder.cancel(8);
    decoder.cancel(64);
    assert_eq!(decoder.take_feedback().unwrap(), &[0x48, 0x7f, 0x01][..]);
    let mut decoder = Decoder::new(0, 0);
    decoder.cancel(8);
    assert_eq!(decoder.take_feedback(), None);
}

#[test]
fn names_must_be_tokens_in_lower_case() {
    for name in [&b"Upper"[..], b"", b"sp ace", b"qu\"ote", b"\xff", b"a:b", b"nul\0"] {
        let line = [prefixed(name.len() as u64, 3, 0x20), name.to_vec(), raw(b"x")].concat();
        assert_eq!(malformed(&line), Malformed::Name, "{name:?}");
    }
}

#[test]
fn unknown_pseudo_names_are_malformed() {
    for name in [&b":foo"[..], b":", b":Path", b"::path"] {
        let line = [prefixed(name.len() as u64, 3, 0x20), name.to_vec(), raw(b"x")].concat();
        assert_eq!(malformed(&line), Malformed::Pseudo, "{name:?}");
    }
    let line = [prefixed(9, 3, 0x20), b":protocol".to_vec(), raw(b"websocket")].concat();
    let fields = decode(&mut filled(&[]), 0, &[b"\x00\x00", &line[..]].concat()).unwrap();
    assert_eq!(fields, [field(":protocol", "websocket")]);
}

#[test]
fn values_must_hold_no_control_characters() {
    for value in [&b"a\r\nb: c"[..], b"a\nb", b"\0", b"\x7f", b"a\rb"] {
        for name in [&b"\x21x"[..], b"\x27\x02user-name"] {
            for string in [raw(value), literal(value)] {
                assert_eq!(malformed(&[name, &string].concat()), Malformed::Value, "{value:?}");
            }
        }
    }
}

#[test]
fn a_malformed_section_is_acknowledged() {
    let mut decoder = filled(&[b"1"]);
    let result = decode(&mut decoder, 4, b"\x02\x00\x80\x21X\x01y");
    assert_eq!(result, Err(DecodeError::Malformed(Malformed::Name)));
    assert_eq!(decoder.take_feedback().unwrap(), &[0x84][..]);
}

#[test]
fn a_malformed_entry_spoils_only_messages_that_use_what_is_wrong() {
    let mut decoder = filled(&[b"good"]);
    decoder.encoder_stream(b"\x41A\x01x").unwrap();
    decoder.encoder_stream(b"\x44:foo\x01x").unwrap();
    decoder.encoder_stream(b"\x41b\x01\n\x02").unwrap();
    decoder.encoder_stream(b"\x81\x01y").unwrap();
    assert_eq!(decoder.insert_count(), 6);
    let malformed = |malformed| Err(DecodeError::Malformed(malformed));
    // From the newest: `b: y`, `A` again, `b` with a line end, `:foo`, `A`, `a: good`.
    assert_eq!(decode(&mut decoder, 0, &[7, 0, 0x85]).unwrap(), [field("a", "good")]);
    assert_eq!(decode(&mut decoder, 0, &[7, 0, 0x84]), malformed(Malformed::Name));
    assert_eq!(decode(&mut decoder, 0, b"\x07\x00\x44\x01x"), malformed(Malformed::Name));
    assert_eq!(decode(&mut decoder, 0, &[7, 0, 0x83]), malformed(Malformed::Pseudo));
    assert_eq!(decode(&mut decoder, 0, &[7, 0, 0x82]), malformed(Malformed::Value));
    assert_eq!(decode(&mut decoder, 0, b"\x07\x00\x42\x01x").unwrap(), [field("b", "x")]);
    assert_eq!(decode(&mut decoder, 0, &[7, 0, 0x81]), malformed(Malformed::Name));
    assert_eq!(decode(&mut decoder, 0, &[7, 0, 0x80]).unwrap(), [field("b", "y")]);
}

#[test]
fn a_sink_that_refuses_ends_the_message_only() {
    let mut decoder = filled(&[b"1"]);
    let mut trailers = HeaderMap::new();
    let section = Bytes::from_static(b"\x02\x00\x80\xd1\x80");
    let result = decoder.decode(0, &section, WIDE, &mut trailers);
    assert!(matches!(result, Err(DecodeError::Malformed(Malformed::Refused(_)))));
    assert_eq!(trailers.len(), 1);
    assert_eq!(decoder.take_feedback().unwrap(), &[0x80][..]);
}

#[test]
fn never_indexed_values_are_marked_sensitive() {
    let mut decoder = filled(&[b"1"]);
    let section = b"\x02\x00\x60\x01b\x40\x01b\x7f\x45\x01b\x31x\x01y\x21x\x01y";
    let fields = decode(&mut decoder, 0, section).unwrap();
    let marks: Vec<bool> = fields.iter().map(|(_, _, is_sensitive)| *is_sensitive).collect();
    assert_eq!(marks, [true, false, true, true, false]);
    let post_base = decode(&mut decoder, 0, b"\x02\x80\x08\x01b\x00\x01b").unwrap();
    assert_eq!((post_base[0].2, post_base[1].2), (true, false));
}

#[test]
fn limits_count_names_values_and_overhead() {
    let section =
        Bytes::from([&b"\x00\x00\xd1\x21x\x02yz"[..], b"\x51", &literal(b"/aaaaaaa")].concat());
    let size = (":methodGET".len() + 32) + ("xyz".len() + 32) + (":path/aaaaaaa".len() + 32);
    let decode = |bytes, fields| {
        let limits = Limits { bytes, fields };
        Decoder::new(0, 0).decode(0, &section, limits, &mut Collected::default())
    };
    assert_eq!(decode(size, 3), Ok(Decoded { bytes: size, fields: 3 }));
    for bytes in 0..size {
        assert_eq!(decode(bytes, 3), Err(DecodeError::TooLarge), "{bytes}");
    }
    for fields in 0..3 {
        assert_eq!(decode(size, fields), Err(DecodeError::TooLarge), "{fields}");
    }
}

/// Counts the fields that a section delivers.
#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        self.0 += name.as_str().len() + value.len() + 32;
        Ok(())
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        self.0 += name.as_str().len() + value.len() + 32;
        Ok(())
    }
}

#[test]
fn a_large_entry_referred_to_ten_thousand_times_stops_at_the_limit() {
    let mut decoder = filled(&[&[b'x'; 4000]]);
    let section = Bytes::from([vec![2, 0], vec![0x80; 10_000]].concat());
    let limits = Limits { bytes: 65_536, fields: 100 };
    let mut count = Count::default();
    assert_eq!(decoder.decode(0, &section, limits, &mut count), Err(DecodeError::TooLarge));
    assert_eq!(count.0, 65_536 / 4033 * 4033);
    assert_eq!(decoder.take_feedback().unwrap(), &[0x80][..], "acknowledged all the same");
}

#[test]
fn a_huffman_string_that_grows_past_the_limit_stops_there() {
    // The code of `0` has five bits, all zeros: 100,000 bytes of zeros are 160,000 of `0`.
    for line in [&b"\x51"[..], b"\x21x", b"\x28"] {
        let mut section = BytesMut::from(&b"\x00\x00"[..]);
        let length = if line == b"\x28" { (3, 0x28) } else { (7, 0x80) };
        section.put_slice(if line == b"\x28" { b"" } else { line });
        integer::encode(100_000, length.0, length.1, &mut section);
        section.put_bytes(0, 100_000);
        section.put_u8(0);
        let section = section.freeze();
        for bytes in [100, 65_536, 159_999] {
            let limits = Limits { bytes, fields: 100 };
            let mut count = Count::default();
            let result = Decoder::new(0, 0).decode(0, &section, limits, &mut count);
            assert_eq!((result, count.0), (Err(DecodeError::TooLarge), 0));
        }
    }
}

#[test]
fn no_limit_lets_a_map_overflow() {
    let mut section = BytesMut::from(&b"\x00\x00"[..]);
    for number in 0..30_000 {
        section.put_slice(format!("\x25{number:05}\x00").as_bytes());
    }
    let limits = Limits { bytes: usize::MAX, fields: usize::MAX };
    let mut map = HeaderMap::new();
    let result = Decoder::new(0, 0).decode(0, &section.freeze(), limits, &mut map);
    assert_eq!(result, Err(DecodeError::TooLarge));
    assert_eq!(map.len(), 24_576);
}

#[test]
fn plain_values_share_the_memory_of_their_section() {
    let section = Bytes::from(b"\x00\x00\x21x\x05value\x51\x05/path".to_vec());
    let mut values = Values::default();
    Decoder::new(0, 0).decode(0, &section, WIDE, &mut values).unwrap();
    let memory = section.as_ptr_range();
    assert!(values.0.iter().all(|value| memory.contains(value)));
    assert_eq!(values.0.len(), 2);
}

/// The addresses of values.
#[derive(Default)]
struct Values(Vec<*const u8>);

impl Sink for Values {
    fn pseudo(&mut self, _: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        self.0.push(value.into_bytes().as_ptr());
        Ok(())
    }

    fn field(&mut self, _: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        self.0.push(value.as_bytes().as_ptr());
        Ok(())
    }
}
