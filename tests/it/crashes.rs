//! A plugin that crashes on purpose. For every protocol and function, the log has its message, its
//! position and the id of the request. `sdk/testing/tests/languages.rs` tests the crashes of each
//! language.

use http::Request;
use serde_json::Value;

use crate::support::tools::{component, guest};
use crate::support::{Body, Origin, Protocol, Setup, Weir};

const CLOSED: &str = "plugin failed; the request is answered with 503";
const CHOSEN: &str = "plugin failed; another choice was used for this request";
const GONE: &str = "plugin failed; its request gets nothing more from it";

/// Sends a request that breaks a plugin. Returns its access record and the line about the failed
/// plugin.
async fn breaks(weir: &mut Weir, protocol: Protocol, path: &str, failed: &str) -> (Value, Value) {
    let request = Request::post(path).header("x-do", "break").body(Body::repeat(10)).unwrap();
    if let Ok(mut answer) = weir.try_send(protocol, request).await {
        // Some of these tests cut the body short.
        let _ = answer.bytes().await;
    }
    let record = weir.record().await;
    (record, weir.logged(failed).await)
}

fn filtered(origin: &Origin, name: &str, config: &str) -> Setup {
    let source = guest(name);
    let source = source.display();
    Setup::to([origin])
        .top(&format!("plugins: [{{ name: p, source: \"file:{source}\", config: {config} }}]"))
        .routes("  - { filters: [p], upstream: app }")
        .workers(1)
}

#[tokio::test]
async fn a_filter_that_panics_tells_its_message_its_place_and_its_request() {
    let origin = Origin::start().await;
    for protocol in Protocol::ALL {
        let mut weir = filtered(&origin, "ledger", "{}").start().await;
        let client = weir.client(protocol).await;
        let request = Request::get("/").header("x-do", "now").body(Body::empty()).unwrap();
        assert_eq!(client.send(request).await.status, 200, "{protocol:?}");
        let well = weir.record().await;
        let (record, failed) = breaks(&mut weir, protocol, "/", CLOSED).await;
        let id = &record["request_id"];
        assert_ne!(id, &well["request_id"]);
        assert_eq!((&failed["request_id"], &failed["function"]), (id, &"on-request".into()));
        assert_eq!((&failed["plugin"], &failed["kind"]), (&"p".into(), &"trap".into()));
        let error = failed["error"].as_str().unwrap();
        for part in ["panicked at ledger/src/lib.rs:", "broken on purpose"] {
            assert!(error.contains(part), "{protocol:?}: {error}");
        }
        assert_eq!(record["status"], 503);
    }
}

#[tokio::test]
async fn what_a_plugin_logs_carries_the_request() {
    let origin = Origin::start().await;
    for protocol in Protocol::ALL {
        let mut weir = filtered(&origin, "ledger", "{}").start().await;
        let request = Request::get("/").header("x-do", "break").body(Body::empty()).unwrap();
        assert_eq!(weir.try_send(protocol, request).await.unwrap().status, 503);
        let line = weir.said("broken on purpose").await;
        let id = weir.record().await["request_id"].clone();
        assert_eq!((&line["request_id"], &line["plugin"]), (&id, &"p".into()), "{line}");
    }
}

#[tokio::test]
async fn every_function_of_a_filter_that_fails_tells_the_request() {
    let origin = Origin::start().await;
    let acts = [
        ("{ do: trap, in: response }", "on-response"),
        ("{ do: body-trap, in: request }", "on-request-body"),
        ("{ do: body-trap, in: response }", "on-response-body"),
    ];
    for protocol in Protocol::ALL {
        for (config, function) in acts {
            let mut weir = filtered(&origin, "naughty", config).start().await;
            let (record, failed) = breaks(&mut weir, protocol, "/echo", CLOSED).await;
            assert_eq!(failed["request_id"], record["request_id"], "{config} {protocol:?}");
            assert_eq!(failed["function"], function, "{config} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_balancer_that_panics_tells_its_message_its_place_and_its_request() {
    let origin = Origin::start().await;
    let source = guest("turns");
    let plugins = format!("plugins: [{{ name: p, source: \"file:{}\" }}]", source.display());
    for protocol in Protocol::ALL {
        let setup = Setup::to([&origin]).top(&plugins).upstream("balancer: p").workers(1);
        let mut weir = setup.start().await;
        let (record, failed) = breaks(&mut weir, protocol, "/", CHOSEN).await;
        assert_eq!(record["status"], 200, "{protocol:?}");
        assert_eq!(failed["request_id"], record["request_id"], "{protocol:?}");
        let error = failed["error"].as_str().unwrap();
        for part in ["panicked at turns/src/lib.rs:", "broken on purpose"] {
            assert!(error.contains(part), "{protocol:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_plugin_that_goes_into_quarantine_tells_the_request() {
    let origin = Origin::start().await;
    let mut weir = filtered(&origin, "ledger", "{}").start().await;
    let mut last = Value::Null;
    for _ in 0..10 {
        let request = Request::get("/").header("x-do", "break").body(Body::empty()).unwrap();
        assert_eq!(weir.try_send(Protocol::H2, request).await.unwrap().status, 503);
        last = weir.record().await["request_id"].clone();
    }
    assert_eq!(weir.logged("plugin keeps failing: in quarantine").await["request_id"], last);
}

#[tokio::test]
async fn a_standard_component_that_panics_tells_its_message_its_place_and_its_request() {
    let origin = Origin::start().await;
    for (name, keys, place) in [
        ("mischief", "component: p", "mischief/src/lib.rs:"),
        ("middleware", "filters: [p], upstream: app", "middleware/src/lib.rs:"),
    ] {
        for (reuse, protocol) in ["request", "worker", "worker"].into_iter().zip(Protocol::ALL) {
            let source = component(name);
            let source = source.display();
            let plugin = format!("{{ name: p, source: \"file:{source}\", reuse: {reuse} }}");
            let setup = Setup::to([&origin]).top(&format!("plugins: [{plugin}]"));
            let mut weir = setup.routes(&format!("  - {{ {keys} }}")).workers(1).start().await;
            assert_eq!(weir.get(protocol, "/count").await.0, 200, "{name} {protocol:?}");
            let well = weir.record().await;
            let (record, failed) = breaks(&mut weir, protocol, "/panic", GONE).await;
            let id = &record["request_id"];
            assert_ne!(id, &well["request_id"]);
            assert_eq!(&failed["request_id"], id, "{name} {protocol:?}");
            let error = failed["error"].as_str().unwrap();
            for part in [place, "panicked on purpose"] {
                assert!(error.contains(part), "{name} {protocol:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_standard_component_writes_to_standard_error_carries_the_request() {
    let origin = Origin::start().await;
    for (name, keys) in
        [("mischief", "component: p"), ("middleware", "filters: [p], upstream: app")]
    {
        let source = component(name);
        let plugin = format!("{{ name: p, source: \"file:{}\" }}", source.display());
        let setup = Setup::to([&origin]).top(&format!("plugins: [{plugin}]"));
        let mut weir = setup.routes(&format!("  - {{ {keys} }}")).workers(1).start().await;
        assert_eq!(weir.get(Protocol::H3, "/panic").await.0, 503, "{name}");
        let line = weir.said("panicked on purpose").await;
        let id = weir.record().await["request_id"].clone();
        assert_eq!((&line["request_id"], &line["plugin"]), (&id, &"p".into()), "{line}");
    }
}
