//! The decision on a request.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::exclude::{self, Exception, OVERSIZE};
use crate::message::Message;
use crate::program::{Facts, Hit, Node, Program};
use crate::rules::{Action, Rule};

/// Whether rules block.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// They block.
    #[default]
    Enforce,
    /// They only write in the log that they would block.
    Observe,
}

/// The treatment of a request that exceeds the inspected size.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Oversize {
    /// The request gets 413.
    #[default]
    Block,
    /// The rest of the request is not inspected.
    Ignore,
}

/// The rules, and their settings.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) rules: Vec<Rule>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) mode: Mode,
    pub(crate) threshold: Option<u32>,
    pub(crate) oversize: Oversize,
}

/// The matches, and the decision on the request.
#[derive(Debug, Default)]
pub(crate) struct Judgement<'a> {
    /// The status of the answer, if the request is blocked.
    pub(crate) blocked: Option<u16>,
    /// Whether the request would be blocked in mode `enforce`.
    pub(crate) would_block: bool,
    pub(crate) is_allowed: bool,
    pub(crate) is_oversize: bool,
    /// Ids of the rules that tag the request.
    pub(crate) tags: Vec<&'a str>,
    /// The matches for the log: id, field and message.
    found: Vec<Found<'a>>,
    score: u32,
}

#[derive(Debug)]
struct Found<'a> {
    id: &'a str,
    place: String,
    message: &'a str,
}

impl Judge {
    /// Whether an expression has `client in network`.
    pub(crate) fn looks_at_client(&self) -> bool {
        fn looks(node: &Node) -> bool {
            match node {
                Node::And(all) | Node::Or(all) => all.iter().any(looks),
                Node::Not(inner) => looks(inner),
                Node::Client(_) => true,
                Node::Text(..) | Node::Pattern(..) | Node::Number(..) => false,
            }
        }
        self.rules.iter().any(|rule| looks(&rule.node))
    }

    /// Tries the rules in order, until one decides. In mode `observe` all rules are tried.
    pub(crate) fn judge<'a>(&'a self, program: &Program, message: &Message<'_>) -> Judgement<'a> {
        let excluded = exclude::of(&self.exceptions, message.path());
        let counts = |index: usize| {
            !excluded.as_ref().is_some_and(|all| all.get(index).copied().unwrap_or(false))
        };
        let mut facts = Facts::new(program, message);
        let mut judgement = Judgement::default();
        for (_, rule) in self.rules.iter().enumerate().filter(|(index, _)| counts(*index)) {
            let Some(hit) = facts.test(&rule.node) else { continue };
            if rule.action == Action::Allow {
                judgement.is_allowed = true;
                return judgement;
            }
            judgement.add(rule, hit);
            if self.blocks(rule, judgement.score) {
                self.block(&mut judgement, rule.status);
            }
            if judgement.blocked.is_some() {
                return judgement;
            }
        }
        if let (Oversize::Block, Some(what)) = (self.oversize, message.oversize())
            && counts(self.rules.len())
        {
            judgement.is_oversize = true;
            let place = what.to_owned();
            judgement.found.push(Found { id: OVERSIZE, place, message: "" });
            self.block(&mut judgement, TOO_LARGE);
        }
        judgement
    }

    /// Whether a matching rule blocks the request.
    fn blocks(&self, rule: &Rule, score: u32) -> bool {
        match self.threshold {
            Some(threshold) if rule.score > 0 => score >= threshold,
            _ => rule.action == Action::Block,
        }
    }

    fn block(&self, judgement: &mut Judgement<'_>, status: u16) {
        match self.mode {
            Mode::Enforce => judgement.blocked = Some(status),
            Mode::Observe => judgement.would_block = true,
        }
    }
}

impl<'a> Judgement<'a> {
    fn add(&mut self, rule: &'a Rule, Hit(field): Hit<'_>) {
        self.score = self.score.saturating_add(rule.score);
        if rule.action == Action::Tag {
            self.tags.push(&rule.id);
            return;
        }
        let place = field.map_or_else(|| "the request".to_owned(), ToString::to_string);
        self.found.push(Found { id: &rule.id, place, message: &rule.message });
    }

    /// Returns the metrics that count the request.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = &'static str> {
        let logged = !self.found.is_empty() && self.blocked.is_none() && !self.would_block;
        let metrics = [
            (self.blocked.is_some(), "blocked"),
            (self.would_block, "observed"),
            (logged, "logged"),
            (!self.tags.is_empty(), "tagged"),
            (self.is_allowed, "allowed"),
            (self.is_oversize, "oversize"),
        ];
        metrics.into_iter().filter_map(|(is_so, metric)| is_so.then_some(metric))
    }

    /// Returns the line of the log. It has no text from the client, so that a client cannot forge a
    /// line.
    pub(crate) fn line(&self, id: &str) -> Option<String> {
        if self.found.is_empty() {
            return None;
        }
        let what = match (self.blocked, self.would_block) {
            (Some(_), _) => "blocked",
            (None, true) => "would block",
            (None, false) => "noticed",
        };
        let found =
            self.found.iter().take(FOUND).map(|Found { id, place, message }| match *message {
                "" => format!("{id} in {place}"),
                message => format!("{id} in {place} ({message})"),
            });
        let found: Vec<String> = found.collect();
        Some(format!("{what} request {id}, score {}: {}", self.score, found.join(", ")))
    }
}

/// The status of a request that exceeds the inspected size.
const TOO_LARGE: u16 = 413;

/// The most rules in a line of the log.
const FOUND: usize = 8;
