//! [`Hold`]: the part of one worker in a standard component. It has the handler, the instances that
//! wait for their next request, and the number of running requests.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use weir_runtime::PluginError;
use weir_runtime::service::{Asks, Call, Handler, IdleGuest, Incoming};

use super::function::Function;
use super::instance::InstanceCount;
use super::seat::Seat;
use super::slot::Role;
use crate::config::Reuse;
use crate::message::peer::RequestId;

/// The part of one worker in one generation of a standard component.
#[derive(Default)]
pub struct Hold {
    handler: OnceCell<Handler>,
    kept: RefCell<Vec<IdleGuest>>,
    running: Rc<Cell<usize>>,
}

/// The place of a running request, with its instance. Dropping it frees the place.
pub struct Admission {
    running: Rc<Cell<usize>>,
    /// Counts the instance and its memory in the metrics.
    pub counted: InstanceCount,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.running.set(self.running.get().saturating_sub(1));
    }
}

impl Seat {
    /// Takes a place for one more request. Returns `None` if the maximum number of requests is
    /// running.
    pub fn place(&self) -> Option<Admission> {
        let running = &self.component.running;
        if running.get() >= self.generation.bounds.concurrency {
            self.generation.metrics.failure("concurrency");
            return None;
        }
        running.set(running.get() + 1);
        let counted = InstanceCount::new(&self.generation.metrics, 0);
        Some(Admission { running: Rc::clone(running), counted })
    }

    /// Begins a request in the component, with the configuration of `role`.
    ///
    /// # Errors
    ///
    /// [`PluginError`] if the plugin is not a standard component.
    pub fn handle(
        &self,
        role: &Role,
        (request, id): (http::Request<Incoming>, RequestId),
        asks: Asks,
    ) -> Result<Call, PluginError> {
        self.function(Function::Handle).calls.inc();
        if self.is_on_trial.get() {
            self.generation.tally.trial_calls.fetch_add(1, Ordering::Relaxed);
        }
        let hold = &self.component;
        if hold.handler.get().is_none() {
            let values = values(self.generation.config(role)).map_err(|what| self.invalid(what))?;
            let handler = self.generation.plugin.handler(values);
            let handler = handler.ok_or_else(|| self.invalid("it serves no HTTP"))?;
            let _ = hold.handler.set(handler);
        }
        let missing = || self.invalid("it serves no HTTP");
        let handler = hold.handler.get().ok_or_else(missing)?;
        let kept = hold.kept.borrow_mut().pop();
        Ok(handler.call(request, id.0, kept, asks))
    }

    /// Keeps an instance that has completed a request, if instances are to be kept.
    pub fn keep(&self, kept: IdleGuest) {
        let bounds = &self.generation.bounds;
        let mut all = self.component.kept.borrow_mut();
        let is_wanted = bounds.reuse == Reuse::Worker
            && kept.served() < REQUESTS
            && all.len() < bounds.concurrency;
        if is_wanted {
            all.push(kept);
        }
    }
}

/// Converts a configuration to the form of `wasi:config`: text by name, and dotted names for nested
/// values.
///
/// # Errors
///
/// The configuration is not a mapping.
pub(super) fn values(config: &str) -> Result<Vec<(String, String)>, String> {
    let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
    if !config.is_object() {
        return Err("the configuration of a standard component is a mapping".to_owned());
    }
    let mut values = Vec::new();
    flatten(String::new(), &config, &mut values);
    Ok(values)
}

fn flatten(name: String, value: &Value, into: &mut Vec<(String, String)>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| flatten(below(key), value, into)),
        Value::Array(list) => {
            let items = list.iter().enumerate();
            items.for_each(|(at, value)| flatten(below(&at.to_string()), value, into));
        }
        Value::String(text) => into.push((name, text.clone())),
        Value::Null => {}
        other => into.push((name, other.to_string())),
    }
}

/// Maximum number of requests that one instance serves. Its memory leaks end with it.
const REQUESTS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_becomes_text_by_name() {
        let config = r#"{"a":"x","n":3,"on":true,"deep":{"list":["p",{"q":1.5}]},"none":null}"#;
        let mut values = values(config).unwrap();
        values.sort();
        let expected = [
            ("a", "x"),
            ("deep.list.0", "p"),
            ("deep.list.1.q", "1.5"),
            ("n", "3"),
            ("on", "true"),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(super::values("[1]").is_err() && super::values("3").is_err());
        assert!(super::values("{}").unwrap().is_empty());
    }
}
