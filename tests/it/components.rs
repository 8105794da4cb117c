//! Standard components, `wasi:http` of 0.2 and 0.3, that answer a route. Two of them are examples
//! in published crates, built from there: `http_server` of wstd and `http-proxy` of wasip3.
//! `mischief` acts by its path as a test wants.

use std::time::{Duration, Instant};

use http::{HeaderMap, Request};

use crate::support::tools::component;
use crate::support::{Answer, Body, Client, Origin, Protocol, Setup, Weir, until};

/// A Weir that answers every route by the component of this name, with these keys of its plugin.
fn served(origin: &Origin, name: &str, keys: &str) -> Setup {
    let source = component(name).display().to_string();
    Setup::to([origin])
        .top(&format!("plugins: [{{ name: c, source: \"file:{source}\" {keys} }}]"))
        .routes("  - { name: all, component: c }")
}

async fn start(name: &str, keys: &str) -> (Origin, Weir) {
    let origin = Origin::start().await;
    let weir = served(&origin, name, keys).start().await;
    (origin, weir)
}

async fn post(client: &Client, path: &str, body: Body) -> Answer {
    client.send(Request::post(path).body(body).unwrap()).await
}

#[tokio::test]
async fn a_service_of_wasi_0_3_answers_on_every_protocol() {
    let (_origin, mut weir) = start("wasip3-service", "").await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/").await, (200, "Hello, WASI!".to_owned()));
        let record = weir.record().await;
        assert_eq!((&record["upstream"], &record["status"]), (&"c".into(), &200.into()));
    }
    let metric = weir.metric("weir_plugin_calls_total", &["plugin=\"c\"", "function=\"handle\""]);
    assert_eq!(metric.await, 3.0);
    weir.until_metric("weir_plugin_instances", &["plugin=\"c\""], |left| left == 0.0).await;
}

#[tokio::test]
async fn a_proxy_of_wasi_0_2_answers_on_every_protocol() {
    let (_origin, weir) = start("wstd-server", "").await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert_eq!(answer.text().await, "Hello, wasi:http/proxy world!\n");
        let answer = post(&client, "/echo", Body::repeat(300_000)).await;
        assert_eq!(answer.text().await.len(), 300_000, "{protocol:?}");
        let answer = client.get("/echo-headers").await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert!(answer.headers.contains_key("via"));
        assert_eq!(client.get("/nothing").await.status, 404, "{protocol:?}");
        let mut answer = client.get("/wait-body").await;
        assert_eq!(answer.status, 200);
        assert!(answer.bytes().await.unwrap().starts_with(b"slept for"), "{protocol:?}");
    }
}

