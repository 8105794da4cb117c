//! [`Seat`]: the part of one worker in one generation of a plugin, with the instance that it keeps
//! for filters.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus::IntCounter;
use weir_runtime::{FilterInstance, PluginError};

use super::component;
use super::function::Function;
use super::generation::{CallError, Generation};
use super::instance::{Guest, Instance};
use super::memo::{CallInput, Conclusion, Memo, StoredDecision};
use super::slot::{Role, Slot};
use super::tally::{TIMED_EVERY, TIMED_FIRST};
use crate::config::{OnFailure, Reuse};
use crate::message::input::{Inputs, ResponseInputs};
use crate::message::peer::RequestId;
use crate::telemetry::metrics;

/// One generation of a plugin on one worker.
pub struct Seat {
    /// The plugin.
    pub slot: Arc<Slot>,
    /// The generation.
    pub generation: Arc<Generation>,
    /// Whether the generation is on trial. Every call is then counted and timed.
    pub is_on_trial: Cell<bool>,
    /// Boxed, because each call takes it and puts it back.
    kept: RefCell<Option<Box<Instance<FilterInstance>>>>,
    shape: OnceCell<Rc<FilterShape>>,
    /// The stored decisions of a pure filter.
    memo: RefCell<Memo>,
    remembered: [OnceCell<IntCounter>; Function::COUNT],
    functions: [OnceCell<metrics::FunctionCounters>; Function::COUNT],
    calls: Cell<u32>,
    /// The part of this worker in a standard component.
    pub component: component::Hold,
}

/// The calls and inputs that a filter requests.
#[derive(Debug)]
pub struct FilterShape {
    /// Whether the filter is called for requests.
    pub on_request: bool,
    /// Whether the filter is called for responses.
    pub on_response: bool,
    /// The inputs from a request.
    pub inputs: Inputs,
    /// The inputs from a response.
    pub response_inputs: ResponseInputs,
    /// Whether decisions on requests may be stored.
    pub remembers_requests: bool,
    /// Whether decisions on responses may be stored.
    pub remembers_responses: bool,
}

impl Seat {
    /// Creates a seat. The first call creates the instance.
    pub fn new(slot: Arc<Slot>, generation: Arc<Generation>) -> Self {
        Self {
            slot,
            generation,
            is_on_trial: Cell::new(false),
            kept: RefCell::default(),
            shape: OnceCell::new(),
            memo: RefCell::default(),
            remembered: Default::default(),
            functions: Default::default(),
            calls: Cell::new(0),
            component: component::Hold::default(),
        }
    }

    /// Returns the calls and inputs that the filter requests. Creates an instance for `request` if
    /// there is none yet.
    ///
    /// # Errors
    ///
    /// [`CallError`] if no instance can be created.
    pub fn shape(&self, request: RequestId) -> Result<&Rc<FilterShape>, CallError> {
        if self.shape.get().is_none() {
            // The following call is the probe, if one is due.
            self.generation.admit_instance(Function::Request)?;
            let failed = |error: &PluginError| self.fail(Function::Request, request, error);
            let made = self.instantiate().inspect_err(failed)?;
            *self.kept.borrow_mut() = Some(Box::new(Instance::new(made, &self.generation.metrics)));
        }
        let missing = || self.invalid("configure: it told no needs");
        Ok(self.shape.get().ok_or_else(missing)?)
    }

