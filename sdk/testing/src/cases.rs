//! Cases in YAML: requests and what a plugin is to make of them.
//!
//! ```yaml
//! config: { tenant: acme }            # of all cases; a case may have its own
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
//!   - name: yesterday's traffic
//!     replay: access.jsonl
//!     decisions: { next: 90, reply: 10 }
//! ```
//!
//! What is expected must be among what was decided: fields that are not named are not looked at. See [`Case`] for all keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use weir_runtime::filter::{
    Answer, Changes, Edit, Header, Reply, RequestDecision, ResponseDecision,
};
use weir_runtime::{Endpoint, Kind, PluginError};

use crate::request::fields;
use crate::{Balancer, Component, Filter, Request};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The plugin's configuration; a case may have its own.
    #[serde(default)]
    pub config: Value,
    /// The endpoints that a balancer chooses among; a case may have its own.
    #[serde(default)]
    pub endpoints: Vec<Member>,
    /// The cases, run in order in one world: state and time go on from one to the next.
    pub cases: Vec<Case>,
}

/// An endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// IP address and port; picks name it so.
    pub address: String,
    /// Its share.
    #[serde(default = "one")]
    pub weight: u32,
    /// Where it is.
    #[serde(default)]
    pub zone: String,
    /// Free text.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Takes the place of the file's.
    pub config: Option<Value>,
    /// Time that passes before it, such as `1s` or `500ms`.
    pub advance: Option<String>,
    /// The request.
    #[serde(default)]
    pub request: Request,
    /// How often the same request comes; what is expected is expected each time.
    #[serde(default = "one")]
    pub repeat: u32,
    /// What a filter decides: `next`, or an object with `edit`, `reply`, `fetch`, or `error` for a failure of this kind.
    /// For a request that fetches it is the decision after the answer, if there is one.
    pub expect: Option<Value>,
    /// The answer to a fetch; its absence fails the fetch with `no answer` if `unanswered` is set.
    pub answer: Option<Message>,
    /// The fetch gets no answer.
    #[serde(default)]
    pub unanswered: bool,
    /// What a filter fetches.
    pub fetches: Option<Value>,
    /// The response that comes to the request.
    pub response: Option<Message>,
    /// What a filter makes of it: `next`, or an object with `edit` or `reply`.
    pub expect_response: Option<Value>,
    /// Pieces of the request's body, and what comes out of them.
    pub request_body: Option<Streamed>,
    /// Pieces of the response's body, and what comes out of them.
    pub response_body: Option<Streamed>,
    /// Takes the place of the file's.
    pub endpoints: Option<Vec<Member>>,
    /// Requests in flight at each endpoint.
    #[serde(default)]
    pub loads: Vec<u32>,
    /// Which attempt of the request it is.
    #[serde(default)]
    pub attempt: u32,
    /// Addresses that a balancer chooses for so many requests in turn; `none` for none.
    pub picks: Option<Vec<String>>,
    /// How often each address is chosen in `repeat` requests, as bounds: `[400, 600]`.
    pub shares: Option<BTreeMap<String, (u64, u64)>>,
    /// A file of Weir's access records (JSON), relative to that of the cases: each is a request.
    pub replay: Option<String>,
    /// How many of the replayed requests end in which decision (`next`, `edit`, `reply`, `fetch`) or at which endpoint.
    pub decisions: Option<BTreeMap<String, u64>>,
}

/// A response, or an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    /// The status; 200 if left out.
    pub status: Option<u16>,
    /// Header fields.
    #[serde(deserialize_with = "fields")]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// A body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streamed {
    /// Its pieces.
    pub pieces: Vec<String>,
    /// What comes out; left out: that it is stopped.
    pub becomes: Option<String>,
}

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// What was wrong.
    pub fault: Option<String>,
}

