//! `Max-Forwards`: the number of further proxies that an OPTIONS or a TRACE may pass (RFC 9110
//! §7.6.2).

use http::header::{CONTENT_LENGTH, MAX_FORWARDS};
use http::request::Parts;
use http::{HeaderValue, Method, Response};

use crate::message::body::Body;
use crate::message::check::CheckError;

/// Decreases the number in a request that is to be forwarded. Returns the answer to a request that
/// may not go further.
///
/// Only digits count. Any other value is passed on, as is the field in other methods. The answer to
/// TRACE is 501: Weir reflects no request, because its fields may be secrets of intermediaries that
/// set them.
///
/// # Errors
/// [`CheckError::Unsupported`] for a TRACE that ends here.
pub(super) fn count_down(head: &mut Parts) -> Result<Option<Response<Body>>, CheckError> {
    if !matches!(head.method, Method::OPTIONS | Method::TRACE) {
        return Ok(None);
    }
    match left(head) {
        None => Ok(None),
        Some(0) if head.method == Method::TRACE => Err(CheckError::Unsupported("TRACE")),
        Some(0) => {
            let mut response = Response::new(Body::empty());
            // RFC 9110 §9.3.7: an answer to OPTIONS without content states that.
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            Ok(Some(response))
        }
        Some(left) => {
            head.headers.insert(MAX_FORWARDS, (left - 1).into());
            Ok(None)
        }
    }
}

fn left(head: &Parts) -> Option<u64> {
    let mut values = head.headers.get_all(MAX_FORWARDS).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for `u64` is larger than any possible chain of proxies.
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::error::ProxyError;

    /// Returns the values of the field that are passed on, or the status of the answer.
    fn counted(method: Method, values: &[&str]) -> Result<Vec<String>, u16> {
        let mut request = http::Request::builder().method(method);
        for value in values {
            request = request.header(MAX_FORWARDS, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        match count_down(&mut head) {
            Ok(Some(response)) => Err(response.status().as_u16()),
            Err(error) => Err(ProxyError::from(error).status().as_u16()),
            Ok(None) => {
                let left = head.headers.get_all(MAX_FORWARDS).iter();
                Ok(left.map(|value| value.to_str().unwrap().to_owned()).collect())
            }
        }
    }

    #[test]
    fn a_request_is_counted_down_to_its_end() {
        assert_eq!(counted(Method::OPTIONS, &["0"]), Err(200));
        assert_eq!(counted(Method::OPTIONS, &["000"]), Err(200));
        assert_eq!(counted(Method::TRACE, &["0"]), Err(501));
        for method in [Method::OPTIONS, Method::TRACE] {
            assert_eq!(counted(method.clone(), &["1"]), Ok(vec!["0".to_owned()]));
            assert_eq!(counted(method.clone(), &["10"]), Ok(vec!["9".to_owned()]));
            let huge = counted(method, &["99999999999999999999999"]).unwrap();
            assert_eq!(huge, [(u64::MAX - 1).to_string()]);
        }
    }

    #[test]
    fn in_other_methods_and_malformed_it_passes() {
        assert_eq!(counted(Method::GET, &["0"]), Ok(vec!["0".to_owned()]));
        for values in [&[][..], &[""], &["-1"], &["1 "], &["0x1"], &["0", "0"]] {
            assert_eq!(counted(Method::OPTIONS, values).unwrap(), values, "{values:?}");
        }
    }
}
