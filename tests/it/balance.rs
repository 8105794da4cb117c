//! The choice of endpoints: the built-in balancers, custom ones, and ones that misbehave.

use std::collections::BTreeMap;

use http::Request;

use crate::support::tools::{builtin, guest};
use crate::support::{Body, Client, Origin, Protocol, Setup, within};

#[tokio::test]
async fn round_robin_is_exact_over_all_workers_and_protocols() {
    let origins = Origin::several::<3>().await;
    let weir = Setup::to(&origins).workers(4).start().await;
    // Many connections, so that every worker has some of each protocol.
    for _ in 0..10 {
        for protocol in Protocol::ALL {
            who(&weir.client(protocol).await, 2).await;
        }
    }
    assert_eq!(counts(&origins), [20, 20, 20]);
}

#[tokio::test]
async fn round_robin_goes_round() {
    let origins = Origin::several::<3>().await;
    let weir = Setup::to(&origins).workers(4).start().await;
    let names = who(&weir.client(Protocol::H2).await, 9).await.concat();
    assert!("abcabcabcabc".contains(&names), "{names}");
}

#[tokio::test]
async fn least_connections_prefers_the_idle_one() {
    let origins = Origin::several::<3>().await;
    let weir = Setup::to(&origins).upstream("balancer: least-connections").workers(4).start().await;
    for protocol in [Protocol::H2, Protocol::H3] {
        let client = weir.client(protocol).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut answer = client.get("/hold-body").await;
            answer.chunk().await.unwrap().unwrap();
            held.push(answer);
        }
        let holds =
            |origin: &&Origin| origin.heads().last().is_some_and(|h| h.target == "/hold-body");
        let idle: Vec<_> = origins.iter().filter(|origin| !holds(origin)).collect();
        assert_eq!(idle.len(), 1, "two requests in flight are at two origins");
        let before = idle[0].requests();
        who(&client, 10).await;
        assert_eq!(idle[0].requests(), before + 10, "{protocol:?}");
        origins.iter().for_each(Origin::release);
        for answer in held {
            assert_eq!(answer.text().await, "last");
        }
        who(&client, 30).await;
    }
}

#[tokio::test]
async fn weights_are_met_exactly_and_smoothly_over_all_workers() {
    let origins = Origin::several::<3>().await;
    let setup = Setup::to(&origins).upstream("balancer: weighted").workers(4);
    let setup = setup.endpoint(0, "weight: 5").endpoint(1, "weight: 1").endpoint(2, "weight: 1");
    let weir = setup.start().await;
    let names = who(&weir.client(Protocol::H3).await, 70).await.concat();
    assert_eq!(counts(&origins), [50, 10, 10]);
    assert!(!names.contains("aaaaaa"), "smooth: {names}");
    for _ in 0..7 {
        for protocol in Protocol::ALL {
            who(&weir.client(protocol).await, 1).await;
        }
    }
    assert_eq!(counts(&origins), [65, 13, 13]);
}

#[tokio::test]
async fn two_choices_use_every_endpoint() {
    let origins = Origin::several::<3>().await;
    let weir = Setup::to(&origins).upstream("balancer: random-two-choices").start().await;
    who(&weir.client(Protocol::H3).await, 200).await;
    assert!(counts(&origins).iter().all(|count| *count > 20), "{:?}", counts(&origins));
}

#[tokio::test]
async fn consistent_hashing_sticks_to_an_endpoint_by_header() {
    let origins = Origin::several::<4>().await;
    let setup = Setup::to(&origins).upstream("balancer: consistent-hash");
    let weir =
        setup.upstream("balancer_config: { key: \"header:x-user\" }").workers(4).start().await;
    let mut homes = BTreeMap::new();
    for round in 0..3 {
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            for user in 0..40 {
                let request = Request::get("/who").header("x-user", user).body(Body::empty());
                let name = client.send(request.unwrap()).await.text().await;
                let home = homes.entry(user).or_insert_with(|| name.clone());
                assert_eq!(*home, name, "user {user} in round {round} by {protocol:?}");
            }
        }
    }
    assert!(counts(&origins).iter().all(|count| *count > 0), "{:?}", counts(&origins));
}

#[tokio::test]
async fn consistent_hashing_knows_cookies_paths_and_addresses() {
    for key in ["cookie:session", "path", "client"] {
        let origins = Origin::several::<4>().await;
        let setup = Setup::to(&origins).upstream("balancer: consistent-hash");
        let weir = setup.upstream(&format!("balancer_config: {{ key: \"{key}\" }}")).start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            for _ in 0..5 {
                let request = Request::get("/who").header("cookie", "a=b; session=7; c=d");
                client.send(request.body(Body::empty()).unwrap()).await.text().await;
            }
        }
        let mut counts = counts(&origins);
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 0, 15], "{key}");
    }
}

