//! Filters on routes: the built-in ones on every protocol, their order, and their permissions.

use http::Request;

use crate::support::tools::guest;
use crate::support::{Answer, Body, Client, Origin, Protocol, RawOrigin, Setup};

/// One route with these filters and these declarations.
fn with(origin: &Origin, plugins: &str, filters: &str) -> Setup {
    Setup::to([origin])
        .top(&format!("plugins:\n{plugins}"))
        .routes(&format!("  - {{ name: all, filters: [{filters}], upstream: app }}"))
}

fn get(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn send(client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    client.send(get(path, fields)).await
}

#[tokio::test]
async fn headers_are_set_removed_and_filled_in_both_directions() {
    let origin = Origin::start().await;
    let plugin = "  - name: h
    source: builtin:headers
    config:
      request:
        set: { x-client: '${client.address}', x-route: '${route}', x-copy: 'c=${cookie:sid}', x-none: '${header:nothing}' }
        remove: [x-secret]
      response:
        set: { x-path: '${path}', x-status-of: '${response.header:content-length}' }
        append: { set-cookie: ['a=1', 'b=2'] }
";
    let weir = with(&origin, plugin, "h").start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let fields = [("x-secret", "1"), ("cookie", "sid=7"), ("x-client", "forged")];
        let answer = send(&client, "/who?q", &fields).await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        let head = origin.head();
        assert_eq!(head.header("x-client"), "127.0.0.1", "{protocol:?}");
        assert_eq!(head.header("x-route"), "all");
        assert_eq!(head.header("x-copy"), "c=7");
        assert_eq!(head.all("x-none"), [""; 0]);
        assert_eq!(head.all("x-secret"), [""; 0]);
        assert_eq!(answer.header("x-path"), "/who?q");
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_have_what_filters_set_removed_by_naming_it_in_connection() {
    let (origin, auth) = (Origin::named("app").await, Origin::named("auth").await);
    let plugins = "  - { name: h, source: builtin:headers, config: { request: { set: { x-client: '${client.address}' } } } }
  - { name: a, source: builtin:forward-auth, config: { upstream: auth, path: /auth, copy: [x-user] }, allow: { upstreams: [auth] } }
";
    let upstream =
        format!("  - {{ name: auth, endpoints: [{{ address: \"{}\" }}] }}\n", auth.address());
    let weir = with(&origin, plugins, "h, a").upstream_after(&upstream).start().await;
    let client = weir.client(Protocol::H1).await;
    let fields = [
        ("connection", "x-user, X-Client, x-own"),
        ("authorization", "Bearer good"),
        ("x-user", "root"),
        ("x-own", "1"),
    ];
    assert_eq!(send(&client, "/who", &fields).await.status, 200);
    let head = origin.head();
    assert_eq!(
        (head.header("x-user"), head.header("x-client")),
        ("ann".into(), "127.0.0.1".into())
    );
    assert_eq!(head.header("x-own"), "");
}

#[tokio::test]
async fn a_filter_and_a_route_see_no_field_that_ends_here() {
    let origin = Origin::start().await;
    let plugins = "  - { name: h, source: builtin:headers, config: { request: { set: { x-seen: '${header:x-own}' } } } }\n";
    let weir = with(&origin, plugins, "h").start().await;
    let fields = [("connection", "x-own"), ("x-own", "1"), ("te", "trailers")];
    send(&weir.client(Protocol::H1).await, "/who", &fields).await;
    let head = origin.head();
    assert_eq!((head.header("x-seen"), head.header("te")), (String::new(), "trailers".to_owned()));
}

#[tokio::test]
async fn past_the_rate_the_answer_is_429_over_all_workers_and_protocols() {
    let origin = Origin::start().await;
    let plugin = "  - { name: r, source: builtin:rate-limit, config: { requests: 30, per: 1h } }\n";
    let weir = with(&origin, plugin, "r").start().await;
    let (mut passed, mut refused) = (0, 0);
    for protocol in Protocol::ALL {
        for _ in 0..4 {
            let client = weir.client(protocol).await;
            for _ in 0..5 {
                let answer = client.get("/who").await;
                assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=30;w=3600");
                match answer.status.as_u16() {
                    200 => passed += 1,
                    429 => {
                        refused += 1;
                        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
                        assert!(answer.header("ratelimit").starts_with("\"default\";r=0;t="));
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
    assert_eq!((passed, refused), (30, 30));
    assert_eq!(origin.requests(), 30);
    let counted = weir.metric("weir_plugin_custom_total", &["metric=\"limited\""]).await;
    assert!((counted - 30.0).abs() < f64::EPSILON, "{counted}");
}

#[tokio::test]
async fn another_service_decides_who_passes() {
    let (origin, auth) = (Origin::named("app").await, Origin::named("auth").await);
    let plugin = "  - name: a
    source: builtin:forward-auth
    config: { upstream: auth, path: /auth, copy: [x-user] }
    allow: { upstreams: [auth] }
";
    let upstream =
        format!("  - {{ name: auth, endpoints: [{{ address: \"{}\" }}] }}\n", auth.address());
    let setup = with(&origin, plugin, "a").upstream_after(&upstream);
    let weir = setup.start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let fields = [("authorization", "Bearer good"), ("x-user", "root")];
        let answer = send(&client, "/who?x=1", &fields).await;
        assert_eq!((answer.status.as_u16(), answer.text().await.as_str()), (200, "app"));
        assert_eq!(origin.head().all("x-user"), ["ann"], "{protocol:?}");
        let asked = auth.head();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/auth"));
        assert_eq!(asked.header("x-forwarded-uri"), "/who?x=1");
        assert_eq!(asked.header("x-forwarded-for"), "127.0.0.1");

        let before = origin.requests();
        let answer = send(&client, "/who", &[("authorization", "Bearer bad")]).await;
        assert_eq!(answer.status, 401, "{protocol:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(origin.requests(), before, "{protocol:?}");
    }
}

#[tokio::test]
async fn without_the_other_service_nobody_passes() {
    let origin = Origin::start().await;
    let plugin = "  - name: a
    source: builtin:forward-auth
    config: { upstream: auth, path: /auth }
    allow: { upstreams: [auth] }
";
    let (gone, _kept) = crate::support::weir::refusing_address();
    let upstream = format!("  - {{ name: auth, endpoints: [{{ address: \"{gone}\" }}] }}\n");
    let weir = with(&origin, plugin, "a").upstream_after(&upstream).start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 503, "{protocol:?}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn text_is_replaced_in_bodies_that_stream() {
    let origin = Origin::start().await;
    let plugin = "  - name: b
    source: builtin:body-replace
    config: { replace: [{ from: xxxxx, to: 'y' }], types: [text/plain], requests: true }
    limits: { time: 1s }
";
    let weir = with(&origin, plugin, "b").start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        // 1 MiB of x, in both directions: a fifth, and a fifth of nothing.
        let post = |kind: &str| {
            Request::post("/echo").header("content-type", kind).body(Body::repeat(1 << 20)).unwrap()
        };
        let mut answer = client.send(post("text/plain; charset=utf-8")).await;
        let body = answer.bytes().await.unwrap();
        let ys = (1_usize << 20) / 5;
        assert_eq!(body.iter().filter(|byte| **byte == b'y').count(), ys, "{protocol:?}");
        assert_eq!(body.len(), ys + (1 << 20) % 5, "{protocol:?}");
        assert!(origin.head().all("content-length").is_empty(), "{protocol:?}");
        assert!(origin.head().all("accept-encoding").is_empty(), "{protocol:?}");

        let mut answer = client.send(post("image/png")).await;
        assert_eq!(answer.count().await.unwrap(), 1 << 20, "{protocol:?}");
    }
}

#[tokio::test]
async fn requests_pass_in_order_and_responses_in_reverse() {
    let origin = Origin::start().await;
    let plugin = |name: &str| {
        format!(
            "  - name: {name}
    source: builtin:headers
    config:
      request: {{ append: {{ x-order: {name} }} }}
      response: {{ append: {{ x-order: {name} }} }}
"
        )
    };
    let plugins = [plugin("one"), plugin("two"), plugin("three")].concat();
    let weir = with(&origin, &plugins, "one, two, three").start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/who").await;
        assert_eq!(origin.head().all("x-order"), ["one", "two", "three"], "{protocol:?}");
        let order: Vec<_> = answer.headers.get_all("x-order").iter().collect();
        assert_eq!(order, ["three", "two", "one"], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_reply_passes_the_response_side_of_the_filters_before_it() {
    let origin = Origin::start().await;
    let plugins = format!(
        "  - {{ name: before, source: builtin:headers, config: {{ response: {{ set: {{ x-before: '1' }} }} }} }}
  - {{ name: no, source: \"file:{}\", config: {{ do: reply, count: 403 }} }}
  - {{ name: after, source: builtin:headers, config: {{ response: {{ set: {{ x-after: '1' }} }} }} }}
",
        guest("naughty").display()
    );
    let weir = with(&origin, &plugins, "before, no, after").start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/who").await;
        assert_eq!(answer.status, 403, "{protocol:?}");
        assert_eq!(answer.header("x-before"), "1");
        assert!(answer.headers.get("x-after").is_none());
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn errors_of_the_proxy_pass_the_response_side_too() {
    let origin = Origin::start().await;
    let plugin = "  - { name: h, source: builtin:headers, config: { response: { set: { x-seen: '1' } } } }\n";
    let setup = with(&origin, plugin, "h");
    drop(origin);
    let weir = setup.start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/who").await;
        assert_eq!(answer.status, 502, "{protocol:?}");
        assert_eq!(answer.header("x-seen"), "1");
    }
}

#[tokio::test]
async fn a_filter_may_choose_the_upstream_and_the_path() {
    let (origin, other) = (Origin::named("app").await, Origin::named("other").await);
    let naughty = guest("naughty");
    let plugins = format!(
        "  - {{ name: u, source: \"file:{0}\", config: {{ do: upstream, value: other }}, allow: {{ upstreams: [other] }} }}
  - {{ name: p, source: \"file:{0}\", config: {{ do: path, value: '/new?q=1' }} }}
  - {{ name: a, source: \"file:{0}\", config: {{ do: authority, value: 'inner.example:81' }} }}
",
        naughty.display()
    );
    let upstream =
        format!("  - {{ name: other, endpoints: [{{ address: \"{}\" }}] }}\n", other.address());
    let weir = with(&origin, &plugins, "u, p, a").upstream_after(&upstream).start().await;
    for protocol in Protocol::ALL {
        let (status, text) = weir.get(protocol, "/old").await;
        assert_eq!((status, text.as_str()), (200, "other"), "{protocol:?}");
        let head = other.head();
        assert_eq!(head.target, "/new?q=1");
        assert_eq!(head.header("host"), "inner.example:81");
        assert!(head.header("x-forwarded-host").starts_with("localhost"), "{protocol:?}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_fresh_instance_for_each_call_serves_as_well() {
    let origin = Origin::start().await;
    let plugin = "  - { name: h, source: builtin:headers, reuse: request, config: { request: { set: { x-a: '1' } } } }\n";
    let weir = with(&origin, plugin, "h").start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for _ in 0..50 {
            assert_eq!(client.get("/who").await.status, 200);
        }
        assert_eq!(origin.head().header("x-a"), "1");
    }
    let kept = weir.metric("weir_plugin_instances", &["plugin=\"h\""]).await;
    assert!(kept <= 2.0, "{kept}");
}

#[tokio::test]
async fn what_a_schema_refuses_is_told_with_its_place() {
    let origin = Origin::start().await;
    let plugin = "  - { name: r, source: builtin:rate-limit, config: { requests: many } }\n";
    let setup = with(&origin, plugin, "r");
    let config = setup.write(crate::support::weir::free_address());
    let (code, _, errors) = crate::support::weir::run(&["check", "-c", config.to_str().unwrap()]);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("plugins[0].config.requests: plugin r: \"many\""), "{errors}");
    assert!(errors.contains("weir.yaml:"), "{errors}");
}

#[tokio::test]
async fn a_balancer_is_no_filter_and_a_filter_no_balancer() {
    let origin = Origin::start().await;
    let plugin = "  - { name: x, source: builtin:round-robin }\n";
    let setup = with(&origin, plugin, "x");
    let config = setup.write(crate::support::weir::free_address());
    let (code, _, errors) = crate::support::weir::run(&["check", "-c", config.to_str().unwrap()]);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("world balancer") && errors.contains("filter"), "{errors}");
    let setup = Setup::to([&origin])
        .top("plugins: [{ name: y, source: builtin:headers }]")
        .upstream("balancer: y");
    let config = setup.write(crate::support::weir::free_address());
    let (code, _, errors) = crate::support::weir::run(&["check", "-c", config.to_str().unwrap()]);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("world filter"), "{errors}");
}

/// `naughty` with this configuration and further keys of the plugin.
fn naughty(config: &str, extra: &str) -> String {
    let source = guest("naughty");
    format!("  - {{ name: n, source: \"file:{}\", config: {config} {extra} }}\n", source.display())
}

#[tokio::test]
async fn a_status_without_content_has_none_and_the_connection_goes_on() {
    let origin = Origin::start().await;
    for (status, path) in [(204, "/bytes/1000"), (205, "/chunked/1000"), (304, "/bytes/1000")] {
        let plugin = naughty(&format!("{{ do: status, count: {status}, in: response }}"), "");
        let weir = with(&origin, &plugin, "n").start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            for _ in 0..3 {
                let mut answer = client.get(path).await;
                assert_eq!(answer.status, status, "{protocol:?}");
                let length = answer.header("content-length").to_owned();
                assert!(matches!(length.as_str(), "" | "0"), "{status} {protocol:?}: {length}");
                assert_eq!(answer.count().await.unwrap(), 0, "{status} {protocol:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_status_with_content_has_an_empty_one_where_the_origin_sent_none() {
    let answer = "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n";
    let origin = RawOrigin::answering(answer).await;
    let plugin = naughty("{ do: status, count: 200, in: response }", "");
    let weir = Setup::addresses([origin.address()])
        .top(&format!("plugins:\n{plugin}"))
        .routes("  - { name: all, filters: [n], upstream: app }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for _ in 0..3 {
            let mut answer = client.get("/").await;
            assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"x\""));
            assert!(matches!(answer.header("content-length"), "" | "0"), "{protocol:?}");
            assert_eq!(answer.count().await.unwrap(), 0, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_client_near_the_limits_cannot_make_a_filter_fail_or_be_left_out() {
    let origin = Origin::start().await;
    for on_failure in ["closed", "open"] {
        let plugin = naughty("{ do: many, count: 4 }", &format!(", on_failure: {on_failure}"));
        let setup = with(&origin, &plugin, "n").listener("limits: { header_count: 20 }");
        let weir = setup.start().await;
        let names: Vec<String> = (0..17).map(|n| format!("x-own-{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let few: Vec<_> = (0..4).map(|n| (["x-0", "x-1", "x-2", "x-3"][n], "mine")).collect();
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            let before = origin.requests();
            assert_eq!(send(&client, "/who", &many).await.status, 431, "{protocol:?}");
            assert_eq!(origin.requests(), before, "{on_failure} {protocol:?}");
            // Replaced fields do not count twice.
            let fields = [&many[..12], &few[..]].concat();
            assert_eq!(send(&client, "/who", &fields).await.status, 200, "{protocol:?}");
            assert_eq!(origin.head().all("x-0"), ["1"], "{protocol:?}");
        }
        let failures = weir.metric("weir_plugin_failures_total", &["plugin=\"n\""]).await;
        assert!(failures.abs() < f64::EPSILON, "{on_failure}: {failures}");
    }
}

#[tokio::test]
async fn what_an_origin_answers_is_not_held_to_the_limits_of_clients() {
    let fields: String = (0..60).map(|n| format!("X-{n}: {}\r\n", "a".repeat(80))).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
    let origin = RawOrigin::answering(&answer).await;
    let plugin = naughty("{ do: set, name: x-a, value: '1', in: response }", "");
    let weir = Setup::addresses([origin.address()])
        .listener("limits: { header_count: 20, header_bytes: 4KiB }")
        .top(&format!("plugins:\n{plugin}"))
        .routes("  - { name: all, filters: [n], upstream: app }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-a")), (200, "1"), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_fresh_instance_remembers_nothing_and_a_kept_one_does() {
    let origin = Origin::start().await;
    for (reuse, remembers) in [("request", false), ("worker", true)] {
        let plugin = naughty("{ do: calls }", &format!(", reuse: {reuse}"));
        let weir = with(&origin, &plugin, "n").workers(1).start().await;
        for call in 1..=5 {
            weir.get(Protocol::ALL[call % 3], "/who").await;
            let seen = if remembers { call } else { 1 };
            assert_eq!(origin.head().header("x-calls"), seen.to_string(), "{reuse}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_bounded_however_short_its_instances_live() {
    let origin = Origin::start().await;
    let plugin = naughty("{ do: log, count: 100 }", ", reuse: request");
    let weir = with(&origin, &plugin, "n").start().await;
    let client = weir.client(Protocol::H2).await;
    let started = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(client.get("/who").await.status, 200);
    }
    let seconds = started.elapsed().as_secs() as usize + 2;
    let lines = weir.printed().matches("\"line ").count();
    assert!((1..=20 * seconds).contains(&lines), "{lines} lines in {seconds} s");
}
