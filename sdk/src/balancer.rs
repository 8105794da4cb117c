//! What a balancer is made of.

use crate::bindings::balancing;
use crate::needs::{Input, Names, bytes, text};
use crate::{Config, Manifest};

pub use crate::bindings::balancing::{Endpoint, Outcome};

/// Chooses the endpoint of each request. There is one instance for each worker and upstream; see the world
/// `balancer` for when each method is called. Exported by [`#[weir_sdk::balancer]`](macro@crate::balancer).
pub trait Balancer: Sized + 'static {
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
    fn new(config: Self::Config, needs: &mut Needs) -> Result<Self, String>;

    /// Replaces the endpoints to choose from.
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// Chooses an endpoint by its id, or none if no endpoint should take the request.
    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32>;

    /// Learns how requests ended, in batches, if [`Needs::outcomes`] was asked for.
    fn observe(&mut self, outcomes: Vec<Outcome>) {
        let _ = outcomes;
    }
}

/// What a balancer asks the host for. What is not asked for never crosses the boundary.
#[derive(Debug, Default)]
pub struct Needs {
    names: Names,
    sequence: bool,
    loads: bool,
    outcomes: bool,
}

impl Needs {
    /// [`Pick::sequence`] is to count.
    pub fn sequence(&mut self) {
        self.sequence = true;
    }

    /// [`Pick::loads`] is to be given.
    pub fn loads(&mut self) {
        self.loads = true;
    }

    /// [`Balancer::observe`] is to be called.
    pub fn outcomes(&mut self) {
        self.outcomes = true;
    }

    /// Inputs as they are, for tests of the host.
    #[doc(hidden)]
    pub fn raw_inputs(&mut self, names: Vec<String>) {
        self.names = Names::raw(names);
    }

    /// An input by its name; the WIT lists them.
    pub fn input(&mut self, name: impl Into<String>) -> Input {
        self.names.add(name.into())
    }

    /// The first value of a header field.
    pub fn header(&mut self, name: &str) -> Input {
        self.names.header(name)
    }

    /// The value of a cookie.
    pub fn cookie(&mut self, name: &str) -> Input {
        self.names.add(format!("cookie:{name}"))
    }

    /// The path, with the query.
    pub fn path(&mut self) -> Input {
        self.input(":path")
    }

    /// The client's IP address as text.
    pub fn client_address(&mut self) -> Input {
        self.input("client.address")
    }
}

impl From<Needs> for balancing::Needs {
    fn from(needs: Needs) -> Self {
        let Needs { names, sequence, loads, outcomes } = needs;
        Self { inputs: names.into(), sequence, loads, outcomes }
    }
}

/// The request that an endpoint is chosen for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'a> {
    /// The request's number in its upstream, over all workers, without gaps; the same for every attempt.
    /// 0 unless [`Needs::sequence`] was asked for.
    pub sequence: u64,
    /// 0 at first, then counts the retries of this request. A retry should go elsewhere.
    pub attempt: u32,
    /// A value, or none, for each input that was asked for, in that order.
    pub inputs: &'a [Option<Vec<u8>>],
    /// Requests in flight at each endpoint of the last update, in its order, over all workers; [`TRIED`] for one
    /// that this request was already sent to. Empty unless [`Needs::loads`] was asked for.
    pub loads: &'a [u32],
}

impl<'a> Pick<'a> {
    /// The value of an input, if the request has it.
    pub fn bytes(&self, input: Input) -> Option<&'a [u8]> {
        bytes(self.inputs, input)
    }

    /// The value of an input, if the request has it and it is text.
    pub fn text(&self, input: Input) -> Option<&'a str> {
        text(self.inputs, input)
    }

    /// The load of the endpoint at this place of the last update; 0 if it was not given.
    pub fn load(&self, index: usize) -> u32 {
        self.loads.get(index).copied().unwrap_or(0)
    }
}

/// The load that marks an endpoint that the request has already tried.
pub const TRIED: u32 = i32::MAX as u32;
