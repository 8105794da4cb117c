//! Edits of plugins. They are checked by the rules for messages of clients and origins, and applied
//! entirely or not at all.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, StatusCode, Uri};
use weir_h3::message as syntax;
use weir_runtime::filter::{Attribute, Edit, Fetch, Header, Reply, not_allowed};

use super::body::Body;
use crate::status;

/// Checked edits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    checked: Vec<CheckedEdit>,
    /// Bytes that they add to a header section, counted as for the limits of messages.
    added: usize,
    /// Whether some are attributes.
    has_attributes: bool,
    /// Whether the filter requests the body of the message.
    pub wants_body: bool,
    /// The name of the upstream that a request is to go to. A name, since a remembered decision may
    /// be older than the order of upstreams.
    pub upstream: Option<Arc<str>>,
}

/// One edit that was checked.
#[derive(Debug, Clone, PartialEq)]
enum CheckedEdit {
    Set(HeaderName, HeaderValue),
    Append(HeaderName, HeaderValue),
    Remove(HeaderName),
    Path(PathAndQuery),
    Authority(Authority),
    Status(StatusCode),
    /// Name and value.
    Attribute(Box<str>, Box<str>),
}

impl Edits {
    /// Checks the edits of a request. `upstream` returns the index of an upstream that the plugin
    /// may choose.
    ///
    /// # Errors
    ///
    /// The error of an edit.
    pub fn of_request(
        edits: Vec<Edit>,
        upstream: impl Fn(&str) -> Option<Arc<str>>,
    ) -> Result<Self, String> {
        let mut all = Self { checked: Vec::with_capacity(edits.len()), ..Self::default() };
        for edit in edits {
            match edit {
                Edit::Path(path) => all.checked.push(CheckedEdit::Path(self::path(&path)?)),
                Edit::Authority(name) => {
                    all.checked.push(CheckedEdit::Authority(authority(&name)?));
                }
                Edit::Upstream(name) => {
                    let found = upstream(&name);
                    all.upstream = Some(found.ok_or_else(|| not_allowed(&name))?);
                }
                Edit::Status(_) => return Err("it sets the status of a request".to_owned()),
                other => all.common(other)?,
            }
        }
        Ok(all)
    }

    /// Checks the edits of a response.
    ///
    /// # Errors
    ///
    /// The error of an edit.
    pub fn of_response(edits: Vec<Edit>) -> Result<Self, String> {
        let mut all = Self { checked: Vec::with_capacity(edits.len()), ..Self::default() };
        for edit in edits {
            match edit {
                Edit::Status(code) => all.checked.push(CheckedEdit::Status(status(code)?)),
                Edit::Path(_) | Edit::Authority(_) | Edit::Upstream(_) => {
                    return Err("it changes the target of a response".to_owned());
                }
                other => all.common(other)?,
            }
        }
        Ok(all)
    }

    fn common(&mut self, edit: Edit) -> Result<(), String> {
        match edit {
            Edit::Set(field) => {
                let (name, value) = self.field(field)?;
                self.checked.push(CheckedEdit::Set(name, value));
            }
            Edit::Append(field) => {
                let (name, value) = self.field(field)?;
                self.checked.push(CheckedEdit::Append(name, value));
            }
            Edit::Remove(name) => self.checked.push(CheckedEdit::Remove(self::name(&name)?)),
            Edit::Attribute(attribute) => {
                let (name, value) = self::attribute(attribute)?;
                self.has_attributes = true;
                self.checked.push(CheckedEdit::Attribute(name, value));
            }
            Edit::Body => self.wants_body = true,
            Edit::Path(_) | Edit::Authority(_) | Edit::Upstream(_) | Edit::Status(_) => {}
        }
        Ok(())
    }

    /// Checks a field and charges its bytes to the plugin. Fields that were in the message before
    /// do not count: a client must not be able to make the plugin fail.
    fn field(&mut self, field: Header) -> Result<(HeaderName, HeaderValue), String> {
        let (name, value) = self::field(field)?;
        self.added += name.as_str().len() + value.len() + FIELD_OVERHEAD;
        if self.added > MAX_ADDED {
            return Err(format!("its header fields have more than {MAX_ADDED} bytes"));
        }
        Ok((name, value))
    }

    /// Returns whether the edits may make a header section larger.
    pub fn adds_fields(&self) -> bool {
        self.added > 0
    }

    /// Returns the names and values of the attributes.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = if self.has_attributes { &self.checked[..] } else { &[] };
        all.iter().filter_map(|edit| match edit {
            CheckedEdit::Attribute(name, value) => Some((&**name, &**value)),
            _ => None,
        })
    }

    /// Returns the number of bytes that the edits occupy.
    pub fn bytes(&self) -> usize {
        let of = |edit: &CheckedEdit| match edit {
            CheckedEdit::Remove(name) => name.as_str().len(),
            CheckedEdit::Path(path) => path.as_str().len(),
            CheckedEdit::Authority(name) => name.as_str().len(),
            CheckedEdit::Attribute(name, value) => name.len() + value.len(),
            // `added` already counts these.
            CheckedEdit::Set(..) | CheckedEdit::Append(..) | CheckedEdit::Status(_) => 0,
        };
        let of = |edit: &CheckedEdit| size_of::<CheckedEdit>() + of(edit);
        self.added + self.checked.iter().map(of).sum::<usize>()
    }

    /// Changes the head of a request and its authority.
    pub fn apply_to_request(self, head: &mut Parts, authority: &mut Authority) {
        for edit in self.checked {
            match edit {
                CheckedEdit::Path(path) => set_path(&mut head.uri, path),
                CheckedEdit::Authority(name) => *authority = name,
                other => other.apply(&mut head.headers),
            }
        }
        if self.wants_body {
            head.headers.remove(header::CONTENT_LENGTH);
        }
    }

    /// Changes the head of a response.
    ///
    /// If a status without content is set or replaced, the body and the fields about it are
    /// removed. No protocol allows a length that the body does not have.
    pub fn apply_to_response(self, response: &mut Response<Body>) {
        let before = response.status();
        for edit in self.checked {
            match edit {
                CheckedEdit::Status(status) => *response.status_mut() = status,
                other => other.apply(response.headers_mut()),
            }
        }
        let after = response.status();
        let is_bodiless = |status| !status::may_have_content(status);
        if after != before && (is_bodiless(before) || is_bodiless(after)) {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response.headers_mut().remove(header::TRAILER);
        }
    }
}

