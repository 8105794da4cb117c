//! [`Streaming`]: the body of a component's response, which runs the component as it is read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};
use weir_runtime::PluginError;
use weir_runtime::service::Outgoing;

use super::Engaged;
use crate::message::body::BodyError;
use crate::message::check;

/// A body that a component produces. Dropped before its end, it ends the component's work.
pub(super) struct Streaming {
    /// Present until the body has ended.
    engaged: Option<Engaged>,
    body: Outgoing,
    /// What is still to come of the length that was told.
    left: Option<u64>,
    wait: Duration,
    /// Runs while a piece is awaited.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Streaming {
    pub(super) fn new(
        engaged: Engaged,
        body: Outgoing,
        declared: Option<u64>,
        wait: Duration,
    ) -> Self {
        Self { engaged: Some(engaged), body, left: declared, wait, timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, PluginError>> {
        let Some(engaged) = &mut self.engaged else { return Poll::Ready(Ok(None)) };
        if let Poll::Ready(Err(error)) = engaged.poll(cx) {
            return Poll::Ready(Err(error));
        }
        let invalid = |what: &str| PluginError::invalid(engaged.name(), what);
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                engaged.progress();
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
            // Its length is its end, whatever became of the writer.
            Poll::Pending if engaged.has_ended() && self.left == Some(0) => Poll::Ready(Ok(None)),
            // Unless it is only this task's turn that is over, and there is more.
            Poll::Pending if engaged.has_ended() && has_budget_remaining() => {
                Poll::Ready(Err(invalid("handle: it ended and left its body unfinished")))
            }
            Poll::Pending => {
                let wait = self.wait;
                let plugin = engaged.name().clone();
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

impl http_body::Body for Streaming {
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
                if let Some(engaged) = self.engaged.take() {
                    engaged.linger(self.wait);
                }
                None
            }
            Err(error) => {
                if let Some(engaged) = self.engaged.take() {
                    engaged.fail(&error);
                }
                Some(Err(BodyError::Filter))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.engaged.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Servers drop a body without asking for its end once they have all of it.
impl Drop for Streaming {
    fn drop(&mut self) {
        if self.left == Some(0)
            && let Some(engaged) = self.engaged.take()
        {
            engaged.linger(self.wait);
        }
    }
}

/// A piece of a body, if it keeps to the length that was told; trailers, if they may be.
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
