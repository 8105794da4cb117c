//! What a plugin returned, checked by the rules for what a client or an origin sends, and applied: all of it or nothing.

use std::str::FromStr as _;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, StatusCode, Uri};
use weir_runtime::filter::{Edit, Fetch, Header, Reply};

use crate::config::ListenerLimits;
use crate::listen::body::Body;

/// Edits that were checked.
#[derive(Debug, Default, PartialEq)]
pub struct Edits {
    checked: Vec<Checked>,
    /// What they add to a header section: fields, and bytes counted as for the limits.
    added: (usize, usize),
    /// Whether the message's body is to be handed over.
    pub wants_body: bool,
    /// The upstream that a request is to go to, by its index.
    pub upstream: Option<usize>,
}

#[derive(Debug, PartialEq)]
enum Checked {
    Set(HeaderName, HeaderValue),
    Append(HeaderName, HeaderValue),
    Remove(HeaderName),
    Path(PathAndQuery),
    Authority(Authority),
    Status(StatusCode),
}

impl Edits {
    /// Checks the edits of a request; `upstream` knows those that the plugin may send it to.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn of_request(
        edits: Vec<Edit>,
        upstream: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, String> {
        let mut all = Self { checked: Vec::with_capacity(edits.len()), ..Self::default() };
        for edit in edits {
            match edit {
                Edit::Path(path) => all.checked.push(Checked::Path(self::path(&path)?)),
                Edit::Authority(name) => {
                    all.checked.push(Checked::Authority(authority(&name)?));
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
    /// What is wrong with one of them.
    pub fn of_response(edits: Vec<Edit>) -> Result<Self, String> {
        let mut all = Self { checked: Vec::with_capacity(edits.len()), ..Self::default() };
        for edit in edits {
            match edit {
                Edit::Status(code) => all.checked.push(Checked::Status(status(code)?)),
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
                self.checked.push(Checked::Set(name, value));
            }
            Edit::Append(field) => {
                let (name, value) = self.field(field)?;
                self.checked.push(Checked::Append(name, value));
            }
            Edit::Remove(name) => self.checked.push(Checked::Remove(self::name(&name)?)),
            Edit::Body => self.wants_body = true,
            Edit::Path(_) | Edit::Authority(_) | Edit::Upstream(_) | Edit::Status(_) => {}
        }
        Ok(())
    }

    fn field(&mut self, field: Header) -> Result<(HeaderName, HeaderValue), String> {
        let (name, value) = self::field(field)?;
        self.added.0 += 1;
        self.added.1 += name.as_str().len() + value.len() + FIELD_OVERHEAD;
        Ok((name, value))
    }

    /// Whether a header section stays within the limits with what is added. What is replaced is counted twice: an
    /// estimate that errs on the small side of the limits.
    ///
    /// # Errors
    /// Says that it does not.
    pub fn within(&self, fields: &HeaderMap, limits: &ListenerLimits) -> Result<(), String> {
        if self.added.0 == 0 {
            return Ok(());
        }
        let size = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + FIELD_OVERHEAD
        };
        let bytes = fields.iter().map(size).sum::<usize>() + self.added.1;
        if bytes > limits.header_bytes || fields.len() + self.added.0 > limits.header_count {
            return Err("it makes the header section larger than the listener's limits".to_owned());
        }
        Ok(())
    }

    /// Changes a request's head and the authority that it is for.
    pub fn apply_to_request(self, head: &mut Parts, authority: &mut Authority) {
        for edit in self.checked {
            match edit {
                Checked::Path(path) => set_path(&mut head.uri, path),
                Checked::Authority(name) => *authority = name,
                other => other.apply(&mut head.headers),
            }
        }
        if self.wants_body {
            head.headers.remove(header::CONTENT_LENGTH);
        }
    }

    /// Changes a response's head.
    pub fn apply_to_response(self, response: &mut Response<Body>) {
        for edit in self.checked {
            match edit {
                Checked::Status(status) => *response.status_mut() = status,
                other => other.apply(response.headers_mut()),
            }
        }
    }
}

impl Checked {
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
            Self::Path(_) | Self::Authority(_) | Self::Status(_) => {}
        }
    }
}

/// A plugin's reply as a response.
///
/// # Errors
/// What is wrong with it.
pub fn reply(reply: Reply, limits: &ListenerLimits) -> Result<Response<Body>, String> {
    let status = status(reply.status)?;
    let mut edits = Edits::default();
    for field in reply.headers {
        let (name, value) = edits.field(field)?;
        edits.checked.push(Checked::Append(name, value));
    }
    edits.within(&HeaderMap::new(), limits)?;
    let is_bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if is_bodiless { Body::empty() } else { Body::full(reply.body) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    edits.apply_to_response(&mut response);
    Ok(response)
}

/// The request of a fetch, for `authority` unless it names another.
///
/// # Errors
/// What is wrong with it.
pub fn request(fetch: Fetch, own: &Authority) -> Result<Request<Body>, String> {
    let method = Method::from_bytes(fetch.method.as_bytes());
    let method = method.ok().filter(|method| *method != Method::CONNECT);
    let method = method.ok_or_else(|| format!("it fetches with the method {:?}", fetch.method))?;
    let authority =
        if fetch.authority.is_empty() { own.clone() } else { authority(&fetch.authority)? };
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

/// An upstream that the configuration does not let a plugin reach.
pub fn not_allowed(upstream: &str) -> String {
    format!("it names the upstream {upstream:?}, which is not among its allow.upstreams")
}

fn name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| format!("{name:?} is no name of a header field"))?;
    if FORBIDDEN.contains(&parsed) {
        return Err(format!("it touches the header field {parsed:?}, which is the proxy's own"));
    }
    Ok(parsed)
}

fn field(field: Header) -> Result<(HeaderName, HeaderValue), String> {
    let name = name(&field.name)?;
    let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(field.value));
    let value = value.map_err(|_| format!("the value of {name:?} has bytes that no field has"))?;
    Ok((name, value))
}

