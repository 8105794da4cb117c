//! Runs a built Weir plugin in the real runtime, with a clock and randomness that repeat.
//!
//! [`Component`] is a plugin under test; [`Bench`](World) is the world around it: a clock that stands until it is moved,
//! seeded randomness, counters and log lines that can be looked at. A plugin reaches what [`Allow`] names, as in a running Weir. [`cases`] runs cases that are written in YAML, as `weir
//! plugin test` does.
//!
//! ```no_run
//! use weir_sdk_testing::{Component, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gate = Component::open("gate.wasm")?;
//! let mut filter = gate.filter(r#"{"tenant": "acme"}"#)?;
//! let decision = filter.on_request(&Request::get("/").header("x-tenant", "acme"))?;
//! println!("{decision:?}");
//! # Ok(())
//! # }
//! ```

mod allow;
pub mod cases;
mod request;
mod world;

use std::path::Path;
use std::sync::Arc;

use weir_runtime::filter::{Answer, BodyDecision, RequestDecision, ResponseDecision};
use weir_runtime::{
    BalancerInstance, Endpoint, Engine, Environment, FilterInstance, Limits, MemoryState, Pick,
    Plugin, PluginError,
};

pub use allow::Allow;
pub use request::Request;
pub use weir_runtime::{self as runtime};
pub use world::{Logged, World};

/// A plugin under test.
#[derive(Clone)]
pub struct Component {
    plugin: Plugin,
    world: Arc<World>,
    allow: Arc<Allow>,
    rules: Option<Arc<dyn Rules>>,
}

/// Rules of a host for plugins, beyond those of the runtime. `weir plugin test` gives the proxy's.
pub trait Rules: Send + Sync {
    /// Checks a configuration, JSON text, before a plugin gets it; `schema` is the one that the plugin brings.
    ///
    /// # Errors
    /// What is wrong with it.
    fn config(&self, schema: &str, config: &str) -> Result<(), String>;

    /// Checks a decision on a request.
    ///
    /// # Errors
    /// What is wrong with it.
    fn request(&self, decision: &RequestDecision) -> Result<(), String>;

    /// Checks a decision on a response.
    ///
    /// # Errors
    /// What is wrong with it.
    fn response(&self, decision: &ResponseDecision) -> Result<(), String>;
}

/// Why a component could not be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The runtime does not take it.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

impl Component {
    /// Loads a component from a file, under the default limits.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let read = std::fs::read(path);
        let wasm =
            read.map_err(|source| OpenError::Read { path: path.display().to_string(), source })?;
        Ok(Self::load(&wasm, Limits::default())?)
    }

    /// Loads a component under `limits`. It may reach its own state and no upstream, until [`Self::allowing`] says more.
    ///
    /// # Errors
    /// What the runtime has against it.
    pub fn load(wasm: &[u8], limits: Limits) -> Result<Self, PluginError> {
        let world = Arc::new(World::default());
        let state = Arc::new(MemoryState::new(16 << 20));
        let environment = Environment::new(Arc::clone(&world) as Arc<_>, state, "plugin", &[]);
        let plugin = Plugin::load(&Engine::new()?, "plugin", wasm, limits, &environment)?;
        Ok(Self { plugin, world, allow: Arc::default(), rules: None })
    }

    /// The same plugin in the same world, allowed to reach this and nothing else.
    #[must_use]
    pub fn allowing(&self, allow: Allow) -> Self {
        let environment = self.plugin.environment().with_spaces(&allow.state);
        let plugin = self.plugin.with_environment(environment);
        Self { plugin, allow: Arc::new(allow), ..self.clone() }
    }

    /// The same plugin, held to a host's rules as well.
    #[must_use]
    pub fn under(self, rules: Arc<dyn Rules>) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// The plugin in the runtime.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// What is around it.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// An instance of a filter, configured with JSON text.
    ///
    /// # Errors
    /// What the runtime or the plugin has against that.
    pub fn filter(&self, config: &str) -> Result<Filter, PluginError> {
        self.check(config)?;
        Ok(Filter { instance: self.plugin.filter(config)?, component: Arc::new(self.clone()) })
    }

    /// An instance of a balancer, configured with JSON text, that chooses among `endpoints`.
    ///
    /// # Errors
    /// What the runtime or the plugin has against that.
    pub fn balancer(&self, config: &str, endpoints: &[Endpoint]) -> Result<Balancer, PluginError> {
        self.check(config)?;
        let mut instance = self.plugin.balancer(config)?;
        instance.update(endpoints)?;
        Ok(Balancer { instance, sequence: 0, endpoints: endpoints.len() })
    }

    /// Refuses a configuration that the host would not hand over.
    fn check(&self, config: &str) -> Result<(), PluginError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let plugin = Arc::clone(self.plugin.name());
        let refused = |message| PluginError::Refused { plugin, message };
        rules.config(&self.plugin.manifest().config_schema, config).map_err(refused)
    }

    fn invalid(&self, what: String) -> PluginError {
        PluginError::invalid(self.plugin.name(), what)
    }
}

/// An instance of a filter.
pub struct Filter {
    instance: FilterInstance,
    component: Arc<Component>,
}

