//! Bodies on their way into a guest, one piece at a time: the next piece goes in when the guest has
//! taken the last.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use super::HttpError;

/// Returns a body for a guest, and the feed that fills it.
pub fn channel() -> (Feed, Incoming) {
    let (feed, pieces) = mpsc::channel(1);
    (Feed(feed), Incoming(Some(pieces)))
}

/// Feeds a body. Dropping it ends the body without an error.
#[derive(Debug)]
pub struct Feed(mpsc::Sender<Result<Frame<Bytes>, HttpError>>);

impl Feed {
    /// Waits until there is room for a piece. Returns `false` if the reader is gone. Cancel safe.
    pub async fn ready(&self) -> bool {
        self.0.reserve().await.is_ok()
    }

    /// Hands over a piece, after [`Feed::ready`]. An error ends the body. Without room the piece is
    /// lost; that cannot happen to a caller that has waited.
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
