//! Reloads of large configurations: their time, the pauses of requests meanwhile, and memory.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Live, TOKEN, ask, replace};
use crate::support::tools::builtin;
use crate::support::{Origin, Protocol, spawn, within};

const ROUTES: usize = 1000;
const UPSTREAMS: usize = 200;
const ENDPOINTS: usize = 10;

/// A configuration with a fixed response, a route to the origin, and many routes and upstreams
/// besides.
fn many(revision: usize, origin: SocketAddr) -> String {
    let mut text = head();
    for upstream in 0..UPSTREAMS {
        writeln!(text, "  - name: u{upstream}\n    endpoints:").unwrap();
        for endpoint in 0..ENDPOINTS {
            let number = upstream * ENDPOINTS + endpoint;
            let (high, low) = (number / 250, number % 250 + 1);
            writeln!(text, "      - {{ address: \"127.1.{high}.{low}:80\" }}").unwrap();
        }
    }
    writeln!(text, "  - {{ name: app, endpoints: [{{ address: \"{origin}\" }}] }}").unwrap();
    writeln!(text, "routes:").unwrap();
    for route in 0..ROUTES {
        let upstream = (route + revision) % UPSTREAMS;
        writeln!(
            text,
            "  - {{ name: r{route}, match: {{ host: h{route}.test, path: /{revision}/* }}, \
             upstream: u{upstream} }}"
        )
        .unwrap();
    }
    text + &tail(revision, "")
}

/// A configuration with fifty routes that have a filter each.
fn filtered(revision: usize, origin: SocketAddr) -> String {
    let mut text = format!(
        "{}  - {{ name: app, endpoints: [{{ address: \"{origin}\" }}] }}\nroutes:\n",
        head()
    );
    for route in 0..50 {
        writeln!(
            text,
            "  - {{ name: r{route}, match: {{ path: /{route}/* }}, filters: [f{route}], \
             upstream: app }}"
        )
        .unwrap();
    }
    let mut plugins = "plugins:\n".to_owned();
    for plugin in 0..50 {
        writeln!(
            plugins,
            "  - {{ name: f{plugin}, source: \"file:{}\", \
             config: {{ response: {{ set: {{ x-tag: \"{revision}\" }} }} }} }}",
            builtin("headers").display()
        )
        .unwrap();
    }
    text + &tail(revision, &plugins)
}

fn head() -> String {
    "listeners:\n  - { address: \"127.0.0.1:0\", tls: { self_signed: {} } }\nupstreams:\n"
        .to_owned()
}

fn tail(revision: usize, top: &str) -> String {
    format!(
        "  - {{ name: fixed, match: {{ path: /fixed }}, respond: {{ body: \"{revision}\" }} }}\n  \
         - {{ name: all, upstream: app }}\n{top}\
         telemetry: {{ metrics: {{ address: \"127.0.0.1:0\" }}, log: {{ access: false }} }}\n\
         admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\nworkers: 2\n"
    )
}

#[tokio::test]
async fn a_large_configuration_is_served_soon_and_holds_up_no_request() {
    let origin = Origin::start().await;
    let live = Live::start_with(&many(0, origin.address())).await;
    let clients = live.clients().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut loads = Vec::new();
    for protocol in Protocol::ALL {
        let (client, stop) = (live.weir.client(protocol).await, Arc::clone(&stop));
        loads.push(spawn(async move {
            let (mut requests, mut longest) = (0, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let begin = Instant::now();
                assert_eq!(ask(&client, "/who").await.0, 200, "{protocol:?}");
                longest = longest.max(begin.elapsed());
                requests += 1;
            }
            (requests, longest)
        }));
    }
    let mut times = Vec::new();
    for revision in 1..=10 {
        let text = many(revision, origin.address());
        let begin = Instant::now();
        replace(&live.file, &text);
        // The watcher sees the file by itself.
        for (protocol, client) in &clients {
            let served = async { while ask(client, "/fixed").await.1 != revision.to_string() {} };
            within(format!("revision {revision} on {protocol:?}"), served).await;
        }
        times.push(begin.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut longest) = (0, Duration::ZERO);
    for load in loads {
        let (some, pause) = load.await.unwrap();
        (requests, longest) = (requests + some, longest.max(pause));
    }
    times.sort_unstable();
    println!(
        "from the write to the new state: {:?}, at most {:?}; longest of {requests} requests {longest:?}",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    // A request waits for no reload: that takes several times as long in a debug build.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(clients.iter().all(|(_, client)| !client.is_closed()));
}

/// Reloads 10 times at once, or in a soak each second for five minutes.
#[tokio::test]
async fn fifty_routes_with_a_filter_reloaded_under_load_keep_memory_flat() {
    let is_long = std::env::var_os("WEIR_SOAK_SECONDS").is_some();
    let (reloads, settled) = if is_long { (300, 30) } else { (10, 5) };
    let origin = Origin::start().await;
    let live = Live::start_with(&filtered(0, origin.address())).await;
    let clients = live.clients().await;
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    let mut memory = 0;
    for revision in 1..=reloads {
        live.put(&filtered(revision, origin.address())).await.ok();
        for (protocol, client) in &clients {
            for route in [0, 49] {
                let answer = client.get(&format!("/{route}/x")).await;
                assert_eq!(answer.header("x-tag"), revision.to_string(), "{protocol:?}");
            }
        }
        if revision == settled {
            memory = live.weir.memory();
        }
        if is_long {
            pace.tick().await;
        }
    }
    let after = live.weir.memory();
    println!("memory {} KiB after {settled} reloads, {} KiB at the end", memory >> 10, after >> 10);
    assert!(after < memory + memory / 10 + (8 << 20), "{memory}, then {after}");
}
