//! Certificates whose files change while connections are open.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::{Live, ask, replace};
use crate::support::{Origin, Setup, Weir, client, tls, until};

const TLS: &str = "tls: { certificates: [{ cert: cert.pem, key: key.pem }] }";

/// A certificate for `localhost`, and its key.
pub(super) struct Pair {
    cert: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    pub(super) fn new(days: i64) -> Self {
        let seconds = Duration::from_secs(days.unsigned_abs() * 86_400);
        let now = SystemTime::now();
        let end = if days < 0 { now - seconds } else { now + seconds };
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = end.into();
        let cert = params.self_signed(&key).unwrap();
        Self { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().clone() }
    }

    /// Puts both files in place of others.
    pub(super) fn write(&self, folder: &Path) {
        replace(&folder.join("cert.pem"), &self.cert);
        replace(&folder.join("key.pem"), &self.key);
    }
}

async fn start(origin: &Origin, pair: &Pair) -> Live {
    let setup = Setup::to([origin]).tls(TLS);
    pair.write(setup.directory());
    Live::start(setup).await
}

impl Live {
    fn folder(&self) -> &Path {
        self.file.parent().unwrap()
    }
}

/// The certificates of a new handshake over TCP, and of one over QUIC.
async fn presented(weir: &Weir) -> [CertificateDer<'static>; 2] {
    let stream = tls::connect(weir.address(), &[b"h2"]).await.unwrap();
    let tcp = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let (_endpoint, connection) = client::quic(weir.address()).await.unwrap();
    let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>();
    [tcp, chain.unwrap()[0].clone()]
}

/// Waits until new handshakes meet this certificate.
async fn until_presented(weir: &Weir, pair: &Pair) {
    let both = [pair.der.clone(), pair.der.clone()];
    until("the certificate", async || (presented(weir).await == both).then_some(())).await;
    assert_eq!(presented(weir).await, both);
}

#[tokio::test]
async fn new_handshakes_meet_a_replaced_certificate_and_open_connections_go_on() {
    let origin = Origin::start().await;
    let (first, second) = (Pair::new(90), Pair::new(40));
    let mut live = start(&origin, &first).await;
    let clients = live.clients().await;
    assert_eq!(presented(&live.weir).await, [first.der.clone(), first.der.clone()]);
    let days = live.weir.metric("weir_certificate_days_left", &[]).await;
    assert!((89.0..=90.0).contains(&days), "{days}");
    second.write(live.folder());
    live.weir.logged("certificates were reloaded").await;
    until_presented(&live.weir, &second).await;
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
        assert!(!client.is_closed(), "{protocol:?}");
    }
    live.weir.until_metric("weir_certificate_days_left", &[], |days| days <= 40.0).await;
    let reloads = live.weir.metric("weir_certificate_reloads_total", &["result=\"ok\""]).await;
    assert_eq!(reloads, 1.0);
    assert_eq!(live.revision().await, 1, "the configuration is the same");
}

#[tokio::test]
async fn a_reload_takes_replaced_certificates_at_once() {
    let origin = Origin::start().await;
    let (first, second) = (Pair::new(90), Pair::new(40));
    let live = start(&origin, &first).await;
    second.write(live.folder());
    live.reload().await.ok();
    assert_eq!(presented(&live.weir).await, [second.der.clone(), second.der.clone()]);
    let certificates = live.get("/api/certificates").await;
    let shown = &certificates["certificates"][0];
    assert_eq!(shown["names"], serde_json::json!(["localhost"]), "{certificates}");
    assert!(shown["error"].is_null(), "{certificates}");
}

#[tokio::test]
async fn sessions_are_resumed_after_a_certificate_was_replaced() {
    let origin = Origin::start().await;
    let live = start(&origin, &Pair::new(90)).await;
    let config = Arc::new(tls::config(&[b"http/1.1"]));
    assert_eq!(handshake(&live.weir, &config).await, HandshakeKind::Full);
    assert_eq!(handshake(&live.weir, &config).await, HandshakeKind::Resumed);
    Pair::new(40).write(live.folder());
    live.reload().await.ok();
    assert_eq!(handshake(&live.weir, &config).await, HandshakeKind::Resumed);
}

/// Sends a request over a new connection, which brings tickets, and returns its kind.
async fn handshake(weir: &Weir, config: &Arc<ClientConfig>) -> HandshakeKind {
    let stream = tokio::net::TcpStream::connect(weir.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
    let request = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_the_certificate_until_they_are_mended() {
    let origin = Origin::start().await;
    let (good, other, expired) = (Pair::new(90), Pair::new(40), Pair::new(-3));
    let mut live = start(&origin, &good).await;
    let wrong: [(&str, &str, &str); 3] = [
        (&good.cert, &other.key, "key"),
        (&expired.cert, &expired.key, "expired"),
        ("no certificate", &good.key, "cert.pem"),
    ];
    for (cert, key, reason) in wrong {
        replace(&live.folder().join("key.pem"), key);
        replace(&live.folder().join("cert.pem"), cert);
        let refused = "changed certificates were refused; the ones before stay in use";
        let event = live.weir.logged(refused).await;
        assert_eq!(event["address"], live.weir.address().to_string(), "{event}");
        assert_eq!(presented(&live.weir).await, [good.der.clone(), good.der.clone()], "{reason}");
        let has_reason = async || {
            let error = live.get("/api/certificates").await["certificates"][0]["error"].clone();
            error.as_str().is_some_and(|error| error.contains(reason)).then_some(())
        };
        until(format!("the reason with {reason}"), has_reason).await;
        // A reload of the configuration, refused or not, changes nothing of that.
        live.reload().await;
        assert_eq!(presented(&live.weir).await[0], good.der, "{reason}");
    }
    let failed = live.weir.metric("weir_certificate_reloads_total", &["result=\"failed\""]).await;
    assert!(failed >= 3.0, "{failed}");
    let days = live.weir.metric("weir_certificate_days_left", &[]).await;
    assert!((89.0..=90.0).contains(&days), "{days}");
    other.write(live.folder());
    live.weir.logged("certificates were reloaded").await;
    until_presented(&live.weir, &other).await;
}

#[tokio::test]
async fn a_new_source_of_certificates_must_be_usable() {
    let origin = Origin::start().await;
    let good = Pair::new(90);
    let live = start(&origin, &good).await;
    std::fs::write(live.folder().join("other.pem"), &Pair::new(40).key).unwrap();
    let reply = live.put(&live.with("key: key.pem", "key: other.pem")).await;
    assert_eq!(reply.status, 422, "{reply:?}");
    let problem = reply.json();
    let line = 1 + live.text().lines().position(|line| line.contains("key: key.pem")).unwrap();
    assert_eq!(problem["errors"][0]["line"], line, "{problem}");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("listeners[0].tls"));
    assert_eq!(presented(&live.weir).await, [good.der.clone(), good.der.clone()]);
}
