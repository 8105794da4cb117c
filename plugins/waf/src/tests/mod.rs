//! Decisions on requests.

mod attacks;
mod clean;
mod config;
mod lanes;
mod rules;

use weir_sdk::{Edit, Filter, FilterNeeds, Reply, Request, RequestDecision};

use crate::rules::{Action, UserRule};
use crate::{Config, Waf};

/// A browser request that tests can change.
pub(crate) struct Sent<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) host: &'a str,
    pub(crate) client: &'a str,
    pub(crate) country: Option<&'a str>,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Sent<'a> {
    pub(crate) fn get(target: &'a str) -> Self {
        let headers = vec![
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
        ];
        let (method, host, client) = ("GET", "shop.example", "192.0.2.1");
        Sent { method, target, host, client, country: None, headers }
    }

    pub(crate) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sends the request to the filter, with values for the inputs that it needs.
    pub(crate) fn ask(&self, waf: &mut Waf) -> RequestDecision {
        let lines: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let lines = lines.concat();
        let asked = &waf.asked;
        let mut inputs = vec![Some(b"req-1".to_vec())];
        for (input, value) in [
            (asked.target, Some(self.target)),
            (asked.method, Some(self.method)),
            (asked.authority, Some(self.host)),
            (asked.client, Some(self.client)),
            (asked.country, self.country),
            (asked.headers, Some(lines.as_str())),
        ] {
            if input.is_some() {
                inputs.push(value.map(|value| value.as_bytes().to_vec()));
            }
        }
        waf.on_request(&Request { inputs: &inputs })
    }

    /// Returns the ids of the matching rules, and the fields.
    pub(crate) fn found(&self, waf: &Waf) -> Vec<String> {
        let lines: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let lines = lines.concat();
        let message = crate::Message::new(crate::Parts {
            target: self.target.as_bytes(),
            method: self.method.as_bytes(),
            authority: self.host.as_bytes(),
            client: Some(self.client),
            country: self.country.map(str::as_bytes),
            headers: lines.as_bytes(),
            inspect: waf.inspect,
        });
        let mut facts = crate::program::Facts::new(&waf.program, &message);
        let rules = waf.judge.rules.iter();
        rules.filter(|rule| facts.test(&rule.node).is_some()).map(|rule| rule.id.clone()).collect()
    }
}

pub(crate) fn waf(config: Config) -> Waf {
    Waf::new(config, &mut FilterNeeds::default()).unwrap()
}

pub(crate) fn rule(id: &str, when: &str, action: Action) -> UserRule {
    UserRule {
        id: id.to_owned(),
        when: when.to_owned(),
        action,
        score: 0,
        status: 403,
        message: String::new(),
    }
}

/// Makes a configuration with only these rules of the user.
pub(crate) fn only(rules: Vec<UserRule>) -> Config {
    Config { rule_sets: Vec::new(), rules, ..Config::default() }
}

pub(crate) fn blocked(decision: RequestDecision) -> Option<Reply> {
    match decision {
        RequestDecision::Reply(reply) => Some(reply),
        _ => None,
    }
}

/// Returns the edits of a decision as text.
pub(crate) fn edits(decision: RequestDecision) -> Vec<String> {
    let RequestDecision::Edit(changes) = decision else { return Vec::new() };
    let shown = |edit| match edit {
        Edit::Set(header) => format!("{}={}", header.name, String::from_utf8_lossy(&header.value)),
        Edit::Remove(name) => format!("-{name}"),
        other => format!("{other:?}"),
    };
    changes.edits.into_iter().map(shown).collect()
}
