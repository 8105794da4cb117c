//! Rules: an expression, and the action for requests that match it.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::lanes::Lane;
use crate::language;
use crate::program::{Node, Program};
use crate::sets::{self, RuleSet};

/// A rule of the user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserRule {
    /// The name of the rule in logs and exceptions: lower-case letters, digits, `.`, `_` and `-`,
    /// at most 64.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-z0-9._-]+$"))]
    pub(crate) id: String,
    /// The expression, in the language of this README, at most 4 KiB.
    #[schemars(length(min = 1, max = 4096))]
    pub(crate) when: String,
    /// The action: `block` answers, `log` writes a line, `tag` adds the id for the upstream,
    /// `allow` lets the request pass all later rules.
    pub(crate) action: Action,
    /// The score that the rule adds. With a `threshold`, a rule with a score blocks only by the
    /// sum.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub(crate) score: u32,
    /// The status of a blocked request, 400 to 599.
    #[serde(default = "forbidden")]
    #[schemars(range(min = 400, max = 599))]
    pub(crate) status: u16,
    /// The message in the log, at most 256 bytes. The client never sees it.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) message: String,
}

/// The action for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// The request is answered.
    Block,
    /// A line is written.
    Log,
    /// The upstream gets the id.
    Tag,
    /// No later rule is tried.
    Allow,
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) set: Option<RuleSet>,
    pub(crate) node: Node,
    pub(crate) action: Action,
    pub(crate) score: u32,
    pub(crate) status: u16,
    pub(crate) message: String,
}

/// Compiles the rules: first the user's, then the rules of the sets, each in order.
pub(crate) fn compile(
    own: Vec<UserRule>,
    chosen: &[RuleSet],
    program: &mut Program,
) -> Result<Vec<Rule>, String> {
    if own.len() > RULES {
        return Err(format!("rules: more than {RULES}"));
    }
    let mut taken: HashSet<String> = sets::names().map(str::to_owned).collect();
    let mut rules = Vec::new();
    for (at, rule) in own.into_iter().enumerate() {
        let is_free = taken.insert(rule.id.clone());
        let rule = user_rule(rule, at, is_free, program);
        rules.push(rule.map_err(|error| format!("rules[{at}].{error}"))?);
    }
    for set in RuleSet::ALL.iter().filter(|set| chosen.contains(set)) {
        for rule in set.rules() {
            let failed = |error| format!("{}: {error}", rule.id);
            let expression = language::parse(rule.when).map_err(failed)?;
            let node = program.add(expression, Lane::BuiltIn(rule.lane)).map_err(failed)?;
            rules.push(Rule {
                id: rule.id.to_owned(),
                set: Some(*set),
                node,
                action: if rule.score < SERIOUS { Action::Log } else { Action::Block },
                score: rule.score,
                status: forbidden(),
                message: rule.what.to_owned(),
            });
        }
    }
    Ok(rules)
}

fn user_rule(
    rule: UserRule,
    at: usize,
    is_free: bool,
    program: &mut Program,
) -> Result<Rule, String> {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if rule.id.is_empty() || rule.id.len() > 64 || !rule.id.bytes().all(is_letter) {
        return Err(format!("id: {:?} must consist of a-z, 0-9, `.`, `_` and `-`", rule.id));
    }
    if !is_free {
        return Err(format!("id: {} is taken", rule.id));
    }
    if !(400..600).contains(&rule.status) {
        return Err(format!("status: {} is not from 400 to 599", rule.status));
    }
    if rule.message.len() > MESSAGE || rule.message.bytes().any(|b| b.is_ascii_control()) {
        return Err(format!("message: must have at most {MESSAGE} bytes and no control character"));
    }
    if rule.score > SCORE {
        return Err(format!("score: more than {SCORE}"));
    }
    let failed = |error| format!("when: {error}");
    let expression = language::parse(&rule.when).map_err(failed)?;
    let node = program.add(expression, Lane::of_user(at)).map_err(failed)?;
    let UserRule { id, action, score, status, message, .. } = rule;
    Ok(Rule { id, set: None, node, action, score, status, message })
}

pub(crate) fn forbidden() -> u16 {
    403
}

/// The lowest score with which a built-in rule blocks on its own.
pub(crate) const SERIOUS: u32 = 5;

/// The most rules of a user.
const RULES: usize = 256;

/// The longest message, in bytes.
const MESSAGE: usize = 256;

/// The highest score of one rule.
const SCORE: u32 = 1000;
