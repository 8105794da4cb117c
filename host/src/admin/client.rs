//! A client of a running Weir's admin API.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// The address and the token of an admin API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Host and port.
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
}

impl Client {
    /// Sends one request and returns the response, which is JSON.
    pub(crate) fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Value, ClientError> {
        let broke = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Exchange {
            address: self.address.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| broke(error.into()))?;
        runtime.block_on(async {
            let stream = TcpStream::connect(&self.address)
                .await
                .map_err(|source| ClientError::Connect { address: self.address.clone(), source })?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(HOST, &self.address)
                .header(AUTHORIZATION, format!("Bearer {}", self.token))
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| broke(error.into()))?;
            let answer = tokio::time::timeout(TIME, exchange(stream, request)).await;
            let (status, body) = answer
                .map_err(|error| broke(error.into()))?
                .map_err(|error| broke(error.into()))?;
            let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if status.is_success() {
                return Ok(value);
            }
            let told = value.get("error").and_then(Value::as_str);
            let reason = told.unwrap_or("the admin API refused").to_owned();
            Err(ClientError::Refused { status, reason })
        })
    }
}

async fn exchange(
    stream: TcpStream,
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

/// Longer than the longest response of the server.
const TIME: Duration = Duration::from_secs(330);
