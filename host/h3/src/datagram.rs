//! HTTP datagrams (RFC 9297 §2.1): QUIC datagrams that belong to a request.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::code::{Code, Violation};
use crate::varint;

/// Received datagrams of one request. Datagrams that arrive while the queue is full are dropped, as
/// a network would do.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: VecDeque<Bytes>,
    reader: Option<Waker>,
}

impl Inbox {
    pub(crate) fn push(&mut self, payload: &[u8]) {
        if self.waiting.len() < QUEUE {
            // A copy, because QUIC received the payload with others in one large buffer.
            self.waiting.push_back(Bytes::copy_from_slice(payload));
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Bytes> {
        match self.waiting.pop_front() {
            Some(payload) => Poll::Ready(payload),
            None => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Returns the request stream's id and the payload of a QUIC datagram.
///
/// # Errors
/// [`Code::H3_DATAGRAM_ERROR`] if the id is that of no possible stream.
pub(crate) fn decode(mut datagram: Bytes) -> Result<(u64, Bytes), Violation> {
    let (quarter, rest) = varint::decode(&datagram).ok_or(CUT)?;
    if quarter > LARGEST_QUARTER {
        return Err(BEYOND);
    }
    datagram.advance(datagram.len() - rest.len());
    Ok((quarter * 4, datagram))
}

/// Returns a QUIC datagram for the request on stream `id`.
pub(crate) fn encode(id: u64, payload: &[u8]) -> Bytes {
    let mut datagram = BytesMut::with_capacity(8 + payload.len());
    varint::encode(id / 4, &mut datagram);
    datagram.put_slice(payload);
    datagram.freeze()
}

/// Datagrams that wait for one request: the amount that a path delivers in a few milliseconds.
const QUEUE: usize = 64;

/// Ids of requests are multiples of four below 2^62 (RFC 9297 §2.1).
const LARGEST_QUARTER: u64 = (1 << 60) - 1;

const CUT: Violation = Violation::new(Code::H3_DATAGRAM_ERROR, "a datagram without a stream");
const BEYOND: Violation =
    Violation::new(Code::H3_DATAGRAM_ERROR, "a datagram of a stream that cannot be");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_datagram_names_a_stream_that_can_be() {
        assert_eq!(decode(Bytes::new()), Err(CUT));
        assert_eq!(decode(Bytes::from_static(&[0x40])), Err(CUT));
        let beyond = (1u64 << 60 | 0b11 << 62).to_be_bytes();
        assert_eq!(decode(Bytes::copy_from_slice(&beyond)), Err(BEYOND));
    }

    #[test]
    fn a_full_queue_drops_what_comes() {
        let mut inbox = Inbox::default();
        (0..200u8).for_each(|n| inbox.push(&[n]));
        let cx = Context::from_waker(Waker::noop());
        let mut taken = 0;
        while inbox.poll_next(&cx).is_ready() {
            taken += 1;
        }
        assert_eq!(taken, QUEUE);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(quarter in 0..=LARGEST_QUARTER, payload: Vec<u8>) {
            let decoded = decode(encode(quarter * 4, &payload)).unwrap();
            prop_assert_eq!(decoded, (quarter * 4, Bytes::from(payload)));
        }
    }
}
