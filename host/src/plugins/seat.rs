//! [`Seat`]: one worker's hold of one generation of a plugin, with the instance that it keeps for filters.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus::IntCounter;
use weir_runtime::{FilterInstance, PluginError};

use super::component;
use super::function::Function;
use super::generation::{Failure, Generation};
use super::memo::{Answer, Given, Memo, Passing};
use super::slot::{Role, Slot};
use super::tally::{TIMED_EVERY, TIMED_FIRST};
use crate::config::Reuse;
use crate::proxy::input::{Inputs, ResponseInputs};
use crate::telemetry::metrics;
use crate::telemetry::record::RequestId;

/// One generation of a plugin on one worker.
pub struct Seat {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Whether it is on trial: then every call is counted and timed.
    pub is_on_trial: Cell<bool>,
    /// Boxed, as each call takes it and puts it back.
    kept: RefCell<Option<Box<Running>>>,
    shape: OnceCell<Rc<Shape>>,
    /// What a pure filter decided.
    memo: RefCell<Memo>,
    remembered: [OnceCell<IntCounter>; Function::COUNT],
    functions: [OnceCell<metrics::Function>; Function::COUNT],
    calls: Cell<u32>,
    /// Its hold of a standard component.
    pub component: component::Hold,
}

/// What a filter asked for.
#[derive(Debug)]
pub struct Shape {
    /// Whether it is called for requests.
    pub on_request: bool,
    /// Whether it is called for responses.
    pub on_response: bool,
    /// What it is given of a request.
    pub inputs: Inputs,
    /// What it is given of a response.
    pub response_inputs: ResponseInputs,
    /// Whether decisions on requests may be remembered.
    pub remembers_requests: bool,
    /// The same of responses.
    pub remembers_responses: bool,
}

