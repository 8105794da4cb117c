//! The Huffman code of string literals (RFC 7541 §5.2, Appendix B; RFC 9204 §4.1.2).

mod code;

use bytes::{BufMut as _, BytesMut};

use code::{CODES, LONG, ORDER, SHORT};

/// The reason why a string is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It holds the end-of-string code or ends inside a code, or its padding is invalid: not the
    /// start of the end-of-string code, or longer than seven bits.
    Invalid,
    /// The output is full.
    Full,
}

/// Decodes `input` into the front of `output` and returns the number of decoded bytes.
///
/// # Errors
/// [`Fault`]; `output` then holds the bytes before it.
pub(super) fn decode(mut input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
    let room = output.len();
    let mut slots = output.iter_mut();
    // The next bits of the input, first bit highest, and the number of valid ones.
    let (mut window, mut bits) = (0_u64, 0_u32);
    loop {
        (window, bits, input) = refill(window, bits, input);
        while bits >= LONGEST {
            let (symbol, length) = symbol(window)?;
            *slots.next().ok_or(Fault::Full)? = symbol;
            window <<= length;
            bits -= length;
        }
        if input.is_empty() {
            break;
        }
    }
    // The last codes: ones after the end look like the padding that the RFC requires.
    while bits > 0 {
        window |= u64::MAX >> bits;
        if bits < 8 && window == u64::MAX {
            break;
        }
        let (symbol, length) = symbol(window)?;
        bits = bits.checked_sub(length).ok_or(Fault::Invalid)?;
        *slots.next().ok_or(Fault::Full)? = symbol;
        window <<= length;
    }
    Ok(room - slots.len())
}

/// Bytes of `text` in encoded form.
#[inline]
pub(super) fn encoded_len(text: &[u8]) -> usize {
    text.iter().map(|byte| code::length(*byte)).sum::<usize>().div_ceil(8)
}

/// Appends `text` in encoded form.
pub(super) fn encode(text: &[u8], out: &mut BytesMut) {
    // The lowest `bits` of `window` are not written yet: fewer than 32, so that a code fits.
    let (mut window, mut bits) = (0_u64, 0_u32);
    for byte in text {
        let (code, length) = CODES.get(usize::from(*byte)).copied().unwrap_or_default();
        window = window << length | u64::from(code);
        bits += length;
        if bits >= 32 {
            bits -= 32;
            let [.., a, b, c, d] = (window >> bits).to_be_bytes();
            out.put_slice(&[a, b, c, d]);
        }
    }
    let padding = bits.next_multiple_of(8) - bits;
    window = window << padding | ((1 << padding) - 1);
    for position in (0..(bits + padding) / 8).rev() {
        let [.., byte] = (window >> (8 * position)).to_be_bytes();
        out.put_u8(byte);
    }
}

/// Fills the window up to at least 56 bits, or to the input's end.
#[inline]
fn refill(mut window: u64, mut bits: u32, mut input: &[u8]) -> (u64, u32, &[u8]) {
    if let Some(chunk) = input.first_chunk::<8>() {
        // The bits of the last, incomplete byte are set early; the next refill sets them again.
        window |= u64::from_be_bytes(*chunk) >> bits;
        let whole = (63 - bits) / 8;
        bits += whole * 8;
        return (window, bits, input.get(whole as usize..).unwrap_or_default());
    }
    while bits <= 56 {
        let Some((byte, rest)) = input.split_first() else { break };
        window |= u64::from(*byte) << (56 - bits);
        bits += 8;
        input = rest;
    }
    (window, bits, input)
}

/// Returns the first symbol in the window and the length of its code.
#[inline]
fn symbol(window: u64) -> Result<(u8, u32), Fault> {
    let [first, ..] = window.to_be_bytes();
    match SHORT.get(usize::from(first)) {
        Some((symbol, length)) if *length > 0 => Ok((*symbol, u32::from(*length))),
        _ => long_symbol(window),
    }
}

/// Does the same as [`symbol`] for codes longer than eight bits; few texts have any.
#[cold]
fn long_symbol(window: u64) -> Result<(u8, u32), Fault> {
    let window = window >> 32;
    let group = LONG.iter().find(|group| window < group.end).ok_or(Fault::Invalid)?;
    let position = (window - group.start) >> (32 - group.length);
    let symbol = ORDER.get(group.first + position as usize).ok_or(Fault::Invalid)?;
    // The last symbol in order is the end of the string, which is no byte.
    u8::try_from(*symbol).map(|symbol| (symbol, group.length)).map_err(|_| Fault::Invalid)
}

/// Bits of the longest code.
const LONGEST: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(text, &mut out);
        out.to_vec()
    }

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut output = vec![0; 1024];
        let length = decode(input, &mut output)?;
        output.truncate(length);
        Ok(output)
    }

    /// RFC 7541 C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_are_met() {
        for (text, code) in [
            ("www.example.com", &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..]),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            ("custom-key", b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"),
            ("custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            ("302", b"\x64\x02"),
            ("307", b"\x64\x0e\xff"),
            ("private", b"\xae\xc3\x77\x1a\x4b"),
            ("gzip", b"\x9b\xd9\xab"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
            (
                "Mon, 21 Oct 2013 20:13:22 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x84\xa6\x2d\x1b\xff",
            ),
            (
                "https://www.example.com",
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
            ),
            (
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
                b"\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72\xc1\xab\x27\x0f\xb5\x29\x1f\x95\x87\x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07",
            ),
        ] {
            assert_eq!(encoded(text.as_bytes()), code, "{text}");
            assert_eq!(encoded_len(text.as_bytes()), code.len(), "{text}");
            assert_eq!(decoded(code).unwrap(), text.as_bytes(), "{text}");
        }
    }

    #[test]
    fn every_byte_comes_back_alone_and_among_others() {
        for byte in 0..=u8::MAX {
            for text in [vec![byte], vec![byte; 9], vec![b'a', byte, b'~', byte, 0, byte]] {
                assert_eq!(decoded(&encoded(&text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn the_end_of_string_code_is_refused() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Fault::Invalid));
        assert_eq!(decoded(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(Fault::Invalid));
    }

    #[test]
    fn padding_of_more_than_seven_bits_is_refused() {
        assert_eq!(decoded(&[0xff]), Err(Fault::Invalid));
        assert_eq!(decoded(&[0x1f, 0xff]), Err(Fault::Invalid), "`a` and eleven bits");
        assert_eq!(decoded(&[0x1f]).unwrap(), b"a", "`a` and three bits");
    }

    #[test]
    fn padding_other_than_ones_is_refused() {
        assert_eq!(decoded(&[0x18]), Err(Fault::Invalid));
        assert_eq!(decoded(&[0x1e]), Err(Fault::Invalid));
    }

    #[test]
    fn output_stops_at_its_bound() {
        let code = encoded(&[b'0'; 64]);
        assert_eq!(decode(&code, &mut [0; 63]), Err(Fault::Full));
        assert_eq!(decode(&code, &mut [0; 64]), Ok(64));
        assert_eq!(decode(&[0x1f], &mut []), Err(Fault::Full));
    }
}
