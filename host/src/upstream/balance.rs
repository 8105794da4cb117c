//! One worker's balancer for one upstream: hands it what it asked for, checks what it says.
//!
//! A balancer that fails costs one call: the host takes its own round robin for it, counts the failure by kind, and
//! makes a fresh instance for the next one. While a generation is on trial, the one before it takes its place instead.
//! A balancer that says `none` has decided: the request is answered with 503. On trial, that holds only if the one before
//! says so too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::request::Parts;
use weir_runtime::{BalancerInstance, Outcome, Pick, PluginError, TRIED};

use super::Upstream;
use crate::config::Reuse;
use crate::plugins::function::Function;
use crate::plugins::generation::{Failure, Generation};
use crate::plugins::seat::{Counted, Seat};
use crate::plugins::slot::Role;
use crate::plugins::tally::{TIMED_EVERY, TIMED_FIRST};
use crate::plugins::view::Lane;
use crate::proxy::input::Inputs;
use crate::proxy::subject::Subject;
use crate::telemetry::metrics;

/// Chooses endpoints of one upstream on one worker.
pub struct Chooser {
    upstream: Arc<Upstream>,
    /// One for each generation in use; nearly always one.
    balancers: Vec<Balancer>,
    /// The membership that `candidates` has.
    seen: u64,
    /// Indexes of the healthy endpoints, as of `seen`.
    candidates: Vec<u32>,
    loads: Vec<u32>,
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPick {
    /// None is healthy.
    Unhealthy,
    /// The balancer says that none should take the request.
    Declined,
}

/// Where a request stands in the order of its upstream's requests; kept over its attempts.
#[derive(Debug, Default)]
pub struct Turn {
    /// How many endpoints were tried before.
    pub attempt: u32,
    sequence: Option<u64>,
    /// Which they were.
    tried: Vec<u32>,
}

impl Turn {
    /// Notes that an endpoint was tried in vain.
    pub fn failed(&mut self, endpoint: u32) {
        self.attempt += 1;
        self.tried.push(endpoint);
    }
}

/// What a balancer is asked about.
pub struct Question<'a> {
    /// The request's head.
    pub head: &'a Parts,
    /// Its authority.
    pub authority: &'a str,
    /// Whose it is.
    pub subject: &'a Subject<'a>,
}

/// One generation of the balancer.
struct Balancer {
    generation: Arc<Generation>,
    instance: Option<Instance>,
    picks: metrics::Function,
    updates: metrics::Function,
    observes: metrics::Function,
    calls: u32,
    /// How requests ended, for a balancer that wants to know.
    outcomes: Vec<Outcome>,
}

struct Instance {
    balancer: BalancerInstance,
    inputs: Inputs,
    /// The membership that it was told.
    knows: u64,
    counted: Counted,
}

impl Chooser {
    /// Makes a chooser; instances are made with the first pick.
    pub fn new(upstream: Arc<Upstream>) -> Self {
        let (candidates, loads) = (Vec::new(), Vec::new());
        Self { upstream, balancers: Vec::new(), seen: 0, candidates, loads }
    }

    /// Chooses the endpoint of one attempt, by its id. `roll` decides which generation of the balancer is asked.
    ///
    /// # Errors
    /// [`NoPick`].
    pub fn pick(
        &mut self,
        question: &Question<'_>,
        turn: &mut Turn,
        lane: &Lane,
        roll: u32,
    ) -> Result<u32, NoPick> {
        self.follow_membership();
        if self.candidates.is_empty() {
            return Err(NoPick::Unhealthy);
        }
        if self.balancers.len() > 1 {
            self.sweep(lane);
        }
        let choice = lane.choose(roll);
        let mut chosen = self.ask(choice.first, question, turn, lane);
        if let (Ok(None) | Err(_), Some(fallback)) = (&chosen, choice.fallback) {
            let before = self.ask(fallback, question, turn, lane);
            if let (Ok(None), Ok(Some(_))) = (&chosen, &before) {
                choice.first.generation.tally.failures.fetch_add(1, Ordering::Relaxed);
                lane.slot.review();
            }
            chosen = before;
        }
        if let Some(shadow) = choice.shadow {
            let decision = match (self.ask(shadow, question, turn, lane), &chosen) {
                (Ok(other), Ok(chosen)) if other == *chosen => "same",
                (Ok(_), _) => "different",
                (Err(_), _) => "failed",
            };
            lane.slot.metrics.shadow(decision);
        }
        chosen.unwrap_or_else(|_| self.round_robin()).ok_or(NoPick::Declined)
    }

