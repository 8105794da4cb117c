//! The stream of events.

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::standin::{READ, Standin, with};
use super::{ask, documents, get};
use crate::admin::api::events::STREAMS;
use crate::config::ControlAddress;
use crate::telemetry::events::{Event, KEPT};

/// A client that follows the events.
struct Reader(BufReader<TcpStream>);

/// A message of the stream.
#[derive(Debug, Default, PartialEq)]
struct Message {
    id: String,
    kind: String,
    data: Value,
}

impl Reader {
    async fn open(api: &Standin, last: Option<&str>) -> Self {
        let ControlAddress::Tcp(address) = &api.address else { panic!("no port") };
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {READ}\r\n{last}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reader = Self(BufReader::new(stream));
        // The opening shows that the subscription is there.
        while !reader.line().await.starts_with("retry:") {}
        reader
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    async fn next(&mut self) -> Message {
        let mut message = Message::default();
        loop {
            let line = self.line().await;
            if let Some(id) = line.strip_prefix("id: ") {
                message.id = id.to_owned();
            } else if let Some(kind) = line.strip_prefix("event: ") {
                message.kind = kind.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                message.data = serde_json::from_str(data).unwrap();
            } else if line.is_empty() && !message.kind.is_empty() {
                return message;
            }
        }
    }
}

fn emit(api: &Standin, number: u64) {
    api.events.emit(Event { kind: "health", data: json!({ "number": number, "text": "a\nb" }) });
}

#[test]
fn events_come_as_they_happen_and_again_after_the_last_id() {
    with(async |api| {
        emit(&api, 1);
        let mut reader = Reader::open(&api, None).await;
        emit(&api, 2);
        emit(&api, 3);
        let second = reader.next().await;
        assert_eq!((second.kind.as_str(), &second.data["data"]["number"]), ("health", &json!(2)));
        assert_eq!(second.data["data"]["text"], "a\nb");
        assert!(second.data["at"].as_f64().unwrap() > 0.0);
        let third = reader.next().await;
        drop(reader);
        emit(&api, 4);
        let mut again = Reader::open(&api, Some(&second.id)).await;
        assert_eq!(again.next().await, third);
        assert_eq!(again.next().await.data["data"]["number"], 4);
    });
}

#[test]
fn a_client_that_misses_events_is_told_so() {
    with(async |api| {
        let mut reader = Reader::open(&api, None).await;
        emit(&api, 0);
        let first = reader.next().await;
        drop(reader);
        for number in 0..=KEPT as u64 {
            emit(&api, number);
        }
        let mut late = Reader::open(&api, Some(&first.id)).await;
        let overflow = late.next().await;
        assert_eq!((overflow.kind.as_str(), &overflow.data), ("overflow", &json!({ "lost": 1 })));
        assert_eq!(late.next().await.data["data"]["number"], 1);
        let mut stranger = Reader::open(&api, Some("of-another-process")).await;
        assert_eq!(stranger.next().await.data, json!({ "lost": null }));
    });
}

#[test]
fn few_clients_follow_at_once() {
    with(async |api| {
        let mut readers = Vec::new();
        for _ in 0..STREAMS {
            readers.push(Reader::open(&api, None).await);
        }
        let path = (Method::GET, "/api/events");
        let refused = ask(&api, Some(READ), path, &[], "").await;
        assert_eq!(refused.status, 503);
        documents::is_problem(&refused);
        assert_eq!(get(&api, "/api/status").await.status, 200);
        drop(readers.pop());
        // The server sees the end of the connection in its own time.
        while get(&api, "/api/events").await.status != 200 {
            tokio::task::yield_now().await;
        }
        emit(&api, 1);
        for mut reader in readers {
            assert_eq!(reader.next().await.data["data"]["number"], 1);
        }
    });
}
