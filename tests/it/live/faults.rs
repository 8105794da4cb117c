//! A configuration with a fault changes nothing, and is told everywhere.

use super::Live;
use crate::support::{Origin, Protocol, Setup};

/// Two faults: an unknown key, and a route to an unknown upstream.
const FAULTY: &str = "  - { name: all, upstream: nowhere }";

#[tokio::test]
async fn a_file_with_a_fault_is_refused_with_its_place() {
    let origin = Origin::start().await;
    let mut live = Live::start(Setup::to([&origin])).await;
    let (clients, tag) = (live.clients().await, live.get("/api/status").await);
    live.edit("  - { name: all, upstream: app }", FAULTY);
    let reply = live.reload().await;
    assert_eq!(reply.status, 422, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    let problem = reply.json();
    assert_eq!((&problem["status"], &problem["type"]), (&422.into(), &"about:blank".into()));
    let errors = problem["errors"].as_array().unwrap();
    let line = 1 + live.text().lines().position(|line| line == FAULTY).unwrap();
    let column = 1 + FAULTY.find("nowhere").unwrap();
    assert_eq!(errors.len(), 1, "{problem}");
    assert_eq!(errors[0]["file"], live.file.display().to_string(), "{problem}");
    assert_eq!((&errors[0]["line"], &errors[0]["column"]), (&line.into(), &column.into()));
    assert!(errors[0]["message"].as_str().unwrap().contains("nowhere"), "{problem}");
    let event = live.weir.logged("the configuration was refused; Weir serves as before").await;
    assert!(event["error"].to_string().contains("nowhere"), "{event}");
    let status = live.get("/api/status").await;
    assert_eq!(status["configuration"], tag["configuration"]);
    assert!(status["refused"]["reason"].as_str().unwrap().contains("nowhere"), "{status}");
    for (protocol, client) in &clients {
        assert_eq!(super::ask(client, "/who").await, (200, "origin".to_owned()), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_command_tells_a_fault_by_its_exit_code_and_a_good_file_clears_it() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let place = format!("{}:", live.file.display());
    live.edit("upstream: app", "upstream: nowhere");
    let (code, told, errors) = live.command(&["reload"]).await;
    assert_eq!(code, 78, "{told}{errors}");
    assert!(errors.contains(&place) && errors.contains("nowhere"), "{errors}");
    let (code, told, _) = live.command(&["status"]).await;
    let refused = told.lines().find(|line| line.starts_with("refused")).unwrap_or_default();
    assert!(code == 0 && refused.contains("nowhere") && refused.contains(&place), "{told}");
    let failed = live.weir.metric("weir_config_reloads_total", &["result=\"failed\""]).await;
    assert!(failed >= 1.0, "{failed}");
    live.edit("upstream: nowhere", "upstream: app");
    let (code, _, errors) = live.command(&["reload"]).await;
    assert_eq!(code, 0, "{errors}");
    let (_, told, _) = live.command(&["status"]).await;
    assert!(!told.contains("refused"), "{told}");
    assert!(live.get("/api/status").await["refused"].is_null());
    assert!(live.weir.metric("weir_config_reloads_total", &["result=\"ok\""]).await >= 1.0);
}

#[tokio::test]
async fn a_body_with_a_fault_is_refused_with_its_place() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let faulty = [
        ("workers: 2", "workers: [2"),
        ("workers: 2", "workers: many"),
        ("workers: 2", "wokers: 2"),
        ("{ name: all, upstream: app }", "{ name: all, filters: [nobody], upstream: app }"),
        ("self_signed: {}", "certificates: [{ cert: nobody.pem, key: nobody.key }]"),
    ];
    for (count, (from, to)) in faulty.into_iter().enumerate() {
        let reply = live.put(&live.with(from, to)).await;
        assert_eq!(reply.status, 422, "{to}: {reply:?}");
        let error = &reply.json()["errors"][0];
        assert_eq!(error["file"], "admin API", "{to}: {reply:?}");
        assert!(error["line"].as_u64() > Some(0), "{to}: {reply:?}");
        let failed = live.weir.metric("weir_config_reloads_total", &["result=\"failed\""]).await;
        assert_eq!(failed, count as f64 + 1.0, "{to}");
        assert_eq!(live.weir.get(Protocol::H3, "/who").await.0, 200, "{to}");
    }
    assert_eq!(live.revision().await, 1);
}

#[tokio::test]
async fn a_watched_file_with_a_fault_is_refused_and_then_mended() {
    let origin = Origin::start().await;
    let mut live = Live::start(Setup::to([&origin])).await;
    live.edit("upstream: app", "upstream: nowhere");
    let event = live.weir.logged("the configuration was refused; Weir serves as before").await;
    assert_eq!(event["origin"], "file", "{event}");
    assert_eq!(live.weir.get(Protocol::H2, "/who").await.0, 200);
    live.edit("{ name: all, upstream: nowhere }", "{ name: all, respond: { body: mended } }");
    let event = live.weir.logged("the configuration was reloaded").await;
    assert_eq!(event["origin"], "file", "{event}");
    assert_eq!(live.weir.get(Protocol::H2, "/who").await.1, "mended");
    assert!(live.get("/api/status").await["refused"].is_null());
}
