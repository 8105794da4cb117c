//! [`ComponentBody`]: the body of a component's response. Reading it runs the component.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};
use weir_runtime::PluginError;
use weir_runtime::service::GuestBody;

use super::ComponentRun;
use crate::message::body::BodyError;
use crate::message::check;

/// A body that a component produces. Dropping it before its end ends the component's work.
pub(super) struct ComponentBody {
    /// Present until the body has ended.
    run: Option<ComponentRun>,
    body: GuestBody,
    /// Remaining bytes of the declared length.
    left: Option<u64>,
    wait: Duration,
    /// Runs while the body waits for a piece.
    timer: Option<Pin<Box<Sleep>>>,
}

impl ComponentBody {
    pub(super) fn new(
        run: ComponentRun,
        body: GuestBody,
        declared: Option<u64>,
        wait: Duration,
    ) -> Self {
        Self { run: Some(run), body, left: declared, wait, timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, PluginError>> {
        let Some(run) = &mut self.run else { return Poll::Ready(Ok(None)) };
        if let Poll::Ready(Err(error)) = run.poll(cx) {
            return Poll::Ready(Err(error));
        }
        let invalid = |what: &str| PluginError::invalid(run.name(), what);
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                run.progress();
                self.timer = None;
                let frame = checked(frame, &mut self.left).map_err(invalid);
                Poll::Ready(frame.map(Some))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Err(invalid(&format!("handle: its body failed: {error}"))))
            }
            Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                Poll::Ready(Err(invalid("handle: its body is shorter than its content-length")))
            }
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            // The declared length ends the body, even if the writer was not closed.
            Poll::Pending if run.has_ended() && self.left == Some(0) => Poll::Ready(Ok(None)),
            // With no budget left, only the turn of this task is over, and more may follow.
            Poll::Pending if run.has_ended() && has_budget_remaining() => {
                Poll::Ready(Err(invalid("handle: it ended and left its body unfinished")))
            }
            Poll::Pending => {
                let wait = self.wait;
                let plugin = run.name().clone();
                let timer = self.timer.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep_until(Instant::now() + wait))
                });
                timer
                    .as_mut()
                    .poll(cx)
                    .map(|()| Err(PluginError::Timeout { plugin, call: "handle", limit: wait }))
            }
        }
    }
}

impl http_body::Body for ComponentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.poll(cx));
        Poll::Ready(match frame {
            Ok(Some(frame)) => Some(Ok(frame)),
            Ok(None) => {
                if let Some(run) = self.run.take() {
                    run.linger(self.wait);
                }
                None
            }
            Err(error) => {
                if let Some(run) = self.run.take() {
                    run.fail(&error);
                }
                Some(Err(BodyError::Filter))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.run.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Servers drop a body once they have all its bytes, without polling for its end.
impl Drop for ComponentBody {
    fn drop(&mut self) {
        if self.left == Some(0)
            && let Some(run) = self.run.take()
        {
            run.linger(self.wait);
        }
    }
}

/// Checks a piece of a body against the declared length, and removes forbidden trailers.
fn checked(frame: Frame<Bytes>, left: &mut Option<u64>) -> Result<Frame<Bytes>, &'static str> {
    match frame.into_data() {
        Ok(data) => {
            if let Some(left) = left {
                let rest = left.checked_sub(data.len() as u64);
                *left = rest.ok_or("handle: its body is longer than its content-length")?;
            }
            Ok(Frame::data(data))
        }
        Err(frame) => {
            let trailers = frame.into_trailers().unwrap_or_default();
            check::clean_trailers(trailers).map(Frame::trailers)
        }
    }
}
