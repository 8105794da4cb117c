//! The parts of a request. Each part is parsed when the first rule reads it.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;

use crate::language::Field;
use crate::transform;

/// A text of a request, and its field.
#[derive(Debug, Clone)]
pub(crate) struct Value<'a> {
    pub(crate) field: &'a Field,
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// The parts of a request that rules may read. A part that was not requested from the host is
/// empty.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Parts<'r> {
    /// Path and query, as sent.
    pub(crate) target: &'r [u8],
    pub(crate) method: &'r [u8],
    pub(crate) authority: &'r [u8],
    pub(crate) client: Option<&'r str>,
    pub(crate) country: Option<&'r [u8]>,
    /// All header fields, one `name: value` per line.
    pub(crate) headers: &'r [u8],
    /// The inspected bytes of each value.
    pub(crate) inspect: usize,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Message<'r> {
    parts: Parts<'r>,
    parameters: OnceCell<Vec<Parameter<'r>>>,
    lines: OnceCell<Vec<(&'r [u8], &'r [u8])>>,
    oversize: Cell<Option<&'static str>>,
}

/// A decoded name and a decoded value.
type Parameter<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

impl<'r> Message<'r> {
    pub(crate) fn new(parts: Parts<'r>) -> Self {
        let (parameters, lines) = (OnceCell::new(), OnceCell::new());
        Self { parts, parameters, lines, oversize: Cell::new(None) }
    }

