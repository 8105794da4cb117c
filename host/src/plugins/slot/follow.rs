//! The slot of a plugin after a reload of the configuration: it takes the generations over.

use std::sync::Arc;

use weir_runtime::{Environment, with_causes};

use super::lanes::{Lanes, Verdict};
use super::load::{Fitting, fit, load_in_turn, scratch};
use super::succession::{Fresh, RELOAD};
use super::{LoadError, Shared, Slot, TakeOver, Use};
use crate::config;
use crate::plugins::generation::{Generation, Origin};
use crate::plugins::source::{Component, Stamp};
use crate::plugins::trial::{Mode, Terms, Trial};
use crate::telemetry::metrics::Swap;

/// The part of a new configuration that the generations of a slot must fit.
struct Wanted<'a> {
    before: &'a Slot,
    plugin: &'a config::Plugin,
    uses: &'a [Use],
    environment: Arc<Environment>,
    /// The component and its digest, if it was read.
    component: Option<(&'a Component, String)>,
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
    /// use once [`super::Succession::complete`] has succeeded.
    ///
    /// A new component is put on trial, if the serving one can serve under the configuration as
    /// well. Otherwise it replaces the serving one. The call takes as long as the compilation, and
    /// as the wait for a turn of the compiler.
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
        let wanted = Wanted::new(self, plugin, component, &uses, shared);
        let (serving, changes) = {
            let lanes = self.lanes();
            (Arc::clone(&lanes.serving), lanes.changes)
        };
        // The comparison reads secrets from files, and requests may need the lanes meanwhile.
        if wanted.is_served_by(&serving) {
            if let Some(component) = component {
                self.set_stamp(component.stamp);
            }
            return Ok((Arc::clone(self), None));
        }
        let mut next = Lanes { is_over: false, ..self.lanes().clone() };
        next.stamp = component.map_or(next.stamp, |component| component.stamp);
        let fresh = wanted.load(&mut next, shared)?;
        let ended = wanted.fit_trial(&mut next, fresh.is_some());
        next.previous = next.previous.and_then(|generation| wanted.fit(&generation).ok());
        next.last = ended.clone().or(next.last);
        let fresh = wanted.place(&mut next, fresh)?;
        let source = component.map_or_else(|| self.source.clone(), |c| c.source.clone());
        let reach = (Arc::clone(&self.services), wanted.environment);
        let metrics = self.metrics.clone();
        let slot = Self::with(plugin, source, uses, reach, metrics, shared, next);
        let taken = TakeOver { before: Arc::clone(self), changes, fresh, ended };
        Ok((Arc::new(slot), Some(taken)))
    }
}

impl<'a> Wanted<'a> {
    fn new(
        before: &'a Slot,
        plugin: &'a config::Plugin,
        component: Option<&'a Component>,
        uses: &'a [Use],
        shared: &Shared,
    ) -> Self {
        // Instances can go on only in the same environment.
        let environment = if plugin.spaces == before.plugin.spaces {
            Arc::clone(&before.environment)
        } else {
            Arc::new(shared.environment(&before.services, plugin))
        };
        let component = component.map(|component| (component, component.digest().hex()));
        Self { before, plugin, uses, environment, component }
    }

    fn fitting(&self, environment: Arc<Environment>) -> Fitting<'_> {
        Fitting { uses: self.uses, plugin: self.plugin, environment }
    }

    /// Returns whether the component that was read is another one.
    fn is_new_beside(&self, generation: &Generation) -> bool {
        self.component.as_ref().is_some_and(|(_, digest)| *digest != generation.digest)
    }

    /// Returns whether nothing has changed for the slot before with this serving generation.
    fn is_served_by(&self, serving: &Generation) -> bool {
        self.before.plugin == *self.plugin
            && same_uses(&self.before.uses, self.uses)
            && !self.is_new_beside(serving)
            && self.fitting(Arc::clone(&self.environment)).is_same(serving)
    }

    /// Loads the component, if it is neither the serving one nor the one on trial.
    fn load(
        &self,
        next: &mut Lanes,
        shared: &Shared,
    ) -> Result<Option<Arc<Generation>>, LoadError> {
        let Some((component, _)) = &self.component else { return Ok(None) };
        if !next.in_use().all(|generation| self.is_new_beside(generation)) {
            return Ok(None);
        }
        let fitting = self.fitting(Arc::clone(&self.environment));
        let prepared = load_in_turn(shared, &component.wasm, fitting)?;
        next.last_number += 1;
        let (number, origin) = (next.last_number, Origin::Source(component.source.clone()));
        let metrics = self.before.metrics.generation(number);
        Ok(Some(Generation::new(number, prepared, origin, metrics)))
    }

    fn fit(&self, generation: &Generation) -> Result<Arc<Generation>, LoadError> {
        self.fit_to(generation, Arc::clone(&self.environment))
    }

    fn fit_to(
        &self,
        generation: &Generation,
        environment: Arc<Environment>,
    ) -> Result<Arc<Generation>, LoadError> {
        fit(generation, self.fitting(environment)).map(|prepared| generation.fit(prepared))
    }

    /// Fits the generation on trial. Returns the outcome of the trial, if it ends.
    fn fit_trial(&self, next: &mut Lanes, is_superseded: bool) -> Option<Verdict> {
        let trial = next.trial.take()?;
        let number = trial.generation.number;
        if is_superseded {
            return Some(Verdict::new(number, Swap::Superseded, RELOAD.to_owned()));
        }
        let is_same_reach = Arc::ptr_eq(&self.environment, &self.before.environment);
        let environment = match trial.mode {
            // A shadow generation must leave no trace.
            Mode::Shadow if is_same_reach => Arc::clone(&trial.generation.environment),
            Mode::Shadow => Arc::new(scratch(&self.environment)),
            Mode::Share(_) => Arc::clone(&self.environment),
        };
        match self.fit_to(&trial.generation, environment) {
            Ok(generation) => {
                next.trial = Some(Trial { generation, ..trial });
                None
            }
            Err(error) => {
                let error = with_causes(&error);
                let reason = format!("it does not accept the new configuration: {error}");
                Some(Verdict::new(number, Swap::Refused, reason))
            }
        }
    }

    /// Fits the serving generation and puts a fresh one on trial beside it, or in its place if it
    /// does not fit.
    fn place(
        &self,
        next: &mut Lanes,
        fresh: Option<Arc<Generation>>,
    ) -> Result<Option<Fresh>, LoadError> {
        let serving = self.fit(&next.serving);
        let Some(fresh) = fresh else {
            next.serving = serving?;
            return Ok(None);
        };
        let (number, serves) = (fresh.number, serving.is_err());
        if let Ok(serving) = serving {
            next.serving = serving;
            next.trial = Some(Trial::new(fresh, Terms::from(self.plugin.canary)));
        } else {
            let reason = "its predecessor does not accept the new configuration".to_owned();
            next.last = Some(Verdict::new(number, Swap::Promoted, reason));
            next.previous = None;
            next.serving = fresh;
        }
        Ok(Some(Fresh { number, serves }))
    }
}

fn same_uses(one: &[Use], other: &[Use]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(a, b)| a.role == b.role && a.config == b.config)
}

#[cfg(test)]
mod tests;