impl Filter {
    /// Hands it a request. A filter that does not want requests lets it pass; one that calls itself pure is given it twice.
    ///
    /// # Errors
    /// What went wrong in the plugin.
    pub fn on_request(&mut self, request: &Request) -> Result<RequestDecision, PluginError> {
        if !self.instance.needs().on_request {
            return Ok(RequestDecision::Next);
        }
        self.instance.serve(request.number());
        let values = request.values(&self.instance.needs().inputs)?;
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let decision = self.instance.on_request(&values)?;
        let passes = matches!(decision, RequestDecision::Next | RequestDecision::Edit(_));
        if passes && self.instance.needs().pure && self.instance.on_request(&values)? != decision {
            return Err(self.is_impure("on-request"));
        }
        self.checked(decision)
    }

    /// A decision on a request that a host takes.
    fn checked(&self, decision: RequestDecision) -> Result<RequestDecision, PluginError> {
        let Component { allow, rules, .. } = &*self.component;
        let rules = || rules.as_ref().map_or(Ok(()), |rules| rules.request(&decision));
        match allow.check(&decision).and_then(|()| rules()) {
            Ok(()) => Ok(decision),
            Err(what) => Err(self.component.invalid(what)),
        }
    }

    fn is_impure(&self, function: &str) -> PluginError {
        let what = format!(
            "{function} decided otherwise when it was given the same again, though it calls itself pure"
        );
        self.component.invalid(what)
    }

    /// Hands it the answer to its fetch, or the reason why there is none.
    ///
    /// # Errors
    /// What went wrong in the plugin.
    pub fn on_fetch(
        &mut self,
        context: &[u8],
        answer: Result<Answer<'_>, &str>,
    ) -> Result<RequestDecision, PluginError> {
        let decision = self.instance.on_fetch(context, answer)?;
        self.checked(decision)
    }

    /// Hands it a response to `request`, whose header fields are `fields`. A filter that does not want responses lets it pass.
    ///
    /// # Errors
    /// What went wrong in the plugin.
    pub fn on_response(
        &mut self,
        request: &Request,
        status: u16,
        fields: &[(String, String)],
        context: &[u8],
    ) -> Result<ResponseDecision, PluginError> {
        if !self.instance.needs().on_response {
            return Ok(ResponseDecision::Next);
        }
        self.instance.serve(request.number());
        let values = request.response_values(&self.instance.needs().response_inputs, fields)?;
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let decision = self.instance.on_response(status, &values, context)?;
        let passes = !matches!(decision, ResponseDecision::Reply(_));
        let again = |instance: &mut FilterInstance| instance.on_response(status, &values, context);
        if passes && self.instance.needs().pure && again(&mut self.instance)? != decision {
            return Err(self.is_impure("on-response"));
        }
        let checked =
            self.component.rules.as_ref().map_or(Ok(()), |rules| rules.response(&decision));
        checked.map_err(|what| self.component.invalid(what))?;
        Ok(decision)
    }

    /// Streams a body through it: each piece, then the end. The error says that it stopped the body.
    ///
    /// # Errors
    /// What went wrong in the plugin; the inner error if it stopped the body.
    pub fn body(
        &mut self,
        of_request: bool,
        context: &[u8],
        pieces: &[&[u8]],
    ) -> Result<Result<Vec<u8>, Stopped>, PluginError> {
        let (mut context, mut output) = (context.to_vec(), Vec::new());
        let last: &[u8] = b"";
        let calls = pieces.iter().map(|piece| (*piece, false)).chain([(last, true)]);
        for (data, end) in calls {
            let decision = if of_request {
                self.instance.on_request_body(&context, data, end)?
            } else {
                self.instance.on_response_body(&context, data, end)?
            };
            match decision {
                BodyDecision::Keep => output.extend_from_slice(data),
                BodyDecision::Replace(piece) => {
                    output.extend_from_slice(&piece.data);
                    context = piece.context;
                }
                BodyDecision::Stop => return Ok(Err(Stopped)),
            }
        }
        Ok(Ok(output))
    }

    /// The instance itself.
    pub fn instance(&mut self) -> &mut FilterInstance {
        &mut self.instance
    }
}

/// A filter let nothing more of a body pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// An instance of a balancer.
pub struct Balancer {
    instance: BalancerInstance,
    sequence: u64,
    /// How many there are to choose from.
    endpoints: usize,
}

impl Balancer {
    /// Replaces the endpoints.
    ///
    /// # Errors
    /// What went wrong in the plugin.
    pub fn update(&mut self, endpoints: &[Endpoint]) -> Result<(), PluginError> {
        self.endpoints = endpoints.len();
        self.instance.update(endpoints)
    }

    /// Asks for the endpoint of the next request; `attempt` counts its retries, `loads` are of the endpoints in
    /// order; none means that all are idle.
    ///
    /// # Errors
    /// What went wrong in the plugin.
    pub fn pick(
        &mut self,
        request: &Request,
        attempt: u32,
        loads: &[u32],
    ) -> Result<Option<u32>, PluginError> {
        self.instance.serve(request.number());
        let needs = self.instance.needs().clone();
        let values = request.values(&needs.inputs)?;
        let inputs: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let sequence = if needs.sequence { self.sequence } else { 0 };
        if attempt == 0 {
            self.sequence += 1;
        }
        let unloaded = vec![0; self.endpoints];
        let loads = match (needs.loads, loads) {
            (false, _) => &[],
            (true, []) => &unloaded[..],
            (true, loads) => loads,
        };
        self.instance.pick(Pick { sequence, attempt, inputs: &inputs, loads })
    }

    /// The instance itself.
    pub fn instance(&mut self) -> &mut BalancerInstance {
        &mut self.instance
    }
}