#[tokio::test]
async fn trailers_pass_a_component_both_ways() {
    let (_origin, weir) = start("wstd-server", "").await;
    for protocol in [Protocol::H2, Protocol::H3] {
        let client = weir.client(protocol).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        let mut answer =
            post(&client, "/echo-trailers", Body::repeat(10).with_trailers(trailers)).await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        answer.bytes().await.unwrap();
        assert_eq!(answer.trailers()["x-sum"], "7", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_component_sees_the_url_as_the_client_asked() {
    let (origin, weir) = start("mischief", "").await;
    for protocol in Protocol::ALL {
        let (status, url) = weir.get(protocol, "/url?a=b&c").await;
        assert_eq!(status, 200, "{protocol:?}");
        assert!(url.ends_with("/url?a=b&c") && url.contains("localhost"), "{url}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn each_request_has_an_instance_of_its_own_unless_they_are_kept() {
    let (_origin, weir) = start("mischief", "").await;
    let client = weir.client(Protocol::H2).await;
    for _ in 0..3 {
        assert_eq!(client.get("/count").await.text().await, "1");
    }
    let (_origin, weir) = start("mischief", ", reuse: worker").await;
    let client = weir.client(Protocol::H2).await;
    for expected in ["1", "2", "3"] {
        assert_eq!(client.get("/count").await.text().await, expected);
    }
    assert_eq!(client.get("/trap").await.status, 503);
    assert_eq!(client.get("/count").await.text().await, "1", "the instance that failed is gone");
}

#[tokio::test]
async fn one_trap_never_reaches_another_request() {
    let (origin, mut weir) = start("mischief", ", allow: { upstreams: [app] }").await;
    for protocol in [Protocol::H2, Protocol::H3] {
        let client = weir.client(protocol).await;
        let before = origin.requests();
        // These requests are at work until the origin answers them.
        let good = futures_util::future::join_all((0..50).map(|_| client.get("/fetch/app/hold")));
        let bad = async {
            until("the others", async || (origin.requests() == before + 50).then_some(())).await;
            let mut statuses = Vec::new();
            for _ in 0..20 {
                statuses.push(client.get("/trap").await.status.as_u16());
            }
            origin.release();
            statuses
        };
        let (good, bad) = tokio::join!(good, bad);
        assert_eq!(bad, [503; 20], "{protocol:?}");
        for answer in good {
            assert_eq!(answer.status, 200, "{protocol:?}");
            assert_eq!(answer.text().await, "origin");
        }
    }
    let fields = weir.logged("plugin failed; its request gets nothing more from it").await;
    assert_eq!((&fields["plugin"], &fields["kind"]), (&"c".into(), &"trap".into()));
    let failures = ["plugin=\"c\"", "kind=\"trap\""];
    assert_eq!(weir.metric("weir_plugin_failures_total", &failures).await, 40.0);
}

#[tokio::test]
async fn a_component_that_spins_is_ended_and_holds_up_nobody() {
    let keys = ", limits: { cpu: 300ms }";
    let (origin, mut weir) = {
        let origin = Origin::start().await;
        let weir = served(&origin, "mischief", keys).workers(1).start().await;
        (origin, weir)
    };
    let client = weir.client(Protocol::H2).await;
    let beside = async {
        let start = Instant::now();
        let answer = client.get("/count").await;
        (answer.status, start.elapsed())
    };
    let (spun, (status, took)) = tokio::join!(client.get("/spin"), beside);
    assert_eq!(spun.status, 504);
    assert_eq!(status, 200);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let fields = weir.logged("plugin failed; its request gets nothing more from it").await;
    assert_eq!(fields["kind"], "timeout");
    drop(origin);
}

#[tokio::test]
async fn memory_time_and_concurrency_have_limits() {
    let origin = Origin::start().await;
    let keys = ", limits: { memory: 4MiB, time: 300ms }";
    let mut weir = served(&origin, "mischief", keys).workers(1).start().await;
    let client = weir.client(Protocol::H2).await;
    assert_eq!(client.get("/memory").await.status, 503);
    assert_eq!(weir.record().await["error"], "plugin/memory");
    assert_eq!(client.get("/sleep/60000").await.status, 504);
    assert_eq!(weir.record().await["error"], "plugin/timeout");

    let keys = ", limits: { concurrency: 2 }, allow: { upstreams: [app] }";
    let weir = served(&origin, "mischief", keys).workers(1).start().await;
    let client = weir.client(Protocol::H2).await;
    let two = futures_util::future::join_all((0..2).map(|_| client.get("/fetch/app/hold")));
    let third = async {
        until("the others", async || (origin.requests() == 2).then_some(())).await;
        let third = client.get("/count").await;
        origin.release();
        third
    };
    let (two, third) = tokio::join!(two, third);
    assert_eq!((third.status.as_u16(), third.header("retry-after")), (503, "1"));
    assert!(two.iter().all(|answer| answer.status == 200));
    drop(two);
    assert_eq!(client.get("/count").await.status, 200);
}

#[tokio::test]
async fn a_response_that_breaks_a_rule_is_none() {
    let (_origin, weir) = start("mischief", "").await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for status in [204, 205, 304, 404, 599] {
            let answer = client.get(&format!("/status/{status}")).await;
            assert_eq!(answer.status.as_u16(), status, "{protocol:?}");
            let length = if [204, 205, 304].contains(&status) { 0 } else { 7 };
            assert_eq!(answer.text().await.len(), length, "{protocol:?} {status}");
        }
        for (path, status) in [("/status/100", 503), ("/field/10000", 200), ("/field/300000", 503)]
        {
            let answer = client.get(path).await;
            assert_eq!(answer.status.as_u16(), status, "{protocol:?} {path}");
            answer.text().await;
        }
        let head = Request::head("/count").body(Body::empty()).unwrap();
        let answer = client.send(head).await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert_eq!(answer.text().await, "");
    }
    for protocol in Protocol::ALL {
        for path in ["/short", "/long", "/break/100000"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let cut = match weir.try_send(protocol, request).await {
                Ok(mut answer) => answer.status == 503 || answer.bytes().await.is_err(),
                Err(_) => true,
            };
            assert!(cut, "{protocol:?} {path}");
        }
    }
}

#[tokio::test]
async fn bodies_stream_through_in_flat_memory() {
    let (_origin, weir) = start("mischief", "").await;
    let bytes = 64 << 20;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        assert_eq!(client.get("/count").await.status, 200);
        weir.forget_peak();
        let before = weir.memory();
        let mut answer = client.get(&format!("/stream/{bytes}")).await;
        assert_eq!(answer.count().await.unwrap(), bytes, "{protocol:?}");
        let answer = post(&client, "/sum", Body::repeat(bytes)).await;
        assert_eq!(answer.text().await, bytes.to_string(), "{protocol:?}");
        let grown = weir.peak_memory().saturating_sub(before);
        assert!(grown < 24 << 20, "{protocol:?}: {} KiB more", grown >> 10);
    }
}

#[tokio::test]
async fn a_client_that_goes_ends_the_component_s_work() {
    let (_origin, weir) = start("mischief", "").await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut answer = client.get("/stream/100000000000").await;
        answer.chunk().await.unwrap().unwrap();
        let running = ["plugin=\"c\""];
        weir.until_metric("weir_plugin_instances", &running, |count| count == 1.0).await;
        drop(answer);
        drop(client);
        weir.until_metric("weir_plugin_instances", &running, |count| count == 0.0).await;
    }
}

#[tokio::test]
async fn a_component_has_its_configuration_the_shared_state_and_the_log() {
    let keys = ", config: { greeting: hello, deep: { n: 3 } }, allow: { state: [shared] }";
    let (_origin, mut weir) = start("mischief", keys).await;
    let client = weir.client(Protocol::H2).await;
    let get = async |path: &str| client.get(path).await.text().await;
    assert_eq!(get("/config/greeting").await, "hello");
    assert_eq!(get("/config/deep.n").await, "3");
    assert_eq!(get("/config/none").await, "");
    assert_eq!(get("/add/").await, "Ok(2)");
    assert_eq!(get("/add/default").await, "Ok(4)");
    assert_eq!(get("/add/shared").await, "Ok(2)");
    assert!(get("/add/other").await.contains("NoSuchStore"));
    get("/log/hello").await;
    let fields = weir.logged("mischief: hello").await;
    assert_eq!(fields["plugin"], "c");
}

#[tokio::test]
async fn a_component_reaches_the_upstreams_that_it_may_and_nothing_else() {
    let (origin, auth) = (Origin::named("app").await, Origin::named("auth").await);
    let upstream =
        format!("  - {{ name: auth, endpoints: [{{ address: \"{}\" }}] }}\n", auth.address());
    let weir = served(&origin, "mischief", ", allow: { upstreams: [auth] }")
        .upstream_after(&upstream)
        .start()
        .await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = client.get("/fetch/auth/who/x").await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        let head = auth.head();
        assert_eq!((&*head.target, &*head.header("host")), ("/who/x", "auth"));
        assert_eq!(head.header("x-from"), "mischief");
        let answer = post(&client, "/fetch/auth/count", Body::repeat(3 << 20)).await;
        assert_eq!(answer.text().await, (3 << 20).to_string(), "{protocol:?}");
        let answer = client.get("/fetch/auth/chunked/3000000").await;
        assert_eq!(answer.text().await.len(), 3_000_000, "{protocol:?}");
        for host in ["app", "127.0.0.1", "example.com", "auth:81"] {
            let answer = client.get(&format!("/fetch/{host}/who")).await;
            let is_refused = !answer.status.is_success();
            assert_eq!(is_refused, host != "auth:81", "{protocol:?} {host}");
        }
    }
    assert_eq!(origin.requests(), 0);
}

/// A route with the middleware, and the filters before and after it.
fn through(origin: &Origin, action: &str) -> Setup {
    let source = component("middleware").display().to_string();
    let field = |name: &str, value: &str| {
        format!(
            "  - {{ name: {name}, source: builtin:headers, config: {{ request: {{ append: {{ x-way: [{value}] }} }}, \
             response: {{ append: {{ x-back: [{value}] }} }} }} }}\n"
        )
    };
    let plugins = format!(
        "plugins:\n  - {{ name: m, source: \"file:{source}\" }}\n{}{}",
        field("before", "'1'"),
        field("after", "'2'")
    );
    Setup::to([origin])
        .top(&plugins)
        .routes(&format!("  - {{ name: all, filters: [before, m, after], {action} }}"))
}

#[tokio::test]
async fn a_middleware_stands_between_the_filters_and_the_rest_of_the_way() {
    let origin = Origin::start().await;
    let mut weir = through(&origin, "upstream: app").start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = client.get("/who?x").await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert_eq!(answer.header("x-middleware"), "passed");
        let back: Vec<_> = answer.headers.get_all("x-back").iter().collect();
        assert_eq!(back, ["2", "1"]);
        let head = origin.head();
        assert_eq!((&*head.target, &*head.header("x-middleware")), ("/who?x", "passed"));
        assert_eq!(head.all("x-way"), ["1", "2"]);
        assert!(head.header("host").starts_with("localhost"));
        let record = weir.record().await;
        assert_eq!((&record["upstream"], &record["attempts"]), (&"app".into(), &1.into()));

        let answer = post(&client, "/echo", Body::repeat(2 << 20)).await;
        assert_eq!(answer.text().await.len(), 2 << 20, "{protocol:?}");
        weir.record().await;

        let before = origin.requests();
        let answer = client.get("/early").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-back")), (418, "1"), "{protocol:?}");
        assert_eq!(answer.text().await, "early");
        assert_eq!(client.get("/trap").await.status, 503, "{protocol:?}");
        assert_eq!(origin.requests(), before);
        assert_eq!(client.get("/late").await.status, 503, "{protocol:?}");
        assert_eq!(origin.requests(), before + 1);
        for _ in 0..3 {
            weir.record().await;
        }
    }
}

