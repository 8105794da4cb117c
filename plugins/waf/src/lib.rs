//! WAF: blocks, logs or tags requests that match rules.
//!
//! Rules are expressions in a small typed language over the parts of a request. They come from the
//! user and from built-in sets. The time of regular expressions is proportional to the inspected
//! text, which is bounded.

mod exclude;
mod judge;
mod lanes;
mod language;
mod message;
mod program;
mod rules;
mod sets;
mod transform;

use exclude::{Exception, Exclude};
use judge::{Judge, Judgement, Mode, Oversize};
use language::Field;
use message::{Message, Parts};
use program::Program;
use rules::UserRule;
use schemars::JsonSchema;
use serde::Deserialize;
use sets::RuleSet;
use weir_sdk::parse::field_name;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, host,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Whether rules block (`enforce`), or only write in the log that they would block (`observe`).
    mode: Mode,
    /// The sets of built-in rules. Left out: all. They come after `rules`.
    #[schemars(length(max = 6))]
    rule_sets: Vec<RuleSet>,
    /// Your own rules, tried in order, at most 256.
    #[schemars(length(max = 256))]
    rules: Vec<UserRule>,
    /// The sum of scores that blocks a request. Left out: scores do not count, and each blocking
    /// rule blocks alone.
    #[schemars(range(min = 1, max = 100_000))]
    threshold: Option<u32>,
    /// Rules that are off for some paths, at most 64.
    #[schemars(length(max = 64))]
    exclude: Vec<Exclude>,
    /// The inspected bytes of each value, such as `8KiB` or `512B`: 256B to 64KiB. All values of
    /// one test together may have twice as many.
    #[schemars(regex(pattern = "^[0-9]+(B|KiB)$"))]
    inspect_bytes: String,
    /// The treatment of a request that exceeds `inspect_bytes`, or 1,000 parameters or header
    /// fields: `block` (413), or `ignore`, which leaves the rest uninspected.
    oversize: Oversize,
    /// The header field that carries the ids of tagging rules to the upstream. If there is a rule
    /// that tags, fields of this name from clients are removed.
    #[schemars(length(min = 1, max = 128))]
    tag_header: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            mode: Mode::Enforce,
            rule_sets: RuleSet::ALL.to_vec(),
            rules: Vec::new(),
            threshold: None,
            exclude: Vec::new(),
            inspect_bytes: "8KiB".to_owned(),
            oversize: Oversize::Block,
            tag_header: "x-waf-tags".to_owned(),
        }
    }
}

#[derive(Debug)]
struct Waf {
    program: Program,
    judge: Judge,
    asked: Asked,
    inspect: usize,
    /// The header field for tags, if there is a rule that tags.
    tag_header: Option<String>,
}

/// The inputs that rules need, and the id of the request.
#[derive(Debug)]
struct Asked {
    id: Input,
    target: Option<Input>,
    method: Option<Input>,
    authority: Option<Input>,
    client: Option<Input>,
    country: Option<Input>,
    headers: Option<Input>,
}

