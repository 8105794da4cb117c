//! Runs a built Weir plugin in the real runtime, with a clock and randomness that repeat.
//!
//! [`Component`] is a plugin under test; [`Bench`](World) is the world around it: a clock that stands until it is moved,
//! seeded randomness, counters and log lines that can be looked at. [`cases`] runs cases that are written in YAML, as `weir
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

pub use request::Request;
pub use weir_runtime::{self as runtime};
pub use world::World;

/// A plugin under test.
pub struct Component {
    plugin: Plugin,
    world: Arc<World>,
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

    /// Loads a component under `limits`.
    ///
    /// # Errors
    /// What the runtime has against it.
    pub fn load(wasm: &[u8], limits: Limits) -> Result<Self, PluginError> {
        let world = Arc::new(World::default());
        let state = Arc::new(MemoryState::new(16 << 20));
        // Every space is there: which ones a plugin may reach is the configuration's matter.
        let environment = Environment::new(Arc::clone(&world) as Arc<_>, state, "plugin", &[]);
        let environment = environment.with_every_space();
        let plugin = Plugin::load(&Engine::new()?, "plugin", wasm, limits, &environment)?;
        Ok(Self { plugin, world })
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
        Ok(Filter { instance: self.plugin.filter(config)?, name: Arc::clone(self.plugin.name()) })
    }

    /// An instance of a balancer, configured with JSON text, that chooses among `endpoints`.
    ///
    /// # Errors
    /// What the runtime or the plugin has against that.
    pub fn balancer(&self, config: &str, endpoints: &[Endpoint]) -> Result<Balancer, PluginError> {
        let mut instance = self.plugin.balancer(config)?;
        instance.update(endpoints)?;
        Ok(Balancer { instance, sequence: 0, endpoints: endpoints.len() })
    }
}

/// An instance of a filter.
pub struct Filter {
    instance: FilterInstance,
    name: Arc<str>,
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
        let values = request.values(&self.instance.needs().inputs)?;
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let decision = self.instance.on_request(&values)?;
        let passes = matches!(decision, RequestDecision::Next | RequestDecision::Edit(_));
        if passes && self.instance.needs().pure && self.instance.on_request(&values)? != decision {
            return Err(self.is_impure("on-request"));
        }
        Ok(decision)
    }

    fn is_impure(&self, function: &str) -> PluginError {
        let what = format!(
            "{function} decided otherwise when it was given the same again, though it calls itself pure"
        );
        PluginError::invalid(&self.name, what)
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
        self.instance.on_fetch(context, answer)
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
        let values = request.response_values(&self.instance.needs().response_inputs, fields)?;
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let decision = self.instance.on_response(status, &values, context)?;
        let passes = !matches!(decision, ResponseDecision::Reply(_));
        let again = |instance: &mut FilterInstance| instance.on_response(status, &values, context);
        if passes && self.instance.needs().pure && again(&mut self.instance)? != decision {
            return Err(self.is_impure("on-response"));
        }
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