impl Seat {
    /// Takes a seat; the instance is made with the first call.
    pub fn new(generation: Arc<Generation>) -> Self {
        Self {
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

    /// What the filter asked for. Makes an instance, on behalf of a request, if there was none yet.
    ///
    /// # Errors
    /// [`Failure`] if none can be made.
    pub fn shape(&self, slot: &Slot, request: RequestId) -> Result<&Rc<Shape>, Failure> {
        if self.shape.get().is_none() {
            // The call that follows is the probe, if there is to be one.
            self.generation.admit_instance(Function::Request)?;
            let failed = |error: &PluginError| self.fail(slot, Function::Request, request, error);
            let made = self.instantiate(slot).inspect_err(failed)?;
            *self.kept.borrow_mut() = Some(Box::new(made));
        }
        let missing = || PluginError::invalid(&slot.name, "configure: it told no needs");
        Ok(self.shape.get().ok_or_else(missing)?)
    }

    /// Calls a function of the filter for a request, on the kept instance or a fresh one, and checks what it returns. An error
    /// in either throws the instance away.
    ///
    /// # Errors
    /// [`Failure`]: what went wrong, or that the plugin is not to be called.
    pub fn call<T, U>(
        &self,
        slot: &Slot,
        function: Function,
        request: RequestId,
        call: impl FnOnce(&mut FilterInstance) -> Result<T, PluginError>,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<U, Failure> {
        self.generation.admit(function)?;
        let kept = self.kept.borrow_mut().take();
        let running = match kept {
            Some(running) => Ok(running),
            None => self.instantiate(slot).map(Box::new),
        };
        let called = running.and_then(|mut running| {
            running.instance.serve(request.0);
            let result = self.measure(function, || call(&mut running.instance))?;
            let checked = check(result).map_err(|what| PluginError::invalid(&slot.name, what))?;
            running.recount();
            if self.generation.bounds.reuse == Reuse::Worker {
                *self.kept.borrow_mut() = Some(running);
            }
            Ok(checked)
        });
        match called {
            Ok(result) => {
                self.generation.succeeded(function);
                Ok(result)
            }
            Err(error) => {
                self.fail(slot, function, request, &error);
                Err(error.into())
            }
        }
    }

    /// What a pure filter decided on the same before, unless it is to be asked: [`Self::learn`] is then to be told of it.
    pub fn recall(&self, given: Given<'_>) -> Option<Passing> {
        // On trial every call counts, and the first calls are what a later trial's are compared with. After a failure only a call
        // can show that the plugin is well again.
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

    /// Takes note of what a pure filter decided on what [`Self::recall`] was asked for.
    pub fn learn(&self, answer: Answer<'_>, request: RequestId) {
        if !self.memo.borrow_mut().learn(answer) {
            self.generation.refute(request);
        }
    }

    /// Notes a failed call, and what that means for its request.
    pub fn fail(&self, slot: &Slot, function: Function, request: RequestId, error: &PluginError) {
        let consequence = match slot.on_failure {
            _ if function == Function::Handle => "its request gets no more of it",
            _ if self.is_on_trial.get() => "the generation before took its place for this request",
            crate::config::OnFailure::Closed => "the request is answered with 503",
            crate::config::OnFailure::Open => "the request goes on without it",
        };
        self.generation.failed(function, request, error, consequence);
        if self.is_on_trial.get() {
            slot.review();
        }
    }

    fn measure<T>(
        &self,
        function: Function,
        call: impl FnOnce() -> Result<T, PluginError>,
    ) -> Result<T, PluginError> {
        let calls = self.calls.get();
        self.calls.set(calls.wrapping_add(1));
        let is_on_trial = self.is_on_trial.get();
        // Reading the clock twice costs a fifth of the call: one in so many is timed.
        let is_timed = is_on_trial || calls < TIMED_FIRST || calls.is_multiple_of(TIMED_EVERY);
        // Nothing is warm in the first call of a function, and that is not the plugin's doing.
        let is_first = function.of(&self.functions).get().is_none();
        let metrics = self.function(function);
        let timed = is_timed.then(Instant::now);
        metrics.calls.inc();
        if is_on_trial {
            self.generation.tally.trial_calls.fetch_add(1, Ordering::Relaxed);
        }
        let result = call();
        if let Some(start) = timed {
            let duration = start.elapsed();
            metrics.duration.observe(duration.as_secs_f64());
            if !is_first {
                self.generation.tally.time(function, duration);
            }
        }
        result
    }

    /// What is counted for a function.
    pub fn function(&self, function: Function) -> &metrics::Function {
        let cell = function.of(&self.functions);
        cell.get_or_init(|| self.generation.metrics.function(function.name()))
    }

    fn instantiate(&self, slot: &Slot) -> Result<Running, PluginError> {
        let instance = self.generation.plugin.filter(self.generation.config(Role::Filter))?;
        if self.shape.get().is_none() {
            let needs = instance.needs();
            let invalid = |what| PluginError::invalid(&slot.name, what);
            let inputs = Inputs::parse(&needs.inputs).map_err(invalid)?;
            let response_inputs = ResponseInputs::parse(&needs.response_inputs);
            let response_inputs = response_inputs.map_err(invalid)?;
            let shape = Shape {
                on_request: needs.on_request,
                on_response: needs.on_response,
                remembers_requests: needs.pure && inputs.may_be_kept(),
                remembers_responses: needs.pure && response_inputs.may_be_kept(),
                inputs,
                response_inputs,
            };
            let _ = self.shape.set(Rc::new(shape));
        }
        Ok(Running::new(instance, &self.generation.metrics))
    }
}

/// An instance and what is counted for it as long as it lives.
struct Running {
    instance: FilterInstance,
    counted: Counted,
}

impl Running {
    fn new(instance: FilterInstance, metrics: &metrics::Generation) -> Self {
        let counted = Counted::new(metrics, instance.memory());
        Self { instance, counted }
    }

    fn recount(&mut self) {
        self.counted.set(self.instance.memory());
    }
}

/// Counts an instance, and its memory, for as long as it lives.
pub struct Counted {
    metrics: metrics::Generation,
    memory: usize,
}

impl Counted {
    /// Counts one that has `memory` bytes.
    pub fn new(metrics: &metrics::Generation, memory: usize) -> Self {
        metrics.instances.inc();
        metrics.memory.add(signed(memory));
        Self { metrics: metrics.clone(), memory }
    }

    /// Follows its growth.
    pub fn set(&mut self, memory: usize) {
        if memory != self.memory {
            self.metrics.memory.add(signed(memory) - signed(self.memory));
            self.memory = memory;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.instances.dec();
        self.metrics.memory.sub(signed(self.memory));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
