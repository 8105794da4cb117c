//! The examples of RFC 9204 Appendix B, byte for byte.

use super::model::Model;
use super::support::{decode, field, hex, map};
use crate::qpack::{Decoder, Encoder};

const B1_STREAM_0: &str = "0000 510b 2f69 6e64 6578 2e68 746d 6c";
const B2_ENCODER: &str =
    "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468";
const B2_STREAM_4: &str = "0381 10 11";
const B2_DECODER: &str = "84";
const B3_ENCODER: &str = "4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565";
const B3_DECODER: &str = "01";
const B4_ENCODER: &str = "02";
const B4_STREAM_8: &str = "0500 80 c1 81";
const B4_DECODER: &str = "48";
const B5_ENCODER: &str = "810d 6375 7374 6f6d 2d76 616c 7565 32";

#[test]
fn appendix_b_decodes() {
    let mut decoder = Decoder::new(220, 1);
    // B.1
    let fields = decode(&mut decoder, 0, &hex(B1_STREAM_0)).unwrap();
    assert_eq!(fields, [field(":path", "/index.html")]);
    assert_eq!(decoder.take_feedback(), None);
    // B.2
    decoder.encoder_stream(&hex(B2_ENCODER)).unwrap();
    let fields = decode(&mut decoder, 4, &hex(B2_STREAM_4)).unwrap();
    assert_eq!(fields, [field(":authority", "www.example.com"), field(":path", "/sample/path")]);
    assert_eq!(decoder.take_feedback().unwrap(), hex(B2_DECODER));
    // B.3
    decoder.encoder_stream(&hex(B3_ENCODER)).unwrap();
    assert_eq!(decoder.take_feedback().unwrap(), hex(B3_DECODER));
    // B.4, once with the instruction in time and once without
    decoder.cancel(8);
    assert_eq!(decoder.take_feedback().unwrap(), hex(B4_DECODER));
    decoder.encoder_stream(&hex(B4_ENCODER)).unwrap();
    let fields = decode(&mut decoder, 8, &hex(B4_STREAM_8)).unwrap();
    assert_eq!(
        fields,
        [
            field(":authority", "www.example.com"),
            field(":path", "/"),
            field("custom-key", "custom-value")
        ]
    );
    // B.5: the oldest entry goes, the next stays.
    decoder.encoder_stream(&hex(B5_ENCODER)).unwrap();
    assert_eq!(decoder.insert_count(), 5);
    let newest = decode(&mut decoder, 12, &hex("0600 80 83")).unwrap();
    assert_eq!(newest, [field("custom-key", "custom-value2"), field(":path", "/sample/path")]);
    decode(&mut decoder, 12, &hex("0600 84")).unwrap_err();
}

#[test]
fn appendix_b_encodes() {
    let mut model = Model::new(220);
    let mut section = model.section(0);
    section.literal_static(1, b"/index.html");
    assert_eq!(section.finish(0), hex(B1_STREAM_0));

    model.set_capacity(220);
    model.insert_static(0, ":authority", b"www.example.com");
    model.insert_static(1, ":path", b"/sample/path");
    assert_eq!(model.take_stream(), hex(B2_ENCODER));
    let mut section = model.section(0);
    section.indexed(0);
    section.indexed(1);
    assert_eq!(section.finish(4), hex(B2_STREAM_4));
    model.feedback(&hex(B2_DECODER));
    assert_eq!(model.known(), 2);

    model.insert_literal("custom-key", b"custom-value");
    assert_eq!(model.take_stream(), hex(B3_ENCODER));
    model.feedback(&hex(B3_DECODER));
    assert_eq!(model.known(), 3);

    model.duplicate(0);
    assert_eq!(model.take_stream(), hex(B4_ENCODER));
    let mut section = model.section(4);
    section.indexed(3);
    section.indexed_static(1);
    section.indexed(2);
    assert_eq!(section.finish(8), hex(B4_STREAM_8));
    model.feedback(&hex(B4_DECODER));

    model.insert_dynamic(2, b"custom-value2");
    assert_eq!(model.take_stream(), hex(B5_ENCODER));
}

/// The output of [`Encoder`] for the examples of the RFC. It takes the shorter form of strings,
/// inserts repeated fields and refers to acknowledged entries.
#[test]
fn appendix_b_as_the_encoder_has_it() {
    let mut encoder = Encoder::new(4096);
    encoder.peer_settings(220);
    let fields = map(&[("custom-key", "custom-value")]);
    let literal = hex("0000 2f01 25a8 49e9 5ba9 7d7f 89 25a8 49e9 5bb8 e8b4 bf");
    for stream in [0, 4] {
        let mut out = bytes::BytesMut::new();
        encoder.encode_fields(stream, &fields, &mut out);
        assert_eq!(out, literal);
    }
    let instructions = hex("3fbd01 68 25a8 49e9 5ba9 7d7f 89 25a8 49e9 5bb8 e8b4 bf");
    assert_eq!(encoder.take_instructions().unwrap(), instructions);
    encoder.decoder_stream(&hex(B3_DECODER)).unwrap();
    let mut out = bytes::BytesMut::new();
    encoder.encode_fields(8, &fields, &mut out);
    assert_eq!(out, hex("0200 80"));
    encoder.decoder_stream(&hex(B4_DECODER)).unwrap();
    encoder.decoder_stream(&hex("88")).unwrap_err();
}
