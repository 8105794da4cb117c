//! A filter that misbehaves by its configuration: `{"do": "spin"}`. With `"in": "response"` it
//! misbehaves on responses.
//!
//! Names, values and paths for the fault are in the configuration too:
//! `{"do": "set", "name": "x a", "value": "1"}`.

use std::hint::black_box;
use std::mem::forget;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    BodyDecision, BodyFilter, Changes, Fetch, Filter, FilterNeeds, Piece, Refused, Reply, Request,
    RequestDecision, Response, ResponseDecision, host, state,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "do")]
    act: String,
    #[serde(default, rename = "in")]
    side: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    count: usize,
}

/// The configuration, and the number of calls of this instance.
struct Naughty(Config, usize);

#[weir_sdk::body_filter]
impl BodyFilter for Naughty {
    fn on_request_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        self.body(piece)
    }

    fn on_response_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        self.body(piece)
    }
}

impl Filter for Naughty {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        match config.act.as_str() {
            "configure-trap" => panic!("as configured"),
            "configure-spin" => spin(),
            "configure-refuse" => return Err("it does not please me".into()),
            "configure-input" => {
                needs.input("no.such.input");
            }
            // The claim is false: the filter is not pure.
            "pure-calls" => needs.pure(),
            "pure-trap" => {
                needs.header("x-trap");
                needs.pure();
            }
            _ => {}
        }
        needs.on_request();
        needs.on_response();
        Ok(Naughty(config, 0))
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        if self.0.side == "response" {
            return RequestDecision::Next;
        }
        let config = &self.0;
        match config.act.as_str() {
            "pure-trap" if request.inputs.iter().any(Option::is_some) => panic!("as asked"),
            "path" => Changes::new().path(config.value.as_str()).into(),
            "authority" => Changes::new().authority(config.value.as_str()).into(),
            "upstream" => Changes::new().upstream(config.value.as_str()).into(),
            "fetch" => Fetch::get(config.value.as_str(), "/").into(),
            "body" | "body-trap" | "body-late-trap" | "body-spin" | "body-huge" | "body-long"
            | "body-stop" | "body-reply" => Changes::new().body().into(),
            "context" => Changes::new().context(vec![1; config.count]).into(),
            "calls" | "pure-calls" => {
                self.1 += 1;
                Changes::new().set("x-calls", self.1.to_string()).into()
            }
            _ => match self.act() {
                Act::Nothing => RequestDecision::Next,
                Act::Change(changes) => changes.into(),
                Act::Reply(reply) => reply.into(),
            },
        }
    }

    fn on_fetch(&mut self, _context: &[u8], _answer: Result<Reply, String>) -> RequestDecision {
        Fetch::get(self.0.value.as_str(), "/").into()
    }

    fn on_response(&mut self, _response: &Response<'_>) -> ResponseDecision {
        if self.0.side != "response" {
            return ResponseDecision::Next;
        }
        match self.0.act.as_str() {
            "status" => Changes::new().status(self.0.count as u16).into(),
            "body" | "body-trap" | "body-late-trap" | "body-spin" | "body-huge" | "body-long"
            | "body-stop" | "body-reply" => Changes::new().body().into(),
            _ => match self.act() {
                Act::Nothing => ResponseDecision::Next,
                Act::Change(changes) => changes.into(),
                Act::Reply(reply) => reply.into(),
            },
        }
    }
}

enum Act {
    Nothing,
    Change(Changes),
    Reply(Reply),
}

impl Naughty {
    fn act(&self) -> Act {
        let Config { act, name, value, count, .. } = &self.0;
        match act.as_str() {
            "spin" => spin(),
            "trap" => panic!("as configured"),
            // Fails for the first `count` calls, on any instance, and then works.
            "flaky" => {
                let calls = state::add("", "calls", 1, 0);
                assert!(calls > *count as i64, "as configured");
            }
            "log" => (0..*count).for_each(|n| host::log(host::Level::Warn, &format!("line {n}"))),
            "recurse" => {
                recurse(1);
            }
            "allocate" => loop {
                forget(black_box(vec![1_u8; 1 << 16]));
            },
            "grow" => forget(black_box(vec![1_u8; 1 << 16])),
            "set" => return Act::Change(Changes::new().set(name.as_str(), value.as_str())),
            "append" => return Act::Change(Changes::new().append(name.as_str(), value.as_str())),
            "attribute" => {
                return Act::Change(Changes::new().attribute(name.as_str(), value.as_str()));
            }
            "remove" => return Act::Change(Changes::new().remove(name.as_str())),
            "long" => return Act::Change(Changes::new().set("x-long", vec![b'a'; *count])),
            "many" => {
                let changes = Changes::new();
                return Act::Change((0..*count).fold(changes, |c, n| c.set(format!("x-{n}"), "1")));
            }
            "wide" => {
                let changes = Changes::new();
                let value = vec![b'a'; 4096];
                return Act::Change(
                    (0..*count).fold(changes, |c, n| c.set(format!("x-{n}"), value.clone())),
                );
            }
            "reply" => return Act::Reply(Reply::new(*count as u16).body("naughty\n")),
            "reply-field" => {
                return Act::Reply(Reply::new(200).header(name.as_str(), value.as_str()));
            }
            "reply-long" => return Act::Reply(Reply::new(200).body(vec![b'a'; *count])),
            "key" => state::set("", &"k".repeat(*count), b"v", 0),
            "value" => state::set("", "k", &vec![1; *count], 0),
            "space" => state::set(value, "k", b"v", 0),
            "random" => {
                let _ = host::random();
            }
            "count" => (0..*count).for_each(|n| host::count(&format!("m{n}"), 1)),
            _ => {}
        }
        Act::Nothing
    }

    fn body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        // The first piece passes, so the message has begun before the fault.
        let is_first = piece.context.is_empty();
        match self.0.act.as_str() {
            // It has changed nothing by then.
            "body-late-trap" => panic!("as configured"),
            _ if is_first && !piece.end => Piece::replace(piece.data, b"1".as_slice()),
            "body-trap" => panic!("as configured"),
            "body-spin" => spin(),
            "body-huge" => Piece::replace(vec![b'a'; 10 << 20], b"".as_slice()),
            "body-long" => Piece::replace(vec![b'a'; self.0.count], b"1".as_slice()),
            "body-stop" => BodyDecision::Stop,
            "body-reply" => Reply::new(self.0.count as u16).body("no more\n").into(),
            _ => BodyDecision::Keep,
        }
    }
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

#[allow(unconditional_recursion, reason = "it is what this is for")]
fn recurse(depth: u64) -> u64 {
    black_box(depth) + recurse(black_box(depth + 1))
}
