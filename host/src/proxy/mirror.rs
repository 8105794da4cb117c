//! Copies of requests for a second upstream, whose answers nobody gets (`routes[].mirror`).
//!
//! A copy goes out when the request's body has ended, so the copy never slows it. Its size, its
//! time and the number of copies at once are bounded.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::{Proxy, Worker};
use crate::config::UpstreamId;
use crate::message::body::{Body, BodyError};
use crate::message::exchange::Exchange;
use crate::message::peer::{Peer, RequestId};
use crate::message::subject::Subject;
use crate::plugins::view::Pinned;
use crate::route::Route;
use crate::telemetry::record::Record;
use crate::upstream::send::UpstreamRequest;

/// A copy that is not sent yet.
pub(super) struct Mirrored {
    proxy: Rc<Proxy>,
    route: Arc<Route>,
    upstream: UpstreamId,
    head: Parts,
    authority: String,
    peer: Peer,
    id: RequestId,
    /// Held until the answer has come.
    _place: Place,
}

/// The place of a copy among those of a worker.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(taken: &Rc<Cell<usize>>) -> Option<Self> {
        if taken.get() >= AT_ONCE {
            return None;
        }
        taken.set(taken.get() + 1);
        Some(Self(Rc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Sends a copy of a request when its `body` has ended, if its route wants that. Returns the body.
pub(super) fn copied(
    proxy: &Rc<Proxy>,
    route: &Arc<Route>,
    head: &Parts,
    body: Body,
    authority: &str,
    subject: &Subject<'_>,
) -> Body {
    let Some(mirror) = &route.mirror else { return body };
    // The split of the route uses other bits of the random number.
    let place = subject.id.0.rotate_left(29) as f64 / u64::MAX as f64;
    if place >= mirror.share || body.size_hint().lower() > LARGEST {
        return body;
    }
    let Some(place) = Place::take(&proxy.worker.copies) else {
        tracing::debug!(route = &*route.name, "a request is not mirrored: too many copies");
        return body;
    };
    let copy = Box::new(Mirrored {
        proxy: Rc::clone(proxy),
        route: Arc::clone(route),
        upstream: mirror.upstream,
        head: head.clone(),
        authority: authority.to_owned(),
        peer: *subject.peer,
        id: subject.id,
        _place: place,
    });
    if body.is_end_stream() {
        copy.send(Bytes::new());
        return body;
    }
    Body::stream(Copied { body, copy: Some(copy), bytes: BytesMut::new() })
}

impl Mirrored {
    fn send(self: Box<Self>, bytes: Bytes) {
        let tasks = self.proxy.worker.tasks.clone();
        tasks.spawn(async move {
            let route = Arc::clone(&self.route);
            let sent = tokio::time::timeout(LONGEST, self.exchange(bytes)).await;
            if let Err(error) | Ok(Err(error)) = sent.map_err(|_| "no answer in time".to_owned()) {
                tracing::debug!(route = &*route.name, error, "a copy of a request failed");
            }
        });
    }

    async fn exchange(mut self: Box<Self>, bytes: Bytes) -> Result<(), String> {
        let Self { proxy, route, upstream, head, authority, peer, id, .. } = &mut *self;
        let reach = proxy.reaches.get(*upstream).ok_or("the upstream is missing")?;
        let pinned = Pinned::new(Rc::clone(&proxy.view), id.0);
        let subject = Subject::new(peer, *id, &route.name, &proxy.state.geoip);
        let exchange = Exchange::start(Rc::default());
        // The body is here already.
        exchange.unpace();
        let request = UpstreamRequest {
            head,
            body: Body::full(bytes),
            authority,
            subject: &subject,
            exchange,
            pinned: &pinned,
            timeouts: None,
            is_own: false,
        };
        let Worker { telemetry, metrics, .. } = &*proxy.worker;
        let mut record = Record::aside(telemetry, metrics, peer, *id);
        let sent = reach.send(request, &mut record).await;
        let mut body = sent.map_err(|error| error.to_string())?.into_body();
        // A connection of HTTP/1.1 stays open if its response is read to the end.
        let mut left = LARGEST;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => break,
            }
        }
        Ok(())
    }
}

/// A body that is copied on its way.
struct Copied {
    body: Body,
    /// Taken at the end, or when the body is too large.
    copy: Option<Box<Mirrored>>,
    bytes: BytesMut,
}

impl http_body::Body for Copied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().filter(|_| this.copy.is_some());
                if let Some(data) = data {
                    if (this.bytes.len() + data.len()) as u64 > LARGEST {
                        (this.copy, this.bytes) = (None, BytesMut::new());
                    } else {
                        this.bytes.extend_from_slice(data);
                    }
                }
            }
            // A request that broke off is none.
            Some(Err(_)) => this.copy = None,
            None => this.end(),
        }
        if this.body.is_end_stream() {
            this.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Copied {
    fn end(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.send(std::mem::take(&mut self.bytes).freeze());
        }
    }
}

/// Bytes of a body that is copied, and of an answer that is read.
const LARGEST: u64 = 64 << 10;

/// Copies of one worker that wait or are on their way at once.
const AT_ONCE: usize = 128;

/// The time of one copy.
const LONGEST: Duration = Duration::from_secs(30);
