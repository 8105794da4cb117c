//! Another configuration over the admin API: conditions, trials, history, secrets, and a Unix
//! socket.

use super::{Live, TOKEN, ask, command, replaced};
use crate::support::weir::free_address;
use crate::support::{Origin, Protocol, Setup, until};

const ROUTE: &str = "{ name: all, upstream: app }";

/// The route with an answer of its own.
fn answering(body: &str) -> String {
    format!("{{ name: all, respond: {{ body: {body} }} }}")
}

async fn answers(live: &Live) -> String {
    live.weir.get(Protocol::H3, "/who").await.1
}

#[tokio::test]
async fn a_client_that_was_too_slow_changes_nothing() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let tag = live.send("GET", "/api/config", "").await.header("etag");
    let text = live.with(ROUTE, &answering("first"));
    let fields = [("if-match", tag.as_str())];
    let first = live.send_with("PUT", "/api/config", &fields, text).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_ne!(first.header("etag"), tag);
    let text = live.with(ROUTE, &answering("second"));
    let late = live.send_with("PUT", "/api/config", &fields, text.clone()).await;
    assert_eq!(late.status, 412, "{late:?}");
    assert_eq!(late.header("content-type"), "application/problem+json");
    assert_eq!((answers(&live).await.as_str(), live.revision().await), ("first", 2));
    let tag = live.send("GET", "/api/config", "").await.header("etag");
    assert_eq!(tag, first.header("etag"));
    live.send_with("PUT", "/api/config", &[("if-match", &tag)], text).await.ok();
    assert_eq!(answers(&live).await, "second");
}

#[tokio::test]
async fn a_dry_run_tells_the_changes_and_makes_none() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let text = replaced(&live.with(ROUTE, &answering("never")), "workers: 2", "workers: 4");
    let told = live.send("PUT", "/api/config?dry_run=true", text.clone()).await.ok();
    let paths: Vec<_> = told["changes"].as_array().unwrap().iter().map(|c| &c["path"]).collect();
    assert_eq!(paths, ["routes[all].respond", "routes[all].upstream", "workers"], "{told}");
    assert_eq!(told["needs_restart"], serde_json::json!(["workers"]), "{told}");
    assert_eq!(told["revision"], 1, "{told}");
    assert_eq!(answers(&live).await, "origin");
    assert_eq!(live.get("/api/config/history").await["revisions"].as_array().unwrap().len(), 1);
    let file = live.file.with_file_name("other.yaml");
    std::fs::write(&file, &text).unwrap();
    let (code, told, errors) = live.command(&["config", "diff", file.to_str().unwrap()]).await;
    assert!(code == 0 && told.contains("~ workers: 2 -> 4"), "{told}{errors}");
    let wrong = live.with(ROUTE, "{ name: all, upstream: nowhere }");
    assert_eq!(live.send("PUT", "/api/config?dry_run=true", wrong).await.status, 422);
    assert_eq!(live.weir.metric("weir_config_reloads_total", &["result=\"failed\""]).await, 0.0);
    assert_eq!(live.revision().await, 1);
}

#[tokio::test]
async fn earlier_configurations_are_kept_and_come_back() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    for body in ["two", "three"] {
        live.put(&live.with(ROUTE, &answering(body))).await.ok();
    }
    let history = live.get("/api/config/history").await;
    let revisions = history["revisions"].as_array().unwrap();
    let told: Vec<_> =
        revisions.iter().map(|r| (r["revision"].as_u64(), r["origin"].as_str())).collect();
    let wanted = [(3, "api"), (2, "api"), (1, "start")].map(|(n, origin)| (Some(n), Some(origin)));
    assert_eq!(told, wanted, "{history}");
    let applied = live.send("POST", "/api/config/rollback", "").await.ok();
    assert_eq!(applied["revision"], 4, "{applied}");
    assert_eq!(applied["tag"], revisions[1]["tag"], "{applied}");
    assert_eq!(answers(&live).await, "two");
    let (code, _, errors) = live.command(&["rollback", "1"]).await;
    assert_eq!(code, 0, "{errors}");
    assert_eq!(answers(&live).await, "origin");
    let status = live.get("/api/status").await;
    assert_eq!(status["configuration"]["origin"], "rollback", "{status}");
    let reply = live.send("POST", "/api/config/rollback?revision=99", "").await;
    assert_eq!(reply.status, 404, "{reply:?}");
}

