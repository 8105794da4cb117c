//! The parts of a filter.

mod decisions;

use serde::de::DeserializeOwned;

use crate::bindings::{bodies, filtering};
use crate::needs::{Input, Names, ResponseInput, Values, bytes, text};
use crate::{Config, Manifest, Refused};

pub use decisions::{Next, edit, fetch, next, reply};

pub use crate::bindings::bodies::BodyDecision;
pub use crate::bindings::filtering::{
    Attribute, Changes, Edit, Fetch, Header, Reply, RequestDecision, ResponseDecision,
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
    fn new(config: Self::Config, needs: &mut FilterNeeds) -> Result<Self, Refused>;

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
        Input(self.request.add(name.into()))
    }

    /// Asks for the first value of a header field of the request.
    pub fn header(&mut self, name: &str) -> Input {
        self.on_request = true;
        Input(self.request.header(name))
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

    /// Asks for the part of the path that the route's pattern names so, as it was sent: `id` of
    /// `/users/{id}`.
    pub fn path_part(&mut self, name: &str) -> Input {
        self.input(format!("path:{name}"))
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
    pub fn response_input(&mut self, name: impl Into<String>) -> ResponseInput {
        self.on_response = true;
        ResponseInput(self.response.add(name.into()))
    }

    /// Asks for the first value of a header field of the response.
    pub fn response_header(&mut self, name: &str) -> ResponseInput {
        self.on_response = true;
        ResponseInput(self.response.header(name))
    }
}

impl FilterNeeds {
    /// Returns the values of a request for a unit test: none for each requested input.
    pub fn request(&self) -> Values {
        self.request.values()
    }

    /// Returns the values of a response for a unit test: none for each requested input.
    pub fn response(&self) -> Values {
        self.response.values()
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
        bytes(self.inputs, input.0)
    }

    /// The value of an input, if the request has it and it is text.
    pub fn text(&self, input: Input) -> Option<&'a str> {
        text(self.inputs, input.0)
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
    pub fn bytes(&self, input: ResponseInput) -> Option<&'a [u8]> {
        bytes(self.inputs, input.0)
    }

    /// The value of an input, if there is one and it is text.
    pub fn text(&self, input: ResponseInput) -> Option<&'a str> {
        text(self.inputs, input.0)
    }
}

impl Response<'_> {
    /// The value that [`Changes::remember`] kept, or `None` if there is none of this type.
    pub fn recall<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.context).ok()
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
