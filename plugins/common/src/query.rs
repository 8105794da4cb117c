//! Parameters of a query: the pieces between ampersands.

/// Whether a piece of a query, `name` or `name=value`, has this name. The name is decoded once,
/// with `+` as a space, so that no spelling escapes. A `wanted` that ends with `*` is a prefix.
pub fn is_named(piece: &str, wanted: &str) -> bool {
    let name = piece.split('=').next().unwrap_or_default();
    let mut name = Decoded(name.as_bytes());
    let (wanted, is_prefix) = match wanted.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (wanted, false),
    };
    wanted.bytes().all(|byte| name.next() == Some(byte)) && (is_prefix || name.next().is_none())
}

/// The decoded bytes of a name.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, after @ ..] = self.0
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            self.0 = after;
            return Some(high << 4 | low);
        }
        let (first, after) = self.0.split_first()?;
        self.0 = after;
        Some(if *first == b'+' { b' ' } else { *first })
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_seen() {
        for piece in ["token", "token=1", "%74oken=1", "tok%65n", "token="] {
            assert!(is_named(piece, "token"), "{piece}");
        }
        for piece in ["tokens=1", "toke", "", "=token", "%2574oken", "a=token", "token%", "Token"] {
            assert!(!is_named(piece, "token"), "{piece}");
        }
        assert!(is_named("a+b=1", "a b") && is_named("a%20b", "a b") && is_named("=x", ""));
    }

    #[test]
    fn a_star_at_the_end_is_a_prefix() {
        assert!(is_named("utm_source=x", "utm_*") && is_named("%75tm_", "utm_*"));
        assert!(!is_named("utm", "utm_*"));
        assert!(is_named("anything", "*"));
    }
}
