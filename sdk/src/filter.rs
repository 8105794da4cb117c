//! The parts of a filter.

use std::time::Duration;

use crate::bindings::{bodies, filtering};
use crate::needs::{Input, Names, bytes, text};
use crate::{Config, Manifest};

pub use crate::bindings::bodies::BodyDecision;
pub use crate::bindings::filtering::{
    Changes, Edit, Fetch, Header, Reply, RequestDecision, ResponseDecision,
};

/// Decides on requests and responses. There is one instance for each worker, and it gets all
/// requests in turn. A call passes data to a later call of the same request as context. The world
/// `filter` documents when each method is called. [`#[weir_sdk::filter]`](macro@crate::filter)
/// exports it.
pub trait Filter: Sized + 'static {
    /// The configuration: a type that derives `Deserialize` and `JsonSchema`, or
    /// [`NoConfig`](crate::NoConfig). Make it `#[serde(deny_unknown_fields)]`, so that a misspelt
    /// key is refused. A user without a configuration gives `{}`.
    type Config: Config;

    /// Describes this plugin: `package`, filled from Cargo.toml and the configuration's schema.
    fn describe(package: Manifest) -> Manifest {
        package
    }

    /// Makes an instance and asks for the data that it `needs`, or refuses the configuration.
    ///
    /// # Errors
    ///
    /// The reason, for the user.
    fn new(config: Self::Config, needs: &mut FilterNeeds) -> Result<Self, String>;

    /// Decides on a request, if `new` called [`FilterNeeds::on_request`] or asked for an input of
    /// the request.
    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let _ = request;
        RequestDecision::Next
    }

    /// Continues after a [`Fetch`], with its context and the answer, or the reason why there is
    /// none.
    fn on_fetch(&mut self, context: &[u8], answer: Result<Reply, String>) -> RequestDecision {
        let _ = (context, answer);
        RequestDecision::Next
    }

    /// Decides on a response, if `new` called [`FilterNeeds::on_response`] or asked for an input of
    /// the response.
    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        let _ = response;
        ResponseDecision::Next
    }
}

/// A filter that also sees bodies: those of messages with [`Changes::body`] in their decision.
/// [`#[weir_sdk::body_filter]`](macro@crate::body_filter) exports it, in place of the attribute on
/// [`Filter`].
pub trait BodyFilter: Filter {
    /// Decides on a piece of a request's body.
    fn on_request_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        let _ = piece;
        BodyDecision::Keep
    }

    /// Decides on a piece of a response's body.
    fn on_response_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        let _ = piece;
        BodyDecision::Keep
    }
}

/// The data that a filter asks the host for. Other data never crosses the boundary.
#[derive(Debug, Default)]
pub struct FilterNeeds {
    on_request: bool,
    on_response: bool,
    pure: bool,
    request: Names,
    response: Names,
}

impl FilterNeeds {
    /// Makes the host call [`Filter::on_request`]. Asking for an input of the request does the
    /// same.
    pub fn on_request(&mut self) {
        self.on_request = true;
    }

    /// Makes the host call [`Filter::on_response`]. Asking for an input of the response does the
    /// same.
    pub fn on_response(&mut self) {
        self.on_response = true;
    }

    /// Declares that a decision depends on nothing but the inputs of the call and the
    /// configuration. The host may then store decisions that let a message pass, and reuse them.
    /// Now and then the host repeats a call, and stops storing if the decision differs. Do not use
    /// it in a filter that counts, logs, keeps state, or reads the time or random numbers for
    /// messages that it lets pass.
    pub fn pure(&mut self) {
        self.pure = true;
    }

    /// Asks for an input of the request by its name; the WIT lists them.
    pub fn input(&mut self, name: impl Into<String>) -> Input {
        self.on_request = true;
        self.request.add(name.into())
    }

    /// Asks for the first value of a header field of the request.
    pub fn header(&mut self, name: &str) -> Input {
        self.on_request = true;
        self.request.header(name)
    }

