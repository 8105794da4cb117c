//! Text files that begin with a byte order mark, as some editors write them.

use http::Request;

use crate::support::tls::Certificate;
use crate::support::{Body, Origin, Protocol, Weir};

const MARK: &str = "\u{feff}";

#[tokio::test]
async fn a_byte_order_mark_loses_no_user_and_spoils_no_certificate() {
    let origin = Origin::start().await;
    let certificate = Certificate::new();
    for file in [certificate.cert(), certificate.key()] {
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{MARK}{text}")).unwrap();
    }
    let weir = Weir::example("basic-auth", &[&origin], |yaml, folder| {
        let users = "users:\n        # htpasswd -nbB -C 10 ann \"open sesame\"\n        ann: ";
        let (before, rest) = yaml.split_once(users).expect("the user of the example");
        let (hash, after) = rest.split_once('\n').unwrap();
        let user = format!("{MARK}ann:{}\n", hash.trim_matches('"'));
        std::fs::write(folder.join("htpasswd"), user).unwrap();
        let yaml = format!("{MARK}{before}htpasswd: file:htpasswd\n{after}");
        // In an unoptimised build beside other tests, a hash takes longer than in production.
        yaml.replace("time: 150ms", "time: 1s")
            .replace("tls: { self_signed: {} }", &certificate.config())
    })
    .await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        assert_eq!(client.get("/admin/").await.status, 401, "{protocol:?}");
        // ann:open sesame
        let request = Request::get("/admin/").header("authorization", "Basic YW5uOm9wZW4gc2VzYW1l");
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert_eq!(origin.head().header("x-user"), "ann");
    }
}