fn status(status: u16) -> Result<StatusCode, String> {
    let code = StatusCode::from_u16(status).ok().filter(|code| (200..600).contains(&code.as_u16()));
    code.ok_or_else(|| format!("{status} is no status of a final response"))
}

fn path(path: &str) -> Result<PathAndQuery, String> {
    // http drops a fragment without a word; it has no place in a request (RFC 9110 §7.1).
    let is_plain = path.starts_with('/') && !path.contains('#');
    let parsed = PathAndQuery::from_str(path).ok().filter(|_| is_plain);
    parsed.ok_or_else(|| format!("{path:?} is no path and query"))
}

fn authority(name: &str) -> Result<Authority, String> {
    let parsed = Authority::from_str(name).ok();
    let parsed =
        parsed.filter(|parsed| !parsed.as_str().contains('@') && !parsed.host().is_empty());
    parsed.ok_or_else(|| format!("{name:?} is no authority"))
}

fn set_path(uri: &mut Uri, path: PathAndQuery) {
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path);
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Fields that frame or route a message, or speak of one connection: only the proxy sets them.
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

/// What a field counts besides its text (RFC 9114 §4.2.2).
const FIELD_OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &[u8]) -> Header {
        Header { name: name.to_owned(), value: value.to_vec() }
    }

    fn request(edits: Vec<Edit>) -> Result<Edits, String> {
        Edits::of_request(edits, |name| (name == "auth").then_some(3))
    }

    #[test]
    fn what_no_client_may_send_no_plugin_may() {
        let wrong = [
            Edit::Set(header("x-a", b"1\r\nx-b: 2")),
            Edit::Set(header("x-a", b"1\n")),
            Edit::Append(header("x-a", b"\0")),
            Edit::Set(header("x a", b"1")),
            Edit::Set(header("x:a", b"1")),
            Edit::Set(header("", b"1")),
            Edit::Set(header(":path", b"/")),
            Edit::Set(header("Content-Length", b"0")),
            Edit::Remove("transfer-encoding".to_owned()),
            Edit::Remove("Host".to_owned()),
            Edit::Append(header("connection", b"close")),
            Edit::Path("no-slash".to_owned()),
            Edit::Path("/a b".to_owned()),
            Edit::Path("/a\r\n".to_owned()),
            Edit::Path("/a#b".to_owned()),
            Edit::Path(String::new()),
            Edit::Authority("a b".to_owned()),
            Edit::Authority("user@host".to_owned()),
            Edit::Authority(String::new()),
            Edit::Upstream("other".to_owned()),
            Edit::Status(200),
        ];
        for edit in wrong {
            assert!(request(vec![edit.clone()]).is_err(), "{edit:?}");
        }
        for status in [0, 99, 100, 199, 600, 1000] {
            assert!(Edits::of_response(vec![Edit::Status(status)]).is_err(), "{status}");
        }
        assert!(Edits::of_response(vec![Edit::Path("/".to_owned())]).is_err());
    }

    #[test]
    fn edits_apply_in_order() {
        let edits = request(vec![
            Edit::Set(header("X-A", b"1")),
            Edit::Append(header("x-a", b"2")),
            Edit::Remove("x-b".to_owned()),
            Edit::Path("/new?q".to_owned()),
            Edit::Authority("other:81".to_owned()),
            Edit::Upstream("auth".to_owned()),
            Edit::Body,
        ]);
        let edits = edits.unwrap();
        assert_eq!(edits.upstream, Some(3));
        assert!(edits.wants_body);
        let request = Request::builder()
            .uri("https://a/old")
            .header("x-b", "9")
            .header("content-length", "5")
            .body(())
            .unwrap();
        let (mut head, ()) = request.into_parts();
        let mut authority = "a".parse().unwrap();
        edits.apply_to_request(&mut head, &mut authority);
        assert_eq!(head.uri, "https://a/new?q");
        assert_eq!(authority, "other:81");
        let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(head.headers.len(), 2, "{:?}", head.headers);
    }

    #[test]
    fn a_header_section_stays_within_the_limits() {
        let limits = ListenerLimits { header_bytes: 200, header_count: 2, ..Default::default() };
        let fields = HeaderMap::new();
        let add = |count: usize, bytes: usize| {
            let edit = |_| Edit::Append(header("x-a", &vec![b'a'; bytes]));
            request((0..count).map(edit).collect()).unwrap().within(&fields, &limits)
        };
        assert!(add(2, 10).is_ok());
        assert!(add(3, 10).is_err());
        assert!(add(1, 200).is_err());
    }

    #[test]
    fn a_reply_of_a_status_without_body_has_none() {
        use http_body::Body as _;
        let told = |status| Reply { status, headers: Vec::new(), body: b"x".to_vec() };
        let limits = ListenerLimits::default();
        assert!(reply(told(304), &limits).unwrap().body().is_end_stream());
        assert!(!reply(told(200), &limits).unwrap().body().is_end_stream());
        assert!(reply(told(101), &limits).is_err());
    }
}