    /// Lets go of generations that are over.
    pub fn sweep(&mut self, lane: &Lane) {
        self.balancers.retain(|balancer| lane.knows(balancer.generation.number));
    }

    /// Notes how a request ended, for balancers that asked for that; they are told with their next pick.
    pub fn ended(&mut self, endpoint: u32, status: u16, duration: Duration) {
        for balancer in &mut self.balancers {
            let wanted = balancer.instance.as_ref().is_some_and(|i| i.balancer.needs().outcomes);
            if wanted && balancer.outcomes.len() < MAX_OUTCOMES {
                let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
                balancer.outcomes.push(Outcome { endpoint, status, duration_us });
            }
        }
    }

    /// Learns which endpoints are healthy, if that changed. Instances are told with their next call.
    fn follow_membership(&mut self) {
        let membership = self.upstream.membership();
        if membership == self.seen {
            return;
        }
        self.seen = membership;
        self.candidates.clear();
        for (id, endpoint) in (0u32..).zip(&self.upstream.endpoints) {
            if endpoint.is_healthy() {
                self.candidates.push(id);
            }
        }
    }

    /// Asks one generation. A failure has been counted.
    fn ask(
        &mut self,
        seat: &Seat,
        question: &Question<'_>,
        turn: &mut Turn,
        lane: &Lane,
    ) -> Result<Option<u32>, Failure> {
        seat.generation.admit(Function::Pick)?;
        let at = self.position(&seat.generation);
        let Some(balancer) = self.balancers.get_mut(at) else { return Ok(None) };
        let (upstream, candidates, loads) = (&*self.upstream, &self.candidates, &mut self.loads);
        let members = Members { upstream, candidates, membership: self.seen };
        let asked = balancer.pick(&members, loads, question, turn, seat.is_on_trial.get());
        let asked = asked.and_then(|picked| match picked {
            Some(id) if !candidates.contains(&id) => {
                let what = format!("picked {id}, which is no healthy endpoint");
                Err((Function::Pick, PluginError::invalid(&lane.slot.name, what)))
            }
            picked => Ok(picked),
        });
        match asked {
            Ok(picked) => {
                if seat.generation.bounds.reuse == Reuse::Request {
                    balancer.instance = None;
                }
                if picked.is_none() {
                    seat.generation.metrics.failure("none");
                }
                seat.generation.succeeded(Function::Pick);
                Ok(picked)
            }
            Err((function, error)) => {
                balancer.instance = None;
                seat.generation.failed(
                    function,
                    question.subject.id,
                    &error,
                    "another choice took its place for this request",
                );
                if seat.is_on_trial.get() {
                    lane.slot.review();
                }
                Err(error.into())
            }
        }
    }

    fn position(&mut self, generation: &Arc<Generation>) -> usize {
        let known = self.balancers.iter().position(|b| Arc::ptr_eq(&b.generation, generation));
        known.unwrap_or_else(|| {
            self.balancers.push(Balancer::new(Arc::clone(generation)));
            self.balancers.len() - 1
        })
    }

    /// The host's own choice: in turn, but for endpoints that are to get nothing.
    fn round_robin(&self) -> Option<u32> {
        let endpoints = &self.upstream.endpoints;
        let takes = |id: &&u32| endpoints.get(**id as usize).is_some_and(|e| e.weight > 0);
        let taking = self.candidates.iter().filter(takes).count() as u64;
        let turn = self.upstream.next_sequence().checked_rem(taking)?;
        self.candidates.iter().filter(takes).nth(usize::try_from(turn).ok()?).copied()
    }
}

/// The endpoints to choose from.
struct Members<'a> {
    upstream: &'a Upstream,
    candidates: &'a [u32],
    membership: u64,
}

impl Balancer {
    fn new(generation: Arc<Generation>) -> Self {
        Self {
            picks: generation.metrics.function("pick"),
            updates: generation.metrics.function("update"),
            observes: generation.metrics.function("observe"),
            generation,
            instance: None,
            calls: 0,
            outcomes: Vec::new(),
        }
    }

