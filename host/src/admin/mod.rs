//! The admin API: shows and changes what runs. [`client`] is the other end, for the commands.
//!
//! [`routes`] is the one table of its operations. Dispatch, the OpenAPI document and docs/admin.md
//! are made from it. Every request presents a token. [`control`] refuses a request that a browser
//! sends for a foreign page.

mod api;
mod call;
pub(crate) mod client;
mod guesses;
pub(crate) mod live;
pub(crate) mod model;
mod openapi;
mod operation;
#[cfg(test)]
mod reference;
mod refusal;
mod reply;
mod routes;
mod terms;
#[cfg(test)]
mod tests;
mod token;
mod upload;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::config::{self, ControlAddress, Role};
use crate::control::{self, Answer, Bound, Denial, HeldResponse, Names, Responder};
use crate::state::orders::Orders;
use crate::task::Tasks;
use crate::telemetry::events::Events;
use call::Call;
use guesses::Guesses;
use live::Live;
use operation::{Operation, Outcome};
use refusal::Refusal;
use routes::ROUTES;
use token::{Presented, Tokens};
use upload::Uploads;

/// The parts of the process that the admin API reaches.
pub(crate) struct Reach {
    /// The running process.
    pub(crate) live: Rc<dyn Live>,
    /// The way to the supervisor.
    pub(crate) orders: Orders,
    /// The changes in the process.
    pub(crate) events: Events,
}

/// An admin API that is served.
pub(crate) struct Serving {
    /// The address as bound.
    pub(crate) address: ControlAddress,
    tokens: Rc<RefCell<Tokens>>,
}

impl Serving {
    /// Replaces the tokens. The next request needs one of these.
    pub(crate) fn set_tokens(&self, tokens: &[config::AdminToken]) {
        self.tokens.replace(Tokens::new(tokens));
    }
}

/// Serves the admin API on a bound socket until the grace period is over. The socket may be that of
/// the process before.
///
/// # Errors
/// The runtime refuses the socket.
pub(crate) fn serve_on(
    bound: Bound,
    config: &config::Admin,
    reach: Reach,
    tasks: &Tasks,
) -> io::Result<Serving> {
    let tokens = Rc::new(RefCell::new(Tokens::new(&config.tokens)));
    let admin = Admin {
        reach,
        tokens: Rc::clone(&tokens),
        guesses: Guesses::default(),
        uploads: Uploads::default(),
        streams: Arc::new(Semaphore::new(api::events::STREAMS)),
    };
    let names = match config.address {
        ControlAddress::Tcp(_) => Names::Local,
        // No browser reaches a file, and the name in Host says nothing about it.
        ControlAddress::Unix(_) => Names::Any,
    };
    let address = control::serve_on(bound, names, admin, tasks)?;
    Ok(Serving { address, tokens })
}

/// The responder of the admin API.
struct Admin {
    reach: Reach,
    tokens: Rc<RefCell<Tokens>>,
    guesses: Guesses,
    uploads: Uploads,
    /// One permit for each stream of events.
    streams: Arc<Semaphore>,
}

impl Responder for Admin {
    const NAME: &'static str = "admin";

    async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> HeldResponse {
        let presented = self.tokens.borrow().presented(request.headers());
        let delay = match presented {
            Presented::Right(role) => {
                let outcome = self.dispatch(role, request).await;
                return outcome.unwrap_or_else(Refusal::response).into();
            }
            Presented::Wrong => self.guesses.delay(client),
            Presented::None => Duration::ZERO,
        };
        HeldResponse { response: Refusal::unauthorized().response(), delay }
    }

    fn refuse(&self, denial: &Denial) -> Response<Answer> {
        Refusal::new(denial.status, denial.reason).response()
    }
}

impl Admin {
    async fn dispatch(&self, role: Role, request: Request<Incoming>) -> Outcome {
        let (operation, params) = find(request.method(), request.uri().path())?;
        if role < operation.role {
            let reason = format!("the token has the role {role}, and this request changes things");
            return Err(Refusal::new(http::StatusCode::FORBIDDEN, reason));
        }
        let call = Call::new(request, params, operation.query)?;
        (operation.handler)(self, call).await
    }
}

/// Returns the operation of a request, and the parameters of its path.
fn find(method: &Method, path: &str) -> Result<(&'static Operation, Vec<String>), Refusal> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let of_path = || ROUTES.iter().filter(|operation| operation.params(path).is_some());
    if let Some(operation) = of_path().find(|operation| operation.method == *method) {
        return Ok((operation, operation.params(path).unwrap_or_default()));
    }
    let allowed = operation::allowed(of_path());
    if !allowed.is_empty() {
        return Err(Refusal::method(&allowed));
    }
    let mut paths: Vec<&str> = ROUTES.iter().map(|operation| operation.path).collect();
    paths.dedup();
    Err(Refusal::not_found(format!("the API has no such path; it has {}", paths.join(", "))))
}
