//! A client of a running Weir's admin API.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The address and the token of an admin API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Host and port, or `unix:PATH`.
    pub(crate) address: String,
    /// The bearer token.
    pub(crate) token: String,
}

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No process listens at the address.
    #[error(
        "connect to the admin API on {address} (is Weir running, with `admin:` in its configuration?)"
    )]
    Connect {
        /// The address.
        address: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The exchange broke.
    #[error("talk to the admin API on {address}")]
    Exchange {
        /// The address.
        address: String,
        /// The error of the exchange.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The admin API refused the request.
    #[error("{reason} ({status})")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The message of the admin API.
        reason: String,
    },
    /// A configuration has faults. The text has one line for each.
    #[error("{0}")]
    Faults(String),
}

impl Client {
    /// Sends one request and returns the response, which is JSON.
    pub(crate) fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Value, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.broke(error))?;
        runtime.block_on(async {
            let stream = self.connect().await?;
            let host = if self.address.starts_with(UNIX) { "localhost" } else { &self.address };
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(HOST, host)
                .header(AUTHORIZATION, format!("Bearer {}", self.token))
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| self.broke(error))?;
            let answer = tokio::time::timeout(TIME, exchange(stream, request)).await;
            let answer = answer.map_err(|error| self.broke(error))?;
            let (status, body) = answer.map_err(|error| self.broke(error))?;
            let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if status.is_success() { Ok(value) } else { Err(refused(status, &value)) }
        })
    }

    async fn connect(&self) -> Result<Box<dyn Io>, ClientError> {
        let connected: std::io::Result<Box<dyn Io>> = match self.address.strip_prefix(UNIX) {
            Some(path) => UnixStream::connect(path).await.map(|stream| Box::new(stream) as _),
            None => TcpStream::connect(&self.address).await.map(|stream| Box::new(stream) as _),
        };
        connected.map_err(|source| ClientError::Connect { address: self.address.clone(), source })
    }

    fn broke(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Exchange { address: self.address.clone(), source: error.into() }
    }
}

/// A connection of either kind.
trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Reads problem details.
fn refused(status: StatusCode, problem: &Value) -> ClientError {
    let faults = problem.get("errors").and_then(Value::as_array);
    let faults: Vec<String> = faults.into_iter().flatten().map(fault).collect();
    if !faults.is_empty() {
        return ClientError::Faults(faults.join("\n"));
    }
    let told = problem.get("detail").or_else(|| problem.get("error")).and_then(Value::as_str);
    let reason = told.unwrap_or("the admin API refused").to_owned();
    ClientError::Refused { status, reason }
}

/// Returns the line of a fault, as `weir check` writes it.
fn fault(fault: &Value) -> String {
    let text = |key| fault.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key| fault.get(key).and_then(Value::as_u64);
    let (file, message) = (text("file"), text("message"));
    match (number("line"), number("column")) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}: {message}"),
        _ => format!("{file}: {message}"),
    }
}

async fn exchange(
    stream: Box<dyn Io>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::select! {
        answer = answer => answer,
        // The connection ends first only if it broke.
        Err(error) = &mut connection => Err(error),
    }
}

/// The prefix of the address of a Unix socket.
const UNIX: &str = "unix:";

/// Longer than the longest response of the server.
const TIME: Duration = Duration::from_secs(330);
