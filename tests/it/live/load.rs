//! Reloads under load: no request fails, no connection closes, and each change takes the next
//! request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Request;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::certificates::Pair;
use super::{Live, TOKEN, ask, replace, until_closed};
use crate::support::tools::builtin;
use crate::support::{Body, Client, Origin, Protocol, Setup, spawn, until};

/// The parts of the configuration that this test changes.
struct Parts {
    body: u64,
    endpoint: SocketAddr,
    header_count: u64,
    filters: &'static str,
    second: bool,
    tag: u64,
    /// Whether there is another upstream, with a route of its own.
    extra: bool,
    /// The folder of the certificate.
    folder: TempDir,
}

impl Parts {
    fn yaml(&self) -> String {
        let Self { body, endpoint, header_count, filters, second, tag, extra, folder } = self;
        let second = if *second {
            "  - { address: \"127.0.0.1:0\", tls: { self_signed: {} } }\n"
        } else {
            ""
        };
        let (upstream, route) = if *extra {
            let endpoints = format!("endpoints: [{{ address: \"{endpoint}\" }}]");
            (
                format!("  - {{ name: extra, {endpoints} }}\n"),
                "  - { name: extra, match: { path: /extra/* }, upstream: extra }\n",
            )
        } else {
            (String::new(), "")
        };
        let folder = folder.path().display();
        format!(
            "listeners:\n  - address: \"127.0.0.1:0\"\n    tls:\n      \
             certificates: [{{ cert: \"{folder}/cert.pem\", key: \"{folder}/key.pem\" }}]\n    \
             limits: {{ header_count: {header_count} }}\n{second}\
             plugins:\n  - name: tag\n    source: \"file:{}\"\n    \
             config: {{ response: {{ set: {{ x-tag: \"{tag}\" }} }} }}\n\
             upstreams:\n  - {{ name: app, endpoints: [{{ address: \"{endpoint}\" }}] }}\n{upstream}\
             routes:\n{route}  - name: fixed\n    match: {{ path: /fixed }}\n    \
             respond: {{ body: \"{body}\" }}\n  \
             - {{ name: all, filters: [{filters}], upstream: app }}\n\
             telemetry: {{ metrics: {{ address: \"127.0.0.1:0\" }}, log: {{ access: false }} }}\n\
             admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\nworkers: 2\n",
            builtin("headers").display()
        )
    }
}

/// Clients that send requests without pause.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Client>>,
}

impl Load {
    async fn start(live: &Live) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for protocol in Protocol::ALL.into_iter().cycle().take(6) {
            let client = live.weir.client(protocol).await;
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tasks.push(spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (status, body) = ask(&client, "/who").await;
                    assert_eq!(status, 200, "{protocol:?}");
                    assert!(body == "a" || body == "b", "{protocol:?}: {body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                client
            }));
        }
        Self { stop, answered, tasks }
    }

    /// Waits until the clients have had some more responses.
    async fn goes_on(&self) {
        let seen = self.answered.load(Ordering::Relaxed);
        let more = async || (self.answered.load(Ordering::Relaxed) >= seen + 12).then_some(());
        until("responses under load", more).await;
    }

    /// Ends the requests, and returns the number of responses.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let client = task.await.unwrap();
            assert_eq!(ask(&client, "/who").await.0, 200);
            assert!(!client.is_closed());
        }
        self.answered.load(Ordering::Relaxed)
    }
}

/// Makes Weir read its file: by the API, a command, a signal, or the file itself as a body. If only
/// files beside it have changed, the revision stays.
async fn apply(live: &mut Live, text: &str, number: u64, is_same: bool) {
    if number.is_multiple_of(4) || is_same {
        live.put(text).await.ok();
        return;
    }
    let before = live.revision().await;
    replace(&live.file, text);
    match number % 4 {
        1 => drop(live.reload().await.ok()),
        2 => {
            let (code, _, errors) = live.command(&["reload"]).await;
            assert_eq!(code, 0, "{errors}");
        }
        _ => {
            live.weir.signal("HUP");
            let newer = async || (live.revision().await > before).then_some(());
            until("a reload by a signal", newer).await;
        }
    }
}

/// The kinds of changes, and the one of them that touches the second listener.
const KINDS: u64 = 8;
const SECOND: u64 = 4;

impl Parts {
    /// Makes a change of a kind.
    fn change(&mut self, kind: u64, number: u64, endpoints: [SocketAddr; 2]) {
        match kind {
            0 => self.body = number + 1,
            1 => self.endpoint = endpoints[usize::from(self.endpoint == endpoints[0])],
            2 => self.header_count = if self.header_count == 64 { 20 } else { 64 },
            3 => self.filters = if self.filters.is_empty() { "tag" } else { "" },
            SECOND => self.second = !self.second,
            5 => self.tag = number,
            6 => self.extra = !self.extra,
            _ => Pair::new(90 + i64::try_from(number).unwrap()).write(self.folder.path()),
        }
    }
}

