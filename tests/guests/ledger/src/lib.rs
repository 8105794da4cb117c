//! A filter that runs the command in a request's `x-do` on the host, and answers with the result.
//! `tests/languages` has the same filter in every other language. All of them behave the same.
//!
//! The commands are `now`, `add KEY BY TTL`, `get KEY`, `set KEY VALUE TTL`,
//! `replace KEY EXPECTED VALUE TTL` (`-` expects no value), `remove KEY`, `random`,
//! `count METRIC BY`, and `break`, which is a bug.

use weir_sdk::{
    Filter, FilterNeeds, Input, NoConfig, Refused, Reply, Request, RequestDecision, host, state,
};

struct Ledger(Input);

#[weir_sdk::filter]
impl Filter for Ledger {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        Ok(Ledger(needs.header("x-do")))
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        match request.text(self.0) {
            Some(command) => Reply::new(200).body(answer(command)).into(),
            None => RequestDecision::Next,
        }
    }
}

fn answer(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    match words[..] {
        ["now"] => host::now().as_micros().to_string(),
        ["add", key, by, ttl] => state::add("", key, signed(by), unsigned(ttl)).to_string(),
        ["get", key] => match state::get("", key) {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "none".to_owned(),
        },
        ["set", key, value, ttl] => {
            state::set("", key, value.as_bytes(), unsigned(ttl));
            "done".to_owned()
        }
        ["replace", key, expected, value, ttl] => {
            let expected = (expected != "-").then_some(expected.as_bytes());
            state::replace("", key, expected, value.as_bytes(), unsigned(ttl)).to_string()
        }
        ["remove", key] => {
            state::remove("", key);
            "done".to_owned()
        }
        ["random"] => format!("{:016x}{:016x}", host::random(), host::random()),
        ["count", metric, by] => {
            host::count(metric, unsigned(by));
            "done".to_owned()
        }
        _ => panic!("broken on purpose"),
    }
}

fn signed(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}

fn unsigned(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}
