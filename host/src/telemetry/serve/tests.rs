use std::cell::RefCell;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use tokio::net::TcpStream;

use super::*;

/// Sends each request on its own connection and returns the answers.
fn ask(requests: &[&str]) -> Vec<String> {
    ask_at("127.0.0.1:0", requests)
}

/// Does the same as [`ask`] with a listener at `address`, which it reaches by a loopback address.
fn ask_at(address: &str, requests: &[&str]) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    runtime.unwrap().block_on(async {
        let tasks = Tasks::new(CancellationToken::new(), CancellationToken::new());
        let config = MetricsEndpoint { address: address.parse().unwrap(), path: "/metrics".into() };
        let listener = std::net::TcpListener::bind(config.address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let bound = Bound::tcp(listener).unwrap();
        serve_metrics(bound, &config, Arc::new(Metrics::new()), &tasks).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let answers = RefCell::new(Vec::new());
        for request in requests {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // The server closes the connection after one answer.
            stream.read_to_string(&mut answer).await.unwrap();
            answers.borrow_mut().push(answer);
        }
        answers.into_inner()
    })
}

#[test]
fn metrics_are_text_at_their_path() {
    let answers = ask(&["GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n"]);
    let (head, body) = answers[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("\nquic_connections_active 0\n"), "{body}");
    assert!(body.contains(concat!(
        "weir_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1"
    )));
}

#[test]
fn other_methods_and_paths_are_refused() {
    let answers = ask(&[
        "HEAD /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
        "GET /other HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "nonsense\r\n\r\n",
    ]);
    assert!(answers[0].starts_with("HTTP/1.1 200") && answers[0].ends_with("\r\n\r\n"));
    assert!(answers[1].starts_with("HTTP/1.1 405") && answers[1].contains("allow: GET, HEAD"));
    assert!(answers[2].starts_with("HTTP/1.1 404"));
    assert!(answers[3].starts_with("HTTP/1.1 200") && answers[3].contains("/metrics"));
    assert!(answers[4].starts_with("HTTP/1.1 400"));
}

#[test]
fn metrics_on_a_loopback_address_are_not_for_foreign_names() {
    let answers = ask(&[
        "GET /metrics HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        "GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:19090\r\n\r\n",
        "GET /metrics HTTP/1.0\r\n\r\n",
    ]);
    for (answer, status) in answers.iter().zip(["403", "400", "403", "200", "200"]) {
        assert_eq!(answer.get(9..12), Some(status), "{answer}");
        assert_eq!(answer.contains("quic_connections_active"), status == "200", "{answer}");
    }
}

#[test]
fn metrics_for_the_network_have_any_name_and_are_for_no_page() {
    let answers = ask_at(
        "0.0.0.0:0",
        &[
            "GET /metrics HTTP/1.1\r\nhost: weir.example:9090\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nhost: weir.example\r\norigin: http://weir.example\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nhost: weir.example\r\nsec-fetch-site: cross-site\r\n\r\n",
        ],
    );
    for (answer, status) in answers.iter().zip(["200", "403", "403"]) {
        assert_eq!(answer.get(9..12), Some(status), "{answer}");
        assert_eq!(answer.contains("quic_connections_active"), status == "200", "{answer}");
    }
}
