//! Runs a built Weir plugin in the real runtime, with a clock and randomness that repeat.
//!
//! [`Component`] is a plugin under test. [`World`] is the world around it: a clock that stands
//! until it is moved, seeded randomness, counters and log lines that tests can read. [`Allow`] is
//! a plugin's permissions, as in a running Weir. [`cases`] runs cases written in YAML, as `weir
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

/// A host's rules for plugins, in addition to those of the runtime. `weir plugin test` applies the
/// proxy's.
pub trait Rules: Send + Sync {
    /// Checks a configuration, JSON text, before a plugin gets it. `schema` is the plugin's own.
    ///
    /// # Errors
    /// The rule that is broken.
    fn config(&self, schema: &str, config: &str) -> Result<(), String>;

    /// Checks a decision on a request.
    ///
    /// # Errors
    /// The rule that is broken.
    fn request(&self, decision: &RequestDecision) -> Result<(), String>;

    /// Checks a decision on a response.
    ///
    /// # Errors
    /// The rule that is broken.
    fn response(&self, decision: &ResponseDecision) -> Result<(), String>;
}

/// The reason why a component could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The runtime refuses it.
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

    /// Loads a component under `limits`. It may reach its own state and no upstream, until
    /// [`Self::allowing`] permits more.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn load(wasm: &[u8], limits: Limits) -> Result<Self, PluginError> {
        let world = Arc::new(World::default());
        let state = Arc::new(MemoryState::new(16 << 20));
        let environment = Environment::new(Arc::clone(&world) as Arc<_>, state, "plugin", &[]);
        let plugin = Plugin::load(&Engine::new()?, "plugin", wasm, limits, &environment)?;
        Ok(Self { plugin, world, allow: Arc::default(), rules: None })
    }

    /// Returns the same plugin in the same world, with exactly these permissions.
    #[must_use]
    pub fn allowing(&self, allow: Allow) -> Self {
        let environment = self.plugin.environment().with_spaces(&allow.state);
        let plugin = self.plugin.with_environment(environment);
        Self { plugin, allow: Arc::new(allow), ..self.clone() }
    }

    /// Returns the same plugin, with a host's rules applied as well.
    #[must_use]
    pub fn under(self, rules: Arc<dyn Rules>) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// The plugin in the runtime.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The world of the plugin.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Makes an instance of a filter, configured with JSON text.
    ///
    /// # Errors
    /// The error of the runtime or of the plugin.
    pub fn filter(&self, config: &str) -> Result<Filter, PluginError> {
        self.check(config)?;
        Ok(Filter { instance: self.plugin.filter(config)?, component: Arc::new(self.clone()) })
    }

    /// Makes an instance of a balancer, configured with JSON text, that chooses among `endpoints`.
    ///
    /// # Errors
    /// The error of the runtime or of the plugin.
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
    /// Passes a request to the filter. A filter without `on_request` lets it pass. A filter that
    /// calls itself pure gets the request twice.
    ///
    /// # Errors
    /// The error of the plugin.
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

    /// Returns the decision if the permissions and the host's rules accept it.
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
            "{function} decides differently on the same inputs, but the plugin calls itself pure"
        );
        self.component.invalid(what)
    }

    /// Passes the answer to its fetch to the filter, or the reason why there is none.
    ///
    /// # Errors
    /// The error of the plugin.
    pub fn on_fetch(
        &mut self,
        context: &[u8],
        answer: Result<Answer<'_>, &str>,
    ) -> Result<RequestDecision, PluginError> {
        let decision = self.instance.on_fetch(context, answer)?;
        self.checked(decision)
    }

    /// Passes a response to `request` to the filter, with the header fields `fields`. A filter
    /// without `on_response` lets it pass.
    ///
    /// # Errors
    /// The error of the plugin.
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

    /// Streams a body through the filter: each piece, then the end.
    ///
    /// # Errors
    /// The error of the plugin; the inner error if the filter stopped the body.
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
                BodyDecision::Stop => return Ok(Err(Stopped { reply: None })),
                BodyDecision::Reply(reply) if of_request => {
                    return Ok(Err(Stopped { reply: Some(reply) }));
                }
                BodyDecision::Reply(_) => {
                    return Err(self.component.invalid("it replies to a response".to_owned()));
                }
            }
        }
        Ok(Ok(output))
    }

    /// The instance itself.
    pub fn instance(&mut self) -> &mut FilterInstance {
        &mut self.instance
    }
}

/// The filter stopped a body: no more of it passes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// The response that it makes for a request. Without one, a request is answered with 403.
    pub reply: Option<weir_runtime::filter::Reply>,
}

/// An instance of a balancer.
pub struct Balancer {
    instance: BalancerInstance,
    sequence: u64,
    /// The number of endpoints to choose from.
    endpoints: usize,
}

impl Balancer {
    /// Replaces the endpoints.
    ///
    /// # Errors
    /// The error of the plugin.
    pub fn update(&mut self, endpoints: &[Endpoint]) -> Result<(), PluginError> {
        self.endpoints = endpoints.len();
        self.instance.update(endpoints)
    }

    /// Asks for the endpoint of the next request. `attempt` counts its retries. `loads` are those
    /// of the endpoints, in order; an empty list means that all are idle.
    ///
    /// # Errors
    /// The error of the plugin.
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
