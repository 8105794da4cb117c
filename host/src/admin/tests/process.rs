//! Configurations, endpoints and the process.

use http::Method;
use serde_json::json;

use super::standin::{Standin, TAG, WRITE, with};
use super::{Reply, ask, documents, get, write};

async fn put(api: &Standin, query: &str, fields: &[(&str, &str)], text: &str) -> Reply {
    let path = format!("/api/config{query}");
    ask(api, Some(WRITE), (Method::PUT, &path), fields, text.to_owned()).await
}

#[test]
fn the_state_is_told_with_what_was_refused() {
    with(async |api| {
        let status = get(&api, "/api/status").await.json();
        assert_eq!(status["pid"], std::process::id());
        assert_eq!(
            status["configuration"],
            json!({ "revision": 2, "tag": TAG, "origin": "file", "at": 0.0 })
        );
        assert_eq!(status["refused"]["reason"], "weir.yaml:1:2: unknown key");
        assert_eq!(status["counts"]["routes"], 2);
        assert_eq!(status["counts"]["available_endpoints"], 1);
        assert_eq!(status["upgrade"]["state"], "failed");
        assert!(status["uptime_seconds"].as_f64().unwrap() >= 60.0);
        let routes = get(&api, "/api/routes").await.json();
        assert_eq!(routes["routes"][0]["headers"], json!(["x-key"]));
        assert_eq!(
            (&routes["routes"][1]["action"], &routes["routes"][1]["target"]),
            (&json!("upstream"), &json!("app"))
        );
        assert_eq!(get(&api, "/api/connections").await.json()["total"], 4);
        let history = get(&api, "/api/config/history").await.json();
        assert_eq!(
            (&history["revisions"][0]["revision"], &history["revisions"][1]["origin"]),
            (&json!(2), &json!("start"))
        );
    });
}

#[test]
fn a_configuration_is_put_under_its_tag() {
    with(async |api| {
        let shown = get(&api, "/api/config").await;
        let tag = shown.header("etag").to_owned();
        assert_eq!(tag, format!("\"{TAG}\""));
        let yaml = get(&api, "/api/config?format=yaml").await;
        assert_eq!(
            (yaml.header("content-type"), yaml.header("etag")),
            ("application/yaml", tag.as_str())
        );
        let done = put(&api, "", &[("if-match", tag.as_str())], "{}").await;
        assert_eq!((done.status, done.header("etag")), (200, "\"77aa\""));
        assert_eq!(
            done.json()["changes"][0],
            json!({ "path": "workers", "before": 1, "after": 2 })
        );
        let expected =
            format!("Put {{ text: \"{{}}\", if_match: Some(\"{TAG}\"), is_dry_run: false }}");
        assert_eq!(api.seen(), [expected]);
        let late = put(&api, "", &[("if-match", "\"0000\"")], "{}").await;
        assert_eq!(late.status, 412);
        assert!(late.json()["detail"].as_str().unwrap().contains(TAG));
        documents::is_problem(&late);
        assert_eq!(api.seen().len(), 1, "nothing was ordered");
        assert_eq!(put(&api, "?dry_run=true", &[("if-match", "*")], "{}").await.status, 200);
        let expected = "Put { text: \"{}\", if_match: None, is_dry_run: true }";
        assert_eq!(api.seen().last().unwrap(), expected);
    });
}

#[test]
fn a_configuration_with_faults_is_refused_with_their_places() {
    with(async |api| {
        let refused = put(&api, "", &[], "broken").await;
        assert_eq!(refused.status, 422);
        documents::is_problem(&refused);
        let problem = refused.json();
        let first = &problem["errors"][0];
        assert_eq!(
            (&first["file"], &first["line"], &first["column"]),
            (&json!("api"), &json!(1), &json!(12))
        );
        assert_eq!(
            problem["errors"].as_array().unwrap().len(),
            problem["detail"].as_str().unwrap().lines().count()
        );
        assert_eq!(put(&api, "", &[], "not now").await.status, 409);
        let large = "x".repeat(crate::config::MAX_BYTES + 1);
        assert_eq!(put(&api, "", &[], &large).await.status, 413);
        let path = (Method::PUT, "/api/config");
        let binary = ask(&api, Some(WRITE), path, &[], vec![0xff]).await;
        assert_eq!(binary.status, 400);
        assert_eq!(put(&api, "?dry_run=maybe", &[], "{}").await.status, 400);
    });
}

