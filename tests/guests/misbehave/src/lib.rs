//! A balancer that misbehaves by its configuration: `{"in": "pick", "do": "spin"}`.
//!
//! `in` is the call: configure, update, pick or observe. `do` is the fault in this call. Without a
//! configuration, and in the other calls, the balancer chooses the first endpoint.

use std::hint::black_box;
use std::mem::forget;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::host::{self, Level};
use weir_sdk::{Balancer, BalancerNeeds, Endpoint, Outcome, Pick, Refused};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default, rename = "in")]
    call: String,
    #[serde(default, rename = "do")]
    act: Act,
}

#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Act {
    #[default]
    Nothing,
    /// Never ends.
    Spin,
    /// Panics, which traps.
    Trap,
    /// Allocates without end.
    Allocate,
    /// Keeps one more page in each call.
    Leak,
    /// Calls itself without end.
    Recurse,
    /// Logs a long line a thousand times, with line breaks in it.
    Log,
    /// Reads outside its memory.
    Wander,
    /// Answers with an id that no endpoint has (pick).
    UnknownId,
    /// Answers without an id (pick).
    None,
    /// Counts the outcomes by status.
    CountOutcomes,
    /// Refuses its configuration with a long text.
    Refuse,
    /// BalancerNeeds more inputs than the host allows.
    Greedy,
    /// BalancerNeeds many inputs with one long text as name. They take little memory in the guest,
    /// and much in a host that copies without a bound.
    Alias,
}

struct Misbehave {
    config: Config,
    first: Option<u32>,
}

#[weir_sdk::balancer]
impl Balancer for Misbehave {
    type Config = Config;

    fn new(config: Config, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        needs.outcomes();
        if config.call == "configure" {
            if config.act == Act::Refuse {
                return Err("no ".repeat(10_000).into());
            }
            act(config.act);
        }
        match config.act {
            Act::Greedy => needs.raw_inputs((0..1000).map(|n| format!("header:x-{n}")).collect()),
            Act::Alias => needs.raw_inputs(aliases()),
            _ => {}
        }
        Ok(Misbehave { config, first: None })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.first = endpoints.first().map(|endpoint| endpoint.id);
        self.misbehave("update");
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        self.misbehave("pick");
        match (self.config.call.as_str(), self.config.act) {
            ("pick", Act::UnknownId) => Some(u32::MAX),
            ("pick", Act::None) => None,
            ("pick", Act::CountOutcomes) => Some(pick.attempt),
            _ => self.first,
        }
    }

    fn observe(&mut self, outcomes: Vec<Outcome>) {
        if self.config.act == Act::CountOutcomes {
            outcomes.iter().for_each(|outcome| host::count(&format!("s{}", outcome.status), 1));
        }
        self.misbehave("observe");
    }
}

impl Misbehave {
    fn misbehave(&self, call: &str) {
        if self.config.call == call {
            act(self.config.act);
        }
    }
}

fn act(act: Act) {
    match act {
        Act::Spin => loop {
            black_box(());
        },
        Act::Trap => panic!("as configured"),
        Act::Allocate => loop {
            forget(black_box(vec![1_u8; 1 << 16]));
        },
        Act::Leak => forget(black_box(vec![1_u8; 1 << 16])),
        Act::Recurse => {
            recurse(1);
        }
        Act::Log => {
            for _ in 0..1000 {
                host::log(Level::Info, &"first line\nsecond line\x1b[2J".repeat(1000));
            }
        }
        // Outside the bounds of any memory that this guest can have.
        Act::Wander => {
            black_box(unsafe { (0xffff_ff00 as *const u8).read_volatile() });
        }
        _ => {}
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + depth)
}

/// Returns many strings that share their bytes. They are never freed.
fn aliases() -> Vec<String> {
    let text = "x".repeat(1 << 20).leak();
    let alias = |_| unsafe { String::from_raw_parts(text.as_mut_ptr(), text.len(), text.len()) };
    (0..10_000).map(alias).collect()
}