    fn pick(
        &mut self,
        members: &Members<'_>,
        loads: &mut Vec<u32>,
        question: &Question<'_>,
        turn: &mut Turn,
        is_on_trial: bool,
    ) -> Result<Option<u32>, (Function, PluginError)> {
        let failed = |error| (Function::Pick, error);
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.instantiate(members.upstream).map_err(failed)?,
        };
        instance.balancer.serve(question.subject.id.0);
        if instance.knows != members.membership {
            self.tell(&mut instance, members).map_err(failed)?;
        }
        if !self.outcomes.is_empty() {
            self.observe(&mut instance).map_err(|error| (Function::Observe, error))?;
        }
        let needs = instance.balancer.needs();
        let sequence = if needs.sequence {
            *turn.sequence.get_or_insert_with(|| members.upstream.next_sequence())
        } else {
            0
        };
        loads.clear();
        if needs.loads {
            let endpoints = &members.upstream.endpoints;
            let load = |id: &u32| match endpoints.get(*id as usize) {
                _ if turn.tried.contains(id) => TRIED,
                Some(endpoint) => endpoint.load().min(TRIED - 1),
                None => 0,
            };
            loads.extend(members.candidates.iter().map(load));
        }
        // Reading the clock twice costs a fifth of the call: one in so many is timed.
        let calls = self.calls;
        let is_timed = is_on_trial || calls < TIMED_FIRST || calls.is_multiple_of(TIMED_EVERY);
        let start = is_timed.then(Instant::now);
        self.calls = calls.wrapping_add(1);
        self.picks.calls.inc();
        let tally = &self.generation.tally;
        if is_on_trial {
            tally.trial_calls.fetch_add(1, Ordering::Relaxed);
        }
        let Question { head, authority, subject } = question;
        let Instance { balancer, inputs, .. } = &mut instance;
        let choice = inputs.with(head, authority, subject, |inputs| {
            balancer.pick(Pick { sequence, attempt: turn.attempt, inputs, loads })
        });
        let choice = choice.map_err(failed)?;
        if let Some(start) = start {
            let duration = start.elapsed();
            self.picks.duration.observe(duration.as_secs_f64());
            // Nothing is warm in the first call, and that is not the plugin's doing.
            if calls > 0 {
                tally.time(Function::Pick, duration);
            }
        }
        instance.counted.set(instance.balancer.memory());
        self.instance = Some(instance);
        Ok(choice)
    }

    fn instantiate(&self, upstream: &Upstream) -> Result<Instance, PluginError> {
        let plugin = &self.generation.plugin;
        let balancer = plugin.balancer(self.generation.config(Role::Balancer(upstream.index)))?;
        let inputs = Inputs::parse(&balancer.needs().inputs)
            .map_err(|what| PluginError::invalid(plugin.name(), what))?;
        let counted = Counted::new(&self.generation.metrics, balancer.memory());
        Ok(Instance { balancer, inputs, knows: 0, counted })
    }

    /// Tells how requests ended, unless that keeps failing.
    fn observe(&mut self, instance: &mut Instance) -> Result<(), PluginError> {
        if self.generation.admit(Function::Observe).is_err() {
            self.outcomes.clear();
            return Ok(());
        }
        self.observes.calls.inc();
        let start = Instant::now();
        let told = instance.balancer.observe(&self.outcomes);
        let duration = start.elapsed();
        self.observes.duration.observe(duration.as_secs_f64());
        self.generation.tally.time(Function::Observe, duration);
        self.outcomes.clear();
        told.inspect(|()| self.generation.succeeded(Function::Observe))
    }

    fn tell(&self, instance: &mut Instance, members: &Members<'_>) -> Result<(), PluginError> {
        let known = |id: &u32| {
            let endpoint = members.upstream.endpoints.get(*id as usize)?;
            Some(weir_runtime::Endpoint {
                id: *id,
                address: endpoint.name.to_string(),
                weight: endpoint.weight,
                zone: endpoint.zone.clone(),
                labels: endpoint.labels.clone(),
            })
        };
        let endpoints: Vec<_> = members.candidates.iter().filter_map(known).collect();
        self.updates.calls.inc();
        let start = Instant::now();
        let told = instance.balancer.update(&endpoints);
        self.updates.duration.observe(start.elapsed().as_secs_f64());
        instance.knows = members.membership;
        told
    }
}

/// Outcomes kept until the next pick; more than that between two picks are not told.
const MAX_OUTCOMES: usize = 1024;
