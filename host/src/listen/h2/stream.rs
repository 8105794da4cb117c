//! One stream of HTTP/2: reads a request, then sends its interim responses and its response.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};

use super::Shared;
use super::taking::Taking;
use crate::listen::Handler;
use crate::message::body::{Body, BodyError};
use crate::message::complete;
use crate::message::interim::{Inform, Interim, withholds_body};
use crate::message::peer::Protocol;
use crate::message::tunnel::Upgrade;

/// Serves one request. Dropping the future resets the stream and cancels the handler's work. A
/// reset by the client does the same.
pub(super) async fn serve<H: Handler>(
    request: Request<RecvStream>,
    reply: SendResponse<Bytes>,
    shared: Rc<Shared<H>>,
) {
    let reply = Rc::new(Reply { stream: RefCell::new(reply), is_open: Cell::new(true) });
    let request = receive(request, &reply, &shared);
    let response = {
        let interim = Interim::new(Rc::clone(&reply));
        let mut answer = pin!(shared.service.answer(request, Protocol::H2, interim));
        // The reset is checked first: after it, no response may be sent, not even an interim one.
        poll_fn(|cx| match reply.poll_reset(cx) {
            Poll::Pending => answer.as_mut().poll(cx).map(Some),
            Poll::Ready(()) => Poll::Ready(None),
        })
        .await
    };
    let Some(response) = response else { return };
    let sent = match reply.send(response) {
        Ok(None) => Ok(()),
        Ok(Some((body, stream))) => send(body, stream, &mut Taking::new(&shared)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(client = %shared.service.peer.client, error, "response ended early");
    }
}

fn receive<H: Handler>(
    request: Request<RecvStream>,
    reply: &Rc<Reply>,
    shared: &Rc<Shared<H>>,
) -> Request<Body> {
    let (mut head, stream) = request.into_parts();
    if let Some(protocol) = head.extensions.remove::<h2::ext::Protocol>()
        && let Ok(protocol) = HeaderValue::from_str(protocol.as_str())
    {
        // An extended CONNECT has the target of a GET.
        head.method = Method::GET;
        head.extensions.insert(Upgrade { protocol });
    }
    if stream.is_end_stream() {
        return Request::from_parts(head, Body::empty());
    }
    let withheld = withholds_body(&head.headers).then(|| Interim::new(Rc::clone(reply)));
    let incoming = Incoming { stream, is_data_over: false, withheld, shared: Rc::clone(shared) };
    let body = Body::stream(incoming).among(&shared.ahead);
    Request::from_parts(head, body)
}

/// The sending side of a stream until the final head.
struct Reply {
    stream: RefCell<SendResponse<Bytes>>,
    /// Whether the final head is still to come.
    is_open: Cell<bool>,
}

impl Reply {
    /// Ready when the client has reset the stream, or the connection is lost.
    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.borrow_mut().poll_reset(cx).map(|_| ())
    }

    /// Sends the final head. Returns the body, if there is one, and its stream.
    fn send(
        &self,
        response: Response<Body>,
    ) -> Result<Option<(Body, SendStream<Bytes>)>, h2::Error> {
        let (mut head, body) = response.into_parts();
        complete::strip(&mut head.headers);
        self.is_open.set(false);
        let is_over = body.is_end_stream();
        let mut stream = self.stream.borrow_mut();
        let sent = stream.send_response(Response::from_parts(head, ()), is_over);
        let sending = sent.inspect_err(|_| stream.send_reset(Reason::INTERNAL_ERROR))?;
        Ok((!is_over).then_some((body, sending)))
    }
}

impl Inform for Reply {
    fn inform(&self, status: StatusCode, fields: &HeaderMap) {
        if !self.is_open.get() {
            return;
        }
        let mut head = Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = fields.clone();
        if let Err(error) = self.stream.borrow_mut().send_informational(head) {
            tracing::debug!(%error, "interim response not sent");
        }
    }
}

/// Sends the body of a response as the client's windows allow.
async fn send(
    mut body: Body,
    mut stream: SendStream<Bytes>,
    taking: &mut Taking<'_>,
) -> Result<(), h2::Error> {
    loop {
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|reset| reset.and_then(|r| Err(r.into()))),
        });
        let Some(frame) = frame.await? else { return stream.send_data(Bytes::new(), true) };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "response body failed");
                stream.send_reset(match error {
                    BodyError::Capsules(_) => Reason::PROTOCOL_ERROR,
                    _ => Reason::INTERNAL_ERROR,
                });
                return Ok(());
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let is_over = body.is_end_stream();
                if !data.is_empty() {
                    // One byte suffices: h2 requests the rest itself. A larger reservation would
                    // withhold the window from other streams.
                    stream.reserve_capacity(1);
                    taking.room(&mut stream).await?;
                } else if !is_over {
                    continue;
                }
                taking.restore(data.len());
                stream.send_data(data, is_over)?;
                if is_over {
                    return Ok(());
                }
            }
            Err(frame) => {
                stream.reserve_capacity(0);
                let trailers = frame.into_trailers().unwrap_or_default();
                let sent = stream.send_trailers(trailers);
                return sent.inspect_err(|_| stream.send_reset(Reason::INTERNAL_ERROR));
            }
        }
    }
}

/// Reads a request after its head.
struct Incoming<H> {
    stream: RecvStream,
    is_data_over: bool,
    /// Sends 100 when the body is wanted, if the client waits for that.
    withheld: Option<Interim>,
    shared: Rc<Shared<H>>,
}

impl<H> Incoming<H> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, h2::Error>> {
        while !self.is_data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(data) => {
                    let data = data?;
                    // Reading gives the client new room. The call fails only if the stream has
                    // ended.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                }
                None => self.is_data_over = true,
            }
        }
        self.stream.poll_trailers(cx).map_ok(|trailers| trailers.map(Frame::trailers))
    }
}

impl<H> http_body::Body for Incoming<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.poll_next(cx);
        // A client that has begun to send does not wait for 100 any more.
        if let Some(client) = self.withheld.take()
            && next.is_pending()
        {
            client.send(StatusCode::CONTINUE, &HeaderMap::new());
        }
        let frame = ready!(next);
        self.shared.was_heard.set(true);
        Poll::Ready(frame.map_err(BodyError::client).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
