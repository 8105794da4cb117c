//! The inputs from a request or a response that plugins may request, by name.

use std::rc::Rc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::subject::Subject;

/// A request as plugins see it.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    /// The head.
    pub head: &'a Parts,
    /// The authority that the request is for.
    pub authority: &'a str,
    /// The facts of the request that do not change.
    pub subject: &'a Subject<'a>,
}

/// One input of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Input {
    Path,
    Method,
    Authority,
    Scheme,
    ClientAddress,
    ClientCountry,
    ClientAsn,
    RequestId,
    RouteName,
    Header(HeaderName),
    Cookie(String),
    /// A named part of the path.
    Capture(String),
    Headers,
}

impl Input {
    fn parse(name: &str) -> Result<Self, String> {
        let unknown = || format!("it requests the input {name:?}, which does not exist");
        Ok(match name {
            ":path" => Self::Path,
            ":method" => Self::Method,
            ":authority" => Self::Authority,
            ":scheme" => Self::Scheme,
            "client.address" => Self::ClientAddress,
            "client.country" => Self::ClientCountry,
            "client.asn" => Self::ClientAsn,
            "request.id" => Self::RequestId,
            "route.name" => Self::RouteName,
            "headers" => Self::Headers,
            _ => match name.split_once(':') {
                Some(("header", field)) => Self::Header(field.parse().map_err(|_| unknown())?),
                Some(("cookie", cookie)) if !cookie.is_empty() => Self::Cookie(cookie.to_owned()),
                Some(("path", part)) if !part.is_empty() => Self::Capture(part.to_owned()),
                _ => return Err(unknown()),
            },
        })
    }

    /// Returns whether the input may be stored and can occur again. No two requests have the same
    /// id, and credentials belong to one client.
    fn may_be_kept(&self) -> bool {
        match self {
            Self::RequestId | Self::Cookie(_) | Self::Headers => false,
            Self::Header(name) => !CREDENTIALS.contains(name),
            _ => true,
        }
    }

    fn read<'a>(&self, request: &RequestView<'a>, lines: &'a [u8]) -> Option<&'a [u8]> {
        let RequestView { head, authority, subject } = *request;
        match self {
            Self::Path => Some(head.uri.path_and_query().map_or("/", |p| p.as_str()).as_bytes()),
            Self::Method => Some(head.method.as_str().as_bytes()),
            Self::Authority => Some(authority.as_bytes()),
            Self::Scheme => Some(subject.scheme().as_bytes()),
            Self::ClientAddress => Some(subject.client().as_bytes()),
            Self::ClientCountry => subject.country().map(str::as_bytes),
            Self::ClientAsn => subject.asn().map(str::as_bytes),
            Self::RequestId => Some(subject.id_text().as_bytes()),
            Self::RouteName => Some(subject.route.as_bytes()),
            Self::Header(name) => head.headers.get(name).map(HeaderValue::as_bytes),
            Self::Cookie(name) => cookie(&head.headers, name.as_bytes()),
            Self::Capture(name) => subject.capture(name).map(str::as_bytes),
            Self::Headers => Some(lines),
        }
    }
}

/// Request fields with credentials (RFC 9110 §11.6.2 and §11.7.2, RFC 6265).
const CREDENTIALS: [HeaderName; 3] =
    [http::header::AUTHORIZATION, http::header::PROXY_AUTHORIZATION, http::header::COOKIE];

/// The inputs from a request that a plugin requests, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    inputs: Vec<Input>,
    has_lines: bool,
}

impl Inputs {
    /// Parses the names.
    ///
    /// # Errors
    ///
    /// Names the input that does not exist.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        let inputs = names.iter().map(|name| Input::parse(name)).collect::<Result<Vec<_>, _>>()?;
        let has_lines = inputs.contains(&Input::Headers);
        Ok(Self { inputs, has_lines })
    }

    /// Returns whether decisions by these inputs may be stored.
    pub fn may_be_kept(&self) -> bool {
        self.inputs.iter().all(Input::may_be_kept)
    }

    /// Calls `use_them` with the values from a request, borrowed from it.
    pub fn with<T>(
        &self,
        request: &RequestView<'_>,
        use_them: impl FnOnce(&[Option<&[u8]>]) -> T,
    ) -> T {
        let lines = if self.has_lines { lines(&request.head.headers) } else { Vec::new() };
        let read = |input: &Input| input.read(request, &lines);
        // Nearly every plugin requests only a few inputs, which then need no allocation.
        if let [first] = &self.inputs[..] {
            return use_them(&[read(first)]);
        }
        if let [first, second] = &self.inputs[..] {
            return use_them(&[read(first), read(second)]);
        }
        let values: Vec<_> = self.inputs.iter().map(read).collect();
        use_them(&values)
    }
}