/// Why cases could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// The file is not what cases look like.
    #[error("read cases: {0}")]
    Format(#[from] serde_yaml::Error),
    /// The plugin does not take the configuration, or fails from the first.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// Runs the cases of a text; `folder` is what files are relative to.
///
/// # Errors
/// [`CasesError`] if there is nothing to run; what a case finds wrong is in its [`Outcome`].
pub fn run(component: &Component, text: &str, folder: &Path) -> Result<Vec<Outcome>, CasesError> {
    let cases: Cases = serde_yaml::from_str(text)?;
    let mut runner = Runner { component, cases: &cases, folder, subjects: BTreeMap::new() };
    let run = |case: &Case| Outcome { name: case.name.clone(), fault: runner.run(case).err() };
    Ok(cases.cases.iter().map(run).collect())
}

struct Runner<'a> {
    component: &'a Component,
    cases: &'a Cases,
    folder: &'a Path,
    /// An instance for each configuration.
    subjects: BTreeMap<String, Subject>,
}

enum Subject {
    Filter(Filter),
    /// With the endpoints that it was given last.
    Balancer(Balancer, Vec<Endpoint>),
}

impl Runner<'_> {
    fn run(&mut self, case: &Case) -> Result<(), String> {
        if let Some(time) = &case.advance {
            let time = duration(time).ok_or_else(|| format!("advance: {time:?} is no duration"))?;
            self.component.world().advance(time);
        }
        let config = case.config.as_ref().unwrap_or(&self.cases.config);
        let config = if config.is_null() { "{}".to_owned() } else { config.to_string() };
        let members = case.endpoints.as_ref().unwrap_or(&self.cases.endpoints);
        let mut subject = match self.subjects.remove(&config) {
            Some(subject) => subject,
            None => match self.subject(&config, members) {
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
                    balancer.update(&wanted).map_err(|error| chain(&error))?;
                    *given = wanted;
                }
                run_balancer(self, balancer, case, members)
            }
        };
        // A failed instance is in no known state.
        if result.is_ok() {
            self.subjects.insert(config, subject);
        }
        result
    }

    fn subject(&self, config: &str, members: &[Member]) -> Result<Subject, PluginError> {
        Ok(match self.component.plugin().kind() {
            Kind::Balancer => {
                let given = endpoints(members);
                Subject::Balancer(self.component.balancer(config, &given)?, given)
            }
            _ => Subject::Filter(self.component.filter(config)?),
        })
    }

    fn recorded(&self, file: &str) -> Result<Vec<Request>, String> {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("replay: read {}: {error}", path.display()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(at, line)| {
                let record: Value = serde_json::from_str(line)
                    .map_err(|error| format!("{file}:{}: {error}", at + 1))?;
                Ok(recorded(&record))
            })
            .collect()
    }
}

/// The request of an access record. Ports are not the client's address.
fn recorded(record: &Value) -> Request {
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(str::to_owned);
    let ours = Request::default();
    let client = text("client").map(|client| match client.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            host.trim_start_matches('[').trim_end_matches(']').to_owned()
        }
        _ => client,
    });
    let headers = text("user_agent").map(|agent| ("user-agent".to_owned(), agent));
    Request {
        method: text("method").unwrap_or(ours.method),
        path: text("path").unwrap_or(ours.path),
        authority: text("host").unwrap_or(ours.authority),
        scheme: text("scheme").unwrap_or(ours.scheme),
        client: client.unwrap_or(ours.client),
        country: None,
        asn: None,
        id: text("request_id").unwrap_or(ours.id),
        route: text("route").unwrap_or(ours.route),
        headers: headers.into_iter().collect(),
    }
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
    let context = match decision {
        RequestDecision::Edit(changes) => changes.context,
        _ => Vec::new(),
    };
    if let Some(body) = &case.request_body {
        check_body(filter, true, &context, body)?;
    }
    let mut context = context;
    if let Some(response) = &case.response {
        let status = response.status.unwrap_or(200);
        let decided = filter.on_response(&case.request, status, &response.headers, &context);
        let decision = match decided {
            Ok(decision) => decision,
            Err(error) => return expected_failure(case, &error),
        };
        if let Some(expected) = &case.expect_response {
            compare(expected, &response_value(&decision), "expect_response")?;
        }
        if let ResponseDecision::Edit(changes) = decision {
            context = changes.context;
        }
    }
    match &case.response_body {
        Some(body) => check_body(filter, false, &context, body),
        None => Ok(()),
    }
}

