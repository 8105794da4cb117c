use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Returns the context, if there is one that is well-formed.
fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    super::extract(headers).ok().flatten()
}

fn parent(value: &str) -> Option<SpanContext> {
    extract(&headers(&[("traceparent", value)]))
}

#[test]
fn the_example_of_the_recommendation_is_read() {
    let context = parent(GOOD).unwrap();
    assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
    assert!(context.is_sampled());
    assert!(context.is_remote());
}

#[test]
fn malformed_contexts_are_none() {
    for value in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "0A-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert!(parent(value).is_none(), "{value:?}");
    }
    assert!(extract(&HeaderMap::new()).is_none());
    assert!(extract(&headers(&[("traceparent", GOOD), ("traceparent", GOOD)])).is_none());
}

#[test]
fn later_versions_are_read_by_what_is_known_of_them() {
    for value in [
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-what.ever",
    ] {
        let context = parent(value).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.trace_flags().to_u8() & !KNOWN_FLAGS, 0);
    }
}

#[test]
fn every_truncation_and_every_bad_byte_is_refused() {
    for len in 0..GOOD.len() {
        assert!(parent(&GOOD[..len]).is_none(), "{len}");
    }
    for at in 0..GOOD.len() {
        for byte in (b' '..=b'~').filter(|byte| !byte.is_ascii_hexdigit() && *byte != b'-') {
            let mut value = GOOD.as_bytes().to_vec();
            value[at] = byte;
            assert!(parse(&value).is_none(), "{}", String::from_utf8_lossy(&value));
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    let seed = 7;
    let mut random = SmallRng::seed_from_u64(seed);
    for round in 0..1_000 {
        let trace = TraceId::from(random.random::<u128>() | 1);
        let span = SpanId::from(random.random::<u64>() | 1);
        let flags = TraceFlags::new(random.random::<u8>() & KNOWN_FLAGS);
        let state = TraceState::from_key_value([("a", "1"), ("b@c", "2")]).unwrap();
        let context = SpanContext::new(trace, SpanId::from(9), flags, false, state.clone());
        let mut fields = headers(&[("traceparent", "old"), ("tracestate", "old=1")]);
        inject(&context, span, &mut fields);
        let read = extract(&fields).unwrap_or_else(|| panic!("round {round} of seed {seed}"));
        assert_eq!(read, SpanContext::new(trace, span, flags, true, state));
    }
}

#[test]
fn random_bytes_never_pass_by_accident() {
    let mut random = SmallRng::seed_from_u64(11);
    for _ in 0..10_000 {
        let len = random.random_range(0..80);
        let value: Vec<u8> = (0..len).map(|_| random.random()).collect();
        assert!(parse(&value).is_none());
    }
}

#[test]
fn state_is_joined_and_passed_on() {
    let fields = headers(&[
        ("traceparent", GOOD),
        ("tracestate", "rojo=00f067aa0ba902b7"),
        ("tracestate", " congo=t61rcWkgMzE , "),
    ]);
    let context = extract(&fields).unwrap();
    assert_eq!(context.trace_state().header(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
}

#[test]
fn bad_state_is_dropped_and_the_parent_stays() {
    let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    let long = format!("a={}", "x".repeat(3_000));
    for state in ["novalue", "=v", "UPPER=v", &many, &long] {
        let context = extract(&headers(&[("traceparent", GOOD), ("tracestate", state)])).unwrap();
        assert_eq!(context.trace_state().header(), "", "{state:.40}");
        let mut fields = headers(&[("tracestate", state)]);
        inject(&context, SpanId::from(1), &mut fields);
        assert!(fields.get("tracestate").is_none());
    }
}
