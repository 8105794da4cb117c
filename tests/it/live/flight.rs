//! Requests in flight during a reload: each ends where it began.

use super::{Live, ask};
use crate::support::{Client, Origin, Protocol, Setup};

const ROUTES: &str = "  - { name: all, upstream: app }";

#[tokio::test]
async fn a_request_ends_at_its_endpoint_after_this_has_left() {
    let [a, b] = Origin::several::<2>().await;
    for protocol in Protocol::ALL {
        let live = Live::start(Setup::to([&a])).await;
        let (client, waiting) = (live.weir.client(protocol).await, a.requests());
        let reload = async {
            a.until_requests(waiting + 1).await;
            live.change(&a.address().to_string(), &b.address().to_string()).await;
            let other = live.weir.client(protocol).await;
            assert_eq!(ask(&other, "/who").await, (200, "b".to_owned()), "{protocol:?}");
            a.release();
        };
        let (held, ()) = tokio::join!(ask(&client, "/hold"), reload);
        assert_eq!(held, (200, "a".to_owned()), "{protocol:?}");
        assert_eq!(ask(&client, "/who").await, (200, "b".to_owned()), "{protocol:?}");
        assert!(!client.is_closed(), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_request_ends_at_its_upstream_after_this_was_removed() {
    let [a, b] = Origin::several::<2>().await;
    for protocol in Protocol::ALL {
        let (old, other) = (a.address(), b.address());
        let setup = Setup::to([&b]).routes("  - { name: all, upstream: old }");
        let old = format!("  - {{ name: old, endpoints: [{{ address: \"{old}\" }}] }}\n");
        let live = Live::start(setup.upstream_after(&old)).await;
        let (client, waiting) = (live.weir.client(protocol).await, a.requests());
        let without = super::replaced(&live.with(&old, ""), "upstream: old", "upstream: app");
        let reload = async {
            a.until_requests(waiting + 1).await;
            live.put(&without).await.ok();
            let newcomer = live.weir.client(protocol).await;
            assert_eq!(ask(&newcomer, "/who").await, (200, "b".to_owned()), "{protocol:?}");
            let listed = live.get("/api/upstreams").await;
            assert_eq!(listed["upstreams"].as_array().unwrap().len(), 1, "{listed}");
            a.release();
        };
        let (held, ()) = tokio::join!(ask(&client, "/hold"), reload);
        assert_eq!(held, (200, "a".to_owned()), "{protocol:?}: {other}");
        assert_eq!(ask(&client, "/who").await, (200, "b".to_owned()), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_body_ends_whole_after_its_route_was_removed() {
    let origin = Origin::start().await;
    for protocol in Protocol::ALL {
        let live = Live::start(Setup::to([&origin])).await;
        let client = live.weir.client(protocol).await;
        let mut answer = client.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first", "{protocol:?}");
        live.change(ROUTES, "  - { name: new, respond: { status: 404 } }").await;
        assert_eq!(status(&live, protocol).await, 404);
        origin.release();
        assert_eq!(answer.text().await, "last", "{protocol:?}");
        assert_eq!(ask(&client, "/who").await.0, 404, "{protocol:?}");
    }
}

async fn status(live: &Live, protocol: Protocol) -> u16 {
    let client: Client = live.weir.client(protocol).await;
    ask(&client, "/who").await.0
}
