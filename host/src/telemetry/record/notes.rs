//! [`Notes`]: the facts that filters add to the record of a request.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::Record;

/// The facts that filters add. Most requests have none, and allocate nothing.
#[derive(Debug, Default)]
pub(super) struct Notes {
    skips: OnceCell<Skips>,
    /// The lists of parts of the request, whose bodies may go on.
    parts: Vec<Skips>,
    attributes: Vec<Noted>,
}

/// An attribute of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The name of the attribute.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The filters of a request that failed and were passed over. A body that outlives the request
/// shares it.
#[derive(Debug, Clone, Default)]
pub struct Skips(Rc<RefCell<Vec<Arc<str>>>>);

impl Record {
    /// Notes a plugin that failed and was passed over.
    pub fn skipped(&self, plugin: &Arc<str>) {
        if let Some(detail) = &self.detail {
            detail.notes.skips().add(plugin);
        }
    }

    /// Returns the list of filters that were passed over, for a body that outlives the request.
    pub fn skips(&self) -> Option<Skips> {
        self.detail.as_ref().map(|detail| detail.notes.skips().clone())
    }

    /// Notes attributes of a plugin.
    pub fn attributes<'a>(
        &mut self,
        plugin: &str,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        if let Some(detail) = &mut self.detail {
            detail.notes.add(plugin, attributes);
        }
    }
}

impl Skips {
    /// Adds a plugin, once.
    pub fn add(&self, plugin: &Arc<str>) {
        let mut all = self.0.borrow_mut();
        if !all.contains(plugin) {
            all.push(Arc::clone(plugin));
        }
    }
}

impl Notes {
    pub(super) fn skips(&self) -> &Skips {
        self.skips.get_or_init(Skips::default)
    }

    /// Returns the plugins that were passed over.
    pub(super) fn skipped(&self) -> Vec<Arc<str>> {
        let mut all = Vec::new();
        for skips in self.skips.get().into_iter().chain(&self.parts) {
            for plugin in skips.0.borrow().iter() {
                if !all.contains(plugin) {
                    all.push(Arc::clone(plugin));
                }
            }
        }
        all
    }

    /// Adds attributes of a plugin, within the bound. The last value of a name counts.
    pub(super) fn add<'a>(
        &mut self,
        plugin: &str,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        for (name, value) in attributes {
            self.note(plugin, name, value);
        }
    }

    fn note(&mut self, plugin: &str, name: &str, value: &str) {
        let has_room = self.attributes.len() < MAX_ATTRIBUTES;
        let is_it = |known: &&mut Noted| known.plugin == plugin && known.name == name;
        match self.attributes.iter_mut().find(is_it) {
            Some(known) => value.clone_into(&mut known.value),
            None if has_room => self.attributes.push(Noted {
                plugin: plugin.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            None => {}
        }
    }

    pub(super) fn attributes(&self) -> &[Noted] {
        &self.attributes
    }

    /// Takes over the notes of a part of the request.
    pub(super) fn adopt(&mut self, mut part: Notes) {
        self.parts.extend(part.skips.take());
        self.parts.append(&mut part.parts);
        for Noted { plugin, name, value } in part.attributes {
            self.note(&plugin, &name, &value);
        }
    }
}

/// Maximum number of attributes of one request.
const MAX_ATTRIBUTES: usize = 32;
