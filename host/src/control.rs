//! Plain HTTP/1.1 on the control thread, over TCP or a Unix socket: metrics and the admin API. A
//! connection carries one request.
//!
//! A new connection never waits for a place. If a listener is full, it takes the place of the
//! oldest connection that waits for its client ([`places`]). A request that a browser sends for a
//! foreign page is refused before anything reads it ([`pages`]).

mod answer;
mod listener;
mod pages;
mod patient;
mod places;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::yield_now;
use tokio::time::sleep;

pub(crate) use self::answer::{Answer, HeldResponse};
pub(crate) use self::listener::{Bound, SocketFile};
use self::listener::{Io, Listener};
pub(crate) use self::pages::{Denial, Names};
use self::patient::Patient;
pub(crate) use self::places::network;
use self::places::{ConnectionPlace, Places};
use crate::config::ControlAddress;
use crate::net::Throttle;
use crate::net::is_of_one_connection;
use crate::net::linger::Lingering;
use crate::task::Tasks;

/// Answers the requests of one listener.
pub(crate) trait Responder: 'static {
    /// The listener's name in the log.
    const NAME: &'static str;

    /// Answers a request of `client`. The work needs a bound of its own: nothing cuts it short.
    fn answer(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> impl Future<Output = HeldResponse>;

    /// Makes the response to a refused request.
    fn refuse(&self, denial: &Denial) -> Response<Answer>;
}

/// Answers on a bound socket until the grace period is over, and returns the address. It answers
/// during a drain too, so that the drain can be watched. `names` are the host names that clients
/// may use. Must be called on a thread that runs a [`tokio::runtime::LocalRuntime`].
///
/// # Errors
/// The runtime refuses the socket.
pub(crate) fn serve_on<A: Responder>(
    bound: Bound,
    names: Names,
    answer: A,
    tasks: &Tasks,
) -> io::Result<ControlAddress> {
    let address = bound.address().clone();
    let stop = bound.stop();
    let listener = bound.listen()?;
    let accepting = accept(listener, Rc::new(Site { names, answer }), tasks.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = accepting => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(address)
}

/// The responder of a listener, and the host names that it accepts.
struct Site<A> {
    names: Names,
    answer: A,
}

async fn accept<A: Responder>(listener: Listener, site: Rc<Site<A>>, tasks: Tasks) {
    let places = Places::new(CONNECTIONS);
    let (crowded, failures) = (Throttle::default(), Throttle::default());
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let is_full = places.is_full();
                if is_full && crowded.is_due() {
                    let limit = CONNECTIONS;
                    tracing::warn!(listener = A::NAME, limit, "closing connections for new ones");
                }
                // Over the limit the stream is dropped, and the drop closes it.
                let Some(place) = places.take(client) else { continue };
                tasks.spawn(connection(stream, client, place, Rc::clone(&site)));
                if is_full {
                    // The other connections run first: their requests may have arrived unread, and
                    // the next new connection must not take their places.
                    yield_now().await;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if failures.is_due() {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(listener = A::NAME, error, "accept");
                }
                // No file descriptors are left. Silent connections hold some.
                places.make_room();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<A: Responder>(
    stream: Box<dyn Io>,
    client: IpAddr,
    place: ConnectionPlace,
    site: Rc<Site<A>>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (place, site) = (&place, &site);
        async move { Ok::<_, Infallible>(site.serve(request, client, place).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Lingering::new(Patient::new(stream, STREAM_TIME))), service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(listener = A::NAME, %client, error, "connection ended early");
            }
        }
        () = place.lost() => {
            tracing::debug!(listener = A::NAME, %client, "connection closed for a new one");
        }
        () = async {
            place.answered().await;
            sleep(ANSWER_TIME).await;
        } => {
            tracing::debug!(listener = A::NAME, %client, "the client does not take the response");
        }
    }
}

impl<A: Responder> Site<A> {
    async fn serve(
        &self,
        request: Request<Incoming>,
        client: IpAddr,
        place: &ConnectionPlace,
    ) -> Response<Answer> {
        let answered = match pages::check(&request, self.names) {
            Ok(()) => {
                place.hold();
                let answered = self.answer.answer(request, client).await;
                place.release();
                answered
            }
            Err(denial) => self.answer.refuse(&denial).into(),
        };
        // The shortest timer takes a millisecond, so a delay of zero needs none.
        if !answered.delay.is_zero() {
            sleep(answered.delay).await;
        }
        // A stream lasts for as long as its client takes it.
        if !answered.response.body().is_stream() {
            place.set_answered();
        }
        let mut response = answered.response;
        let fields = response.headers_mut();
        // A foreign page can embed a response without sending an Origin. These two fields keep the
        // content from the page.
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        fields.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        response
    }
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The most connections of one listener at once. Scrapers and people need few. The rest gives a new
/// connection time to send its request while others connect: 128 others must come before it loses
/// its place. A silent connection takes a descriptor and 9 KiB.
pub(crate) const CONNECTIONS: usize = 128;

/// The time from the accept to the end of a request's head. Both sides are near each other, and a
/// scraper's head is one packet.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The most bytes of a request's head. A browser sends all cookies of the host, for every port.
const HEAD_BYTES: usize = 32 << 10;

/// The time for the client to take the response. Prometheus gives up after 10 s by default.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// The time for the client to take the next bytes of a stream. A phone that changes networks and a
/// laptop that sleeps for a moment come back within it.
const STREAM_TIME: Duration = Duration::from_secs(60);

/// The pause after a failed accept. The usual cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
