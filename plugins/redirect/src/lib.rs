//! Redirect: redirects clients to https, to another host or to another path.
//!
//! A target that equals the request is not sent, because the client would loop forever. The request
//! goes on.

mod config;
mod target;

use config::{Config, Rule as Written, Scheme, Status};
use target::{Asked, Made, Reference, Target};
use weir_filter_common::authority::split_port;
use weir_filter_common::matcher::Matcher;
use weir_filter_common::path;
use weir_sdk::{Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, host};

#[derive(Debug)]
struct Redirect {
    rules: Vec<Rule>,
    cache_control: Option<String>,
    /// The longest path that is examined, in bytes.
    longest_path: usize,
    target: Input,
    authority: Input,
    scheme: Input,
}

/// A checked rule.
#[derive(Debug)]
struct Rule {
    scheme: Option<Scheme>,
    host: Host,
    matcher: Matcher,
    target: Target,
    keep_query: bool,
    status: u16,
}

/// The hosts of a rule.
#[derive(Debug)]
enum Host {
    Any,
    Exact(String),
    /// With the leading dot.
    Below(String),
}

#[weir_sdk::filter]
impl Filter for Redirect {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        if !(1..=MOST_RULES).contains(&config.rules.len()) {
            return Err(format!("rules: must be 1 to {MOST_RULES}").into());
        }
        let has_regex = config.rules.iter().any(|rule| rule.regex.is_some());
        let rules = config.rules.into_iter().enumerate();
        let rules = rules.map(|(at, rule)| {
            Rule::new(rule, config.status).map_err(|error| format!("rules[{at}].{error}"))
        });
        Ok(Redirect {
            rules: rules.collect::<Result<_, _>>()?,
            cache_control: config.max_age.map(|seconds| format!("max-age={seconds}")),
            longest_path: if has_regex { LONGEST_FOR_REGEX } else { LONGEST },
            target: needs.path(),
            authority: needs.authority(),
            scheme: needs.input(":scheme"),
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let target = request.text(self.target).filter(|target| target.starts_with('/'));
        let (Some(target), Some(authority), Some(scheme)) =
            (target, request.text(self.authority), request.text(self.scheme))
        else {
            return RequestDecision::Next;
        };
        let (path, query) = path::split(target);
        if path.len() > self.longest_path {
            return too_long();
        }
        let asked = Asked { scheme, authority, path, query };
        let Some((rule, made)) =
            self.rules.iter().find_map(|rule| Some((rule, rule.apply(&asked)?)))
        else {
            return RequestDecision::Next;
        };
        if made.is(&asked) {
            host::count("loops", 1);
            return RequestDecision::Next;
        }
        let location = made.location();
        if location.len() > LONGEST {
            return too_long();
        }
        host::count("redirected", 1);
        let mut reply = Reply::new(rule.status).header("location", location);
        if let Some(cache_control) = &self.cache_control {
            reply = reply.header("cache-control", cache_control.as_str());
        }
        reply.into()
    }
}

impl Rule {
    fn new(rule: Written, status: Status) -> Result<Rule, String> {
        let matcher = Matcher::new(rule.prefix, rule.path, rule.regex.as_deref())?;
        let target = match (rule.to.as_deref(), rule.trailing_slash) {
            (Some(to), None) => {
                let reference = Reference::parse(to, &matcher);
                Target::Reference(Box::new(reference.map_err(|error| format!("to: {error}"))?))
            }
            (None, Some(slash)) => Target::TrailingSlash(slash),
            _ => return Err("to: a rule has either this or trailing_slash".to_owned()),
        };
        Ok(Rule {
            scheme: rule.scheme,
            host: Host::new(rule.host.as_deref()).map_err(|error| format!("host: {error}"))?,
            matcher,
            target,
            keep_query: rule.keep_query,
            status: rule.status.unwrap_or(status).code(),
        })
    }

    /// Returns the target for this request, or `None` if the rule does not match.
    fn apply<'a>(&'a self, asked: &Asked<'a>) -> Option<Made<'a>> {
        if self.scheme.is_some_and(|scheme| scheme.name() != asked.scheme)
            || !self.host.matches(asked.authority)
        {
            return None;
        }
        let found = self.matcher.find(asked.path)?;
        self.target.make(asked, &found, self.keep_query)
    }
}

impl Host {
    fn new(pattern: Option<&str>) -> Result<Host, String> {
        let Some(pattern) = pattern else { return Ok(Host::Any) };
        let is_host = |host: &str| weir_filter_common::authority::is_authority(host);
        let (host, port) = split_port(pattern);
        match (host.strip_prefix('*'), port) {
            (None, None) if is_host(host) => Ok(Host::Exact(host.to_owned())),
            (Some(below), None) if below.len() > 1 && below.starts_with('.') && is_host(below) => {
                Ok(Host::Below(below.to_owned()))
            }
            _ => Err(format!("{pattern:?} is neither a host nor *.host, without port")),
        }
    }

    /// Compares hosts. Case, port and a final dot are ignored (RFC 3986 §3.2.2).
    fn matches(&self, authority: &str) -> bool {
        let host = split_port(authority).0;
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Host::Any => true,
            Host::Exact(exact) => host.eq_ignore_ascii_case(exact),
            Host::Below(suffix) => {
                let at = host.len().checked_sub(suffix.len()).filter(|at| *at > 0);
                let end = at.and_then(|at| host.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        }
    }
}

fn too_long() -> RequestDecision {
    host::count("too_long", 1);
    Reply::new(414)
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "no-store")
        .body("the target is too long\n")
        .into()
}

const MOST_RULES: usize = 64;

/// The longest examined path and the longest Location, in bytes: half of the bound for the fields
/// of a reply.
const LONGEST: usize = 30 << 10;

/// The longest path for regular expressions, in bytes: their time grows with the path.
const LONGEST_FOR_REGEX: usize = 2 << 10;

#[cfg(test)]
mod tests;