#[test]
fn orders_that_fail_have_their_status() {
    with(async |api| {
        for (revision, status) in
            [("2", 200), ("1", 409), ("7", 404), ("8", 503), ("9", 500), ("x", 400), ("-1", 400)]
        {
            let path = format!("/api/config/rollback?revision={revision}");
            let reply = write(&api, Method::POST, &path, "").await;
            assert_eq!(reply.status, status, "{revision}");
            if status == 503 {
                assert_eq!(reply.header("retry-after"), "1");
            }
        }
        assert_eq!(write(&api, Method::POST, "/api/config/rollback", "").await.status, 200);
        assert_eq!(api.seen().last().unwrap(), "Rollback { revision: None }");
        let drained = write(&api, Method::POST, "/api/drain", "").await;
        assert_eq!((drained.status, drained.json()), (202, json!({ "accepted": "drain" })));
        assert_eq!(write(&api, Method::POST, "/api/upgrade", "").await.status, 202);
        assert_eq!(api.seen()[api.seen().len() - 2..], ["Drain", "Upgrade"]);
    });
}

#[test]
fn endpoints_are_set_changed_and_reset() {
    with(async |api| {
        let list = "/api/upstreams/app/endpoints";
        let body = r#"{"endpoints": [{"address": "localhost:81", "zone": "b"}, {"address": "[::1]:82", "weight": 5}]}"#;
        let set = write(&api, Method::PUT, list, body).await;
        assert_eq!(set.status, 200, "{}", set.text());
        let endpoints = set.json()["endpoints"].clone();
        assert_eq!(
            (&endpoints[0]["endpoint"], &endpoints[0]["address"]),
            (&json!("localhost:81"), &json!("127.0.0.1:81"))
        );
        assert_eq!((&endpoints[0]["weight"], &endpoints[0]["zone"]), (&json!(1), &json!("b")));
        assert_eq!(endpoints[1]["weight"], 5);
        let one = format!("{list}/%5B::1%5D:82");
        let patched = write(&api, Method::PATCH, &one, r#"{"drain": true}"#).await.json();
        assert_eq!(
            (&patched["endpoints"][1]["drain"], &patched["endpoints"][1]["weight"]),
            (&json!(true), &json!(5))
        );
        let patched =
            write(&api, Method::PATCH, &one, r#"{"drain": false, "weight": 0}"#).await.json();
        assert_eq!(
            (&patched["endpoints"][1]["drain"], &patched["endpoints"][1]["weight"]),
            (&json!(false), &json!(0))
        );
        let reset = write(&api, Method::DELETE, list, "").await.json();
        assert_eq!(reset["endpoints"][0]["endpoint"], "127.0.0.1:8080");
    });
}

#[test]
fn endpoints_that_cannot_serve_are_refused_and_change_nothing() {
    with(async |api| {
        let list = "/api/upstreams/app/endpoints";
        for (body, status) in [
            ("", 400),
            ("{}", 400),
            (r#"{"endpoints": [{"address": "a:1", "colour": 1}]}"#, 400),
            (r#"{"endpoints": []}"#, 422),
            (r#"{"endpoints": [{"address": "127.0.0.1:1", "weight": 0}]}"#, 422),
            (r#"{"endpoints": [{"address": "127.0.0.1:1", "weight": 65537}]}"#, 422),
            (r#"{"endpoints": [{"address": "127.0.0.1:1"}, {"address": "127.0.0.1:1"}]}"#, 422),
            (r#"{"endpoints": [{"address": "http://127.0.0.1:1"}]}"#, 422),
        ] {
            let refused = write(&api, Method::PUT, list, body).await;
            assert_eq!(refused.status, status, "{body}");
            documents::is_problem(&refused);
        }
        let one = format!("{list}/127.0.0.1:8080");
        for (path, body, status) in [
            (one.as_str(), "{}", 400),
            (one.as_str(), r#"{"weight": -1}"#, 400),
            (one.as_str(), r#"{"weight": 65537}"#, 422),
            ("/api/upstreams/app/endpoints/nobody:1", r#"{"drain": true}"#, 404),
        ] {
            assert_eq!(write(&api, Method::PATCH, path, body).await.status, status, "{body}");
        }
        let elsewhere = "/api/upstreams/nobody/endpoints";
        let body = r#"{"endpoints": [{"address": "127.0.0.1:1"}]}"#;
        assert_eq!(write(&api, Method::PUT, elsewhere, body).await.status, 404);
        assert_eq!(write(&api, Method::DELETE, elsewhere, "").await.status, 404);
        let upstream = get(&api, "/api/upstreams/app").await.json();
        assert_eq!(upstream["endpoints"][0]["endpoint"], "127.0.0.1:8080");
        assert_eq!(upstream["endpoints"][0]["drain"], false);
    });
}
