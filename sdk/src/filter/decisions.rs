//! Making the decisions of a filter: fields, changes, replies and fetches.

use std::time::Duration;

use serde::Serialize;

use super::{
    Attribute, BodyDecision, Changes, Edit, Fetch, Header, Reply, RequestDecision, ResponseDecision,
};

/// The decision to let a message go on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next;

/// Lets a message go on as it is.
pub fn next<D: From<Next>>() -> D {
    Next.into()
}

/// Makes an empty set of changes.
pub fn edit() -> Changes {
    Changes::new()
}

/// Makes a response without fields or body.
pub fn reply(status: u16) -> Reply {
    Reply::new(status)
}

/// Makes a GET of `path` from an upstream that `allow.upstreams` names.
pub fn fetch(upstream: impl Into<String>, path: impl Into<String>) -> Fetch {
    Fetch::get(upstream, path)
}

impl From<Next> for RequestDecision {
    fn from(_: Next) -> Self {
        Self::Next
    }
}

impl From<Next> for ResponseDecision {
    fn from(_: Next) -> Self {
        Self::Next
    }
}

impl Header {
    /// Makes a field.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl Changes {
    /// Makes an empty set of changes.
    pub fn new() -> Self {
        Self { edits: Vec::new(), context: Vec::new() }
    }

    /// Replaces every field of this name with one.
    #[must_use]
    pub fn set(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.with(Edit::Set(Header::new(name, value)))
    }

    /// Adds a field after those of its name.
    #[must_use]
    pub fn append(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.with(Edit::Append(Header::new(name, value)))
    }

    /// Removes every field of this name.
    #[must_use]
    pub fn remove(self, name: impl Into<String>) -> Self {
        self.with(Edit::Remove(name.into()))
    }

    /// Sets the path and query, from the first slash on. Requests only.
    #[must_use]
    pub fn path(self, path: impl Into<String>) -> Self {
        self.with(Edit::Path(path.into()))
    }

    /// Sets the host and port that the origin sees. Requests only.
    #[must_use]
    pub fn authority(self, authority: impl Into<String>) -> Self {
        self.with(Edit::Authority(authority.into()))
    }

    /// Sets the upstream that serves the request; `allow.upstreams` must name it. Requests only.
    #[must_use]
    pub fn upstream(self, upstream: impl Into<String>) -> Self {
        self.with(Edit::Upstream(upstream.into()))
    }

    /// Sets the status, 200 to 599. Responses only.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.with(Edit::Status(status))
    }

    /// Notes a value about the request, for its access record and its span. `name` has at most 64
    /// letters, digits, `_` and `.`, `value` at most 256 bytes.
    #[must_use]
    pub fn attribute(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(Edit::Attribute(Attribute { name: name.into(), value: value.into() }))
    }

    /// Asks for this message's body. Only for a [`BodyFilter`](crate::BodyFilter).
    #[must_use]
    pub fn body(self) -> Self {
        self.with(Edit::Body)
    }

    /// Sets the context for this request's `on_response`, or for this message's first piece.
    #[must_use]
    pub fn context(self, context: impl Into<Vec<u8>>) -> Self {
        Self { context: context.into(), ..self }
    }

    /// Sets the context to a value as JSON. [`Response::recall`](crate::Response::recall) returns
    /// it. A value that is no JSON, such as a map with other keys than text, becomes an empty
    /// context.
    #[must_use]
    pub fn remember(self, value: &impl Serialize) -> Self {
        self.context(serde_json::to_vec(value).unwrap_or_default())
    }

    fn with(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Reply {
    /// Makes a response without fields or body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The first value of a field, if it is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&field.value).ok()
    }
}

impl Fetch {
    /// Makes a GET of `path` from an upstream that `allow.upstreams` names, with the client's
    /// authority.
    pub fn get(upstream: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            method: "GET".to_owned(),
            path: path.into(),
            authority: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: 0,
            context: Vec::new(),
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// Sets method and body.
    #[must_use]
    pub fn send(self, method: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method: method.into(), body: body.into(), ..self }
    }

    /// Sets the time limit for the whole answer. The default is 5 s, the most 60 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        // 0 would mean the default.
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        Self { timeout_ms, ..self }
    }

    /// Sets the context to a value as JSON, as [`Changes::remember`] does.
    #[must_use]
    pub fn remember(self, value: &impl Serialize) -> Self {
        self.context(serde_json::to_vec(value).unwrap_or_default())
    }

    /// Sets the context for `on_fetch`.
    #[must_use]
    pub fn context(self, context: impl Into<Vec<u8>>) -> Self {
        Self { context: context.into(), ..self }
    }
}

impl From<Changes> for RequestDecision {
    fn from(changes: Changes) -> Self {
        Self::Edit(changes)
    }
}

impl From<Reply> for RequestDecision {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<Fetch> for RequestDecision {
    fn from(fetch: Fetch) -> Self {
        Self::Fetch(fetch)
    }
}

impl From<Changes> for ResponseDecision {
    fn from(changes: Changes) -> Self {
        Self::Edit(changes)
    }
}

impl From<Reply> for BodyDecision {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<Reply> for ResponseDecision {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
