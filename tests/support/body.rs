//! One body type for requests and responses: bytes, a repeated chunk, or chunks that a test sends
//! one by one.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// A body that a client or an origin sends.
#[derive(Debug)]
pub(crate) struct Body {
    source: Source,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
}

/// The other end of [`Body::channel`]: dropping it ends the body.
#[derive(Debug)]
pub(crate) struct Sender(mpsc::Sender<io::Result<Frame<Bytes>>>);

#[derive(Debug)]
enum Source {
    Bytes(VecDeque<Bytes>),
    Repeat { chunk: Bytes, left: u64 },
    Pattern { pattern: Pattern, left: u64 },
    Channel(mpsc::Receiver<io::Result<Frame<Bytes>>>),
}

/// Bytes in which each place differs from its neighbours, so that a loss or a mix-up shows. It
/// repeats after [`PERIOD`], which no buffer has as its size.
#[derive(Debug)]
pub(crate) struct Pattern {
    period: Bytes,
    place: usize,
}

/// A prime near 64 KiB.
const PERIOD: usize = 65_521;

impl Pattern {
    pub(crate) fn new() -> Self {
        let byte = |place: usize| (place.wrapping_mul(2_654_435_761) >> 11) as u8;
        Self { period: (0..PERIOD).map(byte).collect::<Vec<_>>().into(), place: 0 }
    }

    /// Returns the next bytes, at most `limit`.
    fn next(&mut self, limit: usize) -> Bytes {
        let end = PERIOD.min(self.place.saturating_add(limit));
        let bytes = self.period.slice(self.place..end);
        self.place = end % PERIOD;
        bytes
    }

    /// Whether bytes are the next ones. Passes them.
    pub(crate) fn goes_on(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let wanted = self.next(bytes.len());
            if bytes[..wanted.len()] != wanted {
                return false;
            }
            bytes = &bytes[wanted.len()..];
        }
        true
    }
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A body of `length` bytes, announced, in chunks of 64 KiB.
    pub(crate) fn repeat(length: u64) -> Self {
        let chunk = Bytes::from(vec![b'x'; 64 << 10]);
        Self {
            source: Source::Repeat { chunk, left: length },
            length: Some(length),
            trailers: None,
        }
    }

    /// A body of `length` bytes of a [`Pattern`], announced.
    pub(crate) fn pattern(length: u64) -> Self {
        let source = Source::Pattern { pattern: Pattern::new(), left: length };
        Self { source, length: Some(length), trailers: None }
    }

    /// A body from the sender's chunks, unannounced. At most one chunk waits.
    pub(crate) fn channel() -> (Sender, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (Sender(sender), Self { source: Source::Channel(receiver), length: None, trailers: None })
    }

    /// Adds trailers at the end, and therefore announces no length.
    pub(crate) fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self.length = None;
        self
    }

    /// Announces a wrong length, or none.
    pub(crate) fn announcing(mut self, length: Option<u64>) -> Self {
        self.length = length;
        self
    }

    /// The announced length.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.source {
            Source::Bytes(chunks) => Poll::Ready(chunks.pop_front().map(|c| Ok(Frame::data(c)))),
            Source::Repeat { left: 0, .. } => Poll::Ready(None),
            Source::Repeat { chunk, left } => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
                *left -= take as u64;
                Poll::Ready(Some(Ok(Frame::data(chunk.slice(..take)))))
            }
            Source::Pattern { left: 0, .. } => Poll::Ready(None),
            Source::Pattern { pattern, left } => {
                let chunk = pattern.next(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= chunk.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Source::Channel(receiver) => receiver.poll_recv(cx),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        let chunks = if bytes.is_empty() { VecDeque::new() } else { VecDeque::from([bytes]) };
        Self { source: Source::Bytes(chunks), length, trailers: None }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match std::task::ready!(self.poll_chunk(cx)) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Poll::Ready(self.trailers.take().map(|fields| Ok(Frame::trailers(fields)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.source {
            Source::Bytes(chunks) => chunks.is_empty(),
            Source::Repeat { left, .. } | Source::Pattern { left, .. } => *left == 0,
            Source::Channel(_) => false,
        };
        ended && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Sender {
    /// Sends a chunk. Returns false if the reader is gone.
    pub(crate) async fn send(&self, chunk: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(chunk.into()))).await.is_ok()
    }

    /// Sends trailers, which end the body.
    pub(crate) async fn trailers(&self, trailers: HeaderMap) {
        let _ = self.0.send(Ok(Frame::trailers(trailers))).await;
    }

    /// Ends the body with an error: the message is cut off.
    pub(crate) async fn abort(self) {
        let _ = self.0.send(Err(io::Error::other("aborted by the test"))).await;
    }

    /// Completes when the reader is gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}
