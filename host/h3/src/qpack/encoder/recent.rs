//! Encoded lines of earlier sections, for a peer that offers no table.

use bytes::BytesMut;
use http::header::{HeaderName, HeaderValue};

use super::line;

/// The last line at each place of a section.
///
/// An origin's responses have the same fields in the same order. Many of them keep their values for
/// a while: `server`, `cache-control`, and `date` for a second.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    name: HeaderName,
    /// The value, and after it the line.
    text: Vec<u8>,
    /// Bytes of the value.
    length: usize,
}

impl Recent {
    /// Appends the line of a field at `place` in its section.
    pub(super) fn field(
        &mut self,
        place: usize,
        name: &HeaderName,
        value: &HeaderValue,
        out: &mut BytesMut,
    ) {
        if let Some(Some(kept)) = self.0.get(place)
            && let Some(line) = kept.line(name, value)
        {
            return out.extend_from_slice(line);
        }
        let start = out.len();
        let is_secret = line::field(name, value, out);
        let length = name.as_str().len() + value.len();
        if place < PLACES && length <= LONGEST && !is_secret {
            self.keep(place, name, value, out.get(start..).unwrap_or_default());
        }
    }

    fn keep(&mut self, place: usize, name: &HeaderName, value: &HeaderValue, line: &[u8]) {
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        let Some(slot) = self.0.get_mut(place) else { return };
        let kept = slot.get_or_insert_with(|| Kept {
            name: name.clone(),
            text: Vec::with_capacity(2 * value.len()),
            length: 0,
        });
        if kept.name != name {
            kept.name = name.clone();
        }
        kept.text.clear();
        kept.text.extend_from_slice(value.as_bytes());
        kept.text.extend_from_slice(line);
        kept.length = value.len();
    }
}

impl Kept {
    /// Returns the line if it is that of this field.
    #[inline]
    fn line(&self, name: &HeaderName, value: &HeaderValue) -> Option<&[u8]> {
        let (kept, line) = self.text.split_at_checked(self.length)?;
        (self.name == name && kept == value.as_bytes() && !value.is_sensitive()).then_some(line)
    }
}

/// Fields of a section that are stored, from the first on.
const PLACES: usize = 24;

/// The most bytes of name and value of a field that is stored.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(recent: &mut Recent, fields: &[(&'static str, &HeaderValue)]) -> BytesMut {
        let mut out = BytesMut::new();
        for (place, (name, value)) in fields.iter().enumerate() {
            recent.field(place, &HeaderName::from_static(name), value, &mut out);
        }
        out
    }

    #[test]
    fn a_line_that_comes_again_at_its_place_is_not_encoded_again() {
        let mut recent = Recent::default();
        let [first, second] = ["one", "two"].map(HeaderValue::from_static);
        let fields = [("server", &first), ("x-a", &first)];
        let plain = encode(&mut recent, &fields);
        for kept in recent.0.iter_mut().flatten() {
            kept.text.truncate(kept.length);
            kept.text.push(b'!');
        }
        assert_eq!(encode(&mut recent, &fields), "!!");
        let other = encode(&mut recent, &[("server", &second), ("x-b", &first)]);
        assert_eq!(other, encode(&mut Recent::default(), &[("server", &second), ("x-b", &first)]));
        assert_eq!(encode(&mut recent, &fields), plain);
    }

    #[test]
    fn what_proves_who_someone_is_is_not_kept() {
        let mut recent = Recent::default();
        let plain = HeaderValue::from_static("token");
        let mut sensitive = plain.clone();
        sensitive.set_sensitive(true);
        let plainly = encode(&mut recent, &[("x-token", &plain), ("set-cookie", &plain)]);
        assert!(recent.0.get(1).is_none());
        let fields = [("x-token", &sensitive), ("set-cookie", &plain)];
        let secretly = encode(&mut recent, &fields);
        assert_ne!(secretly, plainly);
        assert_eq!(secretly, encode(&mut Recent::default(), &fields));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut recent = Recent::default();
        let value = |length| HeaderValue::from_bytes(&vec![b'a'; length]).unwrap();
        let (long, short) = (value(LONGEST - 2), value(LONGEST - 3));
        encode(&mut recent, &[("x-a", &long); 5]);
        assert_eq!(recent.0.len(), 0);
        let name = HeaderName::from_bytes(&[b'n'; 60_000]).unwrap();
        recent.field(0, &name, &value(1), &mut BytesMut::new());
        assert_eq!(recent.0.len(), 0);
        encode(&mut recent, &[("x-a", &short); 1000]);
        assert_eq!(recent.0.len(), PLACES);
        assert!(recent.0.iter().flatten().all(|kept| kept.text.capacity() <= 4 * LONGEST));
    }
}
