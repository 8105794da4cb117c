//! The network requests of guests. The runner of the call gets them and alone decides where they
//! may go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, ForbiddenHeaderFilter, RequestOptions, WasiHttpHooks,
};

use super::{GuestBody, HttpError, Incoming};

/// Returns a sender for a guest's network requests, and the receiver of the runner.
pub fn asks() -> (Asks, mpsc::Receiver<Ask>) {
    let (asks, taken) = mpsc::channel(1);
    (Asks(asks), taken)
}

/// Sends a guest's network requests to the runner of its call.
#[derive(Debug, Clone)]
pub struct Asks(mpsc::Sender<Ask>);

/// A request that a guest makes.
#[derive(Debug)]
pub enum Ask {
    /// To the host in its URI.
    Send(Errand),
    /// From a middleware, to the handler after it.
    Next(Errand),
}

/// A request and the place for its response.
#[derive(Debug)]
pub struct Errand {
    /// The request; its body streams out of the guest.
    pub request: http::Request<GuestBody>,
    /// The time that the guest waits for the response's head, including the time to connect.
    pub limit: Option<Duration>,
    /// The response, or the reason why there is none.
    pub answer: oneshot::Sender<Result<http::Response<Incoming>, HttpError>>,
}

impl Asks {
    /// Hands over a request and waits for its response.
    pub(super) async fn ask(
        self,
        kind: fn(Errand) -> Ask,
        request: http::Request<GuestBody>,
        limit: Option<Duration>,
    ) -> Result<http::Response<Incoming>, HttpError> {
        let (answer, answered) = oneshot::channel();
        let gone = || HttpError::ConnectionTerminated;
        self.0.send(kind(Errand { request, limit, answer })).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

type Answered = Result<
    (http::Response<GuestBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>),
    HttpError,
>;

impl WasiHttpHooks for Asks {
    /// A guest may set any field except those of the connection, because it acts as an origin.
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    fn send_request(
        &mut self,
        request: http::Request<GuestBody>,
        options: Option<RequestOptions>,
        _fut: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let asks = self.clone();
        let limit = limit(options.unwrap_or_default());
        Box::new(async move {
            let response = asks.ask(Ask::Send, request, limit).await?;
            let done = Box::new(std::future::ready(Ok(())));
            Ok((response.map(http_body_util::BodyExt::boxed_unsync), done as Box<_>))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

/// Reads the guest's time limit for the response's head. The guest's limit between two pieces of a
/// body is ignored: the upstream's own limit applies.
fn limit(options: RequestOptions) -> Option<Duration> {
    match (options.connect_timeout, options.first_byte_timeout) {
        (Some(connect), Some(first)) => Some(connect.saturating_add(first)),
        (_, first) => first,
    }
}

/// Bytes that the host copies out of a guest at once.
const PIECE: usize = 64 << 10;
