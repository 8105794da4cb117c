//! The built-in rules, in the same language as the user's rules.

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
    /// Scripts against the browsers of other users.
    Xss,
    /// Files outside the served files.
    Traversal,
    /// Commands and code for the server.
    Rce,
    /// Vulnerability scanners, and the targets of their probes.
    Scanners,
    /// Requests that no browser sends.
    Protocol,
}

/// A built-in rule.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) id: &'static str,
    /// A rule with a score of 5 or more blocks on its own. A lower score is logged.
    pub(crate) score: u32,
    /// All rules of a lane are tried in one pass over a text. `lanes` explains why there are
    /// several lanes.
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

/// Returns the names that a user's rule must not have.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let rules = RuleSet::ALL.into_iter().flat_map(|set| set.rules().iter().map(|rule| rule.id));
    rules.chain(RuleSet::ALL.map(RuleSet::name)).chain([OVERSIZE])
}

/// Makes an expression that matches the normalized text from the client. All rules with this
/// expression form one set of regular expressions, so each value is read once.
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
