//! When a request may be sent again: the only answers to that question.

use http::Method;
use http::request::Parts;
use http_body::Body as _;

use super::error::{Cause, Reached, SendError};
use crate::message::body::Body;

/// Whether another endpoint may be tried after `attempts` of them failed: only if this one could
/// not be connected to, so that it never saw the request.
pub(super) fn may_go_elsewhere(error: &SendError, attempts: u32) -> bool {
    let is_of_endpoint =
        matches!(&error.cause, Cause::Connect { source, .. } if source.is_of_endpoint());
    attempts < MAX_ATTEMPTS && error.reached() == Reached::Never && is_of_endpoint
}

/// Whether a request may go over a fresh connection after an idle one turned out closed. The origin
/// may have seen it, so it must be idempotent (RFC 9110 §9.2.2), and its body must be there again:
/// only an empty one is.
pub(super) fn is_repeatable(head: &Parts, body: &Body) -> bool {
    body.is_end_stream() && is_idempotent(&head.method)
}

/// Whether sending it twice does no more than once (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// Endpoints that one request may try: each that refuses a connection costs one.
const MAX_ATTEMPTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::pool::ConnectError;

    fn refused(source: ConnectError) -> SendError {
        Cause::Connect { endpoint: "a:1".into(), source }.into()
    }

    #[test]
    fn only_an_endpoint_that_saw_nothing_is_passed_over() {
        let io = || ConnectError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(may_go_elsewhere(&refused(io()), 1));
        assert!(may_go_elsewhere(&refused(io()), MAX_ATTEMPTS - 1));
        assert!(!may_go_elsewhere(&refused(io()), MAX_ATTEMPTS));
        for cause in [
            Cause::Connect { endpoint: "a:1".into(), source: ConnectError::Saturated(1) },
            Cause::Connect { endpoint: "a:1".into(), source: ConnectError::Share(1) },
            Cause::NoEndpoint("u".into()),
            Cause::FirstByteTimeout,
            Cause::Closed("closed".into()),
            Cause::Broken("broken".into()),
        ] {
            let error = SendError::from(cause);
            assert!(!may_go_elsewhere(&error, 1), "{error:?}");
        }
    }

    #[test]
    fn a_request_is_repeatable_if_it_is_idempotent_and_has_no_body() {
        let head =
            |method: &str| http::Request::builder().method(method).body(()).unwrap().into_parts().0;
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            assert!(is_repeatable(&head(method), &Body::empty()), "{method}");
            assert!(!is_repeatable(&head(method), &Body::full("x")), "{method}");
        }
        for method in ["POST", "PATCH", "BREW"] {
            assert!(!is_repeatable(&head(method), &Body::empty()), "{method}");
        }
    }
}