/// The inputs from a response that a filter requests. Some are from the response, the others from
/// its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseInputs {
    inputs: Vec<ResponseInput>,
    /// The inputs to keep from the request.
    kept: Vec<Input>,
}

/// One input of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ResponseInput {
    Header(HeaderName),
    Headers,
    /// Index among the kept inputs.
    Kept(usize),
}

/// The inputs that were kept from a request for its response.
#[derive(Debug, Clone, Default)]
pub struct SavedInputs(Vec<Option<Rc<[u8]>>>);

impl ResponseInputs {
    /// Parses the names.
    ///
    /// # Errors
    ///
    /// Names the input that does not exist.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        let mut all = Self::default();
        for name in names {
            let unknown = || format!("it requests the input {name:?}, which does not exist");
            let input = match name.split_once(':') {
                Some(("header", field)) => {
                    ResponseInput::Header(field.parse().map_err(|_| unknown())?)
                }
                _ if name == "headers" => ResponseInput::Headers,
                _ => {
                    let of_request = name.strip_prefix("request-").unwrap_or(name);
                    let input = Input::parse(of_request).map_err(|_| unknown())?;
                    // An input that is requested twice is kept once: all header fields may take 64
                    // KiB.
                    let known = all.kept.iter().position(|kept| *kept == input);
                    ResponseInput::Kept(known.unwrap_or_else(|| {
                        all.kept.push(input);
                        all.kept.len() - 1
                    }))
                }
            };
            all.inputs.push(input);
        }
        Ok(all)
    }

    /// Returns whether decisions by these inputs may be stored.
    pub fn may_be_kept(&self) -> bool {
        let of_response = |input: &ResponseInput| match input {
            ResponseInput::Header(name) => *name != http::header::SET_COOKIE,
            ResponseInput::Headers => false,
            ResponseInput::Kept(_) => true,
        };
        self.inputs.iter().all(of_response) && self.kept.iter().all(Input::may_be_kept)
    }

    /// Keeps the required inputs of the request.
    pub fn keep(&self, request: &RequestView<'_>) -> SavedInputs {
        if self.kept.is_empty() {
            return SavedInputs::default();
        }
        let has_lines = self.kept.contains(&Input::Headers);
        let lines = if has_lines { lines(&request.head.headers) } else { Vec::new() };
        let read = |input: &Input| input.read(request, &lines).map(Rc::from);
        SavedInputs(self.kept.iter().map(read).collect())
    }

    /// Calls `use_them` with the values for a response.
    pub fn with<T>(
        &self,
        fields: &HeaderMap,
        kept: &SavedInputs,
        use_them: impl FnOnce(&[Option<&[u8]>]) -> T,
    ) -> T {
        let has_lines = self.inputs.contains(&ResponseInput::Headers);
        let lines = if has_lines { lines(fields) } else { Vec::new() };
        let values: Vec<Option<&[u8]>> = self
            .inputs
            .iter()
            .map(|input| match input {
                ResponseInput::Header(name) => fields.get(name).map(HeaderValue::as_bytes),
                ResponseInput::Headers => Some(&lines[..]),
                ResponseInput::Kept(index) => kept.0.get(*index)?.as_deref(),
            })
            .collect();
        use_them(&values)
    }
}