#[tokio::test]
async fn consistent_hashing_moves_only_what_it_must() {
    let origins = Origin::several::<4>().await;
    let health = "health: { path: /health, interval: 100ms, healthy_after: 1, unhealthy_after: 1 }";
    let setup = Setup::to(&origins).upstream("balancer: consistent-hash").upstream(health);
    let weir = setup.upstream("balancer_config: { key: path }").start().await;
    let client = weir.client(Protocol::H2).await;
    let before = homes(&client).await;
    origins[0].set_healthy(false);
    weir.until_metric("backend_health_status", &[], |sum| sum == 3.0).await;
    let after = homes(&client).await;
    let moved = |from_a: bool| {
        let pairs = before.iter().zip(&after);
        pairs.filter(|(before, after)| before != after && (*before == "a") == from_a).count()
    };
    assert!(!after.contains(&"a".to_owned()), "{after:?}");
    // Maglev's table keeps nearly all other users in place.
    assert!(moved(true) > 0 && moved(false) <= 6, "{} of {} moved", moved(false), before.len());
}

#[tokio::test]
async fn a_component_named_on_the_command_line_balances() {
    let origins = Origin::several::<3>().await;
    let component = builtin("weighted");
    let plugin = format!("mine={}", component.display());
    let setup = Setup::to(&origins).arguments(&["--plugin", &plugin]).upstream("balancer: mine");
    let weir = setup.endpoint(0, "weight: 0").endpoint(1, "weight: 3").start().await;
    who(&weir.client(Protocol::H3).await, 8).await;
    assert_eq!(counts(&origins), [0, 6, 2]);
    assert!(weir.metric("weir_plugin_calls_total", &["plugin=\"mine\""]).await >= 8.0);
}

#[tokio::test]
async fn a_component_of_the_configuration_balances() {
    let origins = Origin::several::<2>().await;
    let component = builtin("round-robin");
    let plugins =
        format!("plugins:\n  - {{ name: mine, source: \"file:{}\" }}", component.display());
    let weir = Setup::to(&origins).top(&plugins).upstream("balancer: mine").start().await;
    who(&weir.client(Protocol::H3).await, 8).await;
    assert_eq!(counts(&origins), [4, 4]);
}

#[tokio::test]
async fn a_trap_costs_nobody_anything() {
    misbehaves("pick", "trap", "trap").await;
}

#[tokio::test]
async fn an_endless_loop_costs_nobody_anything() {
    misbehaves("pick", "spin", "timeout").await;
}

#[tokio::test]
async fn taking_all_memory_costs_nobody_anything() {
    misbehaves("pick", "allocate", "memory").await;
}

#[tokio::test]
async fn recursion_without_end_costs_nobody_anything() {
    misbehaves("pick", "recurse", "trap").await;
}

#[tokio::test]
async fn reading_outside_its_memory_costs_nobody_anything() {
    misbehaves("pick", "wander", "trap").await;
}

#[tokio::test]
async fn choosing_an_endpoint_that_does_not_exist_costs_nobody_anything() {
    misbehaves("pick", "unknown-id", "invalid").await;
}

#[tokio::test]
async fn a_balancer_may_let_no_endpoint_take_a_request() {
    let origins = Origin::several::<3>().await;
    let mut weir = bad("pick", "none", &origins).start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 503, "{protocol:?}");
        let record = weir.record().await;
        assert_eq!(record["error"], "plugin/declined", "{record}");
    }
    assert_eq!(counts(&origins), [0, 0, 0]);
    let labels = ["plugin=\"bad\"", "kind=\"none\""];
    let none = weir.metric("weir_plugin_failures_total", &labels).await;
    assert!((none - 3.0).abs() < f64::EPSILON, "{none}");
}

#[tokio::test]
async fn endpoints_that_are_to_get_nothing_get_nothing() {
    let origins = Origin::several::<2>().await;
    origins[1].set_healthy(false);
    let health = "health: { path: /health, interval: 100ms, healthy_after: 1, unhealthy_after: 1 }";
    for setup in [Setup::to(&origins), bad("pick", "trap", &origins)] {
        let weir = setup.endpoint(0, "weight: 0").upstream(health).start().await;
        weir.until_metric("backend_health_status", &[], |sum| sum == 1.0).await;
        for protocol in Protocol::ALL {
            assert_eq!(weir.get(protocol, "/who").await.0, 503, "{protocol:?}");
        }
    }
    let weir = bad("pick", "trap", &origins).endpoint(0, "weight: 0").start().await;
    who(&weir.client(Protocol::H3).await, 10).await;
    assert_eq!(counts(&origins), [0, 10], "the host's own round robin");
}