    /// Returns the part that exceeds the inspected size, among the fields that rules have read.
    pub(crate) fn oversize(&self) -> Option<&'static str> {
        self.oversize.get()
    }

    /// Returns the address of the client.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.parts.client?.parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    pub(crate) fn path(&self) -> &'r [u8] {
        self.parts.target.split(|b| *b == b'?').next().unwrap_or_default()
    }

    /// Adds the values of a field.
    pub(crate) fn values<'a>(&'a self, field: &'a Field, values: &mut Vec<Value<'a>>) {
        let mut add = |bytes: Cow<'a, [u8]>| {
            let bytes = self.cut(bytes, "a value");
            values.push(Value { field, bytes });
        };
        match field {
            Field::Path => add(self.path().into()),
            Field::PathDecoded => add(transform::url_decode(self.path().into())),
            Field::Query => self.query().into_iter().for_each(|query| add(query.into())),
            Field::QueryAll => {
                self.parameters().iter().for_each(|(_, value)| add(Cow::Borrowed(value)));
            }
            Field::QueryNames => {
                self.parameters().iter().for_each(|(name, _)| add(Cow::Borrowed(name)));
            }
            Field::QueryJoined => self.joined().into_iter().for_each(|joined| add(joined.into())),
            Field::Parameter(wanted) => {
                let found = self.parameters().iter().filter(|(name, _)| **name == **wanted);
                found.for_each(|(_, value)| add(Cow::Borrowed(value)));
            }
            Field::Method => add(self.parts.method.into()),
            Field::Host => self.host().into_iter().for_each(add),
            Field::HeadersAll => self.lines().iter().for_each(|(_, value)| add((*value).into())),
            Field::Header(wanted) => self.fields(wanted).for_each(|value| add(value.into())),
            Field::CookiesAll => self.cookies().for_each(|(_, value)| add(value.into())),
            Field::Cookie(wanted) => {
                let found = self.cookies().filter(|(name, _)| *name == wanted.as_slice());
                found.for_each(|(_, value)| add(value.into()));
            }
            Field::Client => {
                self.parts.client.into_iter().for_each(|client| add(client.as_bytes().into()));
            }
            Field::Country => {
                self.parts.country.into_iter().for_each(|country| add(country.into()));
            }
        }
    }

    /// Cuts the values of an operand to the inspected size of all values together.
    pub(crate) fn bound(&self, values: &mut [Value<'_>]) {
        let mut left = self.parts.inspect * TOGETHER;
        for value in values {
            if value.bytes.len() > left {
                self.oversize.set(Some("all values together"));
                value.bytes = first(std::mem::take(&mut value.bytes), left);
            }
            left -= value.bytes.len();
        }
    }

    fn query(&self) -> Option<&'r [u8]> {
        let mark = self.parts.target.iter().position(|b| *b == b'?')?;
        self.parts.target.get(mark + 1..)
    }

    /// Returns the host in lower case, without the port and the final dot.
    fn host(&self) -> Option<Cow<'r, [u8]>> {
        let colon = self.parts.authority.iter().rposition(|b| *b == b':');
        let port = colon.filter(|colon| {
            self.parts
                .authority
                .get(colon + 1..)
                .is_some_and(|port| port.iter().all(u8::is_ascii_digit))
        });
        let host = self.parts.authority.get(..port.unwrap_or(self.parts.authority.len()))?;
        let host = host.strip_suffix(b".").unwrap_or(host);
        (!host.is_empty()).then(|| transform::lower(host.into()))
    }

    fn parameters(&self) -> &[Parameter<'r>] {
        self.parameters.get_or_init(|| {
            let query = self.query().unwrap_or_default();
            let parts = query.split(|b| *b == b'&').filter(|part| !part.is_empty());
            let parts = self.bounded(parts, "the number of parameters");
            let pair = |part: &'r [u8]| {
                let equals = part.iter().position(|b| *b == b'=');
                let (name, value) = part.split_at(equals.unwrap_or(part.len()));
                let value = value.strip_prefix(b"=").unwrap_or_default();
                (transform::form_decode(name), transform::form_decode(value))
            };
            parts.into_iter().map(pair).collect()
        })
    }

    /// Returns the values of each repeated parameter, with commas between them. Some frameworks
    /// pass them on in this form.
    fn joined(&self) -> Vec<Vec<u8>> {
        let mut parameters: Vec<_> = self.parameters().iter().collect();
        if parameters.len() < 2 {
            return Vec::new();
        }
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        let repeated = parameters.chunk_by(|(a, _), (b, _)| a == b).filter(|same| same.len() > 1);
        let join = |same: &[&Parameter<'r>]| {
            let values: Vec<&[u8]> = same.iter().map(|(_, value)| value.as_ref()).collect();
            values.join(&b","[..])
        };
        repeated.map(join).collect()
    }

    fn lines(&self) -> &[(&'r [u8], &'r [u8])] {
        self.lines.get_or_init(|| {
            let lines = self.parts.headers.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            let lines = self.bounded(lines, "the number of header fields");
            let pair = |line: &'r [u8]| {
                let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
                let (name, value) = line.split_at(colon);
                (name, value.strip_prefix(b":").unwrap_or_default().trim_ascii())
            };
            lines.into_iter().map(pair).collect()
        })
    }

    fn fields<'a>(&'a self, wanted: &'a [u8]) -> impl Iterator<Item = &'r [u8]> + 'a {
        let lines = self.lines().iter();
        lines.filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    }

    /// Returns the cookies of all Cookie fields (RFC 6265 §4.2.1).
    fn cookies(&self) -> impl Iterator<Item = (&'r [u8], &'r [u8])> + '_ {
        let pairs = self.fields(b"cookie").flat_map(|field| field.split(|b| *b == b';'));
        pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
            let equals = pair.iter().position(|b| *b == b'=');
            // A cookie without a name has only a value.
            let (name, value) = pair.split_at(equals.map_or(0, |equals| equals));
            (name, value.strip_prefix(b"=").unwrap_or(value))
        })
    }

    /// Returns the parts, up to the inspected number.
    fn bounded<T>(&self, parts: impl Iterator<Item = T>, what: &'static str) -> Vec<T> {
        let mut parts: Vec<T> = parts.take(PARTS + 1).collect();
        if parts.len() > PARTS {
            parts.truncate(PARTS);
            self.oversize.set(Some(what));
        }
        parts
    }

    /// Returns a value, up to the inspected size.
    fn cut<'a>(&self, value: Cow<'a, [u8]>, what: &'static str) -> Cow<'a, [u8]> {
        if value.len() <= self.parts.inspect {
            return value;
        }
        self.oversize.set(Some(what));
        first(value, self.parts.inspect)
    }
}

/// Returns the first bytes of a text.
fn first(text: Cow<'_, [u8]>, length: usize) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(bytes) => bytes.get(..length).unwrap_or(bytes).into(),
        Cow::Owned(mut bytes) => {
            bytes.truncate(length);
            bytes.into()
        }
    }
}

/// The inspected size of an operand, in values of the largest size. With 8 KiB per value, hostile
/// text takes a third of the 5 ms that a call may take.
const TOGETHER: usize = 2;