#[tokio::test]
async fn a_middleware_of_wasi_0_3_reaches_the_upstreams_that_it_may() {
    let (origin, auth) = (Origin::named("app").await, Origin::named("auth").await);
    let source = component("middleware").display().to_string();
    let allow = "allow: { upstreams: [auth] }";
    let upstream =
        format!("  - {{ name: auth, endpoints: [{{ address: \"{}\" }}] }}\n", auth.address());
    let weir = Setup::to([&origin])
        .top(&format!("plugins: [{{ name: m, source: \"file:{source}\", {allow} }}]"))
        .routes("  - { name: all, filters: [m], upstream: app }")
        .upstream_after(&upstream)
        .start()
        .await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = post(&client, "/elsewhere/auth/count?x", Body::repeat(3 << 20)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-middleware")), (200, "passed"));
        assert_eq!(answer.text().await, (3 << 20).to_string(), "{protocol:?}");
        let head = auth.head();
        assert_eq!((&*head.target, &*head.header("host")), ("/count?x", "auth"));
        assert_eq!(head.header("x-middleware"), "passed");
        let answer = client.get("/elsewhere/auth/chunked/3000000").await;
        assert_eq!(answer.text().await.len(), 3_000_000, "{protocol:?}");
        let before = origin.requests();
        for host in ["app", "127.0.0.1", "auth:81"] {
            let answer = client.get(&format!("/elsewhere/{host}/who")).await;
            assert_eq!(answer.status.is_success(), host == "auth:81", "{protocol:?} {host}");
        }
        assert_eq!(origin.requests(), before);
    }
}

