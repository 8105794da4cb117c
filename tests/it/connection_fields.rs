//! Fields that `Connection` names end here, at any place in the message and from any sender (RFC
//! 9110 §7.6.1).

use http::Request;

use crate::support::raw_h1::RawH1;
use crate::support::{Body, Origin, Protocol, RawOrigin, Setup, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_client_s_trailer_that_its_head_names_stays_behind() {
    let origin = RawOrigin::answering(OK).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nTrailer: x-mine, x-sum\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Mine: secret\r\nX-Sum: 7\r\n\r\n";
    // The origin answers at once, and an answer before the end of the upload cuts it short.
    let whole = until("a whole upload", async || {
        let reply = RawH1::exchange(&weir, request).await;
        assert_eq!(reply.status(), 200, "{reply:?}");
        origin.text().contains("x-sum: 7\r\n").then_some(())
    });
    whole.await;
    assert!(!origin.text().contains("secret"), "{}", origin.text());
}

#[tokio::test]
async fn what_connection_names_within_trailers_goes_with_it() {
    let origin = RawOrigin::answering(OK).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: x-mine\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nConnection: x-mine\r\nX-Mine: secret\r\nX-Sum: 7\r\n\r\n";
    // The origin answers at once, and an answer before the end of the upload cuts it short.
    let whole = until("a whole upload", async || {
        let reply = RawH1::exchange(&weir, request).await;
        assert_eq!(reply.status(), 200, "{reply:?}");
        origin.text().contains("x-sum: 7\r\n").then_some(())
    });
    whole.await;
    assert!(!origin.text().contains("secret"), "{}", origin.text());
}

#[tokio::test]
async fn an_origin_s_trailer_that_its_head_names_stays_behind() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-mine\r\nTrailer: x-mine, x-sum\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Mine: secret\r\nX-Sum: 7\r\n\r\n";
    let origin = RawOrigin::answering(answer).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        let request = Request::get("/").header("te", "trailers").body(Body::empty()).unwrap();
        let mut answer = weir.client(protocol).await.send(request).await;
        assert_eq!(answer.bytes().await.unwrap(), "ok", "{protocol:?}");
        let trailers = answer.trailers();
        assert_eq!(trailers["x-sum"], "7", "{protocol:?}");
        assert!(!trailers.contains_key("x-mine"), "{protocol:?}: {trailers:?}");
    }
}

#[tokio::test]
async fn connection_fields_of_a_fetched_answer_reach_neither_origin_nor_client() {
    let fields = "Connection: keep-alive, x-user, x-secret\r\nKeep-Alive: timeout=5\r\nX-User: root\r\n\
        X-Secret: 1\r\nX-Team: a\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::start().await;
    for (status, reaches) in [("200 OK", true), ("401 Unauthorized", false)] {
        let auth = RawOrigin::answering(&format!("HTTP/1.1 {status}\r\n{fields}")).await;
        let plugin = "plugins: [{ name: a, source: builtin:forward-auth, config: { upstream: auth, path: /, \
            copy: [x-user, x-team] }, allow: { upstreams: [auth] } }]";
        let upstream =
            format!("  - {{ name: auth, endpoints: [{{ address: \"{}\" }}] }}\n", auth.address());
        let weir = Setup::to([&origin])
            .top(plugin)
            .routes("  - { name: all, filters: [a], upstream: app }")
            .upstream_after(&upstream)
            .start()
            .await;
        for protocol in Protocol::ALL {
            let before = origin.requests();
            let answer = weir.client(protocol).await.get("/who").await;
            for name in ["keep-alive", "x-user", "x-secret", "upgrade"] {
                assert_eq!(answer.header(name), "", "{protocol:?} {status}: {name}");
            }
            assert_eq!(origin.requests() > before, reaches, "{protocol:?} {status}");
            if reaches {
                let head = origin.head();
                assert_eq!(head.header("x-team"), "a", "{protocol:?}");
                assert_eq!(head.header("x-user") + &head.header("keep-alive"), "", "{protocol:?}");
            }
        }
    }
}
