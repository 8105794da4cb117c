//! Requests for tunnels: the route's word on them, and the client's bytes.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::error::ProxyError;
use crate::config::{TARGET_HOST, TARGET_PORT};
use crate::message::body::{Body, BodyError};
use crate::message::check::CheckError;
use crate::message::exchange::{BodyFailure, Exchange};
use crate::message::peer::Protocol;
use crate::message::subject::Subject;
use crate::message::tunnel::{self, Upgrade};
use crate::route::Route;
use crate::upstream::udp::{Relay, Target};

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

/// Opens a tunnel of UDP to the target that the path names (RFC 9298).
///
/// # Errors
/// The request is not for a tunnel, or it names no target that the route allows and reaches.
pub(super) async fn udp(
    relay: &Relay,
    head: &Parts,
    body: Body,
    subject: &Subject<'_>,
    bytes: Rc<Cell<u64>>,
) -> Result<Response<Body>, ProxyError> {
    let upgrade = head.extensions.get::<Upgrade>();
    let upgrade = upgrade.ok_or(CheckError::Malformed("not a request of CONNECT-UDP"))?;
    let part = |name| subject.capture(name).unwrap_or_default();
    let target = Target::parse(part(TARGET_HOST), part(TARGET_PORT));
    let target = target.ok_or(CheckError::Malformed("the path names no target of UDP"))?;
    let body = TunnelBody::wrap(body, &Exchange::start(bytes));
    let body = relay.open(target, body).await.map_err(Box::new)?;
    let (mut head, body) = Response::new(body).into_parts();
    tunnel::opened(&mut head, upgrade, None);
    head.headers.insert(CAPSULE_PROTOCOL, HeaderValue::from_static("?1"));
    Ok(Response::from_parts(head, body))
}

/// Tells that the bytes of a tunnel are capsules (RFC 9297 §3.4).
const CAPSULE_PROTOCOL: HeaderName = HeaderName::from_static("capsule-protocol");

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
