//! TLS toward origins: verification, names, the own certificate, the protocol that an origin
//! chooses, and files that change.

use std::path::Path;
use std::process::Command;

use crate::support::origin::AUTHORITY;
use crate::support::tools::try_output;
use crate::support::weir::WEIR;
use crate::support::{Origin, Protocol, Setup, Speaks, tls::Certificate, until};

fn setup(origin: &Origin, tls: &str) -> Setup {
    Setup::addresses([origin.address()]).upstream(&format!("tls: {{ {tls} }}"))
}

fn ca() -> String {
    format!("ca: {}", AUTHORITY.cert())
}

#[tokio::test]
async fn only_a_certificate_of_the_right_authority_and_name_is_accepted() {
    for speaks in [Speaks::H1Tls, Speaks::H2] {
        let origin = Origin::speaking(speaks).await;
        let other = Certificate::new();
        let (ca, other) = (ca(), format!("ca: {}", other.cert()));
        for (tls, expected) in [
            (ca.clone(), 200),
            (format!("{ca}, server_name: localhost"), 200),
            (format!("{ca}, server_name: other.example"), 502),
            (other, 502),
            // Nobody has signed the origin's certificate.
            (String::new(), 502),
            ("verify: false".to_owned(), 200),
        ] {
            let mut weir = setup(&origin, &tls).start().await;
            for protocol in Protocol::ALL {
                let status = weir.get(protocol, "/who").await.0;
                assert_eq!(status, expected, "{speaks:?} {protocol:?} {tls}");
                let error = weir.record().await["error"].clone();
                let is_told =
                    if expected == 200 { error.is_null() } else { error == "upstream/tls" };
                assert!(is_told, "{error}");
            }
        }
    }
}

#[tokio::test]
async fn verification_is_not_switched_off_silently() {
    let origin = Origin::speaking(Speaks::H1Tls).await;
    let setup = setup(&origin, "verify: false");
    let mut check = Command::new(WEIR);
    check.args(["check", "-c"]).arg(setup.write(([127, 0, 0, 1], 0).into()));
    let output = try_output(check).await;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("certificates are not verified"), "{text}");
}

#[tokio::test]
async fn an_origin_that_asks_for_a_certificate_gets_it() {
    let own = Certificate::new();
    let origin = Origin::asking(Speaks::H2, &own).await;
    let (cert, key) = (own.cert(), own.key());
    let weir = setup(&origin, &format!("{}, cert: {cert}, key: {key}", ca())).start().await;
    assert_eq!(weir.get(Protocol::H3, "/who").await, (200, "origin".to_owned()));
    let without = setup(&origin, &ca()).start().await;
    assert_eq!(without.get(Protocol::H3, "/who").await.0, 502);
}

#[tokio::test]
async fn the_protocol_is_the_one_that_both_have() {
    for (speaks, protocol, expected) in [
        (Speaks::H1Tls, "auto", Some("1.1 weir")),
        (Speaks::H1Tls, "h1", Some("1.1 weir")),
        (Speaks::H1Tls, "h2", None),
        (Speaks::H2, "auto", Some("2 weir")),
        (Speaks::H2, "h1", Some("1.1 weir")),
        (Speaks::H2, "h2", Some("2 weir")),
    ] {
        let origin = Origin::speaking(speaks).await;
        let setup = setup(&origin, &ca()).upstream(&format!("protocol: {protocol}"));
        let weir = setup.workers(1).start().await;
        for _ in 0..3 {
            let answer = weir.client(Protocol::H1).await.get("/who").await;
            let expected_status = if expected.is_some() { 200 } else { 502 };
            assert_eq!(answer.status, expected_status, "{speaks:?} {protocol}");
            if let Some(via) = expected {
                assert_eq!(answer.header("via"), via, "{speaks:?} {protocol}");
            }
        }
        if expected.is_some() {
            assert_eq!(origin.connections(), 1, "{speaks:?} {protocol}");
        }
    }
}

#[tokio::test]
async fn probes_use_the_protocol_and_the_tls_of_the_upstream() {
    for speaks in Speaks::ALL {
        let origin = Origin::speaking(speaks).await;
        let health =
            "health: { path: /health, interval: 20ms, healthy_after: 1, unhealthy_after: 1 }";
        let weir = Setup::to([&origin]).upstream(health).start().await;
        for healthy in [false, true] {
            origin.set_healthy(healthy);
            let expected = f64::from(u8::from(healthy));
            weir.until_metric("backend_health_status", &[], |value| value == expected).await;
        }
        assert!(origin.probes() > 0, "{speaks:?}");
        assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200, "{speaks:?}");
    }
}

#[tokio::test]
async fn replaced_files_serve_the_next_connection() {
    let origin = Origin::speaking(Speaks::H2).await;
    let setup = Setup::addresses([origin.address()]).upstream("tls: { ca: ca.pem }");
    let file = setup.directory().join("ca.pem");
    let put = |from: &str, to: &Path| {
        std::fs::copy(from, to.with_extension("new")).unwrap();
        std::fs::rename(to.with_extension("new"), to).unwrap();
    };
    let other = Certificate::new();
    put(&other.cert(), &file);
    let mut weir = setup.start().await;
    assert_eq!(weir.get(Protocol::H1, "/who").await.0, 502);
    put(&AUTHORITY.cert(), &file);
    weir.logged("the TLS files of an upstream were reloaded").await;
    let is_served = async || (weir.get(Protocol::H1, "/who").await.0 == 200).then_some(());
    until("an accepted certificate", is_served).await;
    // Files that cannot be used change nothing.
    let broken = file.with_extension("new");
    std::fs::write(&broken, "no certificate").unwrap();
    std::fs::rename(&broken, &file).unwrap();
    let refused = "changed TLS files of an upstream were refused; the ones before stay in use";
    weir.logged(refused).await;
    assert_eq!(weir.get(Protocol::H1, "/who").await.0, 200);
}
