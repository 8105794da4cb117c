//! W3C Trace Context: `traceparent` and `tracestate`, strictly (<https://www.w3.org/TR/trace-context/>).

use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The context is malformed. Its `tracestate` is ignored too, and neither may be passed on (§4.2,
/// §4.3).
#[derive(Debug)]
pub(crate) struct Malformed;

/// Reads the context of a client, if there is one.
pub(crate) fn extract(headers: &HeaderMap) -> Result<Option<SpanContext>, Malformed> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed);
    }
    let (trace, parent, flags) = parse(value.as_bytes()).ok_or(Malformed)?;
    Ok(Some(SpanContext::new(trace, parent, flags, true, state(headers).unwrap_or_default())))
}

/// Removes a context.
pub(crate) fn remove(headers: &mut HeaderMap) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
}

/// Writes the context of span `id` in the trace of `context`. Replaces the existing one.
pub(crate) fn inject(context: &SpanContext, id: SpanId, headers: &mut HeaderMap) {
    let flags = context.trace_flags().to_u8();
    let value = format!("00-{}-{id}-{flags:02x}", context.trace_id());
    let Ok(value) = HeaderValue::from_str(&value) else { return };
    headers.insert(TRACEPARENT, value);
    headers.remove(TRACESTATE);
    let state = context.trace_state().header();
    if !state.is_empty()
        && let Ok(value) = HeaderValue::from_str(&state)
    {
        headers.insert(TRACESTATE, value);
    }
}

/// Parses `version "-" trace-id "-" parent-id "-" flags`. A version above 00 may append more
/// (§4.3).
fn parse(value: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (version, rest) = field(value, 2)?;
    let version = u8::try_from(hex(version)?).ok()?;
    let (trace, rest) = field(rest.strip_prefix(b"-")?, 32)?;
    let (parent, rest) = field(rest.strip_prefix(b"-")?, 16)?;
    let (flags, rest) = field(rest.strip_prefix(b"-")?, 2)?;
    let has_good_end = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let trace = hex(trace)?;
    let parent = u64::try_from(hex(parent)?).ok()?;
    let flags = u8::try_from(hex(flags)?).ok()?;
    if !has_good_end || trace == 0 || parent == 0 {
        return None;
    }
    let flags = TraceFlags::new(flags & KNOWN_FLAGS);
    Some((TraceId::from(trace), SpanId::from(parent), flags))
}

fn field(value: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    value.split_at_checked(len)
}

/// Parses hexadecimal digits, in lower case only (§2.2).
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Joins and checks all `tracestate` fields. One bad member discards all (§3.3).
fn state(headers: &HeaderMap) -> Option<TraceState> {
    let mut joined = String::new();
    for value in headers.get_all(TRACESTATE) {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(value.to_str().ok()?);
        if joined.len() > STATE_BYTES {
            return None;
        }
    }
    if joined.split(',').filter(|member| !member.trim().is_empty()).count() > STATE_MEMBERS {
        return None;
    }
    // The parser of the crate accepts an empty key.
    TraceState::from_str(&joined).ok().filter(|state| state.get("").is_none())
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The flags `sampled` and `random` (level 2).
const KNOWN_FLAGS: u8 = 0b11;

/// Bytes of `tracestate` that are passed on. The recommendation asks for at least 512.
const STATE_BYTES: usize = 2_048;

/// List members that the recommendation allows (§3.3.1.1).
const STATE_MEMBERS: usize = 32;

#[cfg(test)]
mod tests;
