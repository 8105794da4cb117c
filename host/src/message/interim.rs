//! Interim responses: heads that a client receives before the final one (RFC 9110 §15.2).
//!
//! Each protocol sends them in its own way. [`Interim`] hides that from the layers that send one:
//! the reader of a body that the client withholds (100), and the exchange with an origin (103 and
//! others).

use std::rc::Rc;

use http::header::EXPECT;
use http::{HeaderMap, StatusCode};

/// Sends the interim responses to one request to its client.
pub trait Inform {
    /// Sends a head at once. Does nothing after the final head: no other head may come between that
    /// and its body.
    fn inform(&self, status: StatusCode, fields: &HeaderMap);
}

/// Sends interim responses to a request, if its client accepts any. Clones share the client.
#[derive(Clone, Default)]
pub struct Interim(Option<Rc<dyn Inform>>);

impl Interim {
    /// Creates a sender of interim responses to `client`.
    pub fn new(client: Rc<impl Inform + 'static>) -> Self {
        Self(Some(client))
    }

    /// Creates a sender without a client: the client speaks HTTP/1.0, or no client sent the
    /// request.
    pub fn none() -> Self {
        Self(None)
    }

    /// Returns whether there is a client that accepts interim responses.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Sends an interim response. Its fields must not contain those of connections and framing.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        if let Some(client) = &self.0 {
            client.inform(status, fields);
        }
    }
}

impl std::fmt::Debug for Interim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interim").field(&self.is_wanted()).finish()
    }
}

/// Returns whether a client waits for 100 before it sends the body (RFC 9110 §10.1.1).
pub(crate) fn withholds_body(fields: &HeaderMap) -> bool {
    let expected = fields.get(EXPECT);
    expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
