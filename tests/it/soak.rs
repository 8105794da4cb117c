//! Load on all protocols for a few seconds, or for WEIR_SOAK_SECONDS: every answer is complete,
//! memory is flat, and nothing is left behind. Upgrades under load do not change that.

use std::time::{Duration, Instant};

use http::Request;

use crate::support::{Body, Client, Origin, Protocol, Setup, processes, spawn, until, within};
use crate::upgrade::load::Load;
use crate::upgrade::{MIB, begun, finish, upgrade};

#[tokio::test]
async fn memory_stays_flat_under_load() {
    let seconds = std::env::var("WEIR_SOAK_SECONDS").map_or(5, |text| text.parse().unwrap());
    let length = Duration::from_secs(seconds);
    let origins = Origin::several::<3>().await;
    let weir = Setup::to(&origins).log("level: info, access: false").start().await;
    load(&weir, length / 4).await;
    let before = weir.memory();
    let exchanges = load(&weir, length).await;
    let after = weir.memory();
    println!(
        "{exchanges} exchanges in {seconds} s; memory {} KiB, then {} KiB",
        before >> 10,
        after >> 10
    );
    assert!(
        after < before + before / 5 + (16 << 20),
        "from {} to {} KiB",
        before >> 10,
        after >> 10
    );
    weir.until_metric("quic_connections_active", &[], |n| n == 0.0).await;
    weir.until_metric("http_requests_active", &[], |n| n == 0.0).await;
    until("no exchange left at an origin", async || {
        (weir.metric("weir_plugin_failures_total", &[]).await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn upgrades_under_load_cut_no_download() {
    let is_long = std::env::var_os("WEIR_SOAK_SECONDS").is_some();
    let (upgrades, length) = if is_long { (10, 100 * MIB) } else { (2, 10 * MIB) };
    let (origin, downloads) = (Origin::start().await, Origin::start().await);
    let routes = "  - { name: downloads, match: { path: \"/pattern/*\" }, upstream: downloads }\n  \
                  - { name: events, match: { path: /events }, upstream: downloads }\n  \
                  - { name: all, upstream: app }";
    let upstream = format!(
        "  - {{ name: downloads, endpoints: [{{ address: \"{}\" }}] }}\n",
        downloads.address()
    );
    let setup = Setup::to([&origin]).upstream_after(&upstream).routes(routes);
    let mut weir = setup.log("level: info, access: false").start().await;
    let load = Load::start(&weir).await;
    let (mut memory, mut left) = (0, Vec::new());
    for number in 0..upgrades {
        load.go_on().await;
        let mut all = Vec::new();
        for protocol in Protocol::ALL {
            all.push(begun(&weir, protocol, length).await);
        }
        let client = weir.client(Protocol::H3).await;
        let mut events = client.get("/events").await;
        assert_eq!(events.chunk().await.unwrap().unwrap(), "event 0\n");
        left.push(upgrade(&mut weir).await.0);
        downloads.release();
        let event = within("an event", events.chunk()).await.unwrap().unwrap();
        assert_eq!(event, "event 1\n", "upgrade {number}");
        drop((events, client));
        let all: Vec<_> = all.into_iter().map(|download| spawn(finish(download))).collect();
        for download in all {
            assert_eq!(download.await.unwrap(), length, "upgrade {number}");
        }
        load.go_on().await;
        if number == 0 {
            memory = weir.memory();
        }
    }
    let after = weir.memory();
    for pid in left {
        processes::ended(pid).await;
    }
    load.go_on().await;
    load.stop(upgrades).await.nothing_lost(&origin);
    assert!(after < memory + memory / 5 + (16 << 20), "{} KiB, then {}", memory >> 10, after >> 10);
}

/// Opens new connections all the time, each with some exchanges of every kind; one exchange is
/// given up.
async fn load(weir: &crate::support::Weir, length: Duration) -> usize {
    let address = weir.address();
    let end = Instant::now() + length;
    let mut clients = Vec::new();
    for protocol in Protocol::ALL.into_iter().cycle().take(6) {
        clients.push(spawn(async move {
            let mut exchanges = 0;
            while Instant::now() < end {
                let client = Client::connect(address, protocol).await;
                for _ in 0..20 {
                    assert_eq!(client.get("/bytes/1000").await.count().await.unwrap(), 1000);
                    let mut echo = client.post("/echo", Body::repeat(50_000)).await;
                    assert_eq!(echo.count().await.unwrap(), 50_000);
                    exchanges += 2;
                }
                let request = Request::get("/endless").body(Body::empty()).unwrap();
                let mut endless = client.try_send(request).await.unwrap();
                endless.chunk().await.unwrap().unwrap();
            }
            exchanges
        }));
    }
    let mut exchanges = 0;
    for client in clients {
        exchanges += client.await.unwrap();
    }
    exchanges
}
