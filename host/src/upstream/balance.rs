//! The balancer of one upstream on one worker: passes it its inputs and checks its answers.
//!
//! A balancer that fails costs one call. For that call the host uses its own round robin. It counts
//! the failure by kind, and creates a new instance for the next call. While a generation is on
//! trial, its predecessor replaces it instead.
//!
//! The answer `none` of a balancer is a decision: the request is answered with 503. On trial, that
//! holds only if the predecessor decides the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_runtime::{BalancerInstance, Outcome, Pick, PluginError, TRIED};

use super::local::LocalMembers;
use super::{Member, Upstream};
use crate::message::input::{Inputs, RequestView};
use crate::message::peer::RequestId;
use crate::plugins::function::Function;
use crate::plugins::generation::{CallError, Generation};
use crate::plugins::instance::{Guest, Instance};
use crate::plugins::seat::Seat;
use crate::plugins::slot::Role;
use crate::plugins::view::Lane;

/// Chooses endpoints of one upstream on one worker.
#[derive(Default)]
pub(super) struct Chooser {
    /// One balancer for each generation in use, nearly always one.
    balancers: Vec<Balancer>,
    loads: Vec<u32>,
}

/// The endpoints of one choice.
#[derive(Clone, Copy)]
pub(super) struct Choices<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) members: &'a LocalMembers,
}

/// The reason why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPick {
    /// No endpoint is healthy.
    Unhealthy,
    /// The balancer decided that no endpoint should take the request.
    Declined,
}

/// The position of a request in the order of its upstream's requests. It lasts for all attempts of
/// the request.
#[derive(Debug, Default)]
pub struct PickState {
    /// Number of endpoints tried before.
    pub attempt: u32,
    sequence: Option<u64>,
    /// The endpoints tried before.
    tried: Vec<u32>,
}

impl PickState {
    /// Notes a failed attempt at an endpoint.
    pub fn failed(&mut self, endpoint: u32) {
        self.attempt += 1;
        self.tried.push(endpoint);
    }
}

/// A chosen endpoint.
pub(super) struct Picked {
    pub(super) id: u32,
    /// The failure of the balancer, if the host chose in its place.
    pub(super) failure: Option<CallError>,
}

/// One generation of the balancer.
struct Balancer {
    generation: Arc<Generation>,
    instance: Option<Box<Instance<Picker>>>,
    /// Outcomes of requests, for a balancer that needs them.
    outcomes: Vec<Outcome>,
}

/// An instance that is configured for this upstream.
struct Picker {
    balancer: BalancerInstance,
    inputs: Inputs,
    /// The membership number that the instance has received.
    knows: u64,
}

impl Guest for Picker {
    fn memory(&self) -> usize {
        self.balancer.memory()
    }

    fn serve(&mut self, request: RequestId) {
        self.balancer.serve(request.0);
    }
}

impl Chooser {
    /// Chooses the endpoint of one attempt. `roll` decides which generation of
    /// the balancer is called. The first pick of a generation creates its instance.
    ///
    /// # Errors
    ///
    /// [`NoPick`] if no endpoint is chosen.
    pub(super) fn pick(
        &mut self,
        request: &RequestView<'_>,
        turn: &mut PickState,
        choices: Choices<'_>,
        (lane, roll): (&Lane, u32),
    ) -> Result<Picked, NoPick> {
        if choices.members.is_empty() {
            return Err(NoPick::Unhealthy);
        }
        // Nearly always there is one balancer, of the generation that serves.
        let is_stale = |balancer: &Balancer| !lane.knows(&balancer.generation);
        if self.balancers.len() > 1 || self.balancers.iter().any(is_stale) {
            self.sweep(lane, &choices.upstream.name);
        }
        let choice = lane.choose(roll);
        let mut chosen = self.ask(choice.first, request, turn, choices);
        if let (Ok(None) | Err(_), Some(fallback)) = (&chosen, choice.fallback) {
            let before = self.ask(fallback, request, turn, choices);
            if let (Ok(None), Ok(Some(_))) = (&chosen, &before) {
                choice.first.generation.tally.failures.fetch_add(1, Ordering::Relaxed);
                lane.slot().review();
            }
            chosen = before;
        }
        if let Some(shadow) = choice.shadow {
            let decision = match (self.ask(shadow, request, turn, choices), &chosen) {
                (Ok(other), Ok(chosen)) if other == *chosen => "same",
                (Ok(_), _) => "different",
                (Err(_), _) => "failed",
            };
            lane.slot().metrics.shadow(decision);
        }
        let (id, failure) = match chosen {
            Ok(id) => (id, None),
            Err(failure) => (choices.round_robin(), Some(failure)),
        };
        Ok(Picked { id: id.ok_or(NoPick::Declined)?, failure })
    }

