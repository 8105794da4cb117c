//! Many reloads: they leave nothing behind, and orders at once do not mix.

use super::{Live, ask, replaced};
use crate::support::tools::builtin;
use crate::support::{Origin, Setup, until};

const ROUTES: &str = "  - { name: all, filters: [tag], upstream: app }";

async fn start(origins: &[Origin]) -> Live {
    let plugin = format!(
        "plugins:\n  - name: tag\n    source: \"file:{}\"\n    \
         config: {{ response: {{ set: {{ x-tag: first }} }} }}",
        builtin("headers").display()
    );
    let health = "health: { path: /health, interval: 100ms }";
    let setup = Setup::to(&origins[..1]).upstream(health).top(&plugin).routes(ROUTES);
    Live::start(setup).await
}

#[tokio::test]
async fn many_reloads_leave_nothing_behind() {
    let origins = Origin::several::<2>().await;
    let live = start(&origins).await;
    let clients = live.clients().await;
    let first = live.text();
    let second =
        replaced(&first, &origins[0].address().to_string(), &origins[1].address().to_string());
    let second = replaced(&second, "x-tag: first", "x-tag: second");
    let second = replaced(&second, "name: all", "name: other");
    let listener = "  - { address: \"127.0.0.1:0\", tls: { self_signed: {} } }\nupstreams:\n";
    let second = replaced(&second, "upstreams:\n", listener);
    // Trials, probes and connections come and go: some numbers vary by a few.
    let mut before = None;
    for turn in 0..60 {
        for (text, name) in [(&second, "b"), (&first, "a")] {
            live.put(text).await.ok();
            for (protocol, client) in &clients {
                assert_eq!(ask(client, "/who").await, (200, name.to_owned()), "{protocol:?}");
            }
        }
        if turn == 9 {
            before = Some(Left::of(&live).await);
        }
    }
    let before = before.unwrap();
    let settles = async || {
        let now = Left::of(&live).await;
        (now.files <= before.files + 6.0 && now.series <= before.series + 8).then_some(now)
    };
    let after = until(format!("no more than {before:?}"), settles).await;
    assert!(after.memory < before.memory + (24 << 20), "{before:?} {after:?}");
    let history = live.get("/api/config/history").await;
    assert_eq!(history["revisions"].as_array().unwrap().len(), 16);
    assert_eq!(history["revisions"][0]["revision"], 121);
}

/// The parts of a process that a leak would make grow.
#[derive(Debug)]
struct Left {
    files: f64,
    series: usize,
    memory: u64,
}

impl Left {
    async fn of(live: &Live) -> Self {
        let files = live.weir.metric("process_open_fds", &[]).await;
        let series =
            live.weir.metrics().await.lines().filter(|line| !line.starts_with('#')).count();
        Self { files, series, memory: live.weir.memory() }
    }
}

#[tokio::test]
async fn orders_at_once_are_carried_out_one_after_another() {
    let origins = Origin::several::<1>().await;
    let live = start(&origins).await;
    let texts: Vec<_> =
        (0..12).map(|n| live.with("x-tag: first", &format!("x-tag: \"{n}\""))).collect();
    let replies = futures_util::future::join_all(texts.iter().map(|text| live.put(text))).await;
    let mut revisions: Vec<_> =
        replies.into_iter().map(|reply| reply.ok()["revision"].as_u64().unwrap()).collect();
    let last = revisions.iter().position(|revision| *revision == 13).unwrap();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..14).collect::<Vec<_>>());
    for (protocol, client) in &live.clients().await {
        assert_eq!(client.get("/who").await.header("x-tag"), last.to_string(), "{protocol:?}");
    }
}

#[tokio::test]
async fn of_two_clients_with_one_tag_the_second_changes_nothing() {
    let origins = Origin::several::<1>().await;
    let live = start(&origins).await;
    let tag = live.send("GET", "/api/config", "").await.header("etag");
    let fields = [("if-match", tag.as_str())];
    let texts: Vec<_> =
        (0..6).map(|n| live.with("x-tag: first", &format!("x-tag: \"{n}\""))).collect();
    let put = |text: &String| live.send_with("PUT", "/api/config", &fields, text.clone());
    let replies = futures_util::future::join_all(texts.iter().map(put)).await;
    let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412]);
    assert_eq!(live.revision().await, 2);
}
