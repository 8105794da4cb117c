//! The minimum of HPACK and QPACK for a raw client: literal fields out, the status in.

/// A header block of HPACK: literals without indexing, no Huffman (RFC 7541 §6.2.2).
pub(crate) fn hpack(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x00);
        string(&mut block, name.as_bytes(), 7, 0);
        string(&mut block, value.as_bytes(), 7, 0);
    }
    block
}

/// A field section of QPACK: literals with literal names, no Huffman (RFC 9204 §4.5.6).
pub(crate) fn qpack(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        string(&mut section, name.as_bytes(), 3, 0x20);
        string(&mut section, value.as_bytes(), 7, 0);
    }
    section
}

/// The status of a response's HPACK block; `:status` must be the first field.
pub(crate) fn hpack_status(block: &[u8]) -> Option<u16> {
    // A dynamic table size update may come first (RFC 7541 §6.3).
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block[start] {
        indexed @ 0x88..=0x8e => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)])
        }
        0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => status_string(&block[start + 1..]),
        _ => None,
    }
}

/// The status of a response's QPACK section; `:status` must be the first field.
pub(crate) fn qpack_status(section: &[u8]) -> Option<u16> {
    let line = section.get(2..)?;
    let first = *line.first()?;
    if first & 0xc0 == 0xc0 {
        return static_status(integer(line, 6)?.0);
    }
    if first & 0xd0 == 0x50 {
        let (_, used) = integer(line, 4)?;
        return status_string(&line[used..]);
    }
    None
}

fn static_status(index: usize) -> Option<u16> {
    const LOW: [u16; 5] = [103, 200, 304, 404, 503];
    const HIGH: [u16; 9] = [100, 204, 206, 302, 400, 403, 421, 425, 500];
    LOW.get(index.checked_sub(24)?).or_else(|| HIGH.get(index.checked_sub(63)?)).copied()
}

fn status_string(bytes: &[u8]) -> Option<u16> {
    let huffman = bytes.first()? & 0x80 != 0;
    let (length, used) = integer(bytes, 7)?;
    let value = bytes.get(used..used + length)?;
    let digits =
        if huffman { huffman_digits(value) } else { std::str::from_utf8(value).ok()?.to_owned() };
    digits.parse().ok()
}

/// Digits of RFC 7541's appendix B: 0 to 2 have five bits, 3 to 9 six.
fn huffman_digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0u8, |sum, bit| sum << 1 | bit);
    let mut digits = String::new();
    let mut rest = &bits[..];
    while digits.len() < 3 && rest.len() >= 5 {
        let (digit, used) = match number(&rest[..5]) {
            digit @ 0..=2 => (digit, 5),
            _ if rest.len() >= 6 => (number(&rest[..6]).wrapping_sub(0x19) + 3, 6),
            _ => break,
        };
        digits.push(char::from(b'0' + digit));
        rest = &rest[used..];
    }
    digits
}

fn string(out: &mut Vec<u8>, bytes: &[u8], prefix: u8, flags: u8) {
    let most = (1usize << prefix) - 1;
    if bytes.len() < most {
        out.push(flags | bytes.len() as u8);
    } else {
        out.push(flags | most as u8);
        let mut rest = bytes.len() - most;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(bytes);
}

fn integer(bytes: &[u8], prefix: u8) -> Option<(usize, usize)> {
    let most = (1usize << prefix) - 1;
    let mut value = usize::from(*bytes.first()?) & most;
    let mut used = 1;
    if value == most {
        loop {
            let byte = usize::from(*bytes.get(used)?);
            value += (byte & 0x7f) << (7 * (used - 1));
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    Some((value, used))
}

#[test]
fn a_status_is_read_in_every_form() {
    assert_eq!(hpack_status(&[0x8c]), Some(400));
    assert_eq!(hpack_status(&[0x48, 3, b'4', b'3', b'1']), Some(431));
    // 431 in Huffman: 011010 011001 00001 111 (padding)
    assert_eq!(hpack_status(&[0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111]), Some(431));
    assert_eq!(qpack_status(&[0, 0, 0xc0 | 25]), Some(200));
    assert_eq!(qpack_status(&[0, 0, 0xff, 4]), Some(400));
    assert_eq!(qpack_status(&[0, 0, 0x5f, 9, 3, b'4', b'1', b'3']), Some(413));
}
