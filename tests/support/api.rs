//! A client of the admin API, over TCP or a Unix socket, and the commands that use it.

use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::{Weir, tools, weir::WEIR, within};

/// The admin API of a Weir with the configuration of [`Api::config`].
#[derive(Debug, Clone)]
pub(crate) struct Api {
    address: String,
}

/// The token of the tests.
pub(crate) const TOKEN: &str = "s3cret";

impl Api {
    /// The top-level key `admin`, at an address such as `127.0.0.1:0`.
    pub(crate) fn config(address: &str) -> String {
        format!("admin: {{ address: \"{address}\", token: {TOKEN} }}\n")
    }

    /// The API of a Weir that serves it over TCP.
    pub(crate) fn of(weir: &Weir) -> Self {
        Self::at(&weir.admin_address().to_string())
    }

    /// The address, for the environment of commands.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The API at an address, or at `unix:PATH`.
    pub(crate) fn at(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Sends a request over a new connection. Returns the status and the body.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let what = format!("{method} {path}");
        let answer = match self.address.strip_prefix("unix:") {
            Some(file) => {
                within(&what, exchange(UnixStream::connect(file).await.unwrap(), &what, body)).await
            }
            None => {
                let stream = TcpStream::connect(&self.address).await.unwrap();
                within(&what, exchange(stream, &what, body)).await
            }
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or(0), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Sends a GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, b"").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The id of the process that answers.
    pub(crate) async fn pid(&self) -> u32 {
        self.get("/api/status").await["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// Runs `weir …` with the token. Returns its success and its output.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(WEIR);
        command.args(arguments).env("WEIR_ADMIN", &self.address).env("WEIR_ADMIN_TOKEN", TOKEN);
        let output = tools::try_output(command).await;
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    what: &str,
    body: &[u8],
) -> String {
    let head = format!(
        "{what} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}
