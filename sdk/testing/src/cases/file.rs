//! The format of a file of cases.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::request::{Values, fields};
use crate::{Allow, Request};

/// A file of cases.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// The plugin's configuration; a case may have its own.
    #[serde(default)]
    pub config: Value,
    /// The upstreams and spaces of the state that the plugin may reach; a case may have its own.
    /// Without it, the permissions of the component apply.
    pub allow: Option<Allow>,
    /// The endpoints that a balancer chooses among; a case may have its own.
    #[serde(default)]
    pub endpoints: Vec<Member>,
    /// The cases, run in order in one world: state and time continue from one to the next.
    pub cases: Vec<Case>,
}

/// An endpoint.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// IP address and port, as `picks` names it.
    pub address: String,
    /// Its share.
    #[serde(default = "one")]
    pub weight: u32,
    /// Its zone.
    #[serde(default)]
    pub zone: String,
    /// Free text.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// One case.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The behaviour that it shows. Only a case in `then` may have none.
    #[serde(default)]
    pub name: String,
    /// Replaces the file's `config`.
    pub config: Option<Value>,
    /// Replaces the file's `allow`.
    pub allow: Option<Allow>,
    /// Time that passes before the case, such as `1s` or `500ms`.
    pub advance: Option<String>,
    /// Values of the shared state before the case, by space and key. The plugin's own space is
    /// `""`. A number is the sum of a counter, and null removes a value.
    #[serde(default)]
    pub state: Spaces,
    /// Values of the shared state after the case. Null expects that there is none.
    #[serde(default)]
    pub expect_state: Spaces,
    /// The request.
    #[serde(default)]
    pub request: Request,
    /// The number of times that the request comes; the expectation must hold each time.
    #[serde(default = "one")]
    pub repeat: u32,
    /// The decision of a filter: `next`, or an object with `edit`, `reply`, `fetch`, or `error` for
    /// a failure of this kind. For a request that fetches, it is the decision after the answer, if
    /// there is one.
    pub expect: Option<Value>,
    /// The answer to a fetch. Without it, the fetch fails with `no answer` if `unanswered` is set.
    pub answer: Option<Message>,
    /// The fetch gets no answer.
    #[serde(default)]
    pub unanswered: bool,
    /// The fetch of a filter.
    pub fetches: Option<Value>,
    /// The response to the request.
    pub response: Option<Message>,
    /// The decision of a filter on the response: `next`, or an object with `edit` or `reply`.
    pub expect_response: Option<Value>,
    /// Pieces of the request's body, and the body that comes out.
    pub request_body: Option<Streamed>,
    /// Pieces of the response's body, and the body that comes out.
    pub response_body: Option<Streamed>,
    /// Replaces the file's `endpoints`.
    pub endpoints: Option<Vec<Member>>,
    /// Requests in flight at each endpoint.
    #[serde(default)]
    pub loads: Vec<u32>,
    /// The number of the attempt.
    #[serde(default)]
    pub attempt: u32,
    /// Addresses that a balancer chooses for this many requests in turn; `none` or null for no
    /// endpoint.
    #[serde(default, deserialize_with = "picks")]
    #[schemars(with = "Option<Vec<Option<String>>>")]
    pub picks: Option<Vec<String>>,
    /// Ends of earlier requests, which a balancer learns before it chooses.
    #[serde(default)]
    pub outcomes: Vec<Ended>,
    /// The number of choices of each address in `repeat` requests, as bounds: `[400, 600]`.
    pub shares: Option<BTreeMap<String, (u64, u64)>>,
    /// A file of Weir's access records (JSON), relative to the file of cases. Each record is a
    /// request. Lines of Weir's log in it are skipped.
    pub replay: Option<String>,
    /// The number of replayed requests for each decision (`next`, `edit`, `reply`, `fetch`) or
    /// endpoint.
    pub decisions: Option<BTreeMap<String, u64>>,
    /// Further requests after this one. Each is a case of its own, with the configuration,
    /// permissions and endpoints of this one if it has none. A fault names its number.
    #[serde(default)]
    pub then: Vec<Case>,
}

/// Values by space and key.
pub type Spaces = BTreeMap<String, BTreeMap<String, Value>>;

/// The end of a request at an endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The address of the endpoint.
    pub endpoint: String,
    /// The status; 0 if there was no response.
    #[serde(default)]
    pub status: u16,
    /// The time to the response's header section, or to the failure, such as `20ms`.
    #[serde(default = "no_time")]
    pub after: String,
}

fn no_time() -> String {
    "0ms".to_owned()
}

fn picks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let picks = Option::<Vec<Option<String>>>::deserialize(deserializer)?;
    let named = |pick: Option<String>| pick.unwrap_or_else(|| "none".to_owned());
    Ok(picks.map(|picks| picks.into_iter().map(named).collect()))
}

/// A response, or an answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    /// The status; 200 if left out.
    pub status: Option<u16>,
    /// Header fields.
    #[serde(deserialize_with = "fields")]
    #[schemars(with = "BTreeMap<String, Values>")]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// A body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Streamed {
    /// Its pieces.
    pub pieces: Vec<String>,
    /// The body that comes out. Without it, the filter must stop the body.
    pub becomes: Option<String>,
    /// The response with which a filter stops a request's body: its `status`, `headers` and `body`.
    pub reply: Option<Value>,
}

fn one() -> u32 {
    1
}
