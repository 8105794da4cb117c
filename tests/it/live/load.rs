//! Reloads under load: no request fails, no connection closes, and each change takes the next
//! request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Request;
use tokio::task::JoinHandle;

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
}

impl Parts {
    fn yaml(&self) -> String {
        let Self { body, endpoint, header_count, filters, second, tag } = self;
        let second = if *second {
            "  - { address: \"127.0.0.1:0\", tls: { self_signed: {} } }\n"
        } else {
            ""
        };
        format!(
            "listeners:\n  - address: \"127.0.0.1:0\"\n    tls: {{ self_signed: {{}} }}\n    \
             limits: {{ header_count: {header_count} }}\n{second}\
             plugins:\n  - name: tag\n    source: \"file:{}\"\n    \
             config: {{ response: {{ set: {{ x-tag: \"{tag}\" }} }} }}\n\
             upstreams:\n  - {{ name: app, endpoints: [{{ address: \"{endpoint}\" }}] }}\n\
             routes:\n  - name: fixed\n    match: {{ path: /fixed }}\n    \
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

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let client = task.await.unwrap();
            assert_eq!(ask(&client, "/who").await.0, 200);
            assert!(!client.is_closed());
        }
    }
}

/// Makes Weir read its file: by the API, a command, a signal, or the file itself as a body.
async fn apply(live: &mut Live, text: &str, number: u64) {
    if number.is_multiple_of(4) {
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

#[tokio::test]
async fn thirty_reloads_under_load_fail_no_request_and_close_no_connection() {
    let [a, b] = Origin::several::<2>().await;
    let (first, header_count) = (a.address(), 64);
    let mut parts =
        Parts { body: 0, endpoint: first, header_count, filters: "tag", second: false, tag: 0 };
    let mut live = Live::start_with(&parts.yaml()).await;
    let load = Load::start(&live).await;
    let clients = live.clients().await;
    let mut second = Vec::new();
    for number in 0..30_u64 {
        let round = number / 6;
        match number % 6 {
            0 => parts.body = number + 1,
            1 => parts.endpoint = if round % 2 == 0 { b.address() } else { first },
            2 => parts.header_count = if round % 2 == 0 { 20 } else { 64 },
            3 => parts.filters = if round % 2 == 0 { "" } else { "tag" },
            4 => parts.second = round % 2 == 0,
            _ => parts.tag = number,
        }
        apply(&mut live, &parts.yaml(), number).await;
        for (protocol, client) in &clients {
            shows(client, &parts, parts.endpoint == first, &format!("{number} {protocol:?}")).await;
        }
        if number % 6 == 4 {
            for client in second.drain(..) {
                until_closed(&client).await;
            }
            if parts.second {
                second = clients_of_second(&live).await;
            }
        }
        load.goes_on().await;
    }
    for client in &second {
        assert_eq!(ask(client, "/fixed").await.1, parts.body.to_string());
    }
    assert!(clients.iter().all(|(_, client)| !client.is_closed()));
    load.end().await;
    let reloads = live.weir.metric("weir_config_reloads_total", &["result=\"ok\""]).await;
    assert!(reloads >= 30.0, "{reloads}");
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
