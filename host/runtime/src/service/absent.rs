//! In place of standard components, where the feature `wasi-http` is off: none is ever found to be one, so that none of this is
//! reached.

#[path = "body.rs"]
mod body;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{mpsc, oneshot};
use wasmtime::Config;

use crate::engine::Engine;
use crate::environment::Environment;
use crate::error::PluginError;
use crate::limits::Limits;
use crate::plugin::{Interfaces, Kind};

pub use body::{Feed, Incoming, channel};

/// Finds no standard component.
pub fn standard(_wasm: &[u8]) -> Option<Kind> {
    None
}

/// The settings of an engine that is never started.
pub(crate) fn config() -> Config {
    Config::new()
}

#[derive(Clone, Copy)]
pub(crate) struct Service(Infallible);

/// A standard component; there is none.
#[derive(Debug, Clone, Copy)]
pub struct Handler(Infallible);

/// A request of one; there is none.
#[derive(Debug)]
pub struct Call(Infallible);

/// An instance of one; there is none.
#[derive(Debug)]
pub struct Kept(Infallible);

/// A body of one; there is none.
#[derive(Debug)]
pub struct Outgoing(Infallible);

/// Takes what nobody asks.
#[derive(Debug)]
pub struct Asks(#[allow(dead_code, reason = "keeps the other end open")] mpsc::Sender<Ask>);

/// A request that nobody makes.
#[derive(Debug)]
pub enum Ask {
    /// To a host.
    Send(Errand),
    /// To the next handler.
    Next(Errand),
}

/// A request that nobody makes.
#[derive(Debug)]
pub struct Errand {
    /// The request.
    pub request: http::Request<Outgoing>,
    /// How long it may take.
    pub limit: Option<Duration>,
    /// Where its response is awaited.
    pub answer: oneshot::Sender<Result<http::Response<Incoming>, HttpError>>,
}

/// Why a request failed that nobody made.
#[derive(Debug, thiserror::Error)]
#[error("{self:?}")]
#[allow(missing_docs, reason = "they are those of wasi:http")]
pub enum HttpError {
    ConnectionLimitReached,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    DestinationUnavailable,
    HttpProtocolError,
    HttpRequestBodySize(Option<u64>),
    HttpRequestDenied,
    HttpRequestHeaderSectionSize(Option<u32>),
    HttpRequestMethodInvalid,
    HttpRequestUriInvalid,
    HttpResponseTimeout,
}

/// Where nothing goes, and nothing comes from.
pub fn asks() -> (Asks, mpsc::Receiver<Ask>) {
    let (asks, taken) = mpsc::channel(1);
    (Asks(asks), taken)
}

impl Service {
    pub(crate) fn load(
        _engine: &Engine,
        name: &Arc<str>,
        _wasm: &[u8],
        _kind: Kind,
        _limits: Limits,
        _environment: &Environment,
    ) -> Result<Service, PluginError> {
        Err(PluginError::invalid(name, "this Weir was built without standard components"))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.0 {}
    }

    pub(crate) fn interfaces(&self) -> Interfaces {
        match self.0 {}
    }

    pub(crate) fn handler(
        &self,
        _environment: &Environment,
        _values: Vec<(String, String)>,
    ) -> Handler {
        match self.0 {}
    }
}

impl Handler {
    /// Begins nothing.
    pub fn call(
        &self,
        _request: http::Request<Incoming>,
        _id: u64,
        _kept: Option<Kept>,
        _asks: Asks,
    ) -> Call {
        match self.0 {}
    }
}

impl Call {
    /// Runs nothing.
    pub fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Kept, PluginError>> {
        match self.0 {}
    }

    /// Has no response.
    pub fn poll_head(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<Outgoing>, PluginError>> {
        match self.0 {}
    }

    /// Ends nothing.
    pub fn finish(&mut self) {
        match self.0 {}
    }

    /// Gets nowhere.
    pub fn progress(&self) {
        match self.0 {}
    }

    /// Has no memory.
    pub fn memory(&self) -> usize {
        match self.0 {}
    }
}

impl Kept {
    /// Has served nothing.
    pub fn served(&self) -> u32 {
        match self.0 {}
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match self.0 {}
    }
}
