//! Rate limit: a token bucket for each client, header value or route, over all workers.
//!
//! A bucket holds `burst` tokens and gains `requests` tokens per `per`. A request takes one token.
//! Without a token it gets 429 with `Retry-After`. Responses carry `RateLimit` and
//! `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). A bucket is stored as one number, the
//! time at which it is full again (GCRA, ITU-T I.371). It changes in one atomic step, so several
//! workers never allow more requests than one worker would.

mod bucket;
mod key;

use std::time::Duration;

use bucket::{Bucket, Verdict};
use key::Key;
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::duration;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Refused, Reply, Request, RequestDecision, Response,
    ResponseDecision, host, state,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The key that requests are counted by: `client` (its address), `route`, `header:NAME` or
    /// `global`.
    #[serde(default = "by_client")]
    by: String,
    /// How many requests may be made per `per`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    requests: u64,
    /// The period of `requests`, such as `1s`, `1m` or `1h`.
    #[serde(default = "a_second")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h)$"))]
    per: String,
    /// How many requests may be made at once after a pause. Left out: as many as `requests`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    burst: Option<u64>,
    /// The treatment of requests without the header: `limit` counts them all together, `allow` lets
    /// them pass.
    #[serde(default)]
    missing: Missing,
    /// How many leading bits of an IPv6 address identify a client. One client usually has a whole
    /// /64.
    #[serde(default = "ipv6_prefix")]
    #[schemars(range(min = 1, max = 128))]
    ipv6_prefix: u8,
    /// A space of the state, named in `allow.state`, in which other plugins count too. Left out:
    /// the plugin's own space.
    #[serde(default)]
    shared: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Missing {
    /// They are counted together.
    #[default]
    Limit,
    /// They pass.
    Allow,
}

#[derive(Debug)]
struct RateLimit {
    bucket: Bucket,
    key: Key,
    missing: Missing,
    space: String,
    /// The value of `RateLimit-Policy`.
    policy: String,
}

#[weir_sdk::filter]
impl Filter for RateLimit {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let per = period(&config.per).ok_or_else(|| {
            format!("per: {:?} is not a time above zero, such as 1s, 1m or 1h", config.per)
        })?;
        let burst = config.burst.unwrap_or(config.requests);
        let bucket = Bucket::new(config.requests, per, burst)?;
        let key = Key::new(&config.by, config.ipv6_prefix, needs)?;
        needs.on_request();
        needs.on_response();
        let seconds = per.div_ceil(SECOND);
        let policy = format!("\"default\";q={};w={seconds}", config.requests);
        Ok(RateLimit { bucket, key, missing: config.missing, space: config.shared, policy })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let Some(key) = self.key.of(request, self.missing) else { return RequestDecision::Next };
        match self.take(&key) {
            Verdict::Pass { left, full_in } => {
                let told = limit(left, full_in);
                Changes::new().context(told).into()
            }
            Verdict::Wait { retry_in, full_in } => {
                host::count("limited", 1);
                Reply::new(429)
                    .header("retry-after", retry_in.div_ceil(SECOND).max(1).to_string())
                    .header("ratelimit-policy", self.policy.as_str())
                    .header("ratelimit", limit(0, full_in))
                    .header("content-type", "text/plain; charset=utf-8")
                    .body("too many requests\n")
                    .into()
            }
        }
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        if response.context.is_empty() {
            return ResponseDecision::Next;
        }
        Changes::new()
            .set("ratelimit-policy", self.policy.as_str())
            .set("ratelimit", response.context)
            .into()
    }
}

impl RateLimit {
    /// Takes a token from the bucket of this key. Another worker can change the bucket first. After
    /// [`TRIES`] tries the request passes.
    fn take(&self, key: &str) -> Verdict {
        let now = nanoseconds(host::now()).unwrap_or(u64::MAX);
        for _ in 0..TRIES {
            let kept = state::get(&self.space, key);
            let full_at = kept.as_deref().and_then(number);
            let (verdict, full_at) = self.bucket.take(full_at, now);
            let Some(full_at) = full_at else { return verdict };
            let ttl = (full_at - now).div_ceil(MILLISECOND).max(1);
            let value = full_at.to_le_bytes();
            if state::replace(&self.space, key, kept.as_deref(), &value, ttl) {
                return verdict;
            }
        }
        host::count("contended", 1);
        Verdict::Pass { left: 0, full_in: 0 }
    }
}

