//! The policy of a tenant's requests. `examples/README.md` describes it exactly.

use std::collections::HashMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, Response,
    ResponseDecision, Secret, edit, fetch, host, next, reply, state,
};

/// The configuration, as it stands under `config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Policies, by the name of the tenant.
    tenants: HashMap<String, Policy>,
    /// The upstream that knows the plans of further tenants.
    directory: Option<String>,
    /// The requests that a tenant may make in a minute.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    quota: Option<i64>,
    /// Requests with this value of x-key pass without a tenant.
    key: Option<Secret>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
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
    config: Config,
    tenant: Input,
    key: Input,
    method: Input,
    path: Input,
    length: Input,
}

#[weir_sdk::filter]
impl Filter for Tenants {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        for (name, policy) in &config.tenants {
            let is_prefix = |prefix: &String| prefix.starts_with('/') && !prefix.ends_with('/');
            if !policy.prefix.as_ref().is_none_or(is_prefix) {
                let what = "it must begin with a slash and not end with one";
                return Err(format!("tenants.{name}.prefix: {what}").into());
            }
            if policy.max_body.is_some_and(|most| most > i32::MAX as u32) {
                return Err(format!("tenants.{name}.max_body: it is too large").into());
            }
        }
        if config.quota.is_some_and(|quota| !(1..=i64::from(i32::MAX)).contains(&quota)) {
            return Err("quota: it must be from 1 to 2147483647".into());
        }
        needs.on_response();
        Ok(Tenants {
            config,
            tenant: needs.header("x-tenant"),
            key: needs.header("x-key"),
            method: needs.method(),
            path: needs.path(),
            length: needs.header("content-length"),
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        if let (Some(key), Some(given)) = (&self.config.key, request.bytes(self.key)) {
            return match key.eq_bytes(given) {
                true => edit().remove("x-key").attribute("by", "key").into(),
                false => refuse(403, "wrong key\n").into(),
            };
        }
        let Some(tenant) = request.text(self.tenant) else {
            return refuse(403, "unknown tenant\n").into();
        };
        match (self.config.tenants.get(tenant), &self.config.directory) {
            (Some(policy), _) => self.decide(tenant, policy, Some(request)),
            (None, Some(directory)) if is_name(tenant) => self.look_up(tenant, directory),
            (None, _) => refuse(403, "unknown tenant\n").into(),
        }
    }

    fn on_fetch(&mut self, context: &[u8], answer: Result<Reply, String>) -> RequestDecision {
        let tenant = String::from_utf8_lossy(context);
        match answer {
            Ok(answer) if answer.status == 200 => {
                let plan = answer.field("x-plan").unwrap_or_default();
                state::set("", &key_of(&tenant), format!("+{plan}").as_bytes(), KEPT);
                self.decide(&tenant, &with_plan(plan), None)
            }
            Ok(answer) if answer.status == 404 => {
                state::set("", &key_of(&tenant), b"-", KEPT);
                refuse(403, "unknown tenant\n").into()
            }
            _ => {
                host::count("undecided", 1);
                refuse(503, "no directory\n").into()
            }
        }
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        if response.context.is_empty() {
            return next();
        }
        edit().set("x-tenant", response.context).into()
    }
}

impl Tenants {
    /// Decides by what the directory said about the tenant in the last minute, or asks it.
    fn look_up(&self, tenant: &str, directory: &str) -> RequestDecision {
        match state::get("", &key_of(tenant)).as_deref() {
            Some([b'+', plan @ ..]) => {
                self.decide(tenant, &with_plan(&String::from_utf8_lossy(plan)), None)
            }
            Some(_) => refuse(403, "unknown tenant\n").into(),
            None => {
                let path = format!("/tenants/{tenant}");
                fetch(directory, path).timeout(Duration::from_secs(2)).context(tenant).into()
            }
        }
    }

    /// Decides by a policy. Without the request it is one of the directory, which has only a plan.
    fn decide(
        &self,
        tenant: &str,
        policy: &Policy,
        request: Option<&Request<'_>>,
    ) -> RequestDecision {
        let text = |input| request.and_then(|request| request.text(input)).unwrap_or_default();
        let length = request.and_then(|request| request.bytes(self.length));
        if let Some(methods) = &policy.methods
            && !methods.iter().any(|allowed| allowed == text(self.method))
        {
            let allow = methods.join(", ");
            return refuse(405, "method not allowed\n").header("allow", allow).into();
        }
        if let (Some(most), Some(length)) = (policy.max_body, length)
            && !fits(length, most)
        {
            return refuse(413, "body too large\n").into();
        }
        if let Some(quota) = self.config.quota
            && state::add("", &format!("quota/{tenant}"), 1, MINUTE) > quota
        {
            host::count("limited", 1);
            return refuse(429, "too many requests\n").header("retry-after", "60").into();
        }
        if policy.prefix.is_none() && policy.plan.is_none() {
            return next();
        }
        let mut changes = edit();
        let path = text(self.path);
        if let Some(prefix) = &policy.prefix
            && path.starts_with('/')
        {
            changes = changes.path(format!("{prefix}{path}"));
        }
        if let Some(plan) = &policy.plan {
            changes = changes.set("x-plan", plan.as_str()).attribute("plan", plan.as_str());
        }
        changes.context(tenant).into()
    }
}

fn with_plan(plan: &str) -> Policy {
    Policy { plan: Some(plan.to_owned()).filter(|plan| !plan.is_empty()), ..Policy::default() }
}

/// Whether the directory may be asked for a tenant of this name.
fn is_name(tenant: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=64).contains(&tenant.len()) && tenant.bytes().all(is_plain)
}

fn key_of(tenant: &str) -> String {
    format!("tenant/{tenant}")
}

fn refuse(status: u16, body: &str) -> Reply {
    reply(status).header("content-type", "text/plain").body(body)
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

/// A minute, and the time for which an answer of the directory counts, in milliseconds.
const MINUTE: u64 = 60_000;
const KEPT: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_s_path_gets_the_prefix() {
        let policy = Policy { prefix: Some("/acme".to_owned()), ..Policy::default() };
        let tenants = HashMap::from([("acme".to_owned(), policy)]);
        let config = Config { tenants, directory: None, quota: None, key: None };
        let mut needs = FilterNeeds::default();
        let mut plugin = Tenants::new(config, &mut needs).unwrap();
        let values = needs.request().with(plugin.tenant, "acme").with(plugin.path, "/orders");
        let expected = edit().path("/acme/orders").context("acme").into();
        assert_eq!(plugin.on_request(&values.request()), expected);
    }

    #[test]
    fn a_length_is_digits_and_no_more_than_allowed() {
        assert!(fits(b"0", 0) && fits(b"10", 10) && fits(b"0010", 10));
        for length in [&b""[..], b"11", b"1x", b"-1", b"+1", b"99999999999999999999999"] {
            assert!(!fits(length, 10), "{length:?}");
        }
    }
}