#[tokio::test]
async fn a_middleware_may_end_at_a_fixed_answer() {
    let origin = Origin::start().await;
    let weir = through(&origin, "respond: { status: 201, body: fixed }").start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/").await, (201, "fixed".to_owned()));
    }
}

#[tokio::test]
async fn what_is_used_as_something_else_is_refused_with_what_it_is_for() {
    let origin = Origin::start().await;
    let refused = |name: &str, route: &str, keys: &str| {
        let source = component(name).display().to_string();
        let setup = Setup::to([&origin])
            .top(&format!("plugins: [{{ name: c, source: \"file:{source}\" {keys} }}]"))
            .routes(&format!("  - {{ name: all, {route} }}"));
        let config = setup.write(([127, 0, 0, 1], 0).into());
        let output = std::process::Command::new(crate::support::weir::WEIR)
            .args(["check", "-c"])
            .arg(config)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused("middleware", "component: c", "");
    assert!(text.contains("needs a handler after it"), "{text}");
    for name in ["mischief", "wasip3-service"] {
        let text = refused(name, "filters: [c], upstream: app", "");
        assert!(text.contains("name it as a route's `component`"), "{text}");
    }
    let text = refused("mischief", "component: c", ", config: [1]");
    assert!(text.contains("is a mapping"), "{text}");
    let text = refused("mischief", "component: c, upstream: app", "");
    assert!(text.contains("has upstream and component"), "{text}");
}

#[tokio::test]
async fn a_component_is_swapped_under_load_and_goes_back() {
    let setup = Setup::to([&Origin::start().await]);
    let file = setup.directory().join("c.wasm");
    std::fs::copy(component("wasip3-service"), &file).unwrap();
    let top = "plugins: [{ name: c, source: \"file:c.wasm\" }]\n\
               admin: { address: \"127.0.0.1:0\", token: s3cret }\n";
    let weir = setup.top(top).routes("  - { name: all, component: c }").start().await;
    let command = |arguments: &[&str]| {
        let output = std::process::Command::new(crate::support::weir::WEIR)
            .arg("plugin")
            .args(arguments)
            .env("WEIR_ADMIN", weir.admin_address().to_string())
            .env("WEIR_ADMIN_TOKEN", "s3cret")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let client = weir.client(Protocol::H2).await;
    let text = async || client.get("/").await.text().await;
    assert_eq!(text().await, "Hello, WASI!");
    let (other, wrong) = (component("wstd-server"), component("middleware"));
    let (swapped, errors) = command(&["swap", "c", other.to_str().unwrap()]);
    assert!(swapped, "{errors}");
    assert_eq!(text().await, "Hello, wasi:http/proxy world!\n");
    let (swapped, errors) = command(&["swap", "c", wrong.to_str().unwrap()]);
    assert!(!swapped && errors.contains("needs a handler after it"), "{errors}");
    let (swapped, errors) = command(&["swap", "c", other.to_str().unwrap(), "--shadow"]);
    assert!(!swapped && errors.contains("shadow"), "{errors}");
    assert!(command(&["rollback", "c"]).0);
    assert_eq!(text().await, "Hello, WASI!");
}
