//! The state of plugins that moves to a new process: the shared state, and components that were
//! swapped in and that no source has.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_runtime::{StateEntry, StateValue, with_causes};

use super::Plugins;
use super::generation::Origin;
use super::slot::Slot;
use super::trial::Mode;

/// An entry of the shared state, as it moves.
#[derive(Serialize, Deserialize)]
struct MovedEntry {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counter: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(default)]
    expires: u64,
}

/// A component that was swapped in, as it moves.
#[derive(Serialize, Deserialize)]
struct MovedComponent {
    name: String,
    generation: u64,
    wasm: String,
}

impl Plugins {
    /// Returns the shared state, for a new process.
    pub fn export_state(&self) -> Value {
        let moved = |entry: StateEntry| {
            let (counter, bytes) = match entry.value {
                StateValue::Counter(sum) => (Some(sum), None),
                StateValue::Bytes(bytes) => (None, Some(STANDARD.encode(bytes))),
            };
            MovedEntry { key: STANDARD.encode(entry.key), counter, bytes, expires: entry.expires }
        };
        let entries: Vec<_> = self.shared.state.export().into_iter().map(moved).collect();
        json!(entries)
    }

    /// Takes the shared state of the process before. An entry that is damaged is left out.
    pub fn import_state(&self, state: &Value) {
        let entries = Vec::<MovedEntry>::deserialize(state).unwrap_or_default();
        let entry = |entry: MovedEntry| {
            let value = match (entry.counter, entry.bytes) {
                (Some(sum), _) => StateValue::Counter(sum),
                (None, bytes) => StateValue::Bytes(STANDARD.decode(bytes?).ok()?),
            };
            Some(StateEntry {
                key: STANDARD.decode(entry.key).ok()?,
                value,
                expires: entry.expires,
            })
        };
        self.shared.state.import(entries.into_iter().filter_map(entry));
    }

    /// Returns the components that were swapped in and serve, for a new process.
    pub fn export_components(&self) -> Vec<Value> {
        let component = |slot: &Arc<Slot>| {
            let (serving, _) = slot.current();
            let wasm = STANDARD.encode(serving.wasm.as_deref()?);
            let name = slot.name.to_string();
            Some(json!(MovedComponent { name, generation: serving.number, wasm }))
        };
        self.slots.iter().filter_map(component).collect()
    }

    /// Serves by a component that was swapped in in the process before.
    ///
    /// # Errors
    /// The plugin is not configured, or the component does not serve here.
    pub fn restore(&self, name: &str, component: &Value) -> Result<(), String> {
        let moved = MovedComponent::deserialize(component).map_err(|error| error.to_string())?;
        let slot = self.find(name).ok_or("no plugin has the name")?;
        let wasm = STANDARD.decode(moved.wasm).map_err(|error| error.to_string())?;
        let prepared = slot.prepare(&wasm, Mode::share(1.0));
        let prepared = prepared.map_err(|error| with_causes(&error))?.sent(wasm.into());
        slot.restore(prepared, Origin::Sent, moved.generation);
        Ok(())
    }
}
