//! The assembly of a response from a decoded section (RFC 9114 §4.3.2).

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::{NO_LENGTH, OF_A_CONNECTION, number};
use crate::qpack::{Malformed, Pseudo, Sink, Text};

/// Assembles a response from the fields of its section as they are decoded.
#[derive(Debug)]
pub(crate) struct ResponseSection<'a> {
    response: &'a mut Response<()>,
    has_status: bool,
    length: Option<u64>,
}

impl Sink for ResponseSection<'_> {
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        if !self.response.headers().is_empty() {
            return Err(Malformed::Refused("a pseudo-header field after other fields"));
        }
        if name != Pseudo::Status {
            return Err(Malformed::Refused("a pseudo-header field of a request in a response"));
        }
        if std::mem::replace(&mut self.has_status, true) {
            return Err(Malformed::Refused("a pseudo-header field twice"));
        }
        let status = parse_status(&value).ok_or(Malformed::Refused(NO_STATUS))?;
        *self.response.status_mut() = status;
        Ok(())
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                return Err(Malformed::Refused(OF_A_CONNECTION));
            }
            "content-length" => {
                let length = number(&value).map_err(Malformed::Refused)?;
                if self.length.replace(length).is_some() {
                    return Err(Malformed::Refused(NO_LENGTH));
                }
            }
            _ => {}
        }
        self.response.headers_mut().field(name, value)
    }
}

impl<'a> ResponseSection<'a> {
    /// Starts the fields of `response`, which must be new.
    pub(crate) fn new(response: &'a mut Response<()>) -> Self {
        *response.version_mut() = Version::HTTP_3;
        Self { response, has_status: false, length: None }
    }

    /// Completes the response to a request of this method. Returns the length of its content, if it
    /// is known.
    ///
    /// # Errors
    /// The reason why it is malformed (RFC 9114 §4.1.2).
    pub(crate) fn finish(self, method: &Method) -> Result<Option<u64>, &'static str> {
        let Self { response, has_status, length } = self;
        if !has_status {
            return Err("no :status");
        }
        let status = response.status();
        // RFC 9114 §4.5: HTTP/3 has no upgrade of a connection.
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err("status 101 has no meaning in HTTP/3");
        }
        let is_empty = method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        // Content-Length then tells of another response (RFC 9110 §8.6).
        Ok(if is_empty { Some(0) } else { length })
    }
}

/// Reads a status of three digits (RFC 9110 §15).
fn parse_status(value: &[u8]) -> Option<StatusCode> {
    let status = StatusCode::from_bytes(value).ok()?;
    // `StatusCode` accepts codes up to 999.
    (status.as_u16() < 600).then_some(status)
}

const NO_STATUS: &str = ":status is none";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// Assembles the response to a GET from its fields.
    fn read(fields: &[(&str, &'static str)]) -> Result<(Response<()>, Option<u64>), String> {
        read_of(&Method::GET, fields)
    }

    fn read_of(
        method: &Method,
        fields: &[(&str, &'static str)],
    ) -> Result<(Response<()>, Option<u64>), String> {
        let mut response = Response::new(());
        let mut section = ResponseSection::new(&mut response);
        for (name, value) in fields {
            let taken = match *name {
                ":status" => {
                    section.pseudo(Pseudo::Status, Bytes::from_static(value.as_bytes()).into())
                }
                ":path" => {
                    section.pseudo(Pseudo::Path, Bytes::from_static(value.as_bytes()).into())
                }
                name => section.field(name.parse().unwrap(), HeaderValue::from_static(value)),
            };
            taken.map_err(|malformed| format!("{malformed:?}"))?;
        }
        let length = section.finish(method).map_err(str::to_owned)?;
        Ok((response, length))
    }

    #[test]
    fn a_response_has_one_status_and_its_fields() {
        let (response, length) =
            read(&[(":status", "206"), ("a", "b"), ("content-length", "7")]).unwrap();
        assert_eq!((response.status().as_u16(), length), (206, Some(7)));
        assert_eq!((response.version(), response.headers().len()), (Version::HTTP_3, 2));
    }

    #[test]
    fn malformed_responses_are_refused() {
        for fields in [
            &[][..],
            &[("a", "b")],
            &[("a", "b"), (":status", "200")],
            &[(":status", "200"), (":status", "200")],
            &[(":status", "200"), (":path", "/")],
            &[(":status", "101")],
            &[(":status", "20")],
            &[(":status", "2000")],
            &[(":status", "099")],
            &[(":status", "600")],
            &[(":status", "+20")],
            &[(":status", "200"), ("connection", "close")],
            &[(":status", "200"), ("transfer-encoding", "chunked")],
            &[(":status", "200"), ("upgrade", "h2c")],
            &[(":status", "200"), ("content-length", "1"), ("content-length", "1")],
            &[(":status", "200"), ("content-length", "-1")],
            &[(":status", "200"), ("content-length", "1, 1")],
        ] {
            assert!(read(fields).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn some_responses_have_no_content_whatever_their_length_says() {
        let of = |method, status| {
            read_of(&method, &[(":status", status), ("content-length", "9")]).unwrap().1
        };
        assert_eq!(of(Method::HEAD, "200"), Some(0));
        assert_eq!(of(Method::GET, "204"), Some(0));
        assert_eq!(of(Method::GET, "304"), Some(0));
        assert_eq!(of(Method::GET, "200"), Some(9));
    }
}
