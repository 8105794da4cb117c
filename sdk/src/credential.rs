//! The places where requests carry credentials: a token or a key in a header field, a cookie or the
//! query.

use std::borrow::Cow;

use crate::parse::{field_name, is_token};
use crate::{Edit, FilterNeeds, Header, Input, Request};

/// The places where a filter looks for a credential.
#[derive(Debug)]
pub struct Places(Vec<Place>);

/// The request has several credentials, or one that is not text. An origin might use another one
/// than the filter checks, so the filter must accept none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclear;

#[derive(Debug)]
enum Place {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer(Input),
    /// The whole value of a field.
    Header(String, Input),
    /// A cookie. All header fields are read, since a cookie may come twice.
    Cookie(String, Input),
    /// A parameter of the query.
    Query(String, Input),
}

impl Places {
    /// Reads places from `bearer`, `header:NAME`, `cookie:NAME` and `query:NAME`, and asks for the
    /// inputs that they need.
    ///
    /// # Errors
    ///
    /// The place and its problem, for the user; `key` is that of the configuration.
    pub fn new(key: &str, places: &[String], needs: &mut FilterNeeds) -> Result<Self, String> {
        if places.is_empty() {
            return Err(format!("{key}: there must be at least one place"));
        }
        let places = places.iter().enumerate().map(|(at, text)| {
            Place::new(text, needs).ok_or_else(|| {
                let kinds = "bearer, header:NAME, cookie:NAME and query:NAME";
                format!("{key}[{at}]: {text:?} is none of {kinds}")
            })
        });
        Ok(Self(places.collect::<Result<_, _>>()?))
    }

    /// Returns the credential of a request, or `None` if no place has one.
    ///
    /// # Errors
    ///
    /// [`Unclear`] if it has more than one.
    pub fn find<'a>(&self, request: &Request<'a>) -> Result<Option<Cow<'a, str>>, Unclear> {
        let mut found = None;
        for place in &self.0 {
            let value = place.find(request)?;
            if found.is_some() && value.is_some() {
                return Err(Unclear);
            }
            found = found.or(value);
        }
        Ok(found)
    }

    /// Returns the value of `Vary` for responses that depend on the credential (RFC 9110 §12.5.5).
    /// Returns `None` if the credential is only in the query, which is part of every cache's key.
    pub fn vary(&self) -> Option<String> {
        let name = |place: &Place| match place {
            Place::Bearer(_) => Some(AUTHORIZATION.to_owned()),
            Place::Header(name, _) => Some(name.clone()),
            Place::Cookie(..) => Some(COOKIE.to_owned()),
            Place::Query(..) => None,
        };
        let mut names: Vec<String> = self.0.iter().filter_map(name).collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Returns edits that remove every credential from the request to the origin.
    pub fn remove(&self, request: &Request<'_>) -> Vec<Edit> {
        self.0.iter().filter_map(|place| place.remove(request)).collect()
    }

    /// Returns edits that leave only the checked fields: the origin sees no other fields of their
    /// names.
    pub fn keep(&self, request: &Request<'_>) -> Vec<Edit> {
        self.0.iter().filter_map(|place| place.keep(request)).collect()
    }
}

impl Place {
    fn new(text: &str, needs: &mut FilterNeeds) -> Option<Place> {
        if text == "bearer" {
            return Some(Place::Bearer(needs.header(AUTHORIZATION)));
        }
        let (kind, name) = text.split_once(':')?;
        if !is_token(name) {
            return None;
        }
        match kind {
            "header" if !name.eq_ignore_ascii_case(COOKIE) => {
                Some(Place::Header(field_name(name).ok()?, needs.header(name)))
            }
            "cookie" => Some(Place::Cookie(name.to_owned(), needs.headers())),
            "query" => Some(Place::Query(name.to_owned(), needs.path())),
            _ => None,
        }
    }

