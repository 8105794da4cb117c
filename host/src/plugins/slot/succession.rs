//! [`Succession`]: the publication of a configuration, for the slots of its plugins and for those
//! before them.

use std::sync::{Arc, MutexGuard};

use super::Slot;
use super::lanes::{Lanes, Verdict};
use crate::telemetry::metrics::Swap;

/// The slots of a configuration that replace slots before them, and the slots that have gone.
#[derive(Default)]
pub struct Succession {
    /// The slots that take generations over.
    pub followed: Vec<(Arc<Slot>, TakeOver)>,
    /// The slots of plugins that the configuration does not have.
    pub gone: Vec<Arc<Slot>>,
}

/// A slot that takes the generations of another one over, when its configuration is published.
pub struct TakeOver {
    pub(super) before: Arc<Slot>,
    /// The changes of the generations that the new slot knows of.
    pub(super) changes: u64,
    /// The generation that came with the configuration.
    pub(super) fresh: Option<Fresh>,
    /// The outcome of the trial that ends with the configuration.
    pub(super) ended: Option<Verdict>,
}

/// A generation that came with a configuration.
#[derive(Clone, Copy)]
pub(super) struct Fresh {
    pub(super) number: u64,
    /// Whether it serves at once.
    pub(super) serves: bool,
}

impl Succession {
    /// Takes the generations over, for all slots or for none. Returns false if a generation has
    /// changed since [`Slot::follow`]: the caller must follow again.
    pub fn complete(&self) -> bool {
        let mut lanes: Vec<MutexGuard<'_, Lanes>> =
            self.followed.iter().map(|(_, taken)| taken.before.lanes()).collect();
        let is_current = lanes
            .iter()
            .zip(&self.followed)
            .all(|(lanes, (_, taken))| lanes.changes == taken.changes && !lanes.is_over);
        if is_current {
            lanes.iter_mut().for_each(|lanes| lanes.is_over = true);
        }
        drop(lanes);
        if is_current {
            self.gone.iter().for_each(|slot| slot.end());
            self.followed.iter().for_each(|(slot, taken)| taken.tell(slot));
        }
        is_current
    }
}

impl TakeOver {
    fn tell(&self, slot: &Slot) {
        let plugin = &*slot.name;
        if let Some(Verdict { generation, outcome, reason, .. }) = &self.ended {
            slot.metrics.swap(*generation, *outcome, reason);
            tracing::info!(plugin, generation, reason, "a reload ended the trial of a plugin");
        }
        slot.lanes().all().for_each(|generation| generation.show_quarantine());
        let Some(Fresh { number: generation, serves }) = self.fresh else { return };
        if serves {
            slot.metrics.swap(generation, Swap::Promoted, "a reload brought the generation");
            slot.metrics.generation.set(super::signed(generation));
            tracing::info!(plugin, generation, "plugin serves: a reload brought it");
        } else {
            slot.restart(generation);
            slot.metrics.trial(generation);
            tracing::info!(plugin, generation, "plugin on trial: a reload brought it");
        }
    }
}

impl Slot {
    /// Starts the clock of a trial again. Building the rest of a configuration takes long, and no
    /// request reaches the trial before the publication.
    fn restart(&self, number: u64) {
        let mut lanes = self.lanes();
        let trial = lanes.trial.as_mut().filter(|trial| trial.generation.number == number);
        if let Some(trial) = trial {
            trial.restart(self.plugin.canary.time);
        }
    }

    /// Ends the slot of a plugin that has left the configuration. A swap in progress is outdated.
    fn end(&self) {
        let mut lanes = self.lanes();
        lanes.is_over = true;
        let trial = lanes.trial.as_ref().map(|trial| trial.generation.number);
        drop(lanes);
        if let Some(generation) = trial {
            let reason = "the plugin left the configuration";
            self.metrics.swap(generation, Swap::Superseded, reason);
        }
    }
}

/// The reason for the end of a trial.
pub(super) const RELOAD: &str = "a reload brought another generation";