#[weir_sdk::filter]
impl Filter for Waf {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let mut program = Program::default();
        let rules = rules::compile(config.rules, &config.rule_sets, &mut program)?;
        program.finish()?;
        if rules.is_empty() {
            return Err("rules: must not be empty if rule_sets is empty".into());
        }
        if config.exclude.len() > EXCEPTIONS {
            return Err(format!("exclude: more than {EXCEPTIONS}").into());
        }
        let exception = |(at, exclude): (usize, &Exclude)| {
            Exception::new(exclude, &rules).map_err(|error| format!("exclude[{at}].{error}"))
        };
        let exceptions: Result<Vec<_>, _> =
            config.exclude.iter().enumerate().map(exception).collect();
        if config.threshold == Some(0) {
            return Err("threshold: must be at least 1".into());
        }
        let inspect = bytes(&config.inspect_bytes).ok_or_else(|| {
            format!("inspect_bytes: {:?} is not from 256B to 64KiB", config.inspect_bytes)
        })?;
        let tags = rules.iter().any(|rule| rule.action == rules::Action::Tag);
        let tag_header = tag_header(&config.tag_header)?;
        let judge = Judge {
            rules,
            exceptions: exceptions?,
            mode: config.mode,
            threshold: config.threshold,
            oversize: config.oversize,
        };
        let asked = Asked::new(&program, &judge, needs);
        Ok(Waf { program, judge, asked, inspect, tag_header: tags.then_some(tag_header) })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let message = self.asked.message(request, self.inspect);
        let judgement = self.judge.judge(&self.program, &message);
        let id = request.text(self.asked.id).unwrap_or_default();
        self.tell(&judgement, id);
        if let Some(status) = judgement.blocked {
            return blocked(status, id);
        }
        match &self.tag_header {
            None => RequestDecision::Next,
            Some(name) if judgement.tags.is_empty() => Changes::new().remove(name.as_str()).into(),
            Some(name) => Changes::new().set(name.as_str(), judgement.tags.join(", ")).into(),
        }
    }
}

impl Waf {
    /// Counts the matches, and writes one line to the log.
    fn tell(&self, judgement: &Judgement<'_>, id: &str) {
        for metric in judgement.metrics() {
            host::count(metric, 1);
        }
        if let Some(line) = judgement.line(id) {
            let level = match judgement.blocked {
                Some(_) => host::Level::Warn,
                None => host::Level::Info,
            };
            host::log(level, &line);
        }
    }
}

impl Asked {
    /// Requests the inputs that rules and exceptions read.
    fn new(program: &Program, judge: &Judge, needs: &mut FilterNeeds) -> Self {
        let fields = program.fields();
        let any = |is_in: fn(&Field) -> bool| fields.iter().any(|field| is_in(field));
        let target = any(Field::is_of_target) || !judge.exceptions.is_empty();
        let client = any(|field| *field == Field::Client) || judge.looks_at_client();
        Self {
            id: needs.request_id(),
            target: target.then(|| needs.path()),
            method: any(|field| *field == Field::Method).then(|| needs.method()),
            authority: any(|field| *field == Field::Host).then(|| needs.authority()),
            client: client.then(|| needs.client_address()),
            country: any(|field| *field == Field::Country).then(|| needs.input("client.country")),
            headers: any(Field::is_of_headers).then(|| needs.headers()),
        }
    }

    fn message<'r>(&self, request: &Request<'r>, inspect: usize) -> Message<'r> {
        let bytes = |input: Option<Input>| input.and_then(|input| request.bytes(input));
        Message::new(Parts {
            target: bytes(self.target).unwrap_or_default(),
            method: bytes(self.method).unwrap_or_default(),
            authority: bytes(self.authority).unwrap_or_default(),
            client: self.client.and_then(|input| request.text(input)),
            country: bytes(self.country),
            headers: bytes(self.headers).unwrap_or_default(),
            inspect,
        })
    }
}

/// Returns the answer. It reveals no match, only the id of the request in the log.
fn blocked(status: u16, id: &str) -> RequestDecision {
    Reply::new(status)
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "no-store")
        .body(format!("request blocked, id {id}\n"))
        .into()
}

fn bytes(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix("KiB") {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix('B')?, 1),
    };
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    let number = digits.parse::<usize>().ok().filter(|_| is_number)?;
    number.checked_mul(unit).filter(|bytes| (256..=65_536).contains(bytes))
}

fn tag_header(name: &str) -> Result<String, String> {
    if name.len() > 128 {
        return Err("tag_header: more than 128 bytes".to_owned());
    }
    field_name(name).map_err(|what| format!("tag_header: {what}"))
}

/// The most exceptions of a configuration. They are tried in order.
const EXCEPTIONS: usize = 64;

#[cfg(test)]
mod tests;
