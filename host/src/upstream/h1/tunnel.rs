//! A tunnel over a connection of HTTP/1.1: an upgrade that the origin accepts (RFC 9110 §7.8).

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::body::H1Exchange;
use super::exchange::EncodedRequest;
use super::upload::Upload;
use super::{ResponseStart, head};
use crate::message::body::Body;
use crate::message::tunnel::{self, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, Upgrade};
use crate::upstream::error::{Cause, Reached, SendError};
use crate::upstream::lease::{Deadlines, LeaseRequest};
use crate::upstream::pool::Connection;
use crate::upstream::response::ResponseBody;

/// Asks for a tunnel. `body` are the client's bytes, which go out once the origin has accepted. An
/// origin may also give another response, which passes as usual.
///
/// # Errors
/// [`SendError`]. An origin that accepts another protocol or answers another key is broken.
pub(in crate::upstream) async fn exchange(
    mut connection: Connection,
    request: LeaseRequest<'_>,
    body: Body,
    upgrade: Upgrade,
    deadlines: Deadlines,
) -> Result<Response<Body>, SendError> {
    let LeaseRequest { head, authority, exchange, informed, in_flight, .. } = request;
    let has_key = head.headers.contains_key(SEC_WEBSOCKET_KEY);
    head::prepare(head);
    let key = head::prepare_upgrade(head, &upgrade);
    let encoded = head::encode(head, authority, false);
    let first_byte = deadlines.first_byte;
    let request = EncodedRequest { head, encoded, exchange, informed, first_byte };
    let received = match request.send(&mut connection, Body::empty()).await {
        // Nothing of the tunnel was sent, and asking twice opens it once.
        Err(error) if connection.is_reused() && error.reached() == Reached::Perhaps => {
            let endpoint = Arc::clone(connection.endpoint());
            let fresh = connection.replace().await;
            connection = fresh.map_err(|source| Cause::Connect { endpoint, source })?;
            request.send(&mut connection, Body::empty()).await?
        }
        received => received?,
    };
    let ResponseStart { mut head, decoder, keep_alive, mut upload } = received;
    let exchange = Rc::clone(request.exchange);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        check(&head.headers, &upgrade, key.as_ref())
            .map_err(|reason| Cause::Broken(reason.into()))?;
        let accept = head.headers.remove(SEC_WEBSOCKET_ACCEPT).filter(|_| has_key);
        tunnel::opened(&mut head, &upgrade, accept);
        upload = Upload::raw(body);
    }
    let rest = H1Exchange {
        connection,
        decoder,
        keep_alive,
        upload,
        _in_flight: in_flight,
        exchange: Rc::clone(&exchange),
    };
    Ok(Response::from_parts(head, Body::stream(ResponseBody::new(rest, exchange, deadlines))))
}

/// Checks that the origin speaks the protocol that was asked for.
fn check(
    fields: &HeaderMap,
    upgrade: &Upgrade,
    key: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    let chosen = fields.get(header::UPGRADE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !chosen.eq_ignore_ascii_case(upgrade.protocol.as_bytes()) {
        return Err("the origin switches to another protocol");
    }
    let Some(key) = key else { return Ok(()) };
    if fields.get(SEC_WEBSOCKET_ACCEPT) != tunnel::accept(key).as_ref() {
        return Err("the origin answers another key (Sec-WebSocket-Accept)");
    }
    Ok(())
}
