//! Cases in YAML: requests and the results that a plugin must give.
//!
//! ```yaml
//! config: { tenant: acme }            # of all cases; a case may have its own
//! allow: { upstreams: [auth] }        # as in Weir's configuration; a case may have its own
//! endpoints:                          # for balancers
//!   - { address: "10.0.0.1:80", weight: 3, zone: a, labels: { version: v2 } }
//! cases:
//!   - name: a tenant passes
//!     request: { path: /a, headers: { x-tenant: acme } }
//!     expect: { edit: { set: { x-checked: "1" } } }
//!   - name: a stranger does not
//!     request: { headers: { x-tenant: other } }
//!     expect: { reply: { status: 403 } }
//!   - name: requests take turns
//!     picks: ["10.0.0.1:80", "10.0.0.2:80"]
//!   - name: failures count
//!     outcomes: [{ endpoint: "10.0.0.1:80", status: 503, after: 20ms }]
//!     picks: ["10.0.0.2:80"]
//!   - name: the third request of a minute is refused
//!     state: { "": { hits: 1 } }
//!     expect: next
//!     then:
//!       - { advance: 1s, expect: { reply: { status: 429 } }, expect_state: { "": { hits: 3 } } }
//!       - { advance: 60s, expect: next }
//!   - name: yesterday's traffic
//!     replay: access.jsonl
//!     decisions: { next: 90, reply: 10 }
//! ```
//!
//! The decision must contain everything in the expectation; other fields are ignored. [`Case`] has
//! all keys.

mod balancer;
mod body;
mod decision;
mod file;
mod record;
mod state;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_runtime::filter::{Answer, Changes, RequestDecision, ResponseDecision};
use weir_runtime::{Endpoint, Kind, PluginError, with_causes};

use crate::{Allow, Balancer, Component, Filter, Request};
use decision::{compare, fetch_value, request_value, response_value};

pub use file::{Case, Cases, Ended, Member, Message, Spaces, Streamed};

/// The result of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// The fault, if there was one.
    pub fault: Option<String>,
}

/// The reason why cases could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The text does not have the format of cases.
    #[error("read cases: {0}")]
    Format(#[from] serde_yaml::Error),
    /// The plugin refuses the configuration, or fails at the start.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// Runs the cases of a text. Paths in the text are relative to `folder`.
///
/// # Errors
/// [`CasesError`] if no case can run; the fault of a case is in its [`Outcome`].
pub fn run(component: &Component, text: &str, folder: &Path) -> Result<Vec<Outcome>, CasesError> {
    let cases: Cases = serde_yaml::from_str(unmarked(text))?;
    let mut runner = Runner { component, cases: &cases, folder, subjects: BTreeMap::new() };
    let run = |case: &Case| {
        let fault = if case.name.is_empty() {
            Err("a case needs a name".to_owned())
        } else {
            runner.run_all(case)
        };
        Outcome { name: case.name.clone(), fault: fault.err() }
    };
    Ok(cases.cases.iter().map(run).collect())
}

/// Returns the JSON Schema of a file of cases, for editors.
pub fn schema() -> Value {
    schemars::schema_for!(Cases).to_value()
}

struct Runner<'a> {
    component: &'a Component,
    cases: &'a Cases,
    folder: &'a Path,
    /// An instance for each configuration and set of permissions.
    subjects: BTreeMap<(String, Option<Allow>), Subject>,
}

enum Subject {
    Filter(Filter),
    /// With the endpoints of the last update.
    Balancer(Balancer, Vec<Endpoint>),
}

impl Runner<'_> {
    /// Runs a case and those that follow it.
    fn run_all(&mut self, case: &Case) -> Result<(), String> {
        self.run(case, case)?;
        for (number, next) in case.then.iter().enumerate() {
            if !next.then.is_empty() {
                return Err("then: a case in `then` has no `then` of its own".to_owned());
            }
            self.run(next, case).map_err(|fault| format!("then, {}: {fault}", number + 1))?;
        }
        Ok(())
    }

    /// Runs a case. It takes what it does not have from `first`.
    fn run(&mut self, case: &Case, first: &Case) -> Result<(), String> {
        if let Some(time) = &case.advance {
            let time = duration(time).ok_or_else(|| format!("advance: {time:?} is no duration"))?;
            self.component.world().advance(time);
        }
        let config = case.config.as_ref().or(first.config.as_ref()).unwrap_or(&self.cases.config);
        let config = if config.is_null() { "{}".to_owned() } else { config.to_string() };
        let allow = case.allow.as_ref().or(first.allow.as_ref());
        let allow = allow.or(self.cases.allow.as_ref()).cloned();
        let members = case.endpoints.as_ref().or(first.endpoints.as_ref());
        let members = members.unwrap_or(&self.cases.endpoints);
        let key = (config, allow);
        let component = self.component(key.1.as_ref());
        state::prepare(&component, &case.state)?;
        let mut subject = match self.subjects.remove(&key) {
            Some(subject) => subject,
            None => match self.subject(&key, members) {
                Ok(subject) => subject,
                Err(error) => return expected_failure(case, &error),
            },
        };
        let result = match &mut subject {
            Subject::Filter(filter) if case.replay.is_some() => replay_filter(self, filter, case),
            Subject::Filter(filter) => run_filter(filter, case),
            Subject::Balancer(balancer, given) => {
                let wanted = endpoints(members);
                if *given != wanted {
                    balancer.update(&wanted).map_err(|error| with_causes(&error))?;
                    *given = wanted;
                }
                balancer::observe(balancer, case, members)?;
                balancer::run(self, balancer, case, members)
            }
        };
        // The state of a failed instance is unknown.
        if result.is_ok() {
            self.subjects.insert(key, subject);
        }
        result.and_then(|()| state::compare(&component, &case.expect_state))
    }

    /// Returns the component with these permissions.
    fn component(&self, allow: Option<&Allow>) -> Component {
        match allow {
            Some(allow) => self.component.allowing(allow.clone()),
            None => self.component.clone(),
        }
    }

    fn subject(
        &self,
        (config, allow): &(String, Option<Allow>),
        members: &[Member],
    ) -> Result<Subject, PluginError> {
        let component = self.component(allow.as_ref());
        Ok(match component.plugin().kind() {
            Kind::Balancer => {
                let given = endpoints(members);
                Subject::Balancer(component.balancer(config, &given)?, given)
            }
            _ => Subject::Filter(component.filter(config)?),
        })
    }

    fn recorded(&self, file: &str) -> Result<Vec<Request>, String> {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("replay: read {}: {error}", path.display()))?;
        record::requests(unmarked(&text)).map_err(|(line, error)| format!("{file}:{line}: {error}"))
    }
}

