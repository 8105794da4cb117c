//! [`Nominated`]: fields that end here because `Connection` names them, including those in
//! trailers.
//!
//! `Connection` is in a head and applies to the whole message (RFC 9110 §7.6.1). The code that
//! removes the named fields from a head therefore keeps their names for the trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body as _, Frame, SizeHint};

use super::body::{Body, BodyError};

/// The fields that a message's `Connection` names, without those that are never passed on.
#[derive(Debug, Default)]
#[must_use = "trailers may have these fields too"]
pub struct Nominated(pub(super) Vec<HeaderName>);

impl Nominated {
    /// Removes the fields from the trailers of the message's body. Nearly every message names none,
    /// and its body stays unchanged.
    pub fn withhold(self, body: &mut Body) {
        if !self.0.is_empty() {
            *body = self.withheld(std::mem::take(body));
        }
    }

    /// Does the same as [`Self::withhold`], by value: a future reserves room for a body that it has
    /// lent, even after moving it.
    pub fn withheld(self, inner: Body) -> Body {
        if self.0.is_empty() || inner.is_end_stream() {
            return inner;
        }
        Body::stream(WithheldTrailers { inner, names: self.0 })
    }
}

/// A body without some trailers.
struct WithheldTrailers {
    inner: Body,
    names: Vec<HeaderName>,
}

impl http_body::Body for WithheldTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            for name in &self.names {
                trailers.remove(name);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::message::headers::strip_connection;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// Returns the remaining trailers of a message with this `Connection` in its head.
    async fn left(connection: &'static str, trailers: HeaderMap) -> (HeaderMap, String) {
        let mut head = fields(&[("connection", connection), ("x-mine", "1")]);
        let mut trailers = Some(trailers);
        let body = Full::new(Bytes::from_static(b"text")).map_err(|never| match never {});
        let body = body.with_trailers(async move { trailers.take().map(Ok) });
        let mut body = Body::stream(body);
        strip_connection(&mut head).withhold(&mut body);
        let debug = format!("{head:?}");
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        assert_eq!(collected.to_bytes(), "text");
        (trailers, debug)
    }

    #[tokio::test]
    async fn a_trailer_that_the_head_s_connection_names_ends_here() {
        let trailers = || fields(&[("x-mine", "1"), ("x-sum", "7"), ("keep-alive", "1")]);
        let (left_over, head) = left("close, X-Mine ,, x-none", trailers()).await;
        assert_eq!(left_over, fields(&[("x-sum", "7"), ("keep-alive", "1")]));
        assert_eq!(head, "{}");
        let (left_over, _) = left("keep-alive, Upgrade, close", trailers()).await;
        assert_eq!(left_over.len(), 3, "what these name no trailer is anyway");
    }

    #[test]
    fn a_body_is_left_alone_where_nothing_is_named() {
        for connection in ["close", "keep-alive, Upgrade", "TE", "", ", ,"] {
            let named = strip_connection(&mut fields(&[("connection", connection)]));
            assert!(named.0.is_empty(), "{connection}");
        }
    }
}
