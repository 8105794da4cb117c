//! The slot of a plugin after a reload of the configuration: it takes the generations over.

use std::sync::{Arc, MutexGuard};
use std::time::SystemTime;

use super::load::{Fitting, fit, load};
use super::{Lanes, LoadError, Shared, Slot, Use, Verdict};
use crate::config;
use crate::plugins::generation::{Generation, Origin};
use crate::plugins::source::{Component, Stamp};
use crate::plugins::trial::{Terms, Trial};
use crate::telemetry::metrics::Swap;

/// A slot that takes the generations of another one over, when its configuration is published.
pub struct TakeOver {
    before: Arc<Slot>,
    /// The changes of the generations that the new slot knows of.
    changes: u64,
    /// The generation that came with the configuration.
    fresh: Option<Fresh>,
}

/// A generation that came with a configuration.
#[derive(Clone, Copy)]
struct Fresh {
    number: u64,
    /// Whether it serves at once.
    serves: bool,
    /// Whether a trial ended for it.
    supersedes: bool,
}

impl Slot {
    /// Returns whether a plugin's component must be read again to follow this configuration.
    pub fn needs_component(&self, plugin: &config::Plugin) -> bool {
        if plugin.source != self.plugin.source || plugin.sha256 != self.plugin.sha256 {
            return true;
        }
        match &plugin.source {
            config::Source::File(path) => Stamp::of(path) != self.stamp(),
            config::Source::Builtin(_) | config::Source::Oci(_) => false,
        }
    }

    /// Returns the slot of this plugin under another configuration. It is `self` if nothing has
    /// changed. Otherwise it has the generations of `self`, fitted to the configuration, and is of
    /// use once [`TakeOver::complete`] has succeeded.
    ///
    /// A new component is put on trial, if the serving one can serve under the configuration as
    /// well. Otherwise it replaces the serving one.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if no component can serve under the configuration.
    pub fn follow(
        self: &Arc<Self>,
        plugin: &config::Plugin,
        component: Option<&Component>,
        uses: Vec<Use>,
        shared: &Shared,
    ) -> Result<(Arc<Self>, Option<TakeOver>), LoadError> {
        let environment = shared.environment(&self.services, plugin);
        let fitting = || Fitting { uses: &uses, plugin, environment: environment.clone() };
        let lanes = self.lanes();
        let is_new = |digest: &str| component.is_some_and(|c| c.digest().hex() != digest);
        let is_same = self.plugin == *plugin
            && same_uses(&self.uses, &uses)
            && fitting().is_same(&lanes.serving)
            && !is_new(&lanes.serving.digest);
        if is_same {
            if let Some(component) = component {
                drop(lanes);
                self.set_stamp(component.stamp);
            }
            return Ok((Arc::clone(self), None));
        }
        let mut next = Lanes {
            serving: Arc::clone(&lanes.serving),
            trial: lanes.trial.clone(),
            previous: lanes.previous.clone(),
            last: lanes.last.clone(),
            is_over: false,
            stamp: component.map_or(lanes.stamp, |component| component.stamp),
            ..*lanes
        };
        let changes = lanes.changes;
        // Compiling takes long, and requests may need the generations meanwhile.
        drop(lanes);
        let fitted = |generation: &Generation| {
            fit(generation, fitting()).map(|prepared| generation.fit(prepared))
        };
        let known = [Some(&next.serving), next.trial.as_ref().map(|trial| &trial.generation)];
        let is_known = known.into_iter().flatten().any(|generation| !is_new(&generation.digest));
        let fresh = match component.filter(|_| !is_known) {
            Some(component) => {
                let prepared = load(&shared.engine, &component.wasm, fitting())?;
                next.last_number += 1;
                let number = next.last_number;
                let origin = Origin::Source(component.source.clone());
                let metrics = self.metrics.generation(number);
                Some(Generation::new(number, prepared, origin, metrics))
            }
            None => None,
        };
        let refit = |generation: Option<Arc<Generation>>| generation.and_then(|g| fitted(&g).ok());
        next.previous = refit(next.previous);
        next.trial = next
            .trial
            .and_then(|trial| Some(Trial { generation: fitted(&trial.generation).ok()?, ..trial }));
        let supersedes = next.trial.is_some();
        let told =
            fresh.as_ref().map(|fresh| Fresh { number: fresh.number, serves: false, supersedes });
        let told = match (fitted(&next.serving), fresh) {
            (Ok(serving), None) => {
                next.serving = serving;
                told
            }
            (Ok(serving), Some(fresh)) => {
                next.serving = serving;
                next.trial = Some(Trial::new(fresh, Terms::from(plugin.canary)));
                told
            }
            (Err(error), None) => return Err(error),
            (Err(_), Some(fresh)) => {
                let reason = "its predecessor does not accept the new configuration".to_owned();
                let (generation, outcome) = (fresh.number, Swap::Promoted);
                next.last = Some(Verdict { generation, outcome, reason, at: SystemTime::now() });
                (next.trial, next.previous) = (None, None);
                next.serving = fresh;
                told.map(|told| Fresh { serves: true, ..told })
            }
        };
        let source = component.map_or_else(|| self.source.clone(), |c| c.source.clone());
        let reach = (Arc::clone(&self.services), environment.clone());
        let metrics = self.metrics.clone();
        let slot = Self::with(plugin, source, uses.clone(), reach, metrics, shared, next);
        Ok((Arc::new(slot), Some(TakeOver { before: Arc::clone(self), changes, fresh: told })))
    }
}

impl TakeOver {
    /// Takes the generations over, for all slots of a configuration or for none. Returns false if a
    /// generation has changed since [`Slot::follow`]: the caller must follow again.
    pub fn complete(all: &[(Arc<Slot>, TakeOver)]) -> bool {
        let mut lanes: Vec<MutexGuard<'_, Lanes>> =
            all.iter().map(|(_, taken)| taken.before.lanes()).collect();
        let is_current = lanes
            .iter()
            .zip(all)
            .all(|(lanes, (_, taken))| lanes.changes == taken.changes && !lanes.is_over);
        if is_current {
            lanes.iter_mut().for_each(|lanes| lanes.is_over = true);
        }
        drop(lanes);
        if is_current {
            all.iter().for_each(|(slot, taken)| taken.tell(slot));
        }
        is_current
    }

    fn tell(&self, slot: &Slot) {
        let Some(Fresh { number, serves, supersedes }) = self.fresh else { return };
        let (plugin, generation) = (&*slot.name, number);
        if supersedes {
            slot.metrics.swap(number, Swap::Superseded, RELOAD);
        }
        if serves {
            slot.metrics.swap(number, Swap::Promoted, RELOAD);
            slot.metrics.generation.set(super::signed(number));
            tracing::info!(plugin, generation, "plugin serves: a reload brought it");
        } else {
            slot.metrics.trial(number);
            tracing::info!(plugin, generation, "plugin on trial: a reload brought it");
        }
    }
}

/// The reason of an outcome.
const RELOAD: &str = "a reload brought the generation";

fn same_uses(one: &[Use], other: &[Use]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| a.role == b.role && a.config == b.config)
}
