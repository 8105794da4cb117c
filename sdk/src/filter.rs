//! What a filter is made of.

use std::time::Duration;

use crate::bindings::{bodies, filtering};
use crate::needs::{Input, Names, bytes, text};
use crate::{Config, Manifest};

pub use crate::bindings::bodies::BodyDecision;
pub use crate::bindings::filtering::{
    Changes, Edit, Fetch, Header, Reply, RequestDecision, ResponseDecision,
};

/// Looks at requests and responses. There is one instance for each worker, called for all requests in turn: what a call
/// must know of an earlier one of the same request travels as context. See the world `filter` for when each method is
/// called. Exported by [`#[weir_sdk::filter]`](macro@crate::filter).
pub trait Filter: Sized + 'static {
    /// The configuration: a type that derives `Deserialize` and `JsonSchema`, or [`NoConfig`](crate::NoConfig). Make it
    /// `#[serde(deny_unknown_fields)]`, so that a misspelt key is refused; a user who gives none gives `{}`.
    type Config: Config;

    /// What this plugin is: `package`, filled from Cargo.toml and the configuration's schema.
    fn describe(package: Manifest) -> Manifest {
        package
    }

    /// Makes an instance and asks for what it `needs`, or says what is wrong with the configuration.
    ///
    /// # Errors
    ///
    /// The reason, for the user.
    fn new(config: Self::Config, needs: &mut FilterNeeds) -> Result<Self, String>;

    /// Decides on a request, if [`FilterNeeds::on_request`] or an input of it was asked for.
    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let _ = request;
        RequestDecision::Next
    }

    /// Goes on after a [`Fetch`]: with its context, and the answer or the reason why there is none.
    fn on_fetch(&mut self, context: &[u8], answer: Result<Reply, String>) -> RequestDecision {
        let _ = (context, answer);
        RequestDecision::Next
    }

    /// Decides on a response, if [`FilterNeeds::on_response`] or an input of it was asked for.
    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        let _ = response;
        ResponseDecision::Next
    }
}

/// A filter that also sees bodies, of the messages whose decision had [`Changes::body`]. Exported by
/// [`#[weir_sdk::body_filter]`](macro@crate::body_filter), in place of the attribute on [`Filter`].
pub trait BodyFilter: Filter {
    /// Takes a piece of a request's body.
    fn on_request_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        let _ = piece;
        BodyDecision::Keep
    }

    /// Takes a piece of a response's body.
    fn on_response_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        let _ = piece;
        BodyDecision::Keep
    }
}

/// What a filter asks the host for. What is not asked for never crosses the boundary.
#[derive(Debug, Default)]
pub struct FilterNeeds {
    on_request: bool,
    on_response: bool,
    pure: bool,
    request: Names,
    response: Names,
}

impl FilterNeeds {
    /// [`Filter::on_request`] is to be called. Asking for an input of it says so too.
    pub fn on_request(&mut self) {
        self.on_request = true;
    }

    /// [`Filter::on_response`] is to be called. Asking for an input of it says so too.
    pub fn on_response(&mut self) {
        self.on_response = true;
    }

    /// What it decides depends on nothing but what a call is given and the configuration. The host may then remember decisions
    /// that let a message pass, and need not ask again; now and then it does, and stops remembering if the decision is another.
    /// Not for a filter that counts, logs, keeps state, or looks at the time or at random numbers where it lets messages pass.
    pub fn pure(&mut self) {
        self.pure = true;
    }

    /// An input of the request by its name; the WIT lists them.
    pub fn input(&mut self, name: impl Into<String>) -> Input {
        self.on_request = true;
        self.request.add(name.into())
    }

    /// The first value of a header field of the request.
    pub fn header(&mut self, name: &str) -> Input {
        self.on_request = true;
        self.request.header(name)
    }

    /// The value of a cookie.
    pub fn cookie(&mut self, name: &str) -> Input {
        self.input(format!("cookie:{name}"))
    }

    /// All header fields of the request, one `name: value` a line.
    pub fn headers(&mut self) -> Input {
        self.input("headers")
    }

    /// The path, with the query.
    pub fn path(&mut self) -> Input {
        self.input(":path")
    }

    /// The method.
    pub fn method(&mut self) -> Input {
        self.input(":method")
    }

    /// Host and port that the client asked for.
    pub fn authority(&mut self) -> Input {
        self.input(":authority")
    }

    /// The client's IP address as text.
    pub fn client_address(&mut self) -> Input {
        self.input("client.address")
    }

    /// The name of the request in logs.
    pub fn request_id(&mut self) -> Input {
        self.input("request.id")
    }

    /// The name of the route.
    pub fn route_name(&mut self) -> Input {
        self.input("route.name")
    }

    /// An input of the response by its name; the WIT lists them.
    pub fn response_input(&mut self, name: impl Into<String>) -> Input {
        self.on_response = true;
        self.response.add(name.into())
    }

    /// The first value of a header field of the response.
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

/// What a filter sees of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// A value, or none, for each input that was asked for, in that order.
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

/// What a filter sees of a response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// A value, or none, for each input of the response that was asked for, in that order.
    pub inputs: &'a [Option<Vec<u8>>],
    /// What the decision on the request had as context.
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
    /// What the decision on the head had as context, then what the piece before left.
    pub context: &'a [u8],
    /// The bytes.
    pub data: &'a [u8],
    /// Whether it is the last piece; that one may be empty.
    pub end: bool,
}

impl<'a> Piece<'a> {
    /// Sends `data` on in its place, and has the next call see `context`.
    pub fn replace(data: impl Into<Vec<u8>>, context: impl Into<Vec<u8>>) -> BodyDecision {
        BodyDecision::Replace(bodies::Piece { data: data.into(), context: context.into() })
    }
}

impl Header {
    /// A field.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl Changes {
    /// No change yet.
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

    /// Requests only: the path and query, from the first slash on.
    #[must_use]
    pub fn path(self, path: impl Into<String>) -> Self {
        self.with(Edit::Path(path.into()))
    }

    /// Requests only: host and port as the origin is to see it.
    #[must_use]
    pub fn authority(self, authority: impl Into<String>) -> Self {
        self.with(Edit::Authority(authority.into()))
    }

    /// Requests only: the upstream that serves it, one that `allow.upstreams` names.
    #[must_use]
    pub fn upstream(self, upstream: impl Into<String>) -> Self {
        self.with(Edit::Upstream(upstream.into()))
    }

    /// Responses only: the status, 200 to 599.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.with(Edit::Status(status))
    }

    /// [`BodyFilter`]s only: hands this message's body over.
    #[must_use]
    pub fn body(self) -> Self {
        self.with(Edit::Body)
    }

    /// What this request's `on_response`, or this message's first piece, is to know.
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
    /// A response without fields or body.
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
    /// A GET of `path` from an upstream that `allow.upstreams` names, for the client's own authority.
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

    /// How long to wait for the whole answer; 5 s otherwise, 60 s at the most.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        // 0 stands for the default.
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        Self { timeout_ms, ..self }
    }

    /// What `on_fetch` is to know.
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
