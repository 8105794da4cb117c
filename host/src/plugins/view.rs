//! [`View`]: the generations of all plugins, as the requests of one worker see them.
//!
//! A request takes the present view and keeps it until its end, so that a swap never splits it. For
//! each request, a worker reads one atomic number to check that its view is current.

use std::rc::Rc;
use std::sync::Arc;

use super::Plugins;
use super::generation::Generation;
use super::seat::Seat;
use super::slot::Slot;
use super::trial::{Mode, WHOLE};
use crate::config::PluginId;

/// The plugins of one configuration as the requests of one worker see them, in its order.
pub struct View {
    version: u64,
    lanes: Vec<Lane>,
}

/// The view of one request, and its random number.
#[derive(Clone)]
pub struct Pinned {
    view: Rc<View>,
    /// A number from 0 to 9,999 that decides the side of a canary. It is the same for every plugin
    /// of the request.
    pub roll: u32,
}

impl Pinned {
    /// Keeps `view` for a request. `random` determines its number.
    pub fn new(view: Rc<View>, random: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is small")]
        let roll = (random % u64::from(WHOLE)) as u32;
        Self { view, roll }
    }

    /// The plugin with this id; `None` only if the view is of another configuration.
    pub fn lane(&self, id: PluginId) -> Option<&Lane> {
        self.view.lane(id)
    }
}

/// One plugin in a view.
pub struct Lane {
    serving: Rc<Seat>,
    trial: Option<(Rc<Seat>, Mode)>,
}

/// The generations of a plugin that serve a request.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The generation that decides.
    pub first: &'a Rc<Seat>,
    /// The generation that decides if the first one fails. Present if the first one is on trial.
    pub fallback: Option<&'a Rc<Seat>>,
    /// The generation that is also called, for comparison.
    pub shadow: Option<&'a Rc<Seat>>,
}

impl View {
    /// Creates the present view. Keeps the seats of `before`, also of another configuration, if the
    /// plugin and its generations are the same. `version` was read before `plugins` was: the next
    /// request then notices a change since.
    pub fn new(plugins: &Plugins, version: u64, before: Option<&View>) -> Self {
        let old = before.map_or(&[][..], |before| &before.lanes);
        let lane = |(index, slot): (usize, &Arc<Slot>)| {
            let is_it = |lane: &&Lane| Arc::ptr_eq(lane.slot(), slot);
            // A plugin has the same position in most configurations.
            let known = old.get(index).filter(is_it).or_else(|| old.iter().find(is_it));
            Lane::new(slot, known)
        };
        let lanes = plugins.slots().iter().enumerate().map(lane).collect();
        Self { version, lanes }
    }

    /// The plugin with this id; `None` only if the view is of another configuration.
    pub fn lane(&self, id: PluginId) -> Option<&Lane> {
        id.of(&self.lanes)
    }

    /// The version of the plugins that it shows.
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl Lane {
    fn new(slot: &Arc<Slot>, before: Option<&Lane>) -> Self {
        let (serving, trial) = slot.current();
        let seat = |generation: Arc<Generation>, is_on_trial: bool| {
            let old = before.and_then(|before| before.seat_of(&generation));
            let seat = old.unwrap_or_else(|| Rc::new(Seat::new(Arc::clone(slot), generation)));
            seat.is_on_trial.set(is_on_trial);
            seat
        };
        let serving = seat(serving, false);
        let trial = trial.map(|trial| (seat(trial.generation, true), trial.mode));
        Self { serving, trial }
    }

    /// The plugin.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.serving.slot
    }

    /// Chooses the generations for a request with the number `roll`, from 0 to 9,999.
    pub fn choose(&self, roll: u32) -> Choice<'_> {
        let serving = &self.serving;
        match &self.trial {
            Some((trial, Mode::Share(share))) if roll < *share => {
                Choice { first: trial, fallback: Some(serving), shadow: None }
            }
            Some((trial, Mode::Shadow)) => {
                Choice { first: serving, fallback: None, shadow: Some(trial) }
            }
            _ => Choice { first: serving, fallback: None, shadow: None },
        }
    }

    /// Returns whether a generation is in use here, under this configuration.
    pub fn knows(&self, generation: &Arc<Generation>) -> bool {
        self.generations().any(|known| Arc::ptr_eq(known, generation))
    }

    /// Returns the generations that are in use here.
    pub fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        let trial = self.trial.as_ref().map(|(seat, _)| &seat.generation);
        std::iter::once(&self.serving.generation).chain(trial)
    }

    fn seat_of(&self, generation: &Arc<Generation>) -> Option<Rc<Seat>> {
        let trial = self.trial.as_ref().map(|(seat, _)| seat);
        let mut seats = std::iter::once(&self.serving).chain(trial);
        seats.find(|seat| Arc::ptr_eq(&seat.generation, generation)).cloned()
    }
}
