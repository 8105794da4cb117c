//! Frames on their way out: DATA with its payload, and HEADERS.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::code::Error;
use crate::stream::Stream;
use crate::varint;

/// A piece of a body that [`Stream::send_data`] is sending.
#[derive(Debug)]
pub struct Sending<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) frame: DataFrame,
}

/// A DATA frame that [`Stream::poll_send`] sends: its head with the bytes before it, and its
/// payload.
#[derive(Debug)]
pub struct DataFrame(pub(crate) [Bytes; 2]);

impl Sending<'_> {
    /// Bytes that QUIC has not taken yet, including the frame's head.
    pub fn left(&self) -> usize {
        self.frame.0.iter().map(Bytes::len).sum()
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { stream, frame } = &mut *self;
        stream.poll_send(frame, cx)
    }
}

/// Writes a HEADERS frame around the output of `encode`.
pub(crate) fn put_headers(out: &mut BytesMut, encode: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    // The type and a length of two bytes, which are nearly always enough for a section.
    out.put_slice(&[HEADERS as u8, 0, 0]);
    encode(out);
    let length = out.len() - start - 3;
    if let (Ok(short @ 0..0x4000), Some(room)) =
        (u16::try_from(length), out.get_mut(start + 1..start + 3))
    {
        room.copy_from_slice(&(short | 0b01 << 14).to_be_bytes());
        return;
    }
    let section = out.split_off(start + 3);
    out.truncate(start);
    put_frame_head(out, HEADERS, length);
    out.put_slice(&section);
}

pub(crate) fn put_frame_head(out: &mut BytesMut, kind: u64, length: usize) {
    varint::encode(kind, out);
    varint::encode(length as u64, out);
}

/// Types of the frames that are sent.
pub(crate) const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
