//! Exceptions: rules that are off for some paths.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::rules::Rule;
use crate::sets::RuleSet;
use crate::transform;

/// Rules that are off for some paths.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exclude {
    /// The path, or its beginning with a `*` at the end. The path must fit as sent, and also when
    /// decoded and without dot segments.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub(crate) path: String,
    /// Ids of rules, names of sets, and `oversize`.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) rules: Vec<String>,
}

/// A checked exception.
#[derive(Debug)]
pub(crate) struct Exception {
    path: String,
    is_prefix: bool,
    /// Whether the exception covers each rule, and at the end whether it covers `oversize`.
    rules: Vec<bool>,
}

impl Exception {
    pub(crate) fn new(exclude: &Exclude, rules: &[Rule]) -> Result<Exception, String> {
        let (path, is_prefix) = match exclude.path.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (exclude.path.as_str(), false),
        };
        if !path.starts_with('/') || path.contains('*') {
            return Err(
                "path: must begin with a slash, and may have a `*` only at the end".to_owned()
            );
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
                return Err(format!("rules[{at}]: {name:?} is not a rule or set in use"));
            }
        }
        Ok(Exception { path: path.to_owned(), is_prefix, rules: meant })
    }

    /// Whether the exception covers a request, from the path as sent and the path as a server may
    /// read it.
    fn is_for(&self, sent: &[u8], seen: &[u8]) -> bool {
        let path = self.path.as_bytes();
        let fits = |given: &[u8]| match self.is_prefix {
            true => given.starts_with(path),
            false => given == path,
        };
        fits(sent) && fits(seen)
    }
}

/// Returns, for each rule, whether it is off for a path. Returns `None` if all rules are on.
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

/// The name of the rule against oversized requests.
pub(crate) const OVERSIZE: &str = "oversize";
