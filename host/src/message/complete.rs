//! The last step of each response, the same for all protocols.
//!
//! hyper does this for HTTP/1.1, but h2 does not for HTTP/2, and HTTP/3 has no such layer. One
//! place keeps the responses of all three alike.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use weir_h3::message::OF_CONNECTIONS;

use super::body::Body;
use crate::status::ends_with_head;

/// Makes a final response conform to RFC 9110.
///
/// The response gets a Date (§6.6.1) and the length of a fully known body. It has no content and no
/// length if its status forbids them (§8.6, §15.3.5, §15.4.5). A status below 200 is not final and
/// becomes 500.
pub(crate) fn complete(response: &mut Response<Body>) {
    if response.status().is_informational() {
        tracing::warn!(status = response.status().as_u16(), "a final response cannot be interim");
        *response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    date(response.headers_mut());
    match response.status() {
        status if ends_with_head(status) => {
            *response.body_mut() = Body::empty();
            // 304 keeps the length that a GET would have had.
            if status == StatusCode::NO_CONTENT {
                response.headers_mut().remove(CONTENT_LENGTH);
                response.headers_mut().remove(TRANSFER_ENCODING);
            }
        }
        _ => {
            let length = response.body().size_hint().exact().filter(|length| *length > 0);
            if let Some(length) = length {
                response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
            }
        }
    }
}

/// Removes the fields that HTTP/2 and HTTP/3 forbid in responses (RFC 9113 §8.2.2, RFC 9114 §4.2).
pub(crate) fn strip(fields: &mut HeaderMap) {
    for name in OF_CONNECTIONS.iter().chain([&TE]) {
        fields.remove(name);
    }
}

/// Adds the current time to a response without a Date.
pub(crate) fn date(fields: &mut HeaderMap) {
    fields.entry(DATE).or_insert_with(now);
}

/// Returns the current time as a field value. Each thread formats it at most once per second.
fn now() -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(of, value)| {
        if *of != second {
            *of = second;
            *value = text(second);
        }
        value.clone()
    })
}

fn text(second: u64) -> HeaderValue {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(EPOCH))
}

const EPOCH: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: Body,
    ) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        complete(&mut response);
        response
    }

    #[test]
    fn a_date_is_added_where_there_is_none() {
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(0), EPOCH);
        let dated = completed(200, &[("date", "x")], Body::empty());
        assert_eq!(dated.headers()["date"], "x");
        let date = completed(200, &[], Body::empty()).headers()["date"].clone();
        let age = SystemTime::now()
            .duration_since(httpdate::parse_http_date(date.to_str().unwrap()).unwrap());
        assert!(age.unwrap() < Duration::from_secs(5));
    }

    #[test]
    fn a_status_without_content_has_neither_content_nor_its_length() {
        let fields = [("content-length", "5"), ("transfer-encoding", "chunked")];
        let none = completed(204, &fields, Body::full("hello"));
        assert!(none.body().is_end_stream());
        assert!(none.headers().keys().all(|name| name == DATE), "{none:?}");
        let unchanged = completed(304, &fields[..1], Body::full("hello"));
        assert!(unchanged.body().is_end_stream());
        // A GET would have had this length (RFC 9110 §8.6).
        assert_eq!(unchanged.headers()[CONTENT_LENGTH], "5");
    }

    #[test]
    fn a_whole_body_says_its_length() {
        assert_eq!(completed(200, &[], Body::full("hello")).headers()[CONTENT_LENGTH], "5");
        let empty = completed(200, &[], Body::empty());
        assert!(!empty.headers().contains_key(CONTENT_LENGTH));
        let of_head = completed(200, &[("content-length", "7")], Body::empty());
        assert_eq!(of_head.headers()[CONTENT_LENGTH], "7");
    }

    #[test]
    fn an_interim_status_is_no_answer() {
        assert_eq!(completed(103, &[("link", "x")], Body::full("x")).status(), 500);
    }
}