    /// Drops generations that have ended. The instance of a generation that another configuration
    /// has fitted goes on, if nothing has changed for this upstream: it keeps what it has learned.
    pub(super) fn sweep(&mut self, lane: &Lane, upstream: &Arc<str>) {
        for at in 0..self.balancers.len() {
            let Some(balancer) = self.balancers.get(at) else { break };
            if lane.knows(&balancer.generation) {
                continue;
            }
            let role = Role::Balancer(Arc::clone(upstream));
            let is_heir = |next: &&Arc<Generation>| {
                balancer.generation.is_same_for(next, &role)
                    && !self.balancers.iter().any(|known| Arc::ptr_eq(&known.generation, next))
            };
            let heir = lane.generations().find(is_heir).cloned();
            if let Some((balancer, heir)) = self.balancers.get_mut(at).zip(heir) {
                balancer.generation = heir;
            }
        }
        self.balancers.retain(|balancer| lane.knows(&balancer.generation));
    }

    /// Notes the outcome of a request for balancers that need outcomes. They receive it with their
    /// next pick.
    pub(super) fn ended(&mut self, endpoint: u32, status: u16, duration: Duration) {
        for balancer in &mut self.balancers {
            let wanted =
                balancer.instance.as_ref().is_some_and(|i| i.guest.balancer.needs().outcomes);
            if wanted && balancer.outcomes.len() < MAX_OUTCOMES {
                let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
                balancer.outcomes.push(Outcome { endpoint, status, duration_us });
            }
        }
    }

    /// Calls one generation. A failure is already counted when this returns.
    fn ask(
        &mut self,
        seat: &Seat,
        request: &RequestView<'_>,
        turn: &mut PickState,
        choices: Choices<'_>,
    ) -> Result<Option<u32>, CallError> {
        let at = self.position(&seat.generation);
        let Some(balancer) = self.balancers.get_mut(at) else { return Ok(None) };
        let picked = balancer.ask(seat, choices, &mut self.loads, request, turn)?;
        if picked.is_none() {
            seat.generation.metrics.failure("none");
        }
        Ok(picked)
    }

    fn position(&mut self, generation: &Arc<Generation>) -> usize {
        let known = self.balancers.iter().position(|b| Arc::ptr_eq(&b.generation, generation));
        known.unwrap_or_else(|| {
            self.balancers.push(Balancer::new(Arc::clone(generation)));
            self.balancers.len() - 1
        })
    }
}

impl Choices<'_> {
    /// Returns the host's own choice: the next endpoint in turn, without those of weight 0.
    fn round_robin(&self) -> Option<u32> {
        let takes = |member: &&Member| member.weight() > 0;
        let taking = self.members.candidates().filter(takes).count() as u64;
        let turn = self.upstream.next_sequence().checked_rem(taking)?;
        let mut candidates = self.members.candidates().filter(takes);
        candidates.nth(usize::try_from(turn).ok()?).map(|member| member.endpoint.id)
    }
}

impl Balancer {
    fn new(generation: Arc<Generation>) -> Self {
        for function in [Function::Pick, Function::Update, Function::Observe] {
            // The series exist from the start, also of functions that are never called.
            generation.metrics.function(function.name());
        }
        Self { generation, instance: None, outcomes: Vec::new() }
    }

