//! The changes of a rule to the parameters of a query.

use weir_filter_common::encode::{Place, plain};
use weir_filter_common::matcher::{Found, Matcher};
use weir_filter_common::query::is_named;
use weir_filter_common::template::Template;

use crate::config;

/// The checked changes to parameters.
#[derive(Debug)]
pub(crate) struct Query {
    clear: bool,
    /// Names of the parameters that are removed or set.
    remove: Vec<String>,
    /// Encoded names, and values: first the parameters that are set, then the ones that are
    /// appended.
    add: Vec<(String, Template)>,
}

impl Query {
    /// Checks the `query` of a rule. Groups are the groups of `matcher`.
    pub(crate) fn new(query: config::Query, matcher: &Matcher) -> Result<Query, String> {
        let mut add = Vec::new();
        for (key, parameters) in [("set", &query.set), ("append", &query.append)] {
            if parameters.len() > MOST {
                return Err(format!("query.{key}: more than {MOST} parameters"));
            }
            for (name, value) in parameters {
                let at = |error| format!("query.{key}.{name}: {error}");
                is_name(name).map_err(at)?;
                let mut encoded = String::new();
                plain(&mut encoded, name, Place::Parameter);
                let value = Template::parse(value, matcher, &[]).map_err(at)?;
                add.push((encoded, value.encoded(Place::Parameter)));
            }
        }
        if query.remove.len() > MOST {
            return Err(format!("query.remove: more than {MOST} parameters"));
        }
        for (index, name) in query.remove.iter().enumerate() {
            is_name(name).map_err(|error| format!("query.remove[{index}]: {error}"))?;
        }
        if let Some(name) = query.set.keys().find(|name| name.ends_with('*')) {
            return Err(format!(
                "query.set.{name}: the name of a single parameter must not end with *"
            ));
        }
        let mut remove = query.remove;
        remove.extend(query.set.into_keys());
        Ok(Query { clear: query.clear, remove, add })
    }

    /// Whether the rule changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        !self.clear && self.remove.is_empty() && self.add.is_empty()
    }

    /// Returns the changed query, or `None` if nothing is left of it.
    pub(crate) fn apply(&self, query: Option<&str>, found: &Found<'_>) -> Option<String> {
        let mut made = query.filter(|_| !self.clear).map(|query| self.kept(query));
        for (name, value) in &self.add {
            let made = made.get_or_insert_default();
            if !made.is_empty() {
                made.push('&');
            }
            made.push_str(name);
            made.push('=');
            value.fill(made, found, Place::Parameter, |_| "");
        }
        made.filter(|made| !made.is_empty() || query == Some(""))
    }

    /// Returns the pieces that stay, with the original separators.
    fn kept(&self, query: &str) -> String {
        let is_kept = |piece: &&str| !self.remove.iter().any(|name| is_named(piece, name));
        let mut kept = String::with_capacity(query.len());
        for (index, piece) in query.split('&').filter(is_kept).enumerate() {
            if index > 0 {
                kept.push('&');
            }
            kept.push_str(piece);
        }
        kept
    }
}

fn is_name(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("a name must not be empty".to_owned()),
        1..=LONGEST_NAME => Ok(()),
        _ => Err(format!("a name must have at most {LONGEST_NAME} bytes")),
    }
}

/// The most parameters of one list.
const MOST: usize = 64;

/// The longest name of a parameter, in bytes.
const LONGEST_NAME: usize = 256;
