//! The built-in rules, in the language that users write theirs in.

mod protocol;
mod rce;
mod scanners;
mod sqli;
mod traversal;
mod xss;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::exclude::OVERSIZE;

/// A set of built-in rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuleSet {
    /// SQL in parameters, paths and cookies.
    Sqli,
    /// Scripts for the browsers of others.
    Xss,
    /// Files outside of what is served.
    Traversal,
    /// Commands and code for the server.
    Rce,
    /// Tools that look for holes, and what they ask for.
    Scanners,
    /// What no browser sends.
    Protocol,
}

/// A built-in rule.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) id: &'static str,
    /// From 5 on it blocks on its own, below it is logged.
    pub(crate) score: u32,
    /// Rules of one lane are tried in one reading of a text; see `lanes` for why there are several.
    pub(crate) lane: &'static str,
    pub(crate) what: &'static str,
    pub(crate) when: &'static str,
}

impl RuleSet {
    pub(crate) const ALL: [RuleSet; 6] = [
        RuleSet::Sqli,
        RuleSet::Xss,
        RuleSet::Traversal,
        RuleSet::Rce,
        RuleSet::Scanners,
        RuleSet::Protocol,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            RuleSet::Sqli => "sqli",
            RuleSet::Xss => "xss",
            RuleSet::Traversal => "traversal",
            RuleSet::Rce => "rce",
            RuleSet::Scanners => "scanners",
            RuleSet::Protocol => "protocol",
        }
    }

    pub(crate) fn named(name: &str) -> Option<RuleSet> {
        RuleSet::ALL.into_iter().find(|set| set.name() == name)
    }

    pub(crate) fn rules(self) -> &'static [BuiltIn] {
        match self {
            RuleSet::Sqli => sqli::RULES,
            RuleSet::Xss => xss::RULES,
            RuleSet::Traversal => traversal::RULES,
            RuleSet::Rce => rce::RULES,
            RuleSet::Scanners => scanners::RULES,
            RuleSet::Protocol => protocol::RULES,
        }
    }
}

/// Names that a rule of the user's cannot have.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let rules = RuleSet::ALL.into_iter().flat_map(|set| set.rules().iter().map(|rule| rule.id));
    rules.chain(RuleSet::ALL.map(RuleSet::name)).chain([OVERSIZE])
}

/// An expression: that what a client sends as text, normalized, matches. All rules that use it are one set of regular
/// expressions, so that each value is read once.
macro_rules! text_matches {
    ($pattern:literal) => {
        concat!(
            "normalize_text(any(path, query.*, query_names, query_joined, cookie.*)) matches /",
            $pattern,
            "/"
        )
    };
}
use text_matches;