#[tokio::test]
async fn without_an_earlier_configuration_there_is_no_way_back() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let reply = live.send("POST", "/api/config/rollback", "").await;
    assert_eq!(reply.status, 409, "{reply:?}");
}

#[tokio::test]
async fn a_masked_secret_survives_the_way_there_and_back() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    for format in ["json", "yaml"] {
        let path = format!("/api/config?format={format}");
        let shown = live.send("GET", &path, "").await;
        assert!(shown.text.contains("<secret>") && !shown.text.contains(TOKEN), "{shown:?}");
        let changed = shown.text.replace("app", format);
        assert_ne!(changed, shown.text);
        let applied = live.put(&changed).await;
        assert!(!applied.text.contains(TOKEN), "{applied:?}");
        applied.ok();
        // The token is still the right one.
        assert_eq!(live.get("/api/upstreams").await["upstreams"][0]["name"], format);
        assert_eq!(answers(&live).await, "origin");
        live.put(&live.text()).await.ok();
    }
    assert!(!live.weir.printed().contains(TOKEN));
    let moved = live
        .text()
        .replace(TOKEN, "other")
        .replace("token: other", "tokens: [{ token: <secret>, role: write }]");
    let reply = live.put(&moved).await;
    assert_eq!(reply.status, 409, "a mask without a secret: {reply:?}");
}

#[tokio::test]
async fn a_changed_token_takes_the_next_request() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let tokens =
        format!("tokens: [{{ token: {TOKEN}, role: read }}, {{ token: other, role: write }}]");
    live.change(&format!("token: {TOKEN}"), &tokens).await;
    assert_eq!(live.send("GET", "/api/status", "").await.status, 200);
    assert_eq!(live.reload().await.status, 403);
    let (code, _, errors) = live.command(&["reload", "--token", "other"]).await;
    assert_eq!(code, 0, "{errors}");
}

#[tokio::test]
async fn commands_reach_a_unix_socket() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    let socket = setup.directory().join("admin.sock");
    let admin = format!("admin: {{ address: \"unix:{}\", token: {TOKEN} }}", socket.display());
    let (file, address) =
        (setup.directory().join("weir.yaml"), format!("unix:{}", socket.display()));
    let mut weir = setup.top(&admin).start().await;
    let (code, told, errors) = command(&address, &["status"]).await;
    assert!(code == 0 && told.contains("revision 1 from start"), "{told}{errors}");
    let (code, told, errors) = command(&address, &["reload"]).await;
    assert!(code == 0 && told.contains("revision 1 serves"), "{told}{errors}");
    let (code, told, _) = command("127.0.0.1:9", &["status", "-c", file.to_str().unwrap()]).await;
    assert!(code == 0 && told.contains("127.0.0.1:"), "{told}");
    let (code, told, errors) = command(&address, &["drain"]).await;
    assert!(code == 0 && told == "it drains\n", "{told}{errors}");
    assert!(weir.exit().await.success());
    until("the end of the socket", async || (!socket.exists()).then_some(())).await;
}

#[tokio::test]
async fn the_state_of_the_process_is_shown() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let clients = live.clients().await;
    let status = live.get("/api/status").await;
    assert_eq!((&status["workers"], &status["draining"]), (&2.into(), &false.into()), "{status}");
    let listener = &status["listeners"][0];
    assert_eq!(listener["address"], live.weir.address().to_string(), "{status}");
    assert_eq!(listener["protocols"], serde_json::json!(["h3", "h2", "h1"]), "{status}");
    let connections = live.get("/api/connections").await;
    assert_eq!(connections["total"], clients.len(), "{connections}");
    let second =
        format!("  - {{ address: \"{}\", protocols: [h1] }}\nupstreams:\n", free_address());
    live.put(&live.with("upstreams:\n", &second)).await.ok();
    let listeners = live.get("/api/status").await["listeners"].clone();
    assert_eq!((&listeners[1]["tls"], &listeners[1]["connections"]), (&false.into(), &0.into()));
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
    }
}
