//! The rules of one direction.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::Changes;
use weir_sdk::parse::field_name;

use crate::template::Template;

/// The changes to the fields of one direction: first `remove`, then `set`, then `append`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    /// Fields that replace all fields of the same name.
    pub(crate) set: BTreeMap<String, String>,
    /// Fields that are added to the fields of the same name.
    pub(crate) append: BTreeMap<String, Values>,
    /// Names of fields that are removed.
    pub(crate) remove: Vec<String>,
}

/// One value or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Values {
    /// One field.
    One(String),
    /// One field per value.
    Several(Vec<String>),
}

impl From<Vec<String>> for Values {
    fn from(values: Vec<String>) -> Self {
        Values::Several(values)
    }
}

/// A checked section, with inputs of this kind.
#[derive(Debug)]
pub(crate) struct Rules<I> {
    remove: Vec<String>,
    set: Vec<(String, Template<I>)>,
    append: Vec<(String, Template<I>)>,
}

impl<I: Copy> Rules<I> {
    /// Checks a section. `input` requests the input of a variable.
    pub(crate) fn new(
        direction: &str,
        section: Section,
        mut input: impl FnMut(&str) -> Option<I>,
    ) -> Result<Rules<I>, String> {
        let mut rules = Rules { remove: Vec::new(), set: Vec::new(), append: Vec::new() };
        for name in section.remove {
            let name = field_name(&name).map_err(|error| format!("{direction}.remove: {error}"))?;
            rules.remove.push(name);
        }
        for (name, value) in section.set {
            let at = |error| format!("{direction}.set.{name}: {error}");
            let template = Template::parse(&value, &mut input).map_err(at)?;
            rules.set.push((field_name(&name).map_err(at)?, template));
        }
        for (name, values) in section.append {
            let at = |error| format!("{direction}.append.{name}: {error}");
            let values = match values {
                Values::One(value) => vec![value],
                Values::Several(values) => values,
            };
            for value in values {
                let template = Template::parse(&value, &mut input).map_err(at)?;
                rules.append.push((field_name(&name).map_err(at)?, template));
            }
        }
        Ok(rules)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.append.is_empty()
    }

    /// Returns the changes, or `None` if there are none.
    pub(crate) fn apply<'a>(&self, value: impl Fn(I) -> Option<&'a [u8]>) -> Option<Changes> {
        let rules = self.remove.len() + self.set.len() + self.append.len();
        let mut changes = Changes { edits: Vec::with_capacity(rules), context: Vec::new() };
        for name in &self.remove {
            changes = changes.remove(name.as_str());
        }
        for (name, template) in &self.set {
            if let Some(value) = template.fill(&value) {
                changes = changes.set(name.as_str(), value);
            }
        }
        for (name, template) in &self.append {
            if let Some(value) = template.fill(&value) {
                changes = changes.append(name.as_str(), value);
            }
        }
        (!changes.edits.is_empty()).then_some(changes)
    }
}
