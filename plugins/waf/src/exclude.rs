//! Exceptions: rules that do not count for some paths.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::rules::Rule;
use crate::sets::RuleSet;
use crate::transform;

/// Rules that do not count for some paths.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exclude {
    /// The path, or the beginning of it with a `*` at the end. The path as it was sent must fit, and decoded and without dot
    /// segments too.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub(crate) path: String,
    /// Ids of rules, names of sets, and `oversize`.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) rules: Vec<String>,
}

/// An exception, ready.
#[derive(Debug)]
pub(crate) struct Exception {
    path: String,
    is_prefix: bool,
    /// For each rule, whether it is meant; then for `oversize`.
    rules: Vec<bool>,
}

impl Exception {
    pub(crate) fn new(exclude: &Exclude, rules: &[Rule]) -> Result<Exception, String> {
        let (path, is_prefix) = match exclude.path.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (exclude.path.as_str(), false),
        };
        if !path.starts_with('/') || path.contains('*') {
            return Err("path: begins with a slash, and has a `*` at the end at most".to_owned());
        }
        let mut meant = vec![false; rules.len() + 1];
        for (at, name) in exclude.rules.iter().enumerate() {
            let set = RuleSet::named(name);
            let is_meant = |rule: &Rule| rule.id == *name || (set.is_some() && rule.set == set);
            let mut found = set.is_some();
            for (slot, _) in meant.iter_mut().zip(rules).filter(|(_, rule)| is_meant(rule)) {
                (*slot, found) = (true, true);
            }
            if let (Some(last), OVERSIZE) = (meant.last_mut(), name.as_str()) {
                (*last, found) = (true, true);
            }
            if !found {
                return Err(format!("rules[{at}]: {name:?} is no rule or set that is in use"));
            }
        }
        Ok(Exception { path: path.to_owned(), is_prefix, rules: meant })
    }

    /// Whether it is for a request, of which the path is given as sent and as a server may come to see it.
    fn is_for(&self, sent: &[u8], seen: &[u8]) -> bool {
        let path = self.path.as_bytes();
        let fits = |given: &[u8]| match self.is_prefix {
            true => given.starts_with(path),
            false => given == path,
        };
        fits(sent) && fits(seen)
    }
}

/// Which rules do not count for a path: none, or for each whether it does not.
pub(crate) fn of(exceptions: &[Exception], path: &[u8]) -> Option<Vec<bool>> {
    if exceptions.is_empty() {
        return None;
    }
    let seen = transform::normalize_path(transform::url_decode_all(path.into()));
    let mut all: Option<Vec<bool>> = None;
    for exception in exceptions.iter().filter(|exception| exception.is_for(path, &seen)) {
        let all = all.get_or_insert_with(|| vec![false; exception.rules.len()]);
        all.iter_mut().zip(&exception.rules).for_each(|(one, is_meant)| *one |= is_meant);
    }
    all
}

/// The name of the rule for what is too large to be looked at.
pub(crate) const OVERSIZE: &str = "oversize";
