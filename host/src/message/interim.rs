//! Interim responses: heads that a client gets before the final one (RFC 9110 §15.2).
//!
//! Each protocol has a way to send one, and [`Interim`] hides it from the layers that have one to send: the reader of a body
//! that the client withholds (100), and the exchange with an origin (103 and others).

use std::rc::Rc;

use http::header::EXPECT;
use http::{HeaderMap, StatusCode};

/// The way to one client for the interim responses to one request.
pub trait Inform {
    /// Sends a head at once. Does nothing once the final head has been sent: nothing may come between that and its body.
    fn inform(&self, status: StatusCode, fields: &HeaderMap);
}

/// Sends interim responses to a request, if its client takes any. Cloning shares the way.
#[derive(Clone, Default)]
pub struct Interim(Option<Rc<dyn Inform>>);

impl Interim {
    /// Interim responses go to `client`.
    pub fn new(client: Rc<impl Inform + 'static>) -> Self {
        Self(Some(client))
    }

    /// Nobody takes them: the client speaks HTTP/1.0, or the request is not a client's.
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether anybody takes them.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Sends an interim response, whose fields must be free of those of connections and framing.
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

/// Whether a client waits for 100 before it sends the body (RFC 9110 §10.1.1).
pub(crate) fn withholds_body(fields: &HeaderMap) -> bool {
    let expected = fields.get(EXPECT);
    expected.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
