//! Bodies on their way to a component: [`feed`].

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use weir_runtime::service::{Feed, HttpError};

use crate::message::body::{Body, BodyError};

/// Passes a body to a component. The next piece is read when the last one was taken. Sets `moved`
/// with each piece.
pub(in crate::proxy) async fn feed(mut body: Body, feed: Feed, moved: Rc<Cell<bool>>) {
    let mut read = None;
    while feed.ready().await {
        let next = match read.take() {
            Some(next) => next,
            None => poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await,
        };
        moved.set(true);
        match next.map(|frame| frame.map(Frame::into_data)) {
            None => return,
            Some(Ok(Ok(data))) => {
                let (piece, after) = joined(data, &mut body).await;
                read = after;
                feed.push(Ok(Frame::data(piece)));
            }
            Some(Ok(Err(trailers))) => feed.push(Ok(trailers)),
            Some(Err(_)) => return feed.push(Err(HttpError::ConnectionTerminated)),
        }
        moved.set(true);
    }
}

/// Joins small pieces that have already arrived. A guest makes as many calls for a datagram's
/// content as for [`JOINED`] bytes.
///
/// Returns the piece, and the frame that was read after it.
async fn joined(first: Bytes, body: &mut Body) -> (Bytes, Option<Option<BodyFrame>>) {
    if first.len() >= JOINED {
        return (first, None);
    }
    let mut piece = BytesMut::new();
    let read = loop {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx)));
        match polled.await {
            Poll::Pending => break None,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.len() < JOINED => {
                    if piece.is_empty() {
                        piece.reserve(2 * JOINED);
                        piece.extend_from_slice(&first);
                    }
                    piece.extend_from_slice(&data);
                    if piece.len() >= JOINED {
                        break None;
                    }
                }
                Ok(data) => break Some(Some(Ok(Frame::data(data)))),
                Err(trailers) => break Some(Some(Ok(trailers))),
            },
            Poll::Ready(end) => break Some(end),
        }
    };
    (if piece.is_empty() { first } else { piece.freeze() }, read)
}

type BodyFrame = Result<Frame<Bytes>, BodyError>;

/// Number of bytes from which on a piece of a body is passed to a component unchanged.
const JOINED: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http::HeaderMap;
    use http_body_util::BodyExt as _;
    use weir_runtime::service::channel;

    use super::*;

    /// The pieces as they arrive at the listener, with gaps in which none is ready.
    struct Pieces(VecDeque<Option<Frame<Bytes>>>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> Poll<Option<BodyFrame>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        }
    }

    /// Returns the sizes of the pieces that a component gets, and whether trailers came last.
    async fn handed(pieces: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> (Vec<usize>, bool) {
        let body = Body::stream(Pieces(pieces.into_iter().collect()));
        let (sender, mut incoming) = channel();
        let moved = Rc::new(Cell::new(false));
        let read = async {
            let mut sizes = Vec::new();
            while let Some(frame) = incoming.frame().await {
                match frame.unwrap().into_data() {
                    Ok(data) => sizes.push(data.len()),
                    Err(_) => {
                        return Ok::<_, Infallible>((sizes, incoming.frame().await.is_none()));
                    }
                }
            }
            Ok((sizes, false))
        };
        let ((), result) = tokio::join!(feed(body, sender, Rc::clone(&moved)), read);
        assert!(moved.get());
        result.unwrap()
    }

    fn data(len: usize) -> Option<Frame<Bytes>> {
        Some(Frame::data(vec![7; len].into()))
    }

    #[tokio::test]
    async fn what_has_arrived_is_joined_and_nothing_is_waited_for() {
        assert_eq!(handed([data(3), data(4), None, data(5)]).await, (vec![7, 5], false));
        assert_eq!(handed([None, data(3)]).await, (vec![3], false));
        assert_eq!(handed([]).await, (vec![], false));
    }

    #[tokio::test]
    async fn large_pieces_go_as_they_came_and_small_ones_to_a_bound() {
        let large = JOINED;
        assert_eq!(handed([data(3), data(large), data(4)]).await, (vec![3, large, 4], false));
        let (sizes, _) = handed((0..100).map(|_| data(1400))).await;
        assert_eq!(sizes.iter().sum::<usize>(), 140_000);
        assert!(sizes.iter().all(|size| *size < JOINED + 1400), "{sizes:?}");
        assert_eq!(sizes.len(), 140_000_usize.div_ceil(JOINED), "{sizes:?}");
    }

    #[tokio::test]
    async fn trailers_come_after_what_was_joined() {
        let trailers = Some(Frame::trailers(HeaderMap::new()));
        assert_eq!(handed([data(3), data(4), trailers]).await, (vec![7], true));
    }
}
