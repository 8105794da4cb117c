//! [`ComponentRun`]: a component at work on a request, with all that it needs to proceed.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use http_body::Body as _;
use tokio::sync::mpsc;
use weir_runtime::PluginError;
use weir_runtime::service::{Ask, Call, GuestBody, IdleGuest, Incoming, asks, channel};

use super::ComponentError;
use super::feed::feed;
use crate::message::body::Body;
use crate::message::exchange::Exchange;
use crate::plugins::component::Admission;
use crate::plugins::function::Function;
use crate::plugins::seat::Seat;
use crate::plugins::slot::Role;
use crate::proxy::errand::ComponentContext;

/// A component at work. Dropping it ends the component's work on the request, and all requests that
/// this work has made.
pub(super) struct ComponentRun {
    call: Call,
    has_ended: bool,
    /// The instance of a component that has ended, kept until the response is over. Without the
    /// instance, an unfinished body could not be recognized.
    kept: Option<IdleGuest>,
    asks: mpsc::Receiver<Ask>,
    /// Work for the component: passing the request's body, and the component's own requests.
    works: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// Whether a piece of the request's body was passed to the component.
    moved: Rc<Cell<bool>>,
    context: Rc<ComponentContext>,
    seat: Rc<Seat>,
    place: Admission,
}

impl ComponentRun {
    /// Begins a request.
    pub(super) fn begin(
        seat: &Rc<Seat>,
        place: Admission,
        (role, context): (&Role, &Rc<ComponentContext>),
        request: Request<Body>,
    ) -> Result<Self, PluginError> {
        let (head, body) = request.into_parts();
        let works = FuturesUnordered::<LocalBoxFuture<'static, ()>>::new();
        let moved = Rc::new(Cell::new(false));
        let incoming = if body.is_end_stream() {
            Incoming::empty()
        } else {
            let (feeding, incoming) = channel();
            works.push(Box::pin(feed(body, feeding, Rc::clone(&moved))));
            incoming
        };
        let (asks, taken) = asks();
        let request = Request::from_parts(head, incoming);
        let call = seat.handle(role, (request, context.id()), asks)?;
        Ok(Self {
            call,
            has_ended: false,
            kept: None,
            asks: taken,
            works,
            moved,
            context: Rc::clone(context),
            seat: Rc::clone(seat),
            place,
        })
    }

    /// Runs the component until it has returned the head of its response.
    pub(super) async fn head(
        &mut self,
        exchange: &Exchange,
    ) -> Result<Response<GuestBody>, ComponentError> {
        poll_fn(|cx| {
            let ran = self.poll(cx);
            if let Some(failure) = exchange.failure() {
                return Poll::Ready(Err(ComponentError::Request(failure)));
            }
            // Checked first, because it names the cause better than the absence of the head.
            if let Poll::Ready(Err(error)) = ran {
                return Poll::Ready(Err(ComponentError::Plugin(error)));
            }
            self.call.poll_head(cx).map_err(ComponentError::Plugin)
        })
        .await
    }

    /// Runs the component and its work. Ready when the component has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PluginError>> {
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.moved.take() {
                self.call.progress();
            }
            let polled = self.call.poll(cx);
            self.place.counted.set(self.call.memory());
            if let Poll::Ready(ended) = polled {
                self.has_ended = true;
                return Poll::Ready(ended.map(|kept| self.kept = Some(kept)));
            }
            if !self.work(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Continues the work for the component. Returns whether any of it began or ended.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        while self.works.len() < ERRANDS
            && let Poll::Ready(Some(ask)) = self.asks.poll_recv(cx)
        {
            self.works.push(self.context.run(&self.seat.slot, ask));
            has_moved = true;
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.works).poll_next(cx) {
            has_moved = true;
        }
        has_moved
    }

    /// Returns whether the component has ended for this request.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Notes that a piece of the response was taken.
    pub(super) fn progress(&self) {
        self.call.progress();
    }

    /// Counts and logs a failure.
    pub(super) fn fail(&self, error: &PluginError) {
        self.seat.fail(Function::Handle, self.context.id(), error);
    }

    /// Returns the name of the plugin.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.seat.slot.name
    }

    /// Lets the component finish its work after the response, for at most `wait`. Keeps its
    /// instance for another request if that is wanted.
    pub(super) fn linger(mut self, wait: Duration) {
        if self.has_ended {
            return self.keep();
        }
        self.call.finish();
        let tasks = self.context.tasks().clone();
        tasks.spawn(async move {
            let finished = tokio::time::timeout(wait, poll_fn(|cx| self.poll(cx))).await;
            match finished {
                Ok(Ok(())) => self.keep(),
                Ok(Err(error)) => self.fail(&error),
                Err(_) => {}
            }
        });
    }

    fn keep(self) {
        if let Some(kept) = self.kept {
            self.seat.keep(kept);
        }
    }
}

/// Maximum number of a component's concurrent requests, including the body of its own request.
/// Further ones wait.
const ERRANDS: usize = 33;
