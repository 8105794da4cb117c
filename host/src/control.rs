//! Plain HTTP/1.1 on the control thread: metrics and the admin API. One request a connection, few connections at once.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::task::Tasks;

/// Answers the requests of one listener.
pub(crate) trait Answer: 'static {
    /// What the log calls the listener.
    const NAME: &'static str;

    /// Time for a whole connection, which has one request.
    const TIME: Duration;

    /// Answers a request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>>;
}

/// Binds `address` and answers there until the grace period is over, so that a drain can be watched; returns the address
/// as bound. Must be called on a thread that runs a [`tokio::runtime::LocalRuntime`].
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve<A: Answer>(
    address: SocketAddr,
    answer: A,
    tasks: &Tasks,
) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    tasks.spawn(accept(listener, Rc::new(answer), tasks.clone()));
    Ok(address)
}

async fn accept<A: Answer>(listener: TcpListener, answer: Rc<A>, tasks: Tasks) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = Rc::clone(&answer);
                tasks.spawn(async move {
                    connection(stream, answer).await;
                    drop(place);
                });
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(listener = A::NAME, error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<A: Answer>(stream: TcpStream, answer: Rc<A>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = Rc::clone(&answer);
        async move { Ok::<_, Infallible>(answer.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(A::TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(listener = A::NAME, error, "connection ended early");
        }
        Err(_) => tracing::debug!(listener = A::NAME, "connection took too long"),
    }
}

/// Connections at once: a few scrapers and a person; more wait in the backlog.
pub(crate) const CONNECTIONS: usize = 16;

/// Time to send a request.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// Time until accepting is tried again after it failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