/// The most inspected parameters or header fields.
const PARTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn values(message: &Message<'_>, field: &Field) -> Vec<String> {
        let mut values = Vec::new();
        message.values(field, &mut values);
        values.iter().map(|value| String::from_utf8_lossy(&value.bytes).into_owned()).collect()
    }

    fn message<'r>(target: &'r str, headers: &'r str) -> Message<'r> {
        let (target, headers) = (target.as_bytes(), headers.as_bytes());
        Message::new(Parts { target, headers, inspect: 100, ..Parts::default() })
    }

    #[test]
    fn a_query_is_taken_apart_as_a_form() {
        let message = message("/a%20b?x=1+2&y=%26&x=3&&flag&%78=4?5=6", "");
        assert_eq!(values(&message, &Field::Path), ["/a%20b"]);
        assert_eq!(values(&message, &Field::PathDecoded), ["/a b"]);
        assert_eq!(values(&message, &Field::Query), ["x=1+2&y=%26&x=3&&flag&%78=4?5=6"]);
        assert_eq!(values(&message, &Field::QueryAll), ["1 2", "&", "3", "", "4?5=6"]);
        assert_eq!(values(&message, &Field::QueryNames), ["x", "y", "x", "flag", "x"]);
        assert_eq!(values(&message, &Field::QueryJoined), ["1 2,3,4?5=6"]);
        assert_eq!(values(&message, &Field::Parameter(b"x".to_vec())), ["1 2", "3", "4?5=6"]);
        assert!(values(&message, &Field::Parameter(b"z".to_vec())).is_empty());
        assert_eq!(message.oversize(), None);
    }

    #[test]
    fn a_target_may_lack_a_query() {
        let message = message("/a", "");
        assert!(values(&message, &Field::Query).is_empty());
        assert!(values(&message, &Field::QueryAll).is_empty());
        assert!(values(&message, &Field::QueryJoined).is_empty());
    }

    #[test]
    fn all_fields_of_a_name_count_and_all_cookies() {
        let message = message("/", "X-A: 1\nx-a:2\ncookie: a=1; b=2;c\ncookie: a=3\n");
        assert_eq!(values(&message, &Field::Header(b"x-a".to_vec())), ["1", "2"]);
        assert_eq!(values(&message, &Field::CookiesAll), ["1", "2", "c", "3"]);
        assert_eq!(values(&message, &Field::Cookie(b"a".to_vec())), ["1", "3"]);
        assert_eq!(values(&message, &Field::HeadersAll).len(), 4);
    }

    #[test]
    fn a_host_has_one_spelling() {
        for (authority, host) in [
            ("Example.COM:8443", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("[2001:DB8::1]:443", Some("[2001:db8::1]")),
            ("[2001:db8::1]", Some("[2001:db8::1]")),
            ("", None),
        ] {
            let authority = authority.as_bytes();
            let parts = Parts { authority, inspect: 100, ..Parts::default() };
            let message = Message::new(parts);
            let found = values(&message, &Field::Host);
            assert_eq!(found.first().map(String::as_str), host, "{host:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_cut_and_told() {
        let long = format!("/?a={}", "x".repeat(101));
        let big = message(&long, "");
        assert_eq!(values(&big, &Field::QueryAll)[0].len(), 100);
        assert_eq!(big.oversize(), Some("a value"));
        let wide = format!("/?{}", format!("{}&", "x".repeat(99)).repeat(5));
        let wide = message(&wide, "");
        let mut names = Vec::new();
        wide.values(&Field::QueryNames, &mut names);
        assert_eq!(wide.oversize(), None);
        wide.bound(&mut names);
        let lengths: Vec<usize> = names.iter().map(|name| name.bytes.len()).collect();
        assert_eq!(lengths, [99, 99, 2, 0, 0]);
        assert_eq!(wide.oversize(), Some("all values together"));
        let many = format!("/?{}", "a&".repeat(1001));
        let many = message(&many, "");
        assert_eq!(values(&many, &Field::QueryNames).len(), 1000);
        assert_eq!(many.oversize(), Some("the number of parameters"));
        let lines = "a: b\n".repeat(1001);
        let lines = message("/", &lines);
        assert_eq!(values(&lines, &Field::HeadersAll).len(), 1000);
        assert_eq!(lines.oversize(), Some("the number of header fields"));
    }
}
