//! The body of a response, whose end is the end of its record.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::{Fate, Record, fault};
use crate::message::body::{Body, BodyError};
use crate::message::grpc::GrpcStatus;
use crate::telemetry::metrics::OpenTunnel;

/// The body of a response, which reports its fate to the record.
pub(super) struct RecordedBody {
    pub(super) body: Body,
    pub(super) declared: Option<u64>,
    pub(super) record: Record,
    /// Counts an open tunnel.
    #[allow(dead_code, reason = "counts until it is dropped")]
    pub(super) tunnel: Option<OpenTunnel>,
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.record.response_bytes += len as u64;
                if let (Some(call), Some(trailers)) = (&mut self.record.call, frame.trailers_ref())
                {
                    call.status = call.status.or(GrpcStatus::of(trailers));
                }
            }
            Some(Err(error)) => {
                self.record.error(fault::side(error), fault::failure(error));
                self.record.fate = Fate::Failed;
                self.record.end();
            }
            None => {
                self.record.fate = Fate::Whole;
                self.record.end();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Servers drop a body once they have all its bytes, without polling for its end.
impl Drop for RecordedBody {
    fn drop(&mut self) {
        let is_whole = self.declared == Some(self.record.response_bytes);
        if self.record.fate == Fate::Left && (is_whole || self.body.is_end_stream()) {
            self.record.fate = Fate::Whole;
        }
    }
}
