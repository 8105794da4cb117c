//! The admin API: lists plugins and swaps them. [`client`] is the other end, for the commands.
//!
//! Every request presents the token. [`control`] refuses a request that a browser sends for a
//! foreign page, by [`Names::Local`] on every address.

pub(crate) mod client;
mod guesses;
mod terms;
mod token;
mod upload;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use weir_runtime::with_causes;

use crate::config;
use crate::control::{self, Denial, HeldResponse, Names, Responder};
use crate::plugins::Plugins;
use crate::plugins::compile::{self, CompileError, SwapError};
use crate::plugins::generation::Origin;
use crate::plugins::slot::Slot;
use crate::state::current::Current;
use crate::task::Tasks;
use guesses::Guesses;
use token::{Presented, Token};
use upload::Uploads;

/// Serves the admin API until the grace period is over, and returns its address.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn serve(
    config: &config::Admin,
    current: &Arc<Current>,
    tasks: &Tasks,
) -> io::Result<SocketAddr> {
    let admin = Admin {
        current: Arc::clone(current),
        token: Token::new(&config.token),
        guesses: Guesses::default(),
        uploads: Uploads::default(),
    };
    control::serve(config.address, Names::Local, admin, tasks)
}

struct Admin {
    current: Arc<Current>,
    token: Token,
    guesses: Guesses,
    uploads: Uploads,
}

/// A status and a reason, for the client.
struct Refusal {
    status: StatusCode,
    reason: String,
    field: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), field: None }
    }

    fn method(allowed: &'static str) -> Self {
        let reason = format!("allowed here: {allowed}");
        let field = Some((ALLOW, allowed));
        Self { status: StatusCode::METHOD_NOT_ALLOWED, reason, field }
    }

    fn response(self) -> Response<Full<Bytes>> {
        respond(self.status, &json!({ "error": self.reason }), self.field)
    }
}

impl Responder for Admin {
    const NAME: &'static str = "admin";

    async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> HeldResponse {
        let delay = match self.token.presented(request.headers()) {
            Presented::Right => {
                let response = match self.serve(request).await {
                    Ok(body) => respond(StatusCode::OK, &body, None),
                    Err(refusal) => refusal.response(),
                };
                return response.into();
            }
            Presented::Wrong => self.guesses.delay(client),
            Presented::None => Duration::ZERO,
        };
        let reason = "present the token of admin.token: Authorization: Bearer …";
        let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, reason);
        refusal.field = Some((WWW_AUTHENTICATE, "Bearer realm=\"weir\""));
        HeldResponse { response: refusal.response(), delay }
    }

    fn refuse(&self, denial: &Denial) -> Response<Full<Bytes>> {
        Refusal::new(denial.status, denial.reason).response()
    }
}

fn respond(
    status: StatusCode,
    body: &Value,
    field: Option<(HeaderName, &'static str)>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body:#}\n")));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some((name, value)) = field {
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Admin {
    async fn serve(&self, request: Request<Incoming>) -> Result<Value, Refusal> {
        let is_asked_more = request.uri().query().is_some_and(|query| !query.is_empty());
        if is_asked_more && *request.method() != Method::PUT {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "only PUT takes parameters"));
        }
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let is_read = *request.method() == Method::GET || *request.method() == Method::HEAD;
        match parts[..] {
            ["api", "plugins"] if is_read => {
                let plugins: Vec<Value> =
                    self.plugins().slots().iter().map(|slot| slot.status()).collect();
                Ok(json!({ "plugins": plugins }))
            }
            ["api", "plugins"] => Err(Refusal::method("GET, HEAD")),
            ["api", "plugins", name] => {
                let slot = self.find(name)?;
                match *request.method() {
                    _ if is_read => Ok(slot.status()),
                    Method::PUT => self.swap(slot, request).await,
                    _ => Err(Refusal::method("GET, HEAD, PUT")),
                }
            }
            ["api", "plugins", name, "rollback"] => {
                let slot = self.find(name)?;
                if *request.method() != Method::POST {
                    return Err(Refusal::method("POST"));
                }
                slot.rollback("asked for")
                    .map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
                tracing::info!(plugin = &*slot.name, "plugin rolled back by the admin API");
                Ok(slot.status())
            }
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "the API is under /api/plugins")),
        }
    }

    /// `PUT /api/plugins/NAME?share=10&for=60s`, or `?shadow=true&for=60s`. The body is the
    /// component.
    async fn swap(&self, slot: Arc<Slot>, request: Request<Incoming>) -> Result<Value, Refusal> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let terms = terms::read(&query, slot.plugin.canary.into())
            .map_err(|reason| Refusal::new(StatusCode::BAD_REQUEST, reason))?;
        // The body is read before the turn is taken: a client that stalls must not keep others from
        // swapping.
        let upload = self.uploads.read(request.into_body()).await?;
        let turn = slot.shared.compiler.turn().await.map_err(|error| refused(&error.into()))?;
        let swapped = compile::swap(&slot, turn, move || Ok(upload), Origin::Sent, terms).await;
        swapped.map(|_| slot.status()).map_err(|error| refused(&error))
    }

    fn plugins(&self) -> Arc<Plugins> {
        Arc::clone(&self.current.state().plugins)
    }

    fn find(&self, name: &str) -> Result<Arc<Slot>, Refusal> {
        self.plugins().find(name).cloned().ok_or_else(|| {
            let plugins = self.plugins();
            let names: Vec<&str> = plugins.slots().iter().map(|slot| &*slot.name).collect();
            let reason =
                format!("no plugin has the name {name:?}; the plugins are {}", names.join(", "));
            Refusal::new(StatusCode::NOT_FOUND, reason)
        })
    }
}

fn refused(error: &SwapError) -> Refusal {
    let status = match error {
        SwapError::Compile(CompileError::Busy(_)) => StatusCode::SERVICE_UNAVAILABLE,
        SwapError::Compile(CompileError::Thread(_) | CompileError::Broken) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Refusal::new(status, with_causes(error))
}
