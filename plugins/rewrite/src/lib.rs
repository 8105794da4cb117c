//! Rewrite: changes the path, the query and the authority of requests to the origin.
//!
//! Paths are matched and copied as the client sent them. Nothing is decoded, so nothing is decoded
//! twice. A path that no rule changes keeps its percent-encoding. A path that a rule made is
//! absolute and begins with one slash.

mod config;
mod query;
mod rule;

use std::borrow::Cow;

use config::{Config, DotSegments};
use rule::{Rule, Target};
use weir_filter_common::path;
use weir_sdk::parse::field_name;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, host,
};

#[derive(Debug)]
struct Rewrite {
    rules: Vec<Rule>,
    original: Option<String>,
    dot_segments: DotSegments,
    /// The longest path that is examined, in bytes.
    longest_path: usize,
    asked: Input,
}

#[weir_sdk::filter]
impl Filter for Rewrite {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        if !(1..=MOST_RULES).contains(&config.rules.len()) {
            return Err(format!("rules: must be 1 to {MOST_RULES}").into());
        }
        let has_regex = config.rules.iter().any(|rule| rule.regex.is_some());
        let rules = config.rules.into_iter().enumerate();
        let rules = rules
            .map(|(at, rule)| Rule::new(rule).map_err(|error| format!("rules[{at}].{error}")))
            .collect::<Result<_, _>>()?;
        needs.pure();
        let original = config.original.as_deref().map(field_name).transpose();
        Ok(Rewrite {
            rules,
            original: original.map_err(|error| format!("original: {error}"))?,
            dot_segments: config.dot_segments,
            longest_path: if has_regex { LONGEST_FOR_REGEX } else { LONGEST },
            asked: needs.path(),
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let Some(asked) = request.text(self.asked) else { return RequestDecision::Next };
        // OPTIONS for the server as a whole has no path (RFC 9110 §7.1).
        let (path, query) = path::split(asked);
        if path.len() > self.longest_path || asked.len() > LONGEST {
            return refuse("too_long", 414, "the target is too long\n");
        }
        let mut target = Target { path: path.into(), query: query.map(Cow::from), authority: None };
        if path.starts_with('/') && !self.rewrite(&mut target) {
            return refuse("climbing", 400, "the path leads upwards\n");
        }
        self.changes(asked, path, query, target)
    }
}

impl Rewrite {
    /// Applies the rules. Returns false if the result must be refused.
    fn rewrite<'a>(&'a self, target: &mut Target<'a>) -> bool {
        for rule in &self.rules {
            if rule.apply(target) && !rule.goes_on {
                break;
            }
        }
        let is_made = matches!(target.path, Cow::Owned(_));
        !(is_made && self.dot_segments == DotSegments::Refuse && path::climbs(&target.path))
    }

    fn changes(
        &self,
        asked: &str,
        path: &str,
        query: Option<&str>,
        target: Target<'_>,
    ) -> RequestDecision {
        let mut changes = Changes::new();
        if let Some(name) = &self.original {
            changes = changes.set(name.as_str(), asked);
        }
        if target.path != path || target.query.as_deref() != query {
            let made = match &target.query {
                Some(query) => [&target.path, "?", query].concat(),
                None => target.path.into_owned(),
            };
            if made.len() > LONGEST_MADE {
                return refuse("too_long", 414, "the target is too long\n");
            }
            changes = changes.path(made);
        }
        if let Some(authority) = target.authority {
            changes = changes.authority(authority);
        }
        if changes.edits.is_empty() { RequestDecision::Next } else { changes.into() }
    }
}

fn refuse(metric: &str, status: u16, body: &str) -> RequestDecision {
    host::count(metric, 1);
    Reply::new(status)
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "no-store")
        .body(body)
        .into()
}

const MOST_RULES: usize = 64;

/// The longest examined target, in bytes. Rules may make twice as much of it, which is still less
/// than the proxy accepts.
const LONGEST: usize = 30 << 10;

/// The longest target that rules may make, in bytes.
const LONGEST_MADE: usize = 60 << 10;

/// The longest path for regular expressions, in bytes: their time grows with the path.
const LONGEST_FOR_REGEX: usize = 2 << 10;

#[cfg(test)]
mod tests;
