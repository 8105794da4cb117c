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
/// The configuration is not a mapping, or its names are too long.
pub(super) fn values(config: &str) -> Result<Vec<(String, String)>, String> {
    let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
    if !config.is_object() {
        return Err("the configuration of a standard component is a mapping".to_owned());
    }
    let mut flat = Flat::default();
    flat.add(&config)?;
    Ok(flat.values)
}

/// The values of a configuration by name.
#[derive(Default)]
struct Flat {
    values: Vec<(String, String)>,
    /// The bytes of all names.
    bytes: usize,
    /// The name of the value that is added.
    name: String,
}

impl Flat {
    fn add(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Object(map) => map.iter().try_for_each(|(key, value)| self.add_at(key, value)),
            Value::Array(list) => {
                let mut items = list.iter().enumerate();
                items.try_for_each(|(at, value)| self.add_at(&at.to_string(), value))
            }
            Value::String(text) => self.push(text.clone()),
            Value::Null => Ok(()),
            other => self.push(other.to_string()),
        }
    }

    fn add_at(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let end = self.name.len();
        if end > 0 {
            self.name.push('.');
        }
        self.name.push_str(key);
        self.add(value)?;
        self.name.truncate(end);
        Ok(())
    }

    /// Adds a value. Each one repeats the keys around it, so their sum is checked before the copy.
    fn push(&mut self, text: String) -> Result<(), String> {
        self.bytes += self.name.len();
        if self.bytes > NAMES {
            let mebibytes = NAMES >> 20;
            return Err(format!(
                "the names of all values, joined by dots, have more than {mebibytes} MiB together; \
                 use shorter keys or fewer values"
            ));
        }
        self.values.push((self.name.clone(), text));
        Ok(())
    }
}

/// Bytes of all names of a component's configuration: 200,000 values with names of 20.
const NAMES: usize = 4 << 20;

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

    #[test]
    fn the_names_of_a_configuration_are_bounded_together() {
        let config = |depth: usize, items: usize| {
            let (key, list) = ("k".repeat(1023), vec!["1"; items].join(","));
            let (start, end) = (format!("{{\"{key}\":").repeat(depth), "}".repeat(depth));
            format!("{start}[{list}]{end}")
        };
        // A name has 4,096 bytes in front of the digits of its item.
        let values = values(&config(4, 1000)).unwrap();
        assert_eq!((values.len(), values[999].0.len()), (1000, 4096 + "999".len()));
        let error = super::values(&config(4, 1100)).unwrap_err();
        assert!(error.contains("more than 4 MiB"), "{error}");
        assert!(super::values(&config(60, 70_000)).is_err());
        assert!(super::values(&config(60, 0)).unwrap().is_empty());
    }
}
