//! A body that passes through a filter piece by piece.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use weir_runtime::filter::{BodyDecision, Piece};
use weir_runtime::{FilterInstance, with_causes};

use crate::config::OnFailure;
use crate::message::body::{Body, BodyError};
use crate::message::edit;
use crate::message::exchange::{BodyFailure, Exchange};
use crate::message::peer::RequestId;
use crate::plugins::function::Function;
use crate::plugins::seat::Seat;
use crate::telemetry::record::Skips;
use crate::telemetry::trace::Span;

/// A body on its way through one filter.
pub(super) struct FilteredBody {
    inner: Body,
    seat: Rc<Seat>,
    function: Function,
    /// The id of the request.
    id: RequestId,
    /// The context that the filter gets again with the next piece.
    context: Vec<u8>,
    /// Frames that the filter passed on and that are not taken yet.
    ready: VecDeque<Frame<Bytes>>,
    /// Whether the filter has changed anything. It cannot be left out afterwards.
    is_changed: bool,
    /// Whether the filter failed before it changed anything, so that the rest passes without it.
    is_left_out: bool,
    has_ended: bool,
    /// The code that waits for the answer to a request, for the body of one.
    watch: Option<RequestWatch>,
    /// The access record's list of filters that were passed over.
    skips: Option<Skips>,
    /// The span from the body's first byte to its last, if the request is traced.
    span: Option<Span>,
}

/// The response of a filter that stopped a request's body.
pub(super) type BodyReply = Rc<Cell<Option<Response<Body>>>>;

/// The code that waits for the answer to a request.
pub(super) struct RequestWatch {
    pub(super) exchange: Rc<Exchange>,
    pub(super) reply: BodyReply,
}

impl FilteredBody {
    /// Passes a request's body through a filter.
    pub(super) fn request(
        inner: Body,
        by: &Rc<Seat>,
        id: RequestId,
        context: &[u8],
        watch: RequestWatch,
        noted: (Option<Span>, Option<Skips>),
    ) -> Body {
        let mut body = Self::new(inner, by, (Function::RequestBody, id), context.to_vec());
        (body.watch, (body.span, body.skips)) = (Some(watch), noted);
        Body::stream(body)
    }

    /// Passes a response's body through a filter.
    pub(super) fn response(
        inner: Body,
        by: &Rc<Seat>,
        id: RequestId,
        context: Vec<u8>,
        noted: (Option<Span>, Option<Skips>),
    ) -> Body {
        let mut body = Self::new(inner, by, (Function::ResponseBody, id), context);
        (body.span, body.skips) = noted;
        Body::stream(body)
    }

    fn new(
        inner: Body,
        seat: &Rc<Seat>,
        (function, id): (Function, RequestId),
        context: Vec<u8>,
    ) -> Self {
        Self {
            inner,
            seat: Rc::clone(seat),
            function,
            id,
            context,
            ready: VecDeque::new(),
            is_changed: false,
            is_left_out: false,
            has_ended: false,
            watch: None,
            skips: None,
            span: None,
        }
    }

    /// Passes a frame, or the end of the body, to the filter.
    fn pass(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), BodyError> {
        let Some(frame) = frame else {
            self.has_ended = true;
            return self.ask(Bytes::new(), true);
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(MAX_PIECE));
                    self.ask(piece, false)?;
                }
                Ok(())
            }
            Err(trailers) => {
                self.has_ended = true;
                self.ask(Bytes::new(), true)?;
                self.ready.push_back(trailers);
                Ok(())
            }
        }
    }

    fn ask(&mut self, data: Bytes, end: bool) -> Result<(), BodyError> {
        if self.is_left_out {
            self.push(data);
            return Ok(());
        }
        let (context, function) = (&self.context, self.function);
        let call = |filter: &mut FilterInstance| match function {
            Function::RequestBody => filter.on_request_body(context, &data, end),
            _ => filter.on_response_body(context, &data, end),
        };
        let decision = self.seat.call(function, self.id, call, |decision| match decision {
            BodyDecision::Reply(_) if function != Function::RequestBody => {
                Err("it replies to a response".to_owned())
            }
            BodyDecision::Reply(reply) => edit::reply(reply).map(Passed::Reply),
            BodyDecision::Keep => Ok(Passed::Keep),
            BodyDecision::Replace(piece) => Ok(Passed::Replace(piece)),
            BodyDecision::Stop => Ok(Passed::Stop),
        });
        if let (Err(error), Some(span)) = (&decision, &mut self.span) {
            span.error(error.kind(), &with_causes(error));
        }
        match decision {
            Ok(Passed::Keep) => self.push(data),
            Ok(Passed::Replace(piece)) => {
                self.is_changed = true;
                self.context = piece.context;
                self.push(piece.data.into());
            }
            Ok(Passed::Stop) => return Err(BodyError::Stopped),
            Ok(Passed::Reply(response)) => {
                if let Some(watch) = &self.watch {
                    watch.reply.set(Some(response));
                }
                return Err(BodyError::Stopped);
            }
            Err(_) if self.seat.slot.on_failure == OnFailure::Open && !self.is_changed => {
                self.is_left_out = true;
                if let Some(skips) = &self.skips {
                    skips.add(&self.seat.slot.name);
                }
                self.push(data);
            }
            Err(_) => return Err(BodyError::Filter),
        }
        Ok(())
    }

    fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.ready.push_back(Frame::data(data));
        }
    }
}

impl http_body::Body for FilteredBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.has_ended {
                self.span = None;
                return Poll::Ready(None);
            }
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose();
            if let Err(error) = frame.and_then(|frame| self.pass(frame)) {
                self.has_ended = true;
                self.ready.clear();
                if let Some(watch) = &self.watch {
                    watch.exchange.fail(BodyFailure::from(&error));
                }
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.ready.is_empty()
    }
}

/// The checked decision of a filter on a piece.
enum Passed {
    Keep,
    Replace(Piece),
    Stop,
    Reply(Response<Body>),
}

/// Maximum number of bytes that a filter sees in one call.
const MAX_PIECE: usize = 64 << 10;
