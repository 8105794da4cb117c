//! A filter that puts its version on responses, and can fail. Tests swap its generations.
//!
//! The version and the fault are texts in the component. Tests replace them with texts of the same
//! length.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Refused, Request, RequestDecision, Response, ResponseDecision,
    host,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {}

/// `version=` with 16 characters, then `faults=` with 16. The faults are `none`, `trap` (each
/// request), `trap-response`, `invalid-response`, `refuse` (counts, then refuses the
/// configuration), `slow` and `crawl`.
static MARK: &str = "version=0000000000000000 faults=none............";

struct Versioned {
    version: String,
    faults: String,
}

#[weir_sdk::filter]
impl Filter for Versioned {
    type Config = Config;

    fn new(_config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        needs.on_request();
        needs.on_response();
        // Hides the value from the compiler, which then reads it at run time.
        let mark = std::hint::black_box(MARK);
        let version = mark[8..24].to_owned();
        let faults = mark[32..].trim_end_matches('.').to_owned();
        if faults == "refuse" {
            host::count("refused", 1);
            return Err("this version refuses its configuration".into());
        }
        Ok(Versioned { version, faults })
    }

    fn on_request(&mut self, _request: &Request<'_>) -> RequestDecision {
        match self.faults.as_str() {
            "trap" => panic!("as marked"),
            "slow" => waste(1_000_000),
            "crawl" => waste(8_000_000),
            _ => {}
        }
        Changes::new().set("x-version", self.version.as_str()).context(self.version.as_str()).into()
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        match self.faults.as_str() {
            "trap-response" => panic!("as marked"),
            "invalid-response" => return Changes::new().set("connection", "close").into(),
            _ => {}
        }
        // The context from the request must be of the same generation.
        let is_own = response.context == self.version.as_bytes();
        let own = if is_own { "whole" } else { "split" };
        Changes::new().set("x-version", self.version.as_str()).set("x-generation", own).into()
    }
}

fn waste(turns: u64) {
    for n in 0..turns {
        std::hint::black_box(n);
    }
}