    /// Has the instance pick, after it was told of all that has changed.
    fn ask(
        &mut self,
        seat: &Seat,
        choices: Choices<'_>,
        loads: &mut Vec<u32>,
        request: &RequestView<'_>,
        turn: &mut PickState,
    ) -> Result<Option<u32>, CallError> {
        let outcomes = &mut self.outcomes;
        let make = || Picker::new(seat, choices.upstream);
        let work = |bound: &mut Picker| {
            let failed = |error| (Function::Pick, error);
            if bound.knows != choices.members.membership {
                bound.update(seat, choices).map_err(failed)?;
            }
            if !outcomes.is_empty() {
                let told = bound.observe(seat, outcomes);
                outcomes.clear();
                told.map_err(|error| (Function::Observe, error))?;
            }
            let picked = bound.pick(seat, choices, loads, request, turn).map_err(failed)?;
            match picked {
                Some(id) if choices.members.find(id).is_none() => {
                    let what = format!("picked {id}, which is no healthy endpoint");
                    Err(failed(seat.invalid(what)))
                }
                picked => Ok(picked),
            }
        };
        seat.run(&mut self.instance, Function::Pick, request.subject.id, make, work)
    }
}

impl Picker {
    fn new(seat: &Seat, upstream: &Upstream) -> Result<Self, PluginError> {
        let role = Role::Balancer(Arc::clone(&upstream.name));
        let generation = &seat.generation;
        let balancer = generation.plugin.balancer(generation.config(&role))?;
        let inputs = Inputs::parse(&balancer.needs().inputs).map_err(|what| seat.invalid(what))?;
        Ok(Self { balancer, inputs, knows: 0 })
    }

    fn pick(
        &mut self,
        seat: &Seat,
        choices: Choices<'_>,
        loads: &mut Vec<u32>,
        request: &RequestView<'_>,
        turn: &mut PickState,
    ) -> Result<Option<u32>, PluginError> {
        let needs = self.balancer.needs();
        let sequence = if needs.sequence {
            *turn.sequence.get_or_insert_with(|| choices.upstream.next_sequence())
        } else {
            0
        };
        loads.clear();
        if needs.loads {
            let load = |member: &Member| match member.endpoint.id {
                id if turn.tried.contains(&id) => TRIED,
                _ => member.endpoint.load().min(TRIED - 1),
            };
            loads.extend(choices.members.candidates().map(load));
        }
        let Self { balancer, inputs, .. } = self;
        inputs.with(request, |inputs| {
            let pick = Pick { sequence, attempt: turn.attempt, inputs, loads };
            seat.measure(Function::Pick, || balancer.pick(pick))
        })
    }

    /// Passes the outcomes of requests to the balancer, unless its `observe` keeps failing.
    fn observe(&mut self, seat: &Seat, outcomes: &[Outcome]) -> Result<(), PluginError> {
        if seat.generation.admit(Function::Observe).is_err() {
            return Ok(());
        }
        let told = seat.measure(Function::Observe, || self.balancer.observe(outcomes));
        told.inspect(|()| seat.generation.succeeded(Function::Observe))
    }

    /// Tells which endpoints there are.
    fn update(&mut self, seat: &Seat, choices: Choices<'_>) -> Result<(), PluginError> {
        let known = |member: &Member| weir_runtime::Endpoint {
            id: member.endpoint.id,
            address: member.endpoint.name.to_string(),
            weight: member.weight(),
            zone: member.zone.clone(),
            labels: member.labels.clone(),
        };
        let endpoints: Vec<_> = choices.members.candidates().map(known).collect();
        let told = seat.measure(Function::Update, || self.balancer.update(&endpoints));
        self.knows = choices.members.membership;
        told
    }
}

/// Maximum number of outcomes kept until the next pick. Further ones are discarded.
const MAX_OUTCOMES: usize = 1024;
