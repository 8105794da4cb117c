//! [`BalancerInstance`] is a running copy of a plugin of the world `balancer`.

use crate::bindings::{balancer, balancing};
use crate::error::PluginError;
use crate::instance::Sandbox;
use crate::limits::MOST_WHOLE;
use crate::plugin::{Kind, Plugin, World, check_inputs};

impl Plugin {
    /// Makes a fresh instance of a balancer and configures it. `config` is JSON text, `{}` for
    /// none. Takes about 10 µs plus the time of the guest.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] if the plugin does not accept the configuration.
    /// [`PluginError::Invalid`] if the plugin is no balancer or asks for more than the bounds
    /// allow. Otherwise the error of the call of `configure`.
    pub fn balancer(&self, config: &str) -> Result<BalancerInstance, PluginError> {
        let World::Balancer(world) = &self.world else { return Err(self.is_no(Kind::Balancer)) };
        let mut sandbox = self.sandbox();
        let guest = sandbox.set_up("instantiate", |store| world.instantiate(store))?;
        let needs = sandbox.set_up("configure", |store| guest.call_configure(store, config))?;
        let balancing::BalancerNeeds { inputs, sequence, loads, outcomes } =
            needs.map_err(|message| self.refused(message))?;
        check_inputs(&self.name, &inputs)?;
        let needs = BalancerNeeds { inputs, sequence, loads, outcomes };
        Ok(BalancerInstance { sandbox, guest, needs })
    }
}

/// One instance of a balancer, for one upstream and one worker.
///
/// After an error from any call the state of the instance is unknown: drop it and make another.
pub struct BalancerInstance {
    sandbox: Sandbox,
    guest: balancer::Balancer,
    needs: BalancerNeeds,
}

impl BalancerInstance {
    /// Notes the request number for the following calls. The lines that the guest logs carry it.
    #[inline]
    pub fn serve(&mut self, request: u64) {
        self.sandbox.serve(Some(request));
    }

    /// The data that the plugin asks for.
    pub fn needs(&self) -> &BalancerNeeds {
        &self.needs
    }

    /// Replaces the endpoints to choose from.
    ///
    /// # Errors
    ///
    /// The error of the call of the guest.
    pub fn update(&mut self, endpoints: &[Endpoint]) -> Result<(), PluginError> {
        let labels: Vec<Vec<(&str, &str)>> = endpoints.iter().map(Endpoint::labels).collect();
        let endpoints: Vec<_> = endpoints
            .iter()
            .zip(&labels)
            .map(|(endpoint, labels)| endpoint.lower(labels))
            .collect();
        let guest = &self.guest;
        self.sandbox.learn("update", |store| guest.call_update(store, &endpoints))
    }

    /// Chooses an endpoint and returns its id, or `None` if the plugin chooses none. The id comes
    /// from the guest unchecked: the caller must look it up in the last update. Costs 0.2 to 0.4 µs
    /// with 32 endpoints.
    ///
    /// # Errors
    ///
    /// The error of the call of the guest.
    #[inline]
    pub fn pick(&mut self, pick: Pick<'_>) -> Result<Option<u32>, PluginError> {
        let guest = &self.guest;
        self.sandbox.call("pick", |store| {
            guest.call_pick(store, pick.sequence, pick.attempt, pick.inputs, pick.loads)
        })
    }

    /// Reports to the guest how requests ended.
    ///
    /// # Errors
    ///
    /// The error of the call of the guest.
    pub fn observe(&mut self, outcomes: &[Outcome]) -> Result<(), PluginError> {
        let outcomes: Vec<_> = outcomes.iter().map(Outcome::lower).collect();
        let guest = &self.guest;
        self.sandbox.call("observe", |store| guest.call_observe(store, &outcomes))
    }

    /// Bytes of linear memory that the instance holds now.
    pub fn memory(&self) -> usize {
        self.sandbox.memory()
    }
}

/// The data that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalancerNeeds {
    /// Names of the inputs that each pick hands over, in this order: at most 64, each of at most
    /// 256 bytes. The host defines the names.
    pub inputs: Vec<String>,
    /// Whether [`Pick::sequence`] must count.
    pub sequence: bool,
    /// Whether [`Pick::loads`] must be given.
    pub loads: bool,
    /// Whether the host must call [`BalancerInstance::observe`].
    pub outcomes: bool,
}

/// A server that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The value that [`BalancerInstance::pick`] returns.
    pub id: u32,
    /// IP address and port.
    pub address: String,
    /// Its share relative to the other endpoints; 0 asks for no traffic.
    pub weight: u32,
    /// Its zone, or empty.
    pub zone: String,
    /// Names and values from the configuration.
    pub labels: Vec<(String, String)>,
}

impl Endpoint {
    fn labels(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn lower<'a>(&'a self, labels: &'a [(&'a str, &'a str)]) -> balancing::Endpoint<'a> {
        let Endpoint { id, address, weight, zone, .. } = self;
        // Some languages read larger numbers as negative.
        let weight = (*weight).min(i32::MAX.unsigned_abs());
        balancing::Endpoint { id: *id, address, weight, zone, labels }
    }
}

/// The request that an endpoint is chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'a> {
    /// The request's number in its upstream, over all workers. It is the same for every attempt. 0
    /// if the plugin does not need it.
    pub sequence: u64,
    /// 0 at first, then counts the retries of this request.
    pub attempt: u32,
    /// A value, or `None`, for each of [`BalancerNeeds::inputs`].
    pub inputs: &'a [Option<&'a [u8]>],
    /// Requests in flight at each endpoint of the last update, in the order of that update. An
    /// endpoint that this request was already sent to has [`TRIED`]. Empty if the plugin does not
    /// need it.
    pub loads: &'a [u32],
}

/// The load that marks an endpoint that a request has already tried.
pub const TRIED: u32 = i32::MAX as u32;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The endpoint's id.
    pub endpoint: u32,
    /// The response's status; 0 if there was no response.
    pub status: u16,
    /// Microseconds from the choice to the response's header section, or to the failure.
    pub duration_us: u64,
}

impl Outcome {
    fn lower(&self) -> balancing::Outcome {
        let Outcome { endpoint, status, duration_us } = *self;
        balancing::Outcome { endpoint, status, duration_us: duration_us.min(MOST_WHOLE) }
    }
}
