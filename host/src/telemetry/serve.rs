//! `/metrics` over plain HTTP/1.1, on the control thread.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::config::MetricsEndpoint;
use crate::control::{self, Answer, Bound, Denial, HeldResponse, Names, Responder};
use crate::task::Tasks;
use crate::telemetry::metrics::Metrics;

/// Serves `metrics` on a bound socket until the end of the grace period. The calling thread must
/// run a [`tokio::runtime::LocalRuntime`].
///
/// # Errors
///
/// The runtime refuses the socket.
pub(crate) fn serve_metrics(
    bound: Bound,
    config: &MetricsEndpoint,
    metrics: Arc<Metrics>,
    tasks: &Tasks,
) -> io::Result<()> {
    let page = Page { path: config.path.clone(), metrics };
    control::serve_on(bound, Names::of(config.address), page, tasks).map(|_| ())
}

struct Page {
    path: String,
    metrics: Arc<Metrics>,
}

impl Responder for Page {
    const NAME: &'static str = "metrics";

    async fn answer(&self, request: Request<Incoming>, _client: IpAddr) -> HeldResponse {
        self.page(request.method(), request.uri().path()).into()
    }

    fn refuse(&self, denial: &Denial) -> Response<Answer> {
        text(denial.status, format!("weir: {}\n", denial.reason)).map(Answer::Whole)
    }
}

impl Page {
    fn page(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let is_read = *method == Method::GET || *method == Method::HEAD;
        let (status, body) = match path {
            path if path != self.path && path != "/" => {
                (StatusCode::NOT_FOUND, format!("metrics are at {}\n", self.path))
            }
            _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
            path if path == self.path => (StatusCode::OK, self.metrics.encode()),
            _ => (StatusCode::OK, format!("weir: metrics are at {}\n", self.path)),
        };
        let mut response = text(status, body);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
    response
}

/// The media type of Prometheus' text format. Browsers display it too.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
