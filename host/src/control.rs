//! Plain HTTP/1.1 on the control thread: metrics and the admin API. A connection carries one request.
//!
//! Accepting never waits for a place. When all places of a listener are taken, the newcomer gets
//! that of the oldest connection that waits for its client ([`places`]). A request that a browser
//! sends for a foreign page is refused before anything reads it ([`pages`]).

mod pages;
mod places;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::sleep;

pub(crate) use self::pages::{Denial, Names};
pub(crate) use self::places::network;
use self::places::{Place, Places};
use crate::net::Throttle;
use crate::net::is_of_one_connection;
use crate::net::linger::Lingering;
use crate::task::Tasks;

/// Answers the requests of one listener.
pub(crate) trait Answer: 'static {
    /// The listener's name in the log.
    const NAME: &'static str;

    /// Answers a request of `client`. The work needs a bound of its own: nothing cuts it short.
    fn answer(&self, request: Request<Incoming>, client: IpAddr) -> impl Future<Output = Answered>;

    /// Says why a request is not answered.
    fn refuse(&self, denial: &Denial) -> Response<Full<Bytes>>;
}

/// A response, and the time that it is held back.
pub(crate) struct Answered {
    pub(crate) response: Response<Full<Bytes>>,
    /// While it lasts, a newcomer may take the connection's place.
    pub(crate) delay: Duration,
}

impl From<Response<Full<Bytes>>> for Answered {
    fn from(response: Response<Full<Bytes>>) -> Self {
        Self { response, delay: Duration::ZERO }
    }
}

/// Binds `address` and answers there until the grace period is over, so that a drain can be watched; returns the address
/// as bound. `names` tells by which names clients may ask. Must be called on a thread that runs a
/// [`tokio::runtime::LocalRuntime`].
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve<A: Answer>(
    address: SocketAddr,
    names: Names,
    answer: A,
    tasks: &Tasks,
) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let site = Rc::new(Site { names, answer });
    tasks.spawn(accept(listener, site, tasks.clone()));
    Ok(address)
}

/// A listener's answers and their audience.
struct Site<A> {
    names: Names,
    answer: A,
}

async fn accept<A: Answer>(listener: TcpListener, site: Rc<Site<A>>, tasks: Tasks) {
    let places = Places::new(CONNECTIONS);
    let (crowded, failures) = (Throttle::default(), Throttle::default());
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let client = client.ip().to_canonical();
                let is_full = places.is_full();
                if is_full && crowded.is_due() {
                    let limit = CONNECTIONS;
                    tracing::warn!(listener = A::NAME, limit, "closing connections for newcomers");
                }
                // Over the limit it is closed by being dropped.
                let Some(place) = places.take(client) else { continue };
                tasks.spawn(connection(stream, client, place, Rc::clone(&site)));
                if is_full {
                    // A queue of newcomers must not take the places of those whose requests are
                    // there and not yet read.
                    yield_now().await;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if failures.is_due() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(listener = A::NAME, error, "accept");
                }
                // Descriptors run out: connections that say nothing hold some.
                places.make_room();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<A: Answer>(stream: TcpStream, client: IpAddr, place: Place, site: Rc<Site<A>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (place, site) = (&place, &site);
        async move { Ok::<_, Infallible>(site.serve(request, client, place).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Lingering::new(stream)), service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(listener = A::NAME, %client, error, "connection ended early");
            }
        }
        () = place.lost() => {
            tracing::debug!(listener = A::NAME, %client, "connection closed for a newcomer");
        }
        () = async {
            place.answered().await;
            sleep(ANSWER_TIME).await;
        } => {
            tracing::debug!(listener = A::NAME, %client, "the client does not take its answer");
        }
    }
}

impl<A: Answer> Site<A> {
    async fn serve(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
        place: &Place,
    ) -> Response<Full<Bytes>> {
        let answered = match pages::check(&request, self.names) {
            Ok(()) => {
                place.hold();
                let answered = self.answer.answer(request, client).await;
                place.release();
                answered
            }
            Err(denial) => self.answer.refuse(&denial).into(),
        };
        // A timer has steps of a millisecond.
        if !answered.delay.is_zero() {
            sleep(answered.delay).await;
        }
        place.set_answered();
        let mut response = answered.response;
        let fields = response.headers_mut();
        // A page elsewhere can embed an answer without an Origin. These two keep it from its reach.
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        fields.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        response
    }
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Connections of one listener at once. Scrapers and people need few; the rest gives a newcomer
/// time to send its request while others connect: 128 of them must come before it loses its place.
/// A silent connection takes a descriptor and 9 KiB.
pub(crate) const CONNECTIONS: usize = 128;

/// Time from accepting to the end of a request's head. Both sides are near each other, and a
/// scraper's head is one packet.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Most bytes of a request's head: a browser sends all cookies of the host, whatever their port.
const HEAD_BYTES: usize = 32 << 10;

/// Time to take the answer. Prometheus gives up after 10 s by default.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Time until accepting is tried again after it failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