    /// Asks for the value of a cookie.
    pub fn cookie(&mut self, name: &str) -> Input {
        self.input(format!("cookie:{name}"))
    }

    /// Asks for all header fields of the request, one `name: value` per line.
    pub fn headers(&mut self) -> Input {
        self.input("headers")
    }

    /// Asks for the path, with the query.
    pub fn path(&mut self) -> Input {
        self.input(":path")
    }

    /// Asks for the method.
    pub fn method(&mut self) -> Input {
        self.input(":method")
    }

    /// Asks for the host and port of the client's request.
    pub fn authority(&mut self) -> Input {
        self.input(":authority")
    }

    /// Asks for the client's IP address as text.
    pub fn client_address(&mut self) -> Input {
        self.input("client.address")
    }

    /// Asks for the id of the request in logs.
    pub fn request_id(&mut self) -> Input {
        self.input("request.id")
    }

    /// Asks for the name of the route.
    pub fn route_name(&mut self) -> Input {
        self.input("route.name")
    }

    /// Asks for an input of the response by its name; the WIT lists them.
    pub fn response_input(&mut self, name: impl Into<String>) -> Input {
        self.on_response = true;
        self.response.add(name.into())
    }

    /// Asks for the first value of a header field of the response.
    pub fn response_header(&mut self, name: &str) -> Input {
        self.on_response = true;
        self.response.header(name)
    }
}

impl From<FilterNeeds> for filtering::FilterNeeds {
    fn from(needs: FilterNeeds) -> Self {
        let FilterNeeds { on_request, on_response, pure, request, response } = needs;
        let (inputs, response_inputs) = (request.into(), response.into());
        Self { on_request, on_response, pure, inputs, response_inputs }
    }
}

/// The part of a request that a filter sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// A value, or `None`, for each requested input, in that order.
    pub inputs: &'a [Option<Vec<u8>>],
}

impl<'a> Request<'a> {
    /// The value of an input, if the request has it.
    pub fn bytes(&self, input: Input) -> Option<&'a [u8]> {
        bytes(self.inputs, input)
    }

    /// The value of an input, if the request has it and it is text.
    pub fn text(&self, input: Input) -> Option<&'a str> {
        text(self.inputs, input)
    }
}

/// The part of a response that a filter sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// A value, or `None`, for each requested input of the response, in that order.
    pub inputs: &'a [Option<Vec<u8>>],
    /// The context of the decision on the request.
    pub context: &'a [u8],
}

impl<'a> Response<'a> {
    /// The value of an input, if there is one.
    pub fn bytes(&self, input: Input) -> Option<&'a [u8]> {
        bytes(self.inputs, input)
    }

    /// The value of an input, if there is one and it is text.
    pub fn text(&self, input: Input) -> Option<&'a str> {
        text(self.inputs, input)
    }
}

/// A piece of a body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Piece<'a> {
    /// The context of the decision on the head, then the context that the last piece left.
    pub context: &'a [u8],
    /// The bytes.
    pub data: &'a [u8],
    /// Whether it is the last piece, which may be empty.
    pub end: bool,
}

impl<'a> Piece<'a> {
    /// Sends `data` on in place of this piece, and gives `context` to the next call.
    pub fn replace(data: impl Into<Vec<u8>>, context: impl Into<Vec<u8>>) -> BodyDecision {
        BodyDecision::Replace(bodies::Piece { data: data.into(), context: context.into() })
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

    /// Asks for this message's body. [`BodyFilter`]s only.
    #[must_use]
    pub fn body(self) -> Self {
        self.with(Edit::Body)
    }

    /// Sets the context for this request's `on_response`, or for this message's first piece.
    #[must_use]
    pub fn context(self, context: impl Into<Vec<u8>>) -> Self {
        Self { context: context.into(), ..self }
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

impl From<Reply> for ResponseDecision {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
