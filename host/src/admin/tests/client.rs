//! The client of the commands, against the API.

use http::Method;
use serde_json::Value;

use super::standin::{READ, Standin, WRITE, with, with_unix};
use crate::admin::client::{Client, ClientError};

/// Calls the API from a thread of its own, as a command does.
async fn call(
    api: &Standin,
    token: &str,
    method: Method,
    path: &'static str,
    body: &str,
) -> Result<Value, ClientError> {
    let client = Client { address: api.address.to_string(), token: token.to_owned() };
    let body = body.as_bytes().to_vec();
    let called = tokio::task::spawn_blocking(move || client.call(method, path, body));
    called.await.unwrap()
}

#[test]
fn a_command_reaches_a_port_and_a_unix_socket() {
    with(reaches);
    with_unix(reaches);
}

async fn reaches(api: Standin) {
    let status = call(&api, READ, Method::GET, "/api/status", "").await.unwrap();
    assert_eq!(status["workers"], 2);
    let error = call(&api, READ, Method::POST, "/api/reload", "").await.unwrap_err();
    assert!(error.to_string().ends_with("(403 Forbidden)"), "{error}");
}

#[test]
fn faults_of_a_configuration_come_with_their_places() {
    with(async |api| {
        let put = call(&api, WRITE, Method::PUT, "/api/config", "broken").await;
        let Err(ClientError::Faults(lines)) = put else { panic!("{put:?}") };
        assert!(lines.lines().count() > 1, "{lines}");
        assert!(lines.lines().all(|line| line.starts_with("api:")), "{lines}");
        assert!(lines.starts_with("api:1:12: "), "{lines}");
    });
}

#[test]
fn nobody_at_the_address_is_told() {
    let address = "unix:/nonexistent/weir.sock".to_owned();
    let client = Client { address, token: READ.to_owned() };
    let error = client.call(Method::GET, "/api/status", Vec::new()).unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}
