//! Filters that misbehave on purpose: the client's view, the counters, and no harm to others.

use http::Request;

use crate::support::tools::guest;
use crate::support::{Body, Client, Origin, Protocol, Setup, Weir, until};

/// The client's view of a filter that misbehaves.
enum Seen {
    /// The filter failed: 503 if it is closed on failure, the origin's answer if it is open. This
    /// kind is counted.
    Fails(&'static str),
    /// No error is visible.
    Passes,
}

use Seen::{Fails, Passes};

async fn start(origin: &Origin, config: &str, extra: &str) -> Weir {
    let naughty = guest("naughty");
    let plugin = |name: &str, on_failure: &str| {
        format!(
            "  - {{ name: {name}, source: \"file:{}\", on_failure: {on_failure}, config: {config} {extra} }}\n",
            naughty.display()
        )
    };
    let plugins = ["plugins:\n".to_owned(), plugin("closed", "closed"), plugin("open", "open")];
    Setup::to([origin])
        .top(&plugins.concat())
        .routes(
            "  - { name: closed, match: { path: /closed/* }, filters: [closed], upstream: app }
  - { name: open, match: { path: /open/* }, filters: [open], upstream: app }
  - { name: plain, upstream: app }",
        )
        .workers(1)
        .start()
        .await
}

/// Sends requests on every protocol through a filter that is closed on failure and one that is
/// open.
async fn misbehaves(config: &str, seen: Seen) {
    misbehaves_with(config, "", seen).await;
}

async fn misbehaves_with(config: &str, extra: &str, seen: Seen) {
    let origin = Origin::start().await;
    let weir = start(&origin, config, extra).await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for path in ["/closed/a", "/open/a"] {
            let wanted = match (path, &seen) {
                ("/closed/a", Fails(_)) => 503,
                _ => 200,
            };
            for _ in 0..3 {
                let answer = client.get(path).await;
                assert_eq!(answer.status, wanted, "{config}: {path} over {protocol:?}");
                for field in ["x-a", "x-b", "evil"] {
                    assert!(answer.headers.get(field).is_none(), "{config}: {field}");
                }
            }
        }
        // A request that does not pass the filter is not affected.
        assert_eq!(client.get("/who").await.status, 200, "{config}: {protocol:?}");
    }
    let kind = match seen {
        Fails(kind) => format!("kind=\"{kind}\""),
        Passes => "kind=".to_owned(),
    };
    for plugin in ["plugin=\"closed\"", "plugin=\"open\""] {
        let failures = weir.metric("weir_plugin_failures_total", &[plugin, &kind]).await;
        let wanted = if matches!(seen, Passes) { 0.0 } else { 9.0 };
        assert!((failures - wanted).abs() < f64::EPSILON, "{config}: {failures} {kind}");
    }
    for head in origin.heads() {
        assert!(head.headers.get("evil").is_none(), "{config}");
    }
    assert!(weir.memory() < 300 << 20, "{} MiB", weir.memory() >> 20);
}

#[tokio::test]
async fn a_filter_that_never_ends_is_ended() {
    misbehaves("{ do: spin }", Fails("timeout")).await;
    misbehaves("{ do: spin, in: response }", Fails("timeout")).await;
}

#[tokio::test]
async fn a_filter_that_traps_or_recurses_fails_alone() {
    misbehaves("{ do: trap }", Fails("trap")).await;
    misbehaves("{ do: trap, in: response }", Fails("trap")).await;
    misbehaves("{ do: recurse }", Fails("trap")).await;
}

#[tokio::test]
async fn a_filter_that_takes_all_memory_is_refused_it() {
    misbehaves_with("{ do: allocate }", ", limits: { time: 500ms }", Fails("memory")).await;
}

#[tokio::test]
async fn line_ends_and_nul_reach_nobody() {
    misbehaves(r#"{ do: set, name: x-a, value: "1\r\nevil: 1" }"#, Fails("invalid")).await;
    misbehaves(r#"{ do: set, name: x-a, value: "1\0" }"#, Fails("invalid")).await;
    misbehaves(r#"{ do: set, name: x-a, value: "1\nevil: 1", in: response }"#, Fails("invalid"))
        .await;
    misbehaves(r#"{ do: reply-field, name: x-a, value: "1\r\n\r\nevil" }"#, Fails("invalid")).await;
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    for name in ["x a", "x-a:", "", ":path", "x\\r\\nevil", "é"] {
        let config = format!(r#"{{ do: set, name: "{name}", value: "1" }}"#);
        misbehaves(&config, Fails("invalid")).await;
    }
}

#[tokio::test]
async fn fields_that_frame_a_message_are_the_proxy_s_own() {
    for name in ["content-length", "Transfer-Encoding", "host", "connection", "upgrade", "te"] {
        for (act, side) in [("set", "request"), ("append", "response"), ("remove", "response")] {
            let config = format!("{{ do: {act}, name: {name}, value: '0', in: {side} }}");
            misbehaves(&config, Fails("invalid")).await;
        }
    }
}

#[tokio::test]
async fn targets_that_no_client_may_send_are_refused() {
    for path in ["no-slash", "/a b", "/a\\r\\nevil: 1", "", "/a#b"] {
        misbehaves(&format!(r#"{{ do: path, value: "{path}" }}"#), Fails("invalid")).await;
    }
    for authority in ["a b", "user@host", "a\\r\\nevil: 1", ""] {
        misbehaves(&format!(r#"{{ do: authority, value: "{authority}" }}"#), Fails("invalid"))
            .await;
    }
}

#[tokio::test]
async fn upstreams_that_are_not_allowed_are_not_reached() {
    misbehaves("{ do: upstream, value: app }", Fails("invalid")).await;
    misbehaves("{ do: fetch, value: app }", Fails("invalid")).await;
    misbehaves("{ do: fetch, value: nowhere }", Fails("invalid")).await;
    misbehaves_with("{ do: fetch, value: app }", ", allow: { upstreams: [app] }", Fails("invalid"))
        .await;
}

#[tokio::test]
async fn results_that_are_too_large_are_refused() {
    // On a busy machine, copying this much can take longer than a call may.
    let time = ", limits: { time: 1s }";
    for (config, kind) in [
        ("{ do: many, count: 20000 }", "trap"),
        ("{ do: many, count: 300 }", "invalid"),
        ("{ do: long, count: 10000000 }", "trap"),
        ("{ do: long, count: 100000 }", "invalid"),
        ("{ do: wide, count: 40, in: response }", "invalid"),
        ("{ do: context, count: 100000 }", "invalid"),
        ("{ do: reply-long, count: 10000000 }", "trap"),
        ("{ do: reply-long, count: 300000 }", "invalid"),
    ] {
        misbehaves_with(config, time, Fails(kind)).await;
    }
}

#[tokio::test]
async fn statuses_that_are_none_are_refused() {
    for status in [0, 99, 101, 199, 600, 1000] {
        misbehaves(&format!("{{ do: reply, count: {status} }}"), Fails("invalid")).await;
        misbehaves(&format!("{{ do: status, count: {status}, in: response }}"), Fails("invalid"))
            .await;
    }
}

#[tokio::test]
async fn the_state_is_bounded_and_spaces_are_walls() {
    misbehaves("{ do: key, count: 100000 }", Fails("trap")).await;
    misbehaves("{ do: value, count: 100000 }", Fails("trap")).await;
    misbehaves("{ do: space, value: sessions }", Fails("trap")).await;
    misbehaves_with("{ do: space, value: sessions }", ", allow: { state: [sessions] }", Passes)
        .await;
}

#[tokio::test]
async fn names_of_metrics_are_bounded() {
    let origin = Origin::start().await;
    let weir = start(&origin, "{ do: count, count: 1000 }", "").await;
    assert_eq!(weir.get(Protocol::H3, "/closed/a").await.0, 200);
    let metrics = weir.metrics().await;
    let series = metrics.matches("weir_plugin_custom_total{").count();
    assert_eq!(series, 64, "{metrics}");
}

#[tokio::test]
async fn a_filter_that_grows_is_replaced_and_serves_on() {
    let origin = Origin::start().await;
    let weir = start(&origin, "{ do: grow }", ", limits: { memory: 4MiB }").await;
    let client = weir.client(Protocol::H3).await;
    let mut failed = 0;
    for _ in 0..500 {
        match client.get("/closed/a").await.status.as_u16() {
            200 => {}
            503 => failed += 1,
            other => panic!("{other}"),
        }
    }
    // About one in fifty: each instance has room for that many.
    assert!((5..25).contains(&failed), "{failed} of 500 requests failed");
    assert!(weir.memory() < 300 << 20, "{} MiB", weir.memory() >> 20);
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_left_alone() {
    let origin = Origin::start().await;
    let cases = [
        ("{ do: trap }", "trap"),
        ("{ do: trap, in: response }", "trap"),
        (r#"{ do: set, name: x-a, value: "1\r\n" }"#, "invalid"),
        ("{ do: set, name: connection, value: x, in: response }", "invalid"),
        ("{ do: fetch, value: nowhere }", "invalid"),
    ];
    for (config, kind) in cases {
        let weir = start(&origin, config, "").await;
        let client = weir.client(Protocol::H2).await;
        for _ in 0..200 {
            assert_eq!(client.get("/closed/a").await.status, 503, "{config}");
        }
        let count = async |kind: &str| {
            let labels = ["plugin=\"closed\"", &format!("kind=\"{kind}\"")];
            weir.metric("weir_plugin_failures_total", &labels).await
        };
        let (failed, spared) = (count(kind).await, count("quarantine").await);
        assert!(failed >= 10.0 && spared > 100.0, "{config}: {failed} failed, {spared} spared");
        assert!((failed + spared - 200.0).abs() < f64::EPSILON, "{config}: {failed}, {spared}");
        let labels = ["plugin=\"closed\""];
        let quarantined = weir.metric("weir_plugin_quarantined", &labels).await;
        assert!((quarantined - 1.0).abs() < f64::EPSILON, "{config}");
    }
}

#[tokio::test]
async fn a_plugin_that_works_again_comes_back_by_a_probe() {
    let origin = Origin::start().await;
    for side in ["request", "response"] {
        let weir = start(&origin, &format!("{{ do: flaky, count: 12, in: {side} }}"), "").await;
        let client = weir.client(Protocol::H3).await;
        let labels = ["plugin=\"closed\""];
        for _ in 0..10 {
            assert_eq!(client.get("/closed/a").await.status, 503, "{side}");
        }
        let quarantined = weir.metric("weir_plugin_quarantined", &labels).await;
        assert!((quarantined - 1.0).abs() < f64::EPSILON, "{side}");
        let passes = async || (client.get("/closed/a").await.status == 200).then_some(());
        until("a probe that succeeds", passes).await;
        for _ in 0..20 {
            assert_eq!(client.get("/closed/a").await.status, 200, "{side}");
        }
        let quarantined = weir.metric("weir_plugin_quarantined", &labels).await;
        assert!(quarantined.abs() < f64::EPSILON, "{side}");
    }
}

#[tokio::test]
async fn what_a_plugin_cannot_be_configured_with_stops_the_start() {
    let origin = Origin::start().await;
    let naughty = guest("naughty");
    let cases = [
        ("{ do: configure-trap }", "naughty/src/lib.rs:"),
        ("{ do: configure-trap }", "as configured"),
        ("{ do: configure-spin }", "longer than"),
        ("{ do: configure-refuse }", "it does not please me"),
        ("{ do: configure-input }", "no.such.input"),
        ("{ do: nothing, dow: 1 }", "dow"),
    ];
    for (config, hint) in cases {
        let plugin = format!(
            "plugins: [{{ name: n, source: \"file:{}\", config: {config} }}]",
            naughty.display()
        );
        let setup = Setup::to([&origin]).top(&plugin).routes("  - { filters: [n], upstream: app }");
        let path = setup.write(crate::support::weir::free_address());
        let (code, _, errors) = crate::support::weir::run(&["check", "-c", path.to_str().unwrap()]);
        assert_eq!(code, 78, "{config}: {errors}");
        assert!(errors.contains(hint), "{config}: {errors}");
    }
}

#[tokio::test]
async fn a_filter_that_fails_on_a_body_cuts_it_short_and_nobody_else_notices() {
    let origin = Origin::start().await;
    // Filling 10 MiB may run out of time before it is too much.
    let acts = [
        ("do: body-trap", "kind=\"trap\"", 1.0),
        ("do: body-spin", "kind=\"timeout\"", 1.0),
        ("do: body-huge", "kind=", 1.0),
        ("do: body-long, count: 600000", "kind=\"invalid\"", 1.0),
        ("do: body-stop", "kind=", 0.0),
    ];
    for (act, kind, wanted) in acts {
        for side in ["request", "response"] {
            let config = format!("{{ {act}, in: {side} }}");
            // On a busy machine, copying a piece that is too large takes time.
            let time = if act == "do: body-spin" { "" } else { ", limits: { time: 500ms }" };
            let weir = start(&origin, &config, time).await;
            let failures = async || {
                weir.metric("weir_plugin_failures_total", &["plugin=\"closed\"", kind]).await
            };
            for protocol in Protocol::ALL {
                let before = failures().await;
                let outcome = upload(&weir.client(protocol).await).await;
                // A response has begun by then; a request may be answered.
                let refused = if act == "do: body-stop" { 403 } else { 503 };
                let good = [Err(0), Err(refused)];
                let good = if side == "request" { &good[..] } else { &good[..1] };
                assert!(good.contains(&outcome), "{config} over {protocol:?}: {outcome:?}");
                let failed = failures().await - before;
                assert!((failed - wanted).abs() < f64::EPSILON, "{config} {protocol:?}: {failed}");
                let client = weir.client(protocol).await;
                assert_eq!(client.get("/who").await.status, 200, "{config} over {protocol:?}");
            }
            assert!(weir.memory() < 300 << 20, "{config}: {} MiB", weir.memory() >> 20);
        }
    }
}

/// Sends 1 MiB and reads it back. Returns the bytes received, or the status of a refusal.
async fn upload(client: &Client) -> Result<u64, u16> {
    let request = Request::post("/closed/echo").body(Body::repeat(1 << 20)).unwrap();
    match client.try_send(request).await {
        Ok(mut answer) if answer.status == 200 => answer.count().await.map_err(|_| 0),
        Ok(answer) => Err(answer.status.as_u16()),
        Err(_) => Err(0),
    }
}