/// Returns the value of `RateLimit`: tokens left, and seconds until the bucket is full.
fn limit(left: u64, full_in: u64) -> String {
    format!("\"default\";r={left};t={}", full_in.div_ceil(SECOND))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn period(text: &str) -> Option<u64> {
    let time = duration(text).filter(|_| !text.ends_with('d'))?;
    nanoseconds(time).filter(|time| *time > 0)
}

fn nanoseconds(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos()).ok()
}

fn by_client() -> String {
    "client".to_owned()
}

fn a_second() -> String {
    "1s".to_owned()
}

fn ipv6_prefix() -> u8 {
    64
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;

/// More than the workers that can use one bucket in the same microsecond.
const TRIES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(by: &str, requests: u64) -> Config {
        Config {
            by: by.to_owned(),
            requests,
            per: "1h".to_owned(),
            burst: None,
            missing: Missing::Limit,
            ipv6_prefix: 64,
            shared: String::new(),
        }
    }

    fn limit_of(config: Config) -> RateLimit {
        RateLimit::new(config, &mut FilterNeeds::default()).unwrap()
    }

    fn ask(limit: &mut RateLimit, value: Option<&str>) -> Result<String, Reply> {
        let inputs = [value.map(|value| value.as_bytes().to_vec())];
        match limit.on_request(&Request { inputs: &inputs }) {
            RequestDecision::Edit(changes) => Ok(String::from_utf8(changes.context).unwrap()),
            RequestDecision::Next => Ok("next".to_owned()),
            RequestDecision::Reply(reply) => Err(reply),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn past_the_burst_the_answer_is_429() {
        let mut limit = limit_of(config("client", 3));
        for left in [2, 1, 0] {
            let told = ask(&mut limit, Some("192.0.2.7")).unwrap();
            assert!(told.starts_with(&format!("\"default\";r={left};t=")), "{told}");
        }
        let reply = ask(&mut limit, Some("192.0.2.7")).unwrap_err();
        assert_eq!(reply.status, 429);
        assert_eq!(reply.field("retry-after"), Some("1200"));
        assert_eq!(reply.field("ratelimit-policy"), Some("\"default\";q=3;w=3600"));
        assert!(ask(&mut limit, Some("192.0.2.8")).is_ok(), "another client has its own bucket");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let mut limit = limit_of(config("client", 1));
        assert!(ask(&mut limit, Some("2001:db8:1:2::1")).is_ok());
        assert!(ask(&mut limit, Some("2001:db8:1:2:ffff::9")).is_err());
        assert!(ask(&mut limit, Some("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn requests_without_the_header_share_a_bucket_or_pass() {
        let mut limit = limit_of(config("header:x-key", 1));
        assert!(ask(&mut limit, None).is_ok());
        assert!(ask(&mut limit, None).is_err());
        assert!(ask(&mut limit, Some("")).is_ok(), "an empty value is a value");
        let mut allow = limit_of(Config { missing: Missing::Allow, ..config("header:x-key", 1) });
        for _ in 0..5 {
            assert_eq!(ask(&mut allow, None).unwrap(), "next");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let new = |config| RateLimit::new(config, &mut FilterNeeds::default());
        for per in ["", "1", "s", "0s", "1d", "99999999999999h"] {
            let error = new(Config { per: per.to_owned(), ..config("client", 1) }).unwrap_err();
            assert!(error.starts_with("per:"), "{error:?}");
        }
        for by in ["", "clients", "header:", "header:a b"] {
            assert!(new(config(by, 1)).unwrap_err().starts_with("by:"), "{by}");
        }
    }
}