    /// Calls a function of the filter for a request and checks the result. Uses the kept instance
    /// or a new one. An error in the call or the check discards the instance.
    ///
    /// # Errors
    ///
    /// [`CallError`]: the error of the call, or the quarantine of the plugin.
    pub fn call<T, U>(
        &self,
        function: Function,
        request: RequestId,
        call: impl FnOnce(&mut FilterInstance) -> Result<T, PluginError>,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<U, CallError> {
        let mut kept = self.kept.borrow_mut().take();
        let work = |filter: &mut FilterInstance| {
            let result = self.measure(function, || call(filter));
            let checked =
                result.and_then(|result| check(result).map_err(|what| self.invalid(what)));
            checked.map_err(|error| (function, error))
        };
        let result = self.run(&mut kept, function, request, || self.instantiate(), work);
        *self.kept.borrow_mut() = kept;
        result
    }

    /// Runs `work`, which calls `function`, on the instance in `kept` or on a fresh one, and counts
    /// the outcome. An instance that failed is dropped. If the plugin wants a fresh instance for
    /// every call, each is dropped. `work` names the function that failed.
    ///
    /// # Errors
    /// [`CallError`]: the call failed, or the plugin must not be called now.
    pub(crate) fn run<G: Guest, U>(
        &self,
        kept: &mut Option<Box<Instance<G>>>,
        function: Function,
        request: RequestId,
        make: impl FnOnce() -> Result<G, PluginError>,
        work: impl FnOnce(&mut G) -> Result<U, (Function, PluginError)>,
    ) -> Result<U, CallError> {
        self.generation.admit(function)?;
        let instance = match kept.take() {
            Some(instance) => Ok(instance),
            None => make().map(|guest| Box::new(Instance::new(guest, &self.generation.metrics))),
        };
        let instance = instance.map_err(|error| (function, error));
        let worked = instance.and_then(|mut instance| {
            instance.guest.serve(request);
            let result = work(&mut instance.guest)?;
            instance.recount();
            if self.generation.bounds.reuse == Reuse::Worker {
                *kept = Some(instance);
            }
            Ok(result)
        });
        match worked {
            Ok(result) => {
                self.generation.succeeded(function);
                Ok(result)
            }
            Err((function, error)) => {
                self.fail(function, request, &error);
                Err(error.into())
            }
        }
    }

    /// Returns the earlier decision of a pure filter on the same inputs. If it returns `None`, the
    /// filter is called, and [`Self::learn`] must get its answer.
    pub fn recall(&self, given: CallInput<'_>) -> Option<StoredDecision> {
        // On trial every call counts. A later trial is compared with the first calls. After a
        // failure only a call can show that the plugin works again.
        let is_asked = self.is_on_trial.get()
            || self.calls.get() < TIMED_FIRST
            || self.generation.is_refuted()
            || !self.generation.is_well(given.function);
        let mut memo = self.memo.borrow_mut();
        if is_asked {
            memo.forget_sought();
            return None;
        }
        let passing = memo.find(given)?.clone();
        let function = given.function;
        let counter = || self.generation.metrics.remembered(function.name());
        function.of(&self.remembered).get_or_init(counter).inc();
        Some(passing)
    }

    /// Stores the decision of a pure filter on the inputs of the last [`Self::recall`].
    pub fn learn(&self, answer: Conclusion<'_>, request: RequestId) {
        if !self.memo.borrow_mut().learn(answer) {
            self.generation.refute(request);
        }
    }

    /// Notes a failed call, and logs the consequence for its request.
    pub fn fail(&self, function: Function, request: RequestId, error: &PluginError) {
        let consequence = match self.slot.on_failure {
            _ if function == Function::Handle => "its request gets nothing more from it",
            _ if matches!(function, Function::Pick | Function::Observe) => {
                "another choice was used for this request"
            }
            _ if self.is_on_trial.get() => "the previous generation served this request instead",
            OnFailure::Closed => "the request is answered with 503",
            OnFailure::Open => "the request goes on without it",
        };
        self.generation.failed(function, request, error, consequence);
        if self.is_on_trial.get() {
            self.slot.review();
        }
    }

    /// Makes a call, counts it, and times some: reading the clock twice costs a fifth of a call.
    pub(crate) fn measure<T>(
        &self,
        function: Function,
        call: impl FnOnce() -> Result<T, PluginError>,
    ) -> Result<T, PluginError> {
        let is_on_trial = self.is_on_trial.get();
        // `update` and `observe` come with some picks only, and are no calls of their own.
        let is_extra = matches!(function, Function::Update | Function::Observe);
        let calls = self.calls.get();
        self.calls.set(calls.wrapping_add(u32::from(!is_extra)));
        let is_timed =
            is_on_trial || is_extra || calls < TIMED_FIRST || calls.is_multiple_of(TIMED_EVERY);
        // The first call of a function is slow because nothing is warm, and the plugin is not the
        // cause.
        let is_first = function.of(&self.functions).get().is_none();
        let metrics = self.function(function);
        let timed = is_timed.then(Instant::now);
        metrics.calls.inc();
        if is_on_trial && !is_extra {
            self.generation.tally.trial_calls.fetch_add(1, Ordering::Relaxed);
        }
        let result = call();
        if let Some(start) = timed {
            let duration = start.elapsed();
            metrics.duration.observe(duration.as_secs_f64());
            if !is_first && function != Function::Update {
                self.generation.tally.time(function, duration);
            }
        }
        result
    }

    /// An error of the plugin: it broke a rule of the interface.
    pub(crate) fn invalid(&self, what: impl Into<String>) -> PluginError {
        PluginError::invalid(&self.slot.name, what)
    }

    /// Returns the metrics of a function.
    pub fn function(&self, function: Function) -> &metrics::FunctionCounters {
        let cell = function.of(&self.functions);
        cell.get_or_init(|| self.generation.metrics.function(function.name()))
    }

    fn instantiate(&self) -> Result<FilterInstance, PluginError> {
        let instance = self.generation.plugin.filter(self.generation.config(&Role::Filter))?;
        if self.shape.get().is_none() {
            let needs = instance.needs();
            let inputs = Inputs::parse(&needs.inputs).map_err(|what| self.invalid(what))?;
            let response_inputs = ResponseInputs::parse(&needs.response_inputs);
            let response_inputs = response_inputs.map_err(|what| self.invalid(what))?;
            let shape = FilterShape {
                on_request: needs.on_request,
                on_response: needs.on_response,
                remembers_requests: needs.pure && inputs.may_be_kept(),
                remembers_responses: needs.pure && response_inputs.may_be_kept(),
                inputs,
                response_inputs,
            };
            let _ = self.shape.set(Rc::new(shape));
        }
        Ok(instance)
    }
}
