//! Changes of a Weir while it serves: reloads, listeners that come and go, certificates, endpoints,
//! and the admin API that makes and shows them.

mod admin;
mod certificates;
mod discovery;
mod endpoints;
mod events;
mod faults;
mod files;
mod flight;
mod gone;
mod kept;
mod large;
mod listeners;
mod load;
mod many;
mod plugins;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::support::tools::try_output;
use crate::support::weir::{PLUGIN_CACHE, WEIR};
use crate::support::{Body, Client, Protocol, Setup, Weir, spawn, until, within};

const TOKEN: &str = "s3cret-of-this-test";

/// A Weir whose configuration a test changes while it serves.
struct Live {
    weir: Weir,
    /// The file of its configuration.
    file: PathBuf,
}

/// A response of the admin API.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a successful response.
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }
}

impl Live {
    /// Starts with an admin API.
    async fn start(setup: Setup) -> Self {
        let file = setup.directory().join("weir.yaml");
        let admin = format!("admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}");
        Self { weir: setup.top(&admin).start().await, file }
    }

    /// Starts with a configuration of the test's own.
    async fn start_with(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("weir.yaml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(WEIR);
        command.env("WEIR_PLUGIN_CACHE", PLUGIN_CACHE).arg("run").arg("-c").arg(&file);
        let metrics = ([127, 0, 0, 1], 0).into();
        Self { weir: Weir::start(command, metrics, false, directory).await, file }
    }

    /// The text of the configuration's file.
    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// The text of the configuration's file, with one part replaced.
    fn with(&self, from: &str, to: &str) -> String {
        replaced(&self.text(), from, to)
    }

    /// Replaces a part of the configuration's file.
    fn edit(&self, from: &str, to: &str) {
        replace(&self.file, &self.with(from, to));
    }

    /// Replaces a part of the configuration's file, and has it read. Weir also watches the file,
    /// and may have read it before.
    async fn change(&self, from: &str, to: &str) {
        self.edit(from, to);
        self.reload().await.ok();
    }

    async fn reload(&self) -> Reply {
        self.send("POST", "/api/reload", "").await
    }

    /// Gives it another configuration.
    async fn put(&self, text: &str) -> Reply {
        self.send("PUT", "/api/config", text.to_owned()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "").await.ok()
    }

    /// Sends a request to the admin API.
    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send_with(method, path, &[], body).await
    }

    async fn send_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let stream = tokio::net::TcpStream::connect(self.weir.admin_address()).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(stream).await.unwrap();
        spawn(async move { drop(connection.await) });
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into())).unwrap();
        let what = format!("{method} {path}");
        let answer = within(&what, requests.send_request(request)).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = within(&what, body.collect()).await.unwrap().to_bytes();
        let text = String::from_utf8(body.into()).unwrap();
        Reply { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// The number of the revision that serves.
    async fn revision(&self) -> u64 {
        self.get("/api/status").await["configuration"]["revision"].as_u64().unwrap()
    }

    /// Runs a command on it.
    async fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        command(&self.weir.admin_address().to_string(), arguments).await
    }

    /// The endpoint of an upstream at this address, as the admin API shows it.
    async fn endpoint(&self, upstream: &str, address: impl ToString) -> Value {
        let address = address.to_string();
        let upstream = self.get(&format!("/api/upstreams/{upstream}")).await;
        let mut endpoints = upstream["endpoints"].as_array().unwrap().iter();
        let found = endpoints.find(|endpoint| endpoint["endpoint"] == *address);
        found.unwrap_or_else(|| panic!("no {address} in {upstream}")).clone()
    }

    /// A client of each protocol, after its first request.
    async fn clients(&self) -> Vec<(Protocol, Client)> {
        let mut clients = Vec::new();
        for protocol in Protocol::ALL {
            let client = self.weir.client(protocol).await;
            client.get("/who").await.text().await;
            clients.push((protocol, client));
        }
        clients
    }
}

/// Runs a command on the Weir with its admin API at `address`.
async fn command(address: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(WEIR);
    command.args(arguments).env("WEIR_ADMIN", address).env("WEIR_ADMIN_TOKEN", TOKEN);
    let Output { status, stdout, stderr } = try_output(command).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Replaces a part of a text that is there once.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} is there once in\n{text}");
    text.replace(from, to)
}

/// Replaces a file as editors do: writes a new file beside it, then renames it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Sends a GET over a kept connection. Returns status and body.
async fn ask(client: &Client, path: &str) -> (u16, String) {
    let answer = client.get(path).await;
    (answer.status.as_u16(), answer.text().await)
}

/// Waits until a connection has ended, or asked for no more requests.
async fn until_closed(client: &Client) {
    until("the end of a connection", async || client.is_closed().then_some(())).await;
}
