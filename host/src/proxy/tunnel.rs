//! Requests for tunnels: the route's word on them, and the client's bytes.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::message::body::{Body, BodyError};
use crate::message::check::CheckError;
use crate::message::exchange::{BodyFailure, Exchange};
use crate::message::peer::Protocol;
use crate::message::tunnel::Upgrade;
use crate::route::Route;

/// Lets a request for a tunnel pass if its route wants the tunnel's protocol. Over HTTP/1.1 another
/// request passes without the upgrade, which is only an offer (RFC 9110 §7.8).
///
/// # Errors
/// An extended CONNECT is for a tunnel only.
pub(super) fn admit(
    head: &mut Parts,
    body: Body,
    route: &Route,
    protocol: Protocol,
) -> Result<Body, CheckError> {
    match head.extensions.get::<Upgrade>() {
        None => Ok(body),
        Some(upgrade) if upgrade.is_one_of(&route.upgrades) => Ok(body),
        Some(_) if protocol == Protocol::H1 => {
            head.extensions.remove::<Upgrade>();
            Ok(Body::empty())
        }
        Some(_) => Err(CheckError::Unsupported("this protocol of an extended CONNECT")),
    }
}

/// The client's bytes on their way to the origin. They have no bound, and no rate: both sides of a
/// tunnel may be silent.
pub(super) struct TunnelBody {
    inner: Body,
    exchange: Rc<Exchange>,
    seen: u64,
}

impl TunnelBody {
    pub(super) fn wrap(inner: Body, exchange: &Rc<Exchange>) -> Body {
        exchange.unpace();
        Body::stream(Self { inner, exchange: Rc::clone(exchange), seen: 0 })
    }
}

impl http_body::Body for TunnelBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.seen += frame.data_ref().map_or(0, Bytes::len) as u64;
                self.exchange.count(self.seen);
                self.exchange.moved_at(Instant::now());
            }
            Poll::Ready(Some(Err(error))) => self.exchange.fail(BodyFailure::from(error)),
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
