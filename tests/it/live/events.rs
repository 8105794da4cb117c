//! The stream of events of the admin API.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Live, TOKEN};
use crate::support::tools::builtin;
use crate::support::{Origin, Setup, within};

/// A client of the stream.
struct Events {
    stream: TcpStream,
    /// The bytes that were not used yet.
    text: String,
}

/// One message.
#[derive(Debug)]
struct Message {
    id: String,
    kind: String,
    data: Value,
}

impl Events {
    async fn follow(live: &Live, last: &str) -> Self {
        let mut stream = TcpStream::connect(live.weir.admin_address()).await.unwrap();
        // A response to HTTP/1.0 comes without chunks.
        let head = format!(
            "GET /api/events HTTP/1.0\r\nhost: localhost\r\n\
             authorization: Bearer {TOKEN}\r\n{last}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut events = Self { stream, text: String::new() };
        let head = events.until("\r\n\r\n").await;
        assert!(head.contains(" 200 ") && head.contains("text/event-stream"), "{head}");
        // The first lines show that the stream has begun.
        let opening = events.until("\n\n").await;
        assert!(opening.starts_with(':'), "{opening}");
        events
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some((before, after)) = self.text.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.text = after;
                return before;
            }
            let mut bytes = [0; 4096];
            let read = within("an event", self.stream.read(&mut bytes)).await.unwrap();
            assert!(read > 0, "the stream has ended after {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    /// The next message of a kind.
    async fn next(&mut self, kind: &str) -> Message {
        loop {
            let text = self.until("\n\n").await;
            let line = |key: &str| {
                text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned()
            };
            if line("event: ") == kind {
                let data: Value = serde_json::from_str(&line("data: ")).unwrap();
                assert!(data["at"].as_f64() > Some(1e9), "{data}");
                return Message {
                    id: line("id: "),
                    kind: kind.to_owned(),
                    data: data["data"].clone(),
                };
            }
        }
    }
}

#[tokio::test]
async fn events_tell_reloads_and_refusals() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let mut events = Events::follow(&live, "").await;
    live.put(&live.with("grace: 10s", "grace: 11s")).await.ok();
    let first = events.next("reload").await;
    assert_eq!(first.data, json!({ "origin": "api", "result": "ok", "revision": 2 }));
    assert_eq!(live.put(&live.with("grace: 10s", "grace: soon")).await.status, 422);
    let second = events.next("reload").await;
    assert_eq!(second.data["result"], "failed", "{second:?}");
    assert!(second.data["reason"].as_str().unwrap().contains("grace"), "{second:?}");
    // A client that was away gets the events since.
    let last = format!("last-event-id: {}\r\n", first.id);
    let missed = Events::follow(&live, &last).await.next("reload").await;
    assert_eq!((missed.id, missed.kind), (second.id, second.kind));
}

#[tokio::test]
async fn events_tell_the_health_of_endpoints() {
    let origin = Origin::start().await;
    let health = "health: { path: /health, interval: 20ms, unhealthy_after: 2 }";
    let live = Live::start(Setup::to([&origin]).upstream(health)).await;
    let mut events = Events::follow(&live, "").await;
    for healthy in [false, true] {
        origin.set_healthy(healthy);
        let event = events.next("health").await;
        let endpoint = origin.address().to_string();
        let data = json!({ "upstream": "app", "endpoint": endpoint, "healthy": healthy });
        assert_eq!(event.data, data);
    }
}

#[tokio::test]
async fn events_tell_swaps_of_plugins() {
    let origin = Origin::start().await;
    let file = builtin("security-headers");
    let plugin = format!("plugins: [{{ name: v, source: \"file:{}\" }}]", file.display());
    let routes = "  - { name: all, filters: [v], upstream: app }";
    let live = Live::start(Setup::to([&origin]).top(&plugin).routes(routes)).await;
    let mut events = Events::follow(&live, "").await;
    live.send("PUT", "/api/plugins/v?for=1s", std::fs::read(file).unwrap()).await.ok();
    let trial = events.next("trial").await;
    assert_eq!((&trial.data["plugin"], &trial.data["generation"]), (&"v".into(), &2.into()));
    let swap = events.next("swap").await;
    assert_eq!(swap.data["plugin"], "v", "{swap:?}");
    assert_eq!(swap.data["outcome"], "promoted", "{swap:?}");
}