/// Makes 40 reloads, or 2,000 in a soak: the first half has one change each, the second half three.
#[tokio::test]
async fn reloads_under_load_fail_no_request_and_close_no_connection() {
    let is_long = std::env::var_os("WEIR_SOAK_SECONDS").is_some();
    let (reloads, window) = if is_long { (2000, 200) } else { (40, 10) };
    let [a, b] = Origin::several::<2>().await;
    let endpoints = [a.address(), b.address()];
    let mut parts = Parts {
        body: 0,
        endpoint: endpoints[0],
        header_count: 64,
        filters: "tag",
        second: false,
        tag: 0,
        extra: false,
        folder: tempfile::tempdir().unwrap(),
    };
    Pair::new(90).write(parts.folder.path());
    let mut live = Live::start_with(&parts.yaml()).await;
    let load = Load::start(&live).await;
    let clients = live.clients().await;
    let (mut second, mut memory) = (Vec::new(), Vec::new());
    for number in 0..reloads {
        let is_mixed = number >= reloads / 2;
        let kinds = if is_mixed { [0, 3, 5] } else { [0; 3] }.map(|more| (number + more) % KINDS);
        let kinds = if is_mixed { &kinds[..] } else { &kinds[..1] };
        for kind in kinds {
            parts.change(*kind, number, endpoints);
        }
        apply(&mut live, &parts.yaml(), number, kinds == [KINDS - 1]).await;
        for (protocol, client) in &clients {
            let is_first = parts.endpoint == endpoints[0];
            shows(client, &parts, is_first, &format!("{number} {protocol:?}")).await;
        }
        if kinds.contains(&SECOND) {
            for client in second.drain(..) {
                until_closed(&client).await;
            }
            if parts.second {
                second = clients_of_second(&live).await;
            }
        }
        load.goes_on().await;
        memory.push(live.weir.memory());
    }
    for client in &second {
        assert_eq!(ask(client, "/fixed").await.1, parts.body.to_string());
    }
    assert!(clients.iter().all(|(_, client)| !client.is_closed()));
    let answered = load.end().await;
    // Generations of the plugin come and go, so the memory rises and falls by a tenth, and the
    // history fills. The lowest point of many reloads tells whether it grows after that.
    let lowest = |from: usize| memory[from..from + window].iter().min().copied().unwrap_or(0);
    let (before, after) = (lowest(memory.len() / 2), lowest(memory.len() - window));
    println!(
        "{reloads} reloads, {answered} requests; memory {} KiB, {} KiB at the end, {} KiB at most",
        before >> 10,
        after >> 10,
        memory.iter().max().copied().unwrap_or(0) >> 10
    );
    assert!(!is_long || after < before + before / 20, "the memory grows");
    let failed = live.weir.metric("weir_config_reloads_total", &["result=\"failed\""]).await;
    assert_eq!(failed, 0.0);
}

/// Checks that a kept connection shows each part of the configuration.
async fn shows(client: &Client, parts: &Parts, is_first: bool, what: &str) {
    assert_eq!(ask(client, "/fixed").await, (200, parts.body.to_string()), "{what}");
    let answer = client.get("/who").await;
    let tag = if parts.filters.is_empty() { String::new() } else { parts.tag.to_string() };
    assert_eq!(answer.header("x-tag"), tag, "{what}");
    assert_eq!(answer.text().await, if is_first { "a" } else { "b" }, "{what}");
    let mut request = Request::get("/fixed");
    for number in 0..30 {
        request = request.header(format!("x-field-{number}"), "1");
    }
    let status = client.send(request.body(Body::empty()).unwrap()).await.status;
    assert_eq!(status, if parts.header_count > 30 { 200 } else { 431 }, "{what}");
    assert!(!client.is_closed(), "{what}");
}

/// A client of each protocol at the second listener.
async fn clients_of_second(live: &Live) -> Vec<Client> {
    let status = live.get("/api/status").await;
    let address = status["listeners"][1]["address"].as_str().unwrap().parse().unwrap();
    let mut clients = Vec::new();
    for protocol in Protocol::ALL {
        let client = Client::connect(address, protocol).await;
        assert_eq!(ask(&client, "/who").await.0, 200, "{protocol:?}");
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn a_reload_that_changes_nothing_keeps_the_revision() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let applied = live.reload().await.ok();
    assert_eq!(applied["revision"], 1);
    assert_eq!(applied["changes"].as_array().unwrap().len(), 0, "{applied}");
    let (code, told, errors) = live.command(&["reload"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(told.starts_with("nothing changes\nrevision 1 serves"), "{told}");
}
