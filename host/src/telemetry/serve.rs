//! `/metrics` over plain HTTP/1.1, on the control thread.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::config::MetricsEndpoint;
use crate::task::Tasks;
use crate::telemetry::TelemetryError;
use crate::telemetry::metrics::Metrics;

/// Serves `metrics` until the grace period is over, so that a drain can be watched; returns the address. Must be called
/// on a thread that runs a [`tokio::runtime::LocalRuntime`].
///
/// # Errors
///
/// When the address cannot be bound.
pub fn serve_metrics(
    config: &MetricsEndpoint,
    metrics: Arc<Metrics>,
    tasks: &Tasks,
) -> Result<SocketAddr, TelemetryError> {
    let bind_error = |source| TelemetryError::Bind { address: config.address, source };
    let listener = bind(config.address).map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let page = Rc::new(Page { path: config.path.clone(), metrics });
    tasks.spawn(accept(listener, page, tasks.clone()));
    Ok(address)
}

struct Page {
    path: String,
    metrics: Arc<Metrics>,
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, page: Rc<Page>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Rc::clone(&page);
                tasks.spawn(async move {
                    serve(stream, page).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "accept on the metrics listener"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, page: Rc<Page>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = page.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "metrics connection");
        }
        Err(_) => tracing::debug!("metrics connection took too long"),
    }
}

impl Page {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        let (status, body) = match path {
            path if path != self.path && path != "/" => {
                (StatusCode::NOT_FOUND, format!("metrics are at {}\n", self.path))
            }
            _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
            path if path == self.path => (StatusCode::OK, self.metrics.encode()),
            _ => (StatusCode::OK, format!("weir: metrics are at {}\n", self.path)),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Prometheus' text format; browsers show it too.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Connections at once: a few scrapers and a person; more wait in the backlog.
const CONNECTIONS: usize = 16;

/// Time to send a request.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// Time for a whole connection, which has one request; Prometheus gives up after 10 s by default.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Time until accepting is tried again after it failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
