//! [`Notes`]: the facts that filters add to the record of a request.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// The facts that filters add. Most requests have none, and allocate nothing.
#[derive(Debug, Default)]
pub(super) struct Notes {
    skips: OnceCell<Skips>,
    /// Names, each with its plugin's, and values.
    attributes: Vec<(String, String)>,
}

/// The filters of a request that failed and were passed over. A body that outlives the request
/// shares it.
#[derive(Debug, Clone, Default)]
pub struct Skips(Rc<RefCell<Vec<Arc<str>>>>);

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
        self.skips.get().map_or_else(Vec::new, |skips| skips.0.borrow().clone())
    }

    /// Adds attributes of a plugin, within the bound.
    pub(super) fn add<'a>(
        &mut self,
        plugin: &str,
        attributes: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        for (name, value) in attributes {
            let name = format!("{plugin}.{name}");
            let has_room = self.attributes.len() < MAX_ATTRIBUTES;
            match self.attributes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => value.clone_into(known),
                None if has_room => self.attributes.push((name, value.to_owned())),
                None => {}
            }
        }
    }

    pub(super) fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// Takes over the notes of a part of the request.
    pub(super) fn adopt(&mut self, part: Notes) {
        for plugin in part.skipped() {
            self.skips().add(&plugin);
        }
        let room = MAX_ATTRIBUTES.saturating_sub(self.attributes.len());
        self.attributes.extend(part.attributes.into_iter().take(room));
    }
}

/// Maximum number of attributes of one request.
const MAX_ATTRIBUTES: usize = 32;
