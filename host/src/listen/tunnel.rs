//! A tunnel over a connection of HTTP/1.1: bytes both ways after a response with status 101.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::io::poll_read_buf;

use crate::message::body::{Body, BodyError};

/// The client's side of a tunnel, whose bytes are the body of the request.
pub(super) struct Inlet(mpsc::Sender<Result<Bytes, BodyError>>);

/// A tunnel that has been opened.
pub(super) struct Opened {
    pub(super) inlet: Inlet,
    /// The origin's bytes.
    pub(super) output: Body,
}

/// The body of a request for a tunnel.
struct InletBody(mpsc::Receiver<Result<Bytes, BodyError>>);

impl Inlet {
    /// Returns the client's side, and the body that it fills.
    pub(super) fn new() -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), Body::stream(InletBody(receiver)))
    }

    /// Passes the client's bytes on until it closes its side.
    async fn fill(self, early: Bytes, mut reader: impl AsyncRead + Unpin) {
        if !early.is_empty() && self.0.send(Ok(early)).await.is_err() {
            return;
        }
        loop {
            let piece = match poll_fn(|cx| poll_piece(&mut reader, cx)).await {
                Ok(piece) if piece.is_empty() => return,
                Ok(piece) => Ok(piece),
                Err(error) => Err(BodyError::client(error)),
            };
            let is_over = piece.is_err();
            if self.0.send(piece).await.is_err() || is_over {
                return;
            }
        }
    }
}

impl Opened {
    /// Carries bytes until the origin has closed its side. `head` is the rest of the response's
    /// head, and `early` the bytes of the tunnel that came with the request.
    pub(super) async fn run(
        self,
        io: impl AsyncRead + AsyncWrite + Unpin,
        head: &[u8],
        early: Bytes,
    ) -> std::io::Result<()> {
        let Self { inlet, mut output } = self;
        let (reader, mut writer) = tokio::io::split(io);
        let mut filling = pin!(inlet.fill(early, reader));
        let mut is_filling = true;
        let mut emptying = pin!(async {
            writer.write_all(head).await?;
            writer.flush().await?;
            while let Some(frame) = output.frame().await {
                let Ok(frame) = frame else { return Ok(false) };
                if let Ok(data) = frame.into_data() {
                    writer.write_all(&data).await?;
                    writer.flush().await?;
                }
            }
            writer.shutdown().await?;
            Ok(true)
        });
        loop {
            tokio::select! {
                () = &mut filling, if is_filling => is_filling = false,
                ended = &mut emptying => return ended.map(drop),
            }
        }
    }
}

impl http_body::Body for InletBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Reads bytes that are there. A tunnel that waits, perhaps for hours, holds no buffer.
fn poll_piece(
    reader: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<Bytes>> {
    let mut buffer = BytesMut::with_capacity(PIECE);
    let read = ready!(poll_read_buf(Pin::new(reader), cx, &mut buffer));
    Poll::Ready(read.map(|_| buffer.freeze()))
}

/// Bytes of one read from a client.
const PIECE: usize = 16 << 10;
