//! gRPC over HTTP: which requests are calls, their deadlines, and their status.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

/// The status of a call, from 0 to 16, or a code that gRPC does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// The call's time is over.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// The caller has given the call up.
    pub const CANCELLED: Self = Self(1);
    const UNKNOWN: Self = Self(2);
    const RESOURCE_EXHAUSTED: Self = Self(8);
    const UNIMPLEMENTED: Self = Self(12);
    const INTERNAL: Self = Self(13);
    const UNAVAILABLE: Self = Self(14);
    const UNAUTHENTICATED: Self = Self(16);
    const PERMISSION_DENIED: Self = Self(7);

    /// Returns the status in the fields of a response: its trailers, or its head if it has no
    /// trailers. A code that gRPC does not define counts as unknown.
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let code = fields.get(GRPC_STATUS)?.to_str().ok()?.parse().ok();
        Some(code.filter(|code| *code <= MOST).map_or(Self::UNKNOWN, Self))
    }

    /// Returns the status for a response without one, as clients derive it from the status of HTTP.
    pub fn from_http(status: StatusCode) -> Self {
        match status.as_u16() {
            400 | 500 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 | 501 => Self::UNIMPLEMENTED,
            408 | 429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            413 | 431 => Self::RESOURCE_EXHAUSTED,
            _ => Self::UNKNOWN,
        }
    }

    /// Returns the number.
    pub fn code(self) -> u8 {
        self.0
    }

    /// Returns the value of `grpc-status`.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from(u16::from(self.0))
    }
}

/// The largest code that gRPC defines.
pub const MOST: u8 = 16;

/// Returns whether a request is a call of gRPC. Calls are always POST.
pub fn is_call(method: &Method, fields: &HeaderMap) -> bool {
    if method != Method::POST {
        return false;
    }
    let kind = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let after = kind.get(MEDIA_TYPE.len());
    kind.get(..MEDIA_TYPE.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(MEDIA_TYPE))
        && matches!(after, None | Some(b'+' | b';' | b' '))
}

/// Returns the time that a call may take: at most eight digits and a unit.
pub fn timeout(fields: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = fields.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The status of a call.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The reason for a status, for people.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const MEDIA_TYPE: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn calls_are_told_by_method_and_media_type() {
        for (method, kind, expected) in [
            (Method::POST, "application/grpc", true),
            (Method::POST, "application/grpc+proto", true),
            (Method::POST, "Application/gRPC; charset=utf-8", true),
            (Method::POST, "application/grpc-web", false),
            (Method::POST, "application/json", false),
            (Method::GET, "application/grpc", false),
        ] {
            assert_eq!(is_call(&method, &fields("content-type", kind)), expected, "{kind}");
        }
        assert!(!is_call(&Method::POST, &HeaderMap::new()));
    }

    #[test]
    fn timeouts_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("30S", Some(Duration::from_secs(30))),
            ("500m", Some(Duration::from_millis(500))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789n", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("1s", None),
            ("", None),
        ] {
            assert_eq!(timeout(&fields("grpc-timeout", text)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_status_is_read_or_unknown() {
        assert_eq!(GrpcStatus::of(&fields("grpc-status", "14")), Some(GrpcStatus::UNAVAILABLE));
        assert_eq!(GrpcStatus::of(&fields("grpc-status", "17")), Some(GrpcStatus::UNKNOWN));
        assert_eq!(GrpcStatus::of(&fields("grpc-status", "no")), Some(GrpcStatus::UNKNOWN));
        assert_eq!(GrpcStatus::of(&HeaderMap::new()), None);
        assert_eq!(GrpcStatus::from_http(StatusCode::BAD_GATEWAY), GrpcStatus::UNAVAILABLE);
        assert_eq!(GrpcStatus::UNAVAILABLE.value(), "14");
    }
}