fn check_body(
    filter: &mut Filter,
    of_request: bool,
    context: &[u8],
    body: &Streamed,
) -> Result<(), String> {
    let pieces: Vec<&[u8]> = body.pieces.iter().map(String::as_bytes).collect();
    let output = filter.body(of_request, context, &pieces).map_err(|error| chain(&error))?;
    let became = output.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if became == body.becomes {
        return Ok(());
    }
    let shown = |body: &Option<String>| match body {
        Some(body) => format!("{body:?}"),
        None => "a body that is stopped".to_owned(),
    };
    Err(format!("the body became {}, expected {}", shown(&became), shown(&body.becomes)))
}

fn replay_filter(runner: &Runner<'_>, filter: &mut Filter, case: &Case) -> Result<(), String> {
    let mut counts = BTreeMap::new();
    for request in runner.recorded(case.replay.as_deref().unwrap_or_default())? {
        let decision = filter.on_request(&request);
        let decision = decision
            .map_err(|error| format!("{} {}: {}", request.method, request.path, chain(&error)))?;
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

fn run_balancer(
    runner: &Runner<'_>,
    balancer: &mut Balancer,
    case: &Case,
    members: &[Member],
) -> Result<(), String> {
    let address = |id: Option<u32>| {
        let member = id.and_then(|id| members.get(id as usize));
        match (id, member) {
            (None, _) => Ok("none".to_owned()),
            (Some(_), Some(member)) => Ok(member.address.clone()),
            (Some(id), None) => Err(format!("it picked {id}, which is no endpoint")),
        }
    };
    let mut pick = |request: &Request| {
        let picked = balancer.pick(request, case.attempt, &case.loads);
        address(picked.map_err(|error| chain(&error))?)
    };
    if case.replay.is_some() {
        let mut counts = BTreeMap::new();
        for request in runner.recorded(case.replay.as_deref().unwrap_or_default())? {
            *counts.entry(pick(&request)?).or_default() += 1;
        }
        return compare_counts(case, &counts);
    }
    if let Some(expected) = &case.picks {
        let picks: Vec<String> =
            expected.iter().map(|_| pick(&case.request)).collect::<Result<_, _>>()?;
        if picks != *expected {
            return Err(format!(
                "picks: expected {}, got {}",
                expected.join(", "),
                picks.join(", ")
            ));
        }
    }
    if let Some(shares) = &case.shares {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..case.repeat {
            *counts.entry(pick(&case.request)?).or_default() += 1;
        }
        for (address, (least, most)) in shares {
            let count = counts.get(address).copied().unwrap_or(0);
            if !(least..=most).contains(&&count) {
                return Err(format!("shares: {address} got {count}, expected {least} to {most}"));
            }
        }
    }
    Ok(())
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
        Some(kind) => Err(format!("expected a failure of the kind {kind}, got {}", chain(error))),
        None => Err(chain(error)),
    }
}

/// Whether `actual` has all that is expected.
fn compare(expected: &Value, actual: &Value, path: &str) -> Result<(), String> {
    if let (Value::Object(expected), Value::Object(actual)) = (expected, actual) {
        for (key, value) in expected {
            let at = format!("{path}.{key}");
            match actual.get(key) {
                Some(actual) => compare(value, actual, &at)?,
                None => {
                    return Err(format!(
                        "{at}: expected {value}, but there is only {}",
                        json!(actual)
                    ));
                }
            }
        }
        return Ok(());
    }
    // `1` in YAML is the number; what a plugin makes is text.
    let is_number = expected.is_number() && actual.as_str() == Some(&expected.to_string());
    let is_same = expected == actual || is_number;
    if is_same { Ok(()) } else { Err(format!("{path}: expected {expected}, got {actual}")) }
}

fn request_value(decision: &RequestDecision) -> Value {
    match decision {
        RequestDecision::Next => json!("next"),
        RequestDecision::Edit(changes) => json!({ "edit": changes_value(changes) }),
        RequestDecision::Reply(reply) => json!({ "reply": reply_value(reply) }),
        RequestDecision::Fetch(fetch) => json!({ "fetch": fetch_value(fetch) }),
    }
}

fn response_value(decision: &ResponseDecision) -> Value {
    match decision {
        ResponseDecision::Next => json!("next"),
        ResponseDecision::Edit(changes) => json!({ "edit": changes_value(changes) }),
        ResponseDecision::Reply(reply) => json!({ "reply": reply_value(reply) }),
    }
}

fn changes_value(changes: &Changes) -> Value {
    let (mut all, mut set, mut append) = (Map::new(), Map::new(), Map::new());
    let mut removed = Vec::new();
    for edit in &changes.edits {
        match edit {
            Edit::Set(header) => {
                set.insert(header.name.clone(), text(&header.value));
            }
            Edit::Append(header) => add(&mut append, header),
            Edit::Remove(name) => removed.push(json!(name)),
            Edit::Path(path) => drop(all.insert("path".to_owned(), json!(path))),
            Edit::Authority(name) => drop(all.insert("authority".to_owned(), json!(name))),
            Edit::Upstream(name) => drop(all.insert("upstream".to_owned(), json!(name))),
            Edit::Status(status) => drop(all.insert("status".to_owned(), json!(status))),
            Edit::Body => drop(all.insert("body".to_owned(), json!(true))),
        }
    }
    for (key, fields) in [("set", set), ("append", append)] {
        if !fields.is_empty() {
            all.insert(key.to_owned(), Value::Object(fields));
        }
    }
    if !removed.is_empty() {
        all.insert("remove".to_owned(), Value::Array(removed));
    }
    if !changes.context.is_empty() {
        all.insert("context".to_owned(), text(&changes.context));
    }
    Value::Object(all)
}

fn reply_value(reply: &Reply) -> Value {
    json!({
        "status": reply.status,
        "headers": headers_value(&reply.headers),
        "body": text(&reply.body),
    })
}

fn fetch_value(fetch: &weir_runtime::filter::Fetch) -> Value {
    json!({
        "upstream": fetch.upstream,
        "method": fetch.method,
        "path": fetch.path,
        "authority": fetch.authority,
        "headers": headers_value(&fetch.headers),
        "body": text(&fetch.body),
        "timeout_ms": fetch.timeout_ms,
    })
}

fn headers_value(headers: &[Header]) -> Value {
    let mut fields = Map::new();
    headers.iter().for_each(|header| add(&mut fields, header));
    Value::Object(fields)
}

/// Adds a field: one value as it is, several as a list.
fn add(fields: &mut Map<String, Value>, header: &Header) {
    let value = text(&header.value);
    match fields.get_mut(&header.name) {
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = json!([first.clone(), value]),
        None => drop(fields.insert(header.name.clone(), value)),
    }
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
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

fn one() -> u32 {
    1
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_must_be_there_and_the_rest_is_not_looked_at() {
        let actual = json!({ "reply": { "status": 403, "headers": { "a": "1" }, "body": "no" } });
        assert_eq!(compare(&json!({ "reply": { "status": 403 } }), &actual, "expect"), Ok(()));
        let error = compare(&json!({ "reply": { "status": 200 } }), &actual, "expect").unwrap_err();
        assert_eq!(error, "expect.reply.status: expected 200, got 403");
        assert!(compare(&json!({ "edit": {} }), &actual, "expect").is_err());
        assert!(compare(&json!("next"), &actual, "expect").is_err());
        let set = json!({ "set": { "x": "1" } });
        assert_eq!(compare(&json!({ "set": { "x": 1 } }), &set, "edit"), Ok(()));
    }

    #[test]
    fn an_access_record_is_a_request() {
        let record = json!({
            "client": "[2001:db8::1]:443", "method": "POST", "path": "/a?b", "host": "shop",
            "user_agent": "curl", "status": 200,
        });
        let request = recorded(&record);
        assert_eq!(request.client, "2001:db8::1");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a?b"));
        assert_eq!(request.headers, [("user-agent".to_owned(), "curl".to_owned())]);
    }
}
