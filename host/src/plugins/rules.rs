//! [`ProxyRules`]: the checks of a running Weir, for the kit that tests plugins.

use serde_json::Value;
use weir_runtime::filter::{Changes, RequestDecision, ResponseDecision};
use weir_sdk_testing::Rules;

use super::schema;
use crate::message::edit::{self, Edits};

/// The proxy's checks of configurations and decisions. Without them, a test case could pass with a
/// decision that Weir answers with 503.
#[derive(Debug, Clone, Copy)]
pub struct ProxyRules;

impl Rules for ProxyRules {
    fn config(&self, schema: &str, config: &str) -> Result<(), String> {
        let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
        let faults = schema::check(schema, &config)
            .map_err(|error| format!("its config-schema is not a JSON Schema: {error}"))?;
        let told = |fault: schema::Fault| format!("config{}: {}", fault.path, fault.message);
        let told: Vec<String> = faults.into_iter().map(told).collect();
        if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
    }

    fn request(&self, decision: &RequestDecision) -> Result<(), String> {
        match decision.clone() {
            RequestDecision::Next => Ok(()),
            // The kit has already checked the upstream.
            RequestDecision::Edit(Changes { edits, .. }) => {
                Edits::of_request(edits, |name| Some(name.into())).map(drop)
            }
            RequestDecision::Reply(reply) => edit::reply(reply).map(drop),
            RequestDecision::Fetch(fetch) => edit::request(fetch, "localhost").map(drop),
        }
    }

    fn response(&self, decision: &ResponseDecision) -> Result<(), String> {
        match decision.clone() {
            ResponseDecision::Next => Ok(()),
            ResponseDecision::Edit(Changes { edits, .. }) => Edits::of_response(edits).map(drop),
            ResponseDecision::Reply(reply) => edit::reply(reply).map(drop),
        }
    }
}
