//! The whole API over real sockets, with a stand-in for the process.

mod client;
mod documents;
mod process;
mod standin;
mod streams;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::routes::ROUTES;
use crate::config::{ControlAddress, Role};
use standin::{READ, Standin, WRITE, with, with_unix};

/// An answer of the API.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Sends one request with a token, further fields and a body.
async fn ask(
    api: &Standin,
    token: Option<&str>,
    (method, path): (Method, &str),
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = match &api.address {
        ControlAddress::Tcp(address) => {
            let io = TcpStream::connect(address).await.unwrap();
            api.exchange(hyper_util::rt::TokioIo::new(io), request).await
        }
        ControlAddress::Unix(path) => {
            let io = UnixStream::connect(path).await.unwrap();
            api.exchange(hyper_util::rt::TokioIo::new(io), request).await
        }
    };
    let (head, body) = response.into_parts();
    let is_stream = head.headers.get("content-type").is_some_and(|t| t == "text/event-stream");
    let body = if is_stream { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

async fn get(api: &Standin, path: &str) -> Reply {
    ask(api, Some(READ), (Method::GET, path), &[], "").await
}

async fn write(api: &Standin, method: Method, path: &str, body: &str) -> Reply {
    ask(api, Some(WRITE), (method, path), &[], body.to_owned()).await
}

/// Returns the path of an operation with the names of the stand-in.
fn path(template: &str) -> String {
    let name = if template.contains("plugins") { "headers" } else { "app" };
    template.replace("{name}", name).replace("{address}", "127.0.0.1:8080")
}

/// Returns a body that the operation takes.
fn body(method: &Method, template: &str) -> Vec<u8> {
    match (method.as_str(), template) {
        ("PUT", "/api/config") => b"listeners: []".to_vec(),
        ("PUT", "/api/upstreams/{name}/endpoints") => {
            json!({ "endpoints": [{ "address": "127.0.0.1:9000", "weight": 2 }] })
                .to_string()
                .into()
        }
        ("PATCH", _) => json!({ "drain": true, "weight": 3 }).to_string().into(),
        ("PUT", "/api/plugins/{name}") => {
            crate::builtin::component("security-headers").unwrap().to_vec()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_operation_demands_a_token_and_its_role() {
    with(async |api| {
        for operation in ROUTES {
            let path = path(operation.path);
            let asked = || (operation.method.clone(), path.as_str());
            let none = ask(&api, None, asked(), &[], "").await;
            assert_eq!(none.status, 401, "{path}");
            assert!(none.header("www-authenticate").starts_with("Bearer"), "{path}");
            if operation.role == Role::Write {
                let refused = ask(&api, Some(READ), asked(), &[], "").await;
                assert_eq!(refused.status, 403, "{path}");
                assert!(refused.json()["detail"].as_str().unwrap().contains("read"));
            }
        }
        assert_eq!(
            ask(&api, Some("guess"), (Method::GET, "/api/status"), &[], "").await.status,
            401
        );
        assert!(api.seen().is_empty(), "a refused request reaches nothing: {:?}", api.seen());
    });
}

#[test]
fn every_operation_is_answered_as_its_description_says() {
    with(async |api| {
        for operation in ROUTES {
            let path = path(operation.path);
            let body = body(&operation.method, operation.path);
            let token = if operation.role == Role::Read { READ } else { WRITE };
            let reply =
                ask(&api, Some(token), (operation.method.clone(), path.as_str()), &[], body).await;
            // The stand-in's plugin has no generation before, once its trial is rolled back.
            assert_eq!(reply.status, operation.success.status, "{path}: {}", reply.text());
            documents::is_described(operation, &reply);
        }
    });
}

#[test]
fn another_method_is_told_the_allowed_ones() {
    with(async |api| {
        for operation in ROUTES {
            let path = path(operation.path);
            let refused = write(&api, Method::OPTIONS, &path, "").await;
            assert_eq!(refused.status, 405, "{path}");
            let allowed: Vec<&str> = refused.header("allow").split(", ").collect();
            assert!(allowed.contains(&operation.method.as_str()), "{path}: {allowed:?}");
            assert_eq!(allowed.contains(&"HEAD"), allowed.contains(&"GET"), "{path}");
            documents::is_problem(&refused);
        }
        let head = ask(&api, Some(READ), (Method::HEAD, "/api/status"), &[], "").await;
        assert!(head.status == 200 && head.body.is_empty());
    });
}

#[test]
fn a_refusal_is_a_problem_with_the_member_of_old() {
    with(async |api| {
        let missing = get(&api, "/api/nothing").await;
        assert_eq!(missing.header("content-type"), "application/problem+json");
        let problem = missing.json();
        assert_eq!(
            (&problem["type"], &problem["title"]),
            (&json!("about:blank"), &json!("Not Found"))
        );
        assert_eq!(problem["status"], 404);
        assert_eq!(problem["detail"], problem["error"]);
        assert!(problem["detail"].as_str().unwrap().contains("/api/upstreams/{name}/endpoints"));
        for (path, status) in [
            ("/api/status?x=1", 400),
            ("/api/config?format=xml", 400),
            ("/api/config?format=json&format=json", 400),
            ("/api/upstreams/nobody", 404),
            ("/api/plugins/nobody", 404),
            ("/api/status/", 404),
        ] {
            let refused = get(&api, path).await;
            assert_eq!(refused.status, status, "{path}");
            documents::is_problem(&refused);
        }
    });
}

#[test]
fn a_token_is_in_no_answer() {
    with(async |api| {
        let mut asked = 0;
        for operation in ROUTES.iter().filter(|operation| operation.method == Method::GET) {
            let reply = get(&api, &path(operation.path)).await;
            let text = reply.text();
            assert!(!text.contains(READ) && !text.contains(WRITE), "{}", operation.path);
            asked += 1;
        }
        let yaml = get(&api, "/api/config?format=yaml").await.text();
        assert!(!yaml.contains(WRITE) && yaml.contains("token: (a secret)"), "{yaml}");
        assert!(asked > 10);
        let shown = format!("{:?}", api.config());
        assert!(!shown.contains(READ) && !shown.contains(WRITE), "a log of the configuration");
    });
}

#[test]
fn new_tokens_replace_the_old_ones_while_it_serves() {
    with(async |api| {
        let mut admin = api.config().admin.clone().unwrap();
        admin.tokens.retain(|token| token.role == Role::Write);
        api.serving.set_tokens(&admin.tokens);
        assert_eq!(get(&api, "/api/status").await.status, 401);
        assert_eq!(write(&api, Method::GET, "/api/status", "").await.status, 200);
    });
}

#[test]
fn a_unix_socket_has_no_names_and_no_pages() {
    with_unix(async |api| {
        let status = (Method::GET, "/api/status");
        let any = ask(&api, Some(READ), status.clone(), &[("x", "y")], "").await;
        assert_eq!(any.status, 200);
        let page = [("origin", "http://localhost")];
        let refused = ask(&api, Some(READ), status.clone(), &page, "").await;
        assert_eq!(refused.status, 403);
        documents::is_problem(&refused);
        assert_eq!(ask(&api, None, status, &[], "").await.status, 401);
        let ControlAddress::Unix(path) = &api.address else { panic!("no socket") };
        let mut raw = UnixStream::connect(path).await.unwrap();
        let head = format!(
            "GET /api/status HTTP/1.1\r\nhost: weir.example\r\nauthorization: Bearer {READ}\r\n\r\n"
        );
        raw.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        raw.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

#[test]
fn at_a_port_names_and_origins_are_checked() {
    with(async |api| {
        let status = (Method::GET, "/api/status");
        let foreign = [("origin", "http://evil.example")];
        let refused = ask(&api, Some(READ), status, &foreign, "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN.as_u16());
        documents::is_problem(&refused);
    });
}