/// Returns all fields, one `name: value` per line. No value contains a line end.
fn lines(fields: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::with_capacity(fields.len() * 40);
    for (name, value) in fields {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// Returns the value of a cookie (RFC 6265 §4.2.1), from any of the Cookie fields.
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|b| *b == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenerId;
    use crate::geoip::GeoIp;
    use crate::message::peer::RequestId;
    use crate::message::peer::{Peer, Protocol};
    use crate::message::subject::Captures;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn peer() -> Peer {
        Peer {
            client: "[::ffff:192.0.2.7]:999".parse().unwrap(),
            local: "127.0.0.1:8443".parse().unwrap(),
            protocol: Protocol::H3,
            version: http::Version::HTTP_3,
            tls: true,
            listener: ListenerId::new(0),
            via: None,
        }
    }

    #[test]
    fn a_cookie_is_found_in_any_field_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "sid2=x; other=1".parse().unwrap());
        headers.append("cookie", "sid=abc=d".parse().unwrap());
        assert_eq!(cookie(&headers, b"sid"), Some(&b"abc=d"[..]));
        assert_eq!(cookie(&headers, b"si"), None);
    }

    #[test]
    fn an_input_is_known_by_its_name_or_refused() {
        assert_eq!(Input::parse("header:X-User"), Ok(Input::Header("x-user".parse().unwrap())));
        assert_eq!(Input::parse("cookie:sid"), Ok(Input::Cookie("sid".into())));
        for name in ["header:", "header:a b", "cookie:", "path", "path:", "", "request-header:x"] {
            assert!(Input::parse(name).is_err(), "{name}");
        }
        for name in ["request-header:", "request-x", "nothing"] {
            assert!(ResponseInputs::parse(&names(&[name])).is_err(), "{name}");
        }
    }

    #[test]
    fn values_come_in_the_order_of_their_names() {
        let asked = [
            ":path",
            "client.address",
            "header:x-a",
            "headers",
            ":scheme",
            "route.name",
            "path:id",
            "path:other",
        ];
        let inputs = Inputs::parse(&names(&asked)).unwrap();
        let request = http::Request::builder().uri("/a?b").header("x-b", "2").body(()).unwrap();
        let (head, ()) = request.into_parts();
        let peer = peer();
        let geoip = GeoIp::default();
        let mut captures = Captures::default();
        captures.push("id", "5");
        let subject = Subject::new(&peer, RequestId(7), "shop", &geoip).captured(captures);
        inputs.with(&RequestView { head: &head, authority: "host", subject: &subject }, |values| {
            let values: Vec<_> = values.iter().map(|v| v.map(String::from_utf8_lossy)).collect();
            let wanted = [
                Some("/a?b"),
                Some("192.0.2.7"),
                None,
                Some("x-b: 2\n"),
                Some("https"),
                Some("shop"),
                Some("5"),
                None,
            ];
            assert_eq!(values, wanted.map(|value| value.map(Into::into)));
        });
    }

    #[test]
    fn a_response_has_its_own_fields_and_those_of_its_request() {
        let asked = ["header:server", ":path", "request-header:x-b"];
        let inputs = ResponseInputs::parse(&names(&asked)).unwrap();
        let request = http::Request::builder().uri("/a").header("x-b", "2").body(()).unwrap();
        let (head, ()) = request.into_parts();
        let peer = peer();
        let geoip = GeoIp::default();
        let subject = &Subject::new(&peer, RequestId(7), "shop", &geoip);
        let kept = inputs.keep(&RequestView { head: &head, authority: "host", subject });
        let mut fields = HeaderMap::new();
        fields.insert("server", "origin".parse().unwrap());
        inputs.with(&fields, &kept, |values| {
            assert_eq!(values, [Some(&b"origin"[..]), Some(b"/a"), Some(b"2")]);
        });
    }

    #[test]
    fn what_is_asked_for_many_times_is_kept_once() {
        let asked = [vec!["request-headers"; 63], vec![":path"]].concat();
        let inputs = ResponseInputs::parse(&names(&asked)).unwrap();
        let request = http::Request::builder().uri("/a").header("x-b", "2").body(()).unwrap();
        let (head, ()) = request.into_parts();
        let peer = peer();
        let geoip = GeoIp::default();
        let subject = &Subject::new(&peer, RequestId(7), "shop", &geoip);
        let kept = inputs.keep(&RequestView { head: &head, authority: "host", subject });
        assert_eq!(kept.0.len(), 2);
        inputs.with(&HeaderMap::new(), &kept, |values| {
            assert_eq!(values.len(), 64);
            assert_eq!((values[0], values[62]), (values[1], Some(&b"x-b: 2\n"[..])));
            assert_eq!(values[63], Some(&b"/a"[..]));
        });
    }
}
