//! Endpoints from a file that changes.

use super::{Live, ask, replace};
use crate::support::{Client, Origin, Protocol, Setup, until};

const UPSTREAM: &str = "  - { name: found, file: endpoints.yaml }\n";
const ROUTES: &str = "  - { name: all, upstream: found }";

/// Starts with a file that names the endpoints of the first origin.
async fn start(origins: &[Origin]) -> (Live, Client) {
    let setup = Setup::to(origins).upstream_after(UPSTREAM).routes(ROUTES);
    std::fs::write(setup.directory().join("endpoints.yaml"), list(&origins[..1])).unwrap();
    let live = Live::start(setup).await;
    let client = live.weir.client(Protocol::H3).await;
    (live, client)
}

fn list(origins: &[Origin]) -> String {
    let item = |origin: &Origin| format!("- address: \"{}\"\n", origin.address());
    origins.iter().map(item).collect()
}

fn write(live: &Live, text: &str) {
    replace(&live.file.with_file_name("endpoints.yaml"), text);
}

#[tokio::test]
async fn a_changed_list_moves_requests_without_a_reload() {
    let origins = Origin::several::<2>().await;
    let (mut live, client) = start(&origins).await;
    assert_eq!(ask(&client, "/who").await, (200, "a".to_owned()));
    let upstream = live.get("/api/upstreams/found").await;
    assert_eq!(upstream["origin"], "discovery", "{upstream}");
    write(&live, &list(&origins[1..]));
    let event = live.weir.logged("endpoints changed").await;
    assert_eq!((&event["upstream"], &event["endpoints"]), (&"found".into(), &1.into()));
    let has_moved = async || (ask(&client, "/who").await.1 == "b").then_some(());
    until("the other endpoint", has_moved).await;
    assert_eq!(ask(&client, "/who").await, (200, "b".to_owned()));
    write(&live, &list(&origins));
    live.weir.logged("endpoints changed").await;
    let names = [ask(&client, "/who").await.1, ask(&client, "/who").await.1];
    assert!(names[0] != names[1], "{names:?}");
    assert_eq!(live.revision().await, 1);
}

#[tokio::test]
async fn an_empty_or_broken_list_keeps_the_last_one_over_a_reload() {
    let origins = Origin::several::<2>().await;
    let (mut live, client) = start(&origins).await;
    write(&live, &list(&origins[1..]));
    live.weir.logged("endpoints changed").await;
    for wrong in ["- address: nowhere\n", "[]\n"] {
        write(&live, wrong);
        live.weir.logged("cannot follow all endpoints; those that are known stay").await;
        assert_eq!(ask(&client, "/who").await, (200, "b".to_owned()), "{wrong}");
    }
    let more = format!("{ROUTES}\n  - {{ name: more, upstream: found }}");
    live.put(&live.with(ROUTES, &more)).await.ok();
    assert_eq!(ask(&client, "/who").await, (200, "b".to_owned()));
    write(&live, &list(&origins[..1]));
    live.weir.logged("endpoints changed").await;
    let has_moved = async || (ask(&client, "/who").await.1 == "a").then_some(());
    until("the other endpoint", has_moved).await;
}