#[tokio::test]
async fn a_balancer_learns_how_requests_ended() {
    let origin = Origin::start().await;
    let (gone, _kept) = crate::support::weir::refusing_address();
    // The balancer chooses the endpoint with the number of the attempt: first the one that is gone.
    let source = guest("misbehave");
    let plugins = format!("plugins:\n  - {{ name: bad, source: \"file:{}\" }}", source.display());
    let weir = Setup::addresses([gone, origin.address()])
        .top(&plugins)
        .upstream("balancer: bad")
        .upstream("balancer_config: { in: pick, do: count-outcomes }")
        .workers(1)
        .start()
        .await;
    for protocol in Protocol::ALL {
        who(&weir.client(protocol).await, 4).await;
    }
    // Outcomes arrive with the next pick: those of the last request are still to come.
    let told = async |metric: &str| {
        let metric = format!("metric=\"{metric}\"");
        weir.metric("weir_plugin_custom_total", &["plugin=\"bad\"", &metric]).await
    };
    let (failed, answered) = (told("s0").await, told("s200").await);
    assert!((failed - 12.0).abs() < f64::EPSILON && (answered - 11.0).abs() < f64::EPSILON);
    let observe = ["plugin=\"bad\"", "function=\"observe\""];
    assert!(weir.metric("weir_plugin_calls_total", &observe).await >= 12.0);
    assert!(weir.metric("weir_plugin_call_duration_seconds_count", &observe).await >= 12.0);
}

#[tokio::test]
async fn failing_to_learn_the_endpoints_costs_nobody_anything() {
    misbehaves("update", "trap", "trap").await;
}

#[tokio::test]
async fn failing_to_learn_the_outcomes_costs_nobody_anything() {
    misbehaves("observe", "spin", "timeout").await;
}

#[tokio::test]
async fn a_leak_ends_with_its_instance() {
    misbehaves("pick", "leak", "memory").await;
}

#[tokio::test]
async fn a_flood_of_log_lines_costs_nobody_anything() {
    let origins = Origin::several::<2>().await;
    let weir = bad("pick", "log", &origins).start().await;
    who(&weir.client(Protocol::H3).await, 20).await;
    assert!(weir.printed().len() < 2 << 20, "{} bytes of log", weir.printed().len());
    assert!(!weir.printed().contains('\x1b'), "escape sequences of a plugin reach no terminal");
}

#[tokio::test]
async fn a_plugin_that_refuses_its_configuration_stops_the_start() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).upstream("balancer: consistent-hash");
    let setup = setup.upstream("balancer_config: { key: nonsense }");
    let config = setup.write(crate::support::weir::free_address());
    let (code, _, errors) = crate::support::weir::run(&["check", "-c", config.to_str().unwrap()]);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("upstreams[0].balancer_config.key"), "{errors}");
    assert!(errors.contains("nonsense"), "{errors}");
}

/// Checks that every request is answered while the balancer fails at each request, or once it has
/// leaked enough. Failures are counted by kind.
async fn misbehaves(call: &str, act: &str, kind: &str) {
    let origins = Origin::several::<3>().await;
    let mut weir = bad(call, act, &origins).start().await;
    for protocol in Protocol::ALL {
        who(&weir.client(protocol).await, 200).await;
    }
    assert_eq!(counts(&origins).iter().sum::<usize>(), 600);
    let label = format!("kind=\"{kind}\"");
    let failures = weir.metric("weir_plugin_failures_total", &["plugin=\"bad\"", &label]).await;
    assert!(failures >= 1.0, "{}", weir.metrics().await);
    if act == "trap" {
        assert!(counts(&origins).iter().all(|count| *count >= 150), "{:?}", counts(&origins));
    }
    weir.logged("plugin failed; another choice was used for this request").await;
    assert!(weir.memory() < 300 << 20, "{} MiB", weir.memory() >> 20);
}

fn bad(call: &str, act: &str, origins: &[Origin]) -> Setup {
    let source = guest("misbehave");
    // Taking memory page by page takes time, and this test is not about time.
    let time = if act == "allocate" { "500ms" } else { "5ms" };
    let plugins = format!(
        "plugins:\n  - {{ name: bad, source: \"file:{}\", limits: {{ time: {time} }} }}",
        source.display()
    );
    let config = format!("balancer_config: {{ in: {call}, do: {act} }}");
    Setup::to(origins).top(&plugins).upstream("balancer: bad").upstream(&config)
}

async fn who(client: &Client, times: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..times {
        let answer = client.get("/who").await;
        assert_eq!(answer.status, 200);
        names.push(within("a name", answer.text()).await);
    }
    names
}

async fn homes(client: &Client) -> Vec<String> {
    let mut homes = Vec::new();
    for key in 0..60 {
        homes.push(client.get(&format!("/key-{key}")).await.text().await);
    }
    homes
}

fn counts<const N: usize>(origins: &[Origin; N]) -> [usize; N] {
    origins.each_ref().map(Origin::requests)
}
