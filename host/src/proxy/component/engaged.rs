//! [`Engaged`]: a component at work on a request, with everything that it needs to get on.

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
use weir_runtime::service::{Ask, Call, Incoming, Kept, Outgoing, asks, channel};

use super::Unanswered;
use super::feed::feed;
use crate::message::body::Body;
use crate::message::exchange::Exchange;
use crate::plugins::component::Place;
use crate::plugins::function::Function;
use crate::plugins::seat::Seat;
use crate::plugins::slot::Role;
use crate::proxy::errand::Site;

/// A component at work. Dropping it ends the component's work on the request, and whatever that has asked for.
pub(super) struct Engaged {
    call: Call,
    has_ended: bool,
    /// Its instance, once it has ended, until the response is over: with the instance goes what an unfinished body is known by.
    kept: Option<Kept>,
    asks: mpsc::Receiver<Ask>,
    /// What is done for it: handing over the request's body, requests of its own.
    works: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// Whether a piece of the request's body was handed over.
    moved: Rc<Cell<bool>>,
    site: Rc<Site>,
    seat: Rc<Seat>,
    place: Place,
}

impl Engaged {
    /// Begins a request.
    pub(super) fn begin(
        seat: &Rc<Seat>,
        place: Place,
        (role, site): (&Role, &Rc<Site>),
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
        let call = seat.handle(role, (request, site.id()), asks)?;
        Ok(Self {
            call,
            has_ended: false,
            kept: None,
            asks: taken,
            works,
            moved,
            site: Rc::clone(site),
            seat: Rc::clone(seat),
            place,
        })
    }

    /// Runs the component until it has told the head of its response.
    pub(super) async fn head(
        &mut self,
        exchange: &Exchange,
    ) -> Result<Response<Outgoing>, Unanswered> {
        poll_fn(|cx| {
            let ran = self.poll(cx);
            if let Some(failure) = exchange.failure() {
                return Poll::Ready(Err(Unanswered::Request(failure)));
            }
            // First: it knows better what happened than the head that never came.
            if let Poll::Ready(Err(error)) = ran {
                return Poll::Ready(Err(Unanswered::Plugin(error)));
            }
            self.call.poll_head(cx).map_err(Unanswered::Plugin)
        })
        .await
    }

    /// Runs the component and what it waits for. Ready when it has nothing more to do.
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

    /// Gets on with what the component waits for; whether something of it was begun or ended.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        while self.works.len() < ERRANDS
            && let Poll::Ready(Some(ask)) = self.asks.poll_recv(cx)
        {
            self.works.push(self.site.run(&self.seat.slot, ask));
            has_moved = true;
        }
        while let Poll::Ready(Some(())) = Pin::new(&mut self.works).poll_next(cx) {
            has_moved = true;
        }
        has_moved
    }

    /// Whether the component does nothing more for this request.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Notes that a piece of the response was taken.
    pub(super) fn progress(&self) {
        self.call.progress();
    }

    /// Counts and logs a failure.
    pub(super) fn fail(&self, error: &PluginError) {
        self.seat.fail(Function::Handle, self.site.id(), error);
    }

    /// The plugin's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.seat.slot.name
    }

    /// Lets the component finish what it does after its response, for so long and no longer, and keeps its instance for another
    /// request if that is wanted.
    pub(super) fn linger(mut self, wait: Duration) {
        if self.has_ended {
            return self.keep();
        }
        self.call.finish();
        let tasks = self.site.tasks().clone();
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

/// Requests of its own that a component may have on their way at once, its request's body counted in; further ones wait.
const ERRANDS: usize = 33;
