//! Percent-encoding (RFC 3986 §2.1).

use std::fmt::Write as _;

/// The place of a byte in a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a path. Slashes stay.
    Path,
    /// In a query. Separators of parameters stay.
    Query,
    /// In the name or value of a parameter. Separators are encoded, and also `+`, which some
    /// servers read as a space.
    Parameter,
}

/// Appends `text`, which is already encoded. Bytes that are not allowed at this place are encoded,
/// and `%` stays.
pub fn encoded(to: &mut String, text: &[u8], place: Place) {
    for byte in text {
        if *byte == b'%' || stands(*byte, place) {
            to.push(char::from(*byte));
        } else {
            escape(to, *byte);
        }
    }
}

/// Appends plain `text`. `%` is encoded too.
pub fn plain(to: &mut String, text: &str, place: Place) {
    for byte in text.bytes() {
        if stands(byte, place) {
            to.push(char::from(byte));
        } else {
            escape(to, byte);
        }
    }
}

/// Turns bytes into text. A capture can cut a character in half. If the bytes are not UTF-8, all
/// non-ASCII bytes are encoded.
pub fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let mut text = String::new();
            for byte in error.as_bytes() {
                if byte.is_ascii() {
                    text.push(char::from(*byte));
                } else {
                    escape(&mut text, *byte);
                }
            }
            text
        }
    }
}

/// Whether every percent sign begins an encoded byte. Text appended after it then cannot complete
/// one.
pub fn is_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn escape(to: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(to, "%{byte:02X}");
}

/// Whether a byte may stand at this place unencoded (RFC 3986 §§3.3, 3.4). Also true for brackets
/// and similar characters, which browsers do not encode there: they break the grammar and keep
/// their meaning everywhere.
fn stands(byte: u8, place: Place) -> bool {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => true,
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b',' => true,
        b'/' | b':' | b'@' => true,
        b'?' => place != Place::Path,
        b'[' | b']' | b'|' => place != Place::Parameter,
        b'^' | b'`' | b'{' | b'}' => place == Place::Query,
        b'&' | b'=' | b'+' | b';' => place != Place::Parameter,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, place: Place) -> String {
        let mut to = String::new();
        encoded(&mut to, text.as_bytes(), place);
        to
    }

    #[test]
    fn what_may_not_stand_is_encoded_and_nothing_twice() {
        assert_eq!(of("/a%2Fb c\\d\"#?\r\n", Place::Path), "/a%2Fb%20c%5Cd%22%23%3F%0D%0A");
        assert_eq!(of("a[]=1&b=?+%20{}\\<", Place::Query), "a[]=1&b=?+%20{}%5C%3C");
        assert_eq!(of("a=1&b+%20", Place::Parameter), "a%3D1%26b%2B%20");
        assert_eq!(of("ä", Place::Path), "%C3%A4");
    }

    #[test]
    fn plain_text_has_its_percent_signs_encoded() {
        let mut to = String::new();
        plain(&mut to, "100% & more", Place::Parameter);
        assert_eq!(to, "100%25%20%26%20more");
    }

    #[test]
    fn a_percent_sign_has_two_digits_behind_it() {
        assert!(is_whole("") && is_whole("a%2Fb%aa"));
        for text in ["%", "a%2", "%2g", "%%41", "%C3%"] {
            assert!(!is_whole(text), "{text}");
        }
    }

    #[test]
    fn a_cut_character_is_encoded() {
        assert_eq!(text("/ä".as_bytes().to_vec()), "/ä");
        assert_eq!(text(b"/\xc3".to_vec()), "/%C3");
    }
}
