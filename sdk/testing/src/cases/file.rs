//! A file of cases as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::request::fields;
use crate::{Allow, Request};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The plugin's configuration; a case may have its own.
    #[serde(default)]
    pub config: Value,
    /// The upstreams and spaces of the state that it may reach; a case may have its own. Left out: none, if the component was
    /// given none.
    pub allow: Option<Allow>,
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
    /// Takes the place of the file's.
    pub allow: Option<Allow>,
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
    /// A file of Weir's access records (JSON), relative to that of the cases: each is a request. Lines of Weir's log among them
    /// are passed over.
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

fn one() -> u32 {
    1
}
