//! [`View`]: the generations of all plugins as one worker's requests see them.
//!
//! A request takes the view of its moment and keeps it to its end, so that a swap never splits it. A worker looks at one
//! atomic number for each request to know whether its view is still true.

use std::rc::Rc;
use std::sync::Arc;

use super::Plugins;
use super::generation::Generation;
use super::seat::Seat;
use super::slot::Slot;
use super::trial::{Mode, WHOLE};
use crate::config::PluginId;

/// What one worker's requests see of the plugins of one configuration, in its order.
pub struct View {
    version: u64,
    lanes: Vec<Lane>,
}

/// The view that a request keeps, and its luck.
#[derive(Clone)]
pub struct Pinned {
    view: Rc<View>,
    /// From 0 to 9,999: which side of a canary it is on, the same for every plugin that it meets.
    pub roll: u32,
}

impl Pinned {
    /// Keeps `view` for a request; `random` decides its luck.
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

/// Which generations of a plugin a request meets.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// The one that decides.
    pub first: &'a Rc<Seat>,
    /// The one that decides when the first fails: the first is on trial then.
    pub fallback: Option<&'a Rc<Seat>>,
    /// The one that is called beside, for comparison.
    pub shadow: Option<&'a Rc<Seat>>,
}

impl View {
    /// Takes the view of this moment, keeping the seats of `before` whose generations are still there.
    pub fn new(plugins: &Plugins, before: Option<&View>) -> Self {
        // Read first: a change while the lanes are read is seen with the next request.
        let version = plugins.version();
        let old = before.map_or(&[][..], |before| &before.lanes);
        let lanes = plugins.slots().iter().enumerate();
        let lanes = lanes.map(|(index, slot)| Lane::new(slot, old.get(index))).collect();
        Self { version, lanes }
    }

    /// The plugin with this id; `None` only if the view is of another configuration.
    pub fn lane(&self, id: PluginId) -> Option<&Lane> {
        id.of(&self.lanes)
    }

    /// Whether nothing has changed since.
    pub fn is_current(&self, plugins: &Plugins) -> bool {
        self.version == plugins.version()
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

    /// Which generations a request meets whose luck is `roll`, from 0 to 9,999.
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

    /// Whether a generation is in use here.
    pub fn knows(&self, number: u64) -> bool {
        self.serving.generation.number == number
            || self.trial.as_ref().is_some_and(|(seat, _)| seat.generation.number == number)
    }

    fn seat_of(&self, generation: &Arc<Generation>) -> Option<Rc<Seat>> {
        let trial = self.trial.as_ref().map(|(seat, _)| seat);
        let mut seats = std::iter::once(&self.serving).chain(trial);
        seats.find(|seat| Arc::ptr_eq(&seat.generation, generation)).cloned()
    }
}