/// Removes the byte order mark that some editors put before the text.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn run_filter(filter: &mut Filter, case: &Case) -> Result<(), String> {
    for turn in 0..case.repeat.max(1) {
        run_request(filter, case).map_err(|fault| {
            if turn == 0 { fault } else { format!("request {}: {fault}", turn + 1) }
        })?;
    }
    Ok(())
}

fn run_request(filter: &mut Filter, case: &Case) -> Result<(), String> {
    let mut decision = match filter.on_request(&case.request) {
        Ok(decision) => decision,
        Err(error) => return expected_failure(case, &error),
    };
    if let (RequestDecision::Fetch(fetch), true) =
        (&decision, case.answer.is_some() || case.unanswered)
    {
        if let Some(expected) = &case.fetches {
            compare(expected, &fetch_value(fetch), "fetches")?;
        }
        let context = fetch.context.clone();
        let answered = match &case.answer {
            Some(answer) => {
                let headers: Vec<(&str, &[u8])> = answer
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_bytes()))
                    .collect();
                let status = answer.status.unwrap_or(200);
                let answer = Answer { status, headers: &headers, body: answer.body.as_bytes() };
                filter.on_fetch(&context, Ok(answer))
            }
            None => filter.on_fetch(&context, Err("no answer")),
        };
        decision = match answered {
            Ok(decision) => decision,
            Err(error) => return expected_failure(case, &error),
        };
    }
    if let Some(expected) = &case.expect {
        compare(expected, &request_value(&decision), "expect")?;
    }
    let changes = match decision {
        RequestDecision::Edit(changes) => changes,
        _ => Changes { edits: Vec::new(), context: Vec::new() },
    };
    if let Some(body) = &case.request_body {
        body::check(filter, true, &changes, body)?;
    }
    if case.response.is_none() && case.response_body.is_none() {
        return Ok(());
    }
    let default = Message::default();
    let response = case.response.as_ref().unwrap_or(&default);
    let status = response.status.unwrap_or(200);
    let decided = filter.on_response(&case.request, status, &response.headers, &changes.context);
    let decision = match decided {
        Ok(decision) => decision,
        Err(error) => return expected_failure(case, &error),
    };
    if let Some(expected) = &case.expect_response {
        compare(expected, &response_value(&decision), "expect_response")?;
    }
    let changes = match decision {
        ResponseDecision::Edit(changes) => changes,
        _ => Changes { edits: Vec::new(), context: changes.context },
    };
    match &case.response_body {
        Some(body) => body::check(filter, false, &changes, body),
        None => Ok(()),
    }
}

fn replay_filter(runner: &Runner<'_>, filter: &mut Filter, case: &Case) -> Result<(), String> {
    let mut counts = BTreeMap::new();
    for request in runner.recorded(case.replay.as_deref().unwrap_or_default())? {
        let decision = filter.on_request(&request);
        let decision = decision.map_err(|error| {
            format!("{} {}: {}", request.method, request.path, with_causes(&error))
        })?;
        let kind = match decision {
            RequestDecision::Next => "next",
            RequestDecision::Edit(_) => "edit",
            RequestDecision::Reply(_) => "reply",
            RequestDecision::Fetch(_) => "fetch",
        };
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    compare_counts(case, &counts)
}

fn compare_counts(case: &Case, counts: &BTreeMap<String, u64>) -> Result<(), String> {
    match &case.decisions {
        Some(expected) if expected != counts => {
            Err(format!("decisions: expected {expected:?}, got {counts:?}"))
        }
        _ => Ok(()),
    }
}

fn expected_failure(case: &Case, error: &PluginError) -> Result<(), String> {
    let expected = case.expect.as_ref().and_then(|expect| expect.get("error"));
    match expected.and_then(Value::as_str) {
        Some(kind) if kind == error.kind() => Ok(()),
        Some(kind) => {
            Err(format!("expected a failure of the kind {kind}, got {}", with_causes(error)))
        }
        None => Err(with_causes(error)),
    }
}

fn endpoints(members: &[Member]) -> Vec<Endpoint> {
    let endpoint = |(id, member): (u32, &Member)| Endpoint {
        id,
        address: member.address.clone(),
        weight: member.weight,
        zone: member.zone.clone(),
        labels: member.labels.clone().into_iter().collect(),
    };
    (0..).zip(members).map(endpoint).collect()
}

fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(split)?;
    let number = digits.parse::<u64>().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}