impl CheckedEdit {
    fn apply(self, fields: &mut HeaderMap) {
        match self {
            Self::Set(name, value) => {
                fields.insert(name, value);
            }
            Self::Append(name, value) => {
                fields.append(name, value);
            }
            Self::Remove(name) => {
                fields.remove(name);
            }
            Self::Path(_) | Self::Authority(_) | Self::Status(_) | Self::Attribute(..) => {}
        }
    }
}

/// Converts the reply of a plugin to a response.
///
/// # Errors
///
/// The error in the reply.
pub fn reply(reply: Reply) -> Result<Response<Body>, String> {
    let status = status(reply.status)?;
    let mut edits = Edits::default();
    for field in reply.headers {
        let (name, value) = edits.field(field)?;
        edits.checked.push(CheckedEdit::Append(name, value));
    }
    let has_content = status::may_have_content(status);
    let body = if has_content { Body::full(reply.body) } else { Body::empty() };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    edits.apply_to_response(&mut response);
    Ok(response)
}

/// Converts a fetch to a request. `own` is the authority if the fetch names none.
///
/// # Errors
///
/// The error in the fetch.
pub fn request(fetch: Fetch, own: &str) -> Result<Request<Body>, String> {
    let method = Method::from_bytes(fetch.method.as_bytes());
    let method = method.ok().filter(|method| *method != Method::CONNECT);
    let method = method.ok_or_else(|| format!("it fetches with the method {:?}", fetch.method))?;
    let asked = if fetch.authority.is_empty() { own } else { &fetch.authority };
    let authority = authority(asked)?;
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    set_path(request.uri_mut(), path(&fetch.path)?);
    for header in fetch.headers {
        let (name, value) = field(header)?;
        request.headers_mut().append(name, value);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    if !fetch.body.is_empty() {
        request.headers_mut().insert(header::CONTENT_LENGTH, fetch.body.len().into());
        *request.body_mut() = Body::full(fetch.body);
    }
    Ok(request)
}

fn name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| format!("{name:?} is not the name of a header field"))?;
    if FORBIDDEN.contains(&parsed) {
        return Err(format!("it changes the header field {parsed:?}, which is reserved"));
    }
    Ok(parsed)
}

fn field(field: Header) -> Result<(HeaderName, HeaderValue), String> {
    let name = name(&field.name)?;
    let value = HeaderValue::from_maybe_shared(Bytes::from(field.value));
    let value = value.map_err(|_| format!("the value of {name:?} has forbidden bytes"))?;
    Ok((name, value))
}

fn attribute(attribute: Attribute) -> Result<(Box<str>, Box<str>), String> {
    let Attribute { name, value } = attribute;
    let is_name = (1..=MAX_ATTRIBUTE_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    if !is_name || name.starts_with(RESERVED) {
        return Err(format!("{name:?} is not the name of an attribute"));
    }
    if value.len() > MAX_ATTRIBUTE {
        return Err(format!("the attribute {name} has more than {MAX_ATTRIBUTE} bytes"));
    }
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok((name.into(), value.into()))
}

fn status(status: u16) -> Result<StatusCode, String> {
    let code = StatusCode::from_u16(status).ok().filter(|code| (200..600).contains(&code.as_u16()));
    code.ok_or_else(|| format!("{status} is not the status of a final response"))
}

fn path(path: &str) -> Result<PathAndQuery, String> {
    syntax::path(Bytes::copy_from_slice(path.as_bytes()), &Method::GET)
        .map_err(|_| format!("{path:?} is not a path and query"))
}

fn authority(name: &str) -> Result<Authority, String> {
    syntax::authority(Bytes::copy_from_slice(name.as_bytes()))
        .map_err(|_| format!("{name:?} is not an authority"))
}

fn set_path(uri: &mut Uri, path: PathAndQuery) {
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path);
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Fields that frame or route a message, or concern one connection. Only the proxy sets them.
const FORBIDDEN: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Maximum number of bytes of header fields that one decision may set: the default limit of a
/// listener for a whole header section.
const MAX_ADDED: usize = 64 << 10;

/// Maximum number of bytes of an attribute's name and of its value.
const MAX_ATTRIBUTE_NAME: usize = 64;
const MAX_ATTRIBUTE: usize = 256;

/// The beginning of the names of attributes that the interface may give a meaning.
const RESERVED: &str = "weir.";

/// Bytes that each field counts in addition to its text (RFC 9114 §4.2.2).
const FIELD_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests;