    fn find<'a>(&self, request: &Request<'a>) -> Result<Option<Cow<'a, str>>, Unclear> {
        match self {
            Place::Bearer(input) => match request.bytes(*input) {
                Some(value) => Ok(bearer(text(value)?).map(Cow::Borrowed)),
                None => Ok(None),
            },
            Place::Header(_, input) => {
                request.bytes(*input).map(|value| text(value).map(Cow::Borrowed)).transpose()
            }
            Place::Cookie(name, input) => {
                let fields = request.bytes(*input).unwrap_or_default();
                let mut values = cookies(fields).filter(|(key, _)| *key == name.as_bytes());
                match (values.next(), values.next()) {
                    (Some(_), Some(_)) => Err(Unclear),
                    (value, _) => {
                        value.map(|(_, value)| text(value).map(Cow::Borrowed)).transpose()
                    }
                }
            }
            Place::Query(name, input) => {
                let mut values =
                    parameters(request.bytes(*input)).filter(|(key, _)| key == name.as_bytes());
                match (values.next(), values.next()) {
                    (Some(_), Some(_)) => Err(Unclear),
                    (value, _) => value
                        .map(|(_, value)| String::from_utf8(value).map(Cow::Owned))
                        .transpose()
                        .map_err(|_| Unclear),
                }
            }
        }
    }

    fn remove(&self, request: &Request<'_>) -> Option<Edit> {
        match self {
            // A credential of another scheme is not this filter's.
            Place::Bearer(input) => {
                let value = text(request.bytes(*input)?).ok();
                match value.is_some_and(|value| bearer(value).is_some()) {
                    true => Some(Edit::Remove(AUTHORIZATION.to_owned())),
                    false => self.keep(request),
                }
            }
            Place::Header(name, input) => request.bytes(*input).map(|_| Edit::Remove(name.clone())),
            Place::Cookie(name, input) => without_cookie(request.bytes(*input)?, name.as_bytes()),
            Place::Query(name, input) => without_parameter(request.text(*input)?, name.as_bytes()),
        }
    }

    fn keep(&self, request: &Request<'_>) -> Option<Edit> {
        let (name, input) = match self {
            Place::Bearer(input) => (AUTHORIZATION, input),
            Place::Header(name, input) => (name.as_str(), input),
            // A second value is already an error.
            Place::Cookie(..) | Place::Query(..) => return None,
        };
        request.bytes(*input).map(|value| Edit::Set(Header::new(name, value)))
    }
}

/// Returns the token of a value of `Authorization`; empty if there is only the scheme.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// Returns the cookies of all fields named `cookie`; `fields` has one field per line.
fn cookies(fields: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    cookie_pairs(fields).map(|pair| {
        let (name, value) = split(pair, b'=');
        (name.trim_ascii(), value.unwrap_or_default().trim_ascii())
    })
}

fn cookie_pairs(fields: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let (name, value) = split(line, b':');
            value.filter(|_| name.eq_ignore_ascii_case(COOKIE.as_bytes()))
        })
        .flat_map(|value| value.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
}

fn without_cookie(fields: &[u8], name: &[u8]) -> Option<Edit> {
    let of_name = |pair: &&[u8]| split(pair, b'=').0.trim_ascii() == name;
    if !cookie_pairs(fields).any(|pair| of_name(&pair)) {
        return None;
    }
    let rest: Vec<&[u8]> = cookie_pairs(fields).filter(|pair| !of_name(pair)).collect();
    Some(if rest.is_empty() {
        Edit::Remove(COOKIE.to_owned())
    } else {
        Edit::Set(Header::new(COOKIE, rest.join(&b"; "[..])))
    })
}

/// Returns the decoded names and values of a path's query.
fn parameters(path: Option<&[u8]>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let query = path.and_then(|path| split(path, b'?').1).unwrap_or_default();
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = split(pair, b'=');
        (decoded(name), decoded(value.unwrap_or_default()))
    })
}

fn without_parameter(path: &str, name: &[u8]) -> Option<Edit> {
    let (path, query) = path.split_once('?')?;
    let of_name = |pair: &&str| decoded(split(pair.as_bytes(), b'=').0) == name;
    if !query.split('&').any(|pair| of_name(&pair)) {
        return None;
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !of_name(pair)).collect();
    let rest = rest.join("&");
    Some(Edit::Path(if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") }))
}

/// Decodes the percent-encoding of a part of a query by the rule of forms: `+` is a space.
fn decoded(part: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn split(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next())
}

fn text(bytes: &[u8]) -> Result<&str, Unclear> {
    std::str::from_utf8(bytes).map_err(|_| Unclear)
}

const AUTHORIZATION: &str = "authorization";
const COOKIE: &str = "cookie";

/// Whether a filter may name the client to the origin in this field. Fields reserved for the host
/// and fields of credentials are excluded.
pub fn is_identity_field(name: &str) -> bool {
    field_name(name).is_ok_and(|name| !["authorization", "cookie"].contains(&name.as_str()))
}

#[cfg(test)]
mod tests;
