//! The policy of a tenant's requests. `examples/README.md` describes it exactly.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Reply, Request, RequestDecision, Response,
    ResponseDecision,
};

/// The configuration, as it stands under `config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Policies, by the name of the tenant.
    tenants: HashMap<String, Policy>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// The prefix of the path.
    #[schemars(regex(pattern = "^/.*[^/]$"))]
    prefix: Option<String>,
    /// The value of x-plan for the origin.
    plan: Option<String>,
    /// The methods that are allowed.
    methods: Option<Vec<String>>,
    /// The largest content-length that is allowed.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    max_body: Option<u32>,
}

#[derive(Debug)]
struct Tenants {
    tenants: HashMap<String, Policy>,
    tenant: Input,
    method: Input,
    path: Input,
    length: Input,
}

#[weir_sdk::filter]
impl Filter for Tenants {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, String> {
        for (name, policy) in &config.tenants {
            let is_prefix = |prefix: &String| prefix.starts_with('/') && !prefix.ends_with('/');
            if !policy.prefix.as_ref().is_none_or(is_prefix) {
                return Err(format!(
                    "tenants.{name}.prefix: it must begin with a slash and not end with one"
                ));
            }
            if policy.max_body.is_some_and(|most| most > i32::MAX as u32) {
                return Err(format!("tenants.{name}.max_body: it is too large"));
            }
        }
        needs.on_response();
        Ok(Tenants {
            tenants: config.tenants,
            tenant: needs.header("x-tenant"),
            method: needs.method(),
            path: needs.path(),
            length: needs.header("content-length"),
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let known =
            request.text(self.tenant).and_then(|tenant| Some((tenant, self.tenants.get(tenant)?)));
        let Some((tenant, policy)) = known else {
            return refuse(403, "unknown tenant\n").into();
        };
        if let Some(methods) = &policy.methods {
            let method = request.text(self.method).unwrap_or_default();
            if !methods.iter().any(|allowed| allowed == method) {
                return refuse(405, "method not allowed\n")
                    .header("allow", methods.join(", "))
                    .into();
            }
        }
        if let (Some(most), Some(length)) = (policy.max_body, request.bytes(self.length))
            && !fits(length, most)
        {
            return refuse(413, "body too large\n").into();
        }
        if policy.prefix.is_none() && policy.plan.is_none() {
            return RequestDecision::Next;
        }
        let mut changes = Changes::new();
        let path = request.text(self.path).unwrap_or_default();
        if let Some(prefix) = &policy.prefix
            && path.starts_with('/')
        {
            changes = changes.path(format!("{prefix}{path}"));
        }
        if let Some(plan) = &policy.plan {
            changes = changes.set("x-plan", plan.as_str());
        }
        changes.context(tenant).into()
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        if response.context.is_empty() {
            return ResponseDecision::Next;
        }
        Changes::new().set("x-tenant", response.context).into()
    }
}

fn refuse(status: u16, body: &str) -> Reply {
    Reply::new(status).header("content-type", "text/plain").body(body)
}

/// Whether a content-length is a number and at most `most`.
fn fits(length: &[u8], most: u32) -> bool {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some((sum * 10 + digit).min(u64::from(u32::MAX)))
    };
    !length.is_empty()
        && length.iter().try_fold(0, add).is_some_and(|length| length <= u64::from(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_no_more_than_allowed() {
        assert!(fits(b"0", 0) && fits(b"10", 10) && fits(b"0010", 10));
        for length in [&b""[..], b"11", b"1x", b"-1", b"+1", b"99999999999999999999999"] {
            assert!(!fits(length, 10), "{length:?}");
        }
    }
}
