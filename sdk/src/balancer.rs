//! The parts of a balancer.

use crate::bindings::balancing;
use crate::needs::{Input, Names, bytes, text};
use crate::{Config, Manifest, Refused, Values};

pub use crate::bindings::balancing::{Endpoint, Outcome};

/// Chooses the endpoint of each request. There is one instance for each worker and upstream. The
/// world `balancer` documents when each method is called.
/// [`#[weir_sdk::balancer]`](macro@crate::balancer) exports it.
pub trait Balancer: Sized + 'static {
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
    fn new(config: Self::Config, needs: &mut BalancerNeeds) -> Result<Self, Refused>;

    /// Replaces the endpoints to choose from.
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// Chooses an endpoint by its id, or none if no endpoint should take the request.
    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32>;

    /// Receives how requests ended, in batches, if [`BalancerNeeds::outcomes`] was called.
    fn observe(&mut self, outcomes: Vec<Outcome>) {
        let _ = outcomes;
    }
}

/// The data that a balancer asks the host for. Other data never crosses the boundary.
#[derive(Debug, Default)]
pub struct BalancerNeeds {
    names: Names,
    sequence: bool,
    loads: bool,
    outcomes: bool,
}

impl BalancerNeeds {
    /// Makes [`Pick::sequence`] count.
    pub fn sequence(&mut self) {
        self.sequence = true;
    }

    /// Fills [`Pick::loads`].
    pub fn loads(&mut self) {
        self.loads = true;
    }

    /// Makes the host call [`Balancer::observe`].
    pub fn outcomes(&mut self) {
        self.outcomes = true;
    }

    /// Sets the names of inputs unchecked, for tests of the host.
    #[doc(hidden)]
    pub fn raw_inputs(&mut self, names: Vec<String>) {
        self.names = Names::raw(names);
    }

    /// Returns the values of a request for a unit test: none for each requested input.
    pub fn request(&self) -> Values {
        self.names.values()
    }

    /// Asks for an input by its name; the WIT lists them.
    pub fn input(&mut self, name: impl Into<String>) -> Input {
        Input(self.names.add(name.into()))
    }

    /// Asks for the first value of a header field.
    pub fn header(&mut self, name: &str) -> Input {
        Input(self.names.header(name))
    }

    /// Asks for the value of a cookie.
    pub fn cookie(&mut self, name: &str) -> Input {
        self.input(format!("cookie:{name}"))
    }

    /// Asks for the path, with the query.
    pub fn path(&mut self) -> Input {
        self.input(":path")
    }

    /// Asks for the client's IP address as text.
    pub fn client_address(&mut self) -> Input {
        self.input("client.address")
    }
}

impl From<BalancerNeeds> for balancing::BalancerNeeds {
    fn from(needs: BalancerNeeds) -> Self {
        let BalancerNeeds { names, sequence, loads, outcomes } = needs;
        Self { inputs: names.into(), sequence, loads, outcomes }
    }
}

/// The request that an endpoint is chosen for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'a> {
    /// The request's number in its upstream, over all workers, without gaps. It is the same for
    /// every attempt. 0 unless [`BalancerNeeds::sequence`] was called.
    pub sequence: u64,
    /// 0 at first, then counts the retries of this request. A retry should go elsewhere.
    pub attempt: u32,
    /// A value, or `None`, for each requested input, in that order.
    pub inputs: &'a [Option<Vec<u8>>],
    /// Requests in flight at each endpoint of the last update, in its order, over all workers. An
    /// endpoint that this request was already sent to has [`TRIED`]. Empty unless
    /// [`BalancerNeeds::loads`] was called.
    pub loads: &'a [u32],
}

impl<'a> Pick<'a> {
    /// The value of an input, if the request has it.
    pub fn bytes(&self, input: Input) -> Option<&'a [u8]> {
        bytes(self.inputs, input.0)
    }

    /// The value of an input, if the request has it and it is text.
    pub fn text(&self, input: Input) -> Option<&'a str> {
        text(self.inputs, input.0)
    }

    /// The load of the endpoint at this index of the last update; 0 if it was not given.
    pub fn load(&self, index: usize) -> u32 {
        self.loads.get(index).copied().unwrap_or(0)
    }
}

/// The load that marks an endpoint that the request has already tried.
pub const TRIED: u32 = i32::MAX as u32;
