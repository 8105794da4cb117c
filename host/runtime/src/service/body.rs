//! Bodies on their way into a guest: one piece at a time, the next when the guest has taken the last.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use super::HttpError;

/// A body for a guest, and who feeds it.
pub fn channel() -> (Feed, Incoming) {
    let (feed, pieces) = mpsc::channel(1);
    (Feed(feed), Incoming(Some(pieces)))
}

/// Feeds a body. Dropped, it ends the body well.
#[derive(Debug)]
pub struct Feed(mpsc::Sender<Result<Frame<Bytes>, HttpError>>);

impl Feed {
    /// Waits until there is room for a piece; whether anybody still wants one. Cancel safe.
    pub async fn ready(&self) -> bool {
        self.0.reserve().await.is_ok()
    }

    /// Hands over a piece, after [`Feed::ready`]; the body ends with an error. Without room it is lost, which a caller that
    /// has waited does not meet.
    pub fn push(&self, piece: Result<Frame<Bytes>, HttpError>) {
        let _ = self.0.try_send(piece);
    }
}

/// A body that a guest reads.
#[derive(Debug)]
pub struct Incoming(Option<mpsc::Receiver<Result<Frame<Bytes>, HttpError>>>);

impl Incoming {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self(None)
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(pieces) => pieces.poll_recv(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
