//! One worker's balancer instance for one upstream: hands it what it asked for, checks what it says.
//!
//! A balancer that fails costs one call: the host takes its own round robin for it, counts the failure by kind, and
//! makes a fresh instance for the next one.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use weir_runtime::{BalancerInstance, Outcome, Pick, PluginError};

use super::Upstream;
use crate::proxy::Peer;
use crate::telemetry::metrics::{Plugin as PluginMetrics, PluginFunction};

/// Chooses endpoints of one upstream on one worker.
pub struct Chooser {
    upstream: Arc<Upstream>,
    metrics: PluginMetrics,
    picks: PluginFunction,
    updates: PluginFunction,
    instance: Option<Instance>,
    inputs: Vec<Input>,
    /// The membership that `candidates` and the instance know.
    seen: u64,
    /// Indexes of the healthy endpoints, as of `seen`.
    candidates: Vec<u32>,
    loads: Vec<u32>,
    calls: u32,
    /// How requests ended, for a balancer that wants to know.
    outcomes: Vec<Outcome>,
    /// When a failure was logged last.
    told: Option<Instant>,
}

/// Where a request stands in the order of its upstream's requests; kept over its attempts.
#[derive(Debug, Default)]
pub struct Turn {
    /// How many endpoints were tried before.
    pub attempt: u32,
    sequence: Option<u64>,
}

/// An instance and what is counted for it as long as it lives.
struct Instance {
    balancer: BalancerInstance,
    memory: i64,
    metrics: PluginMetrics,
}

impl Instance {
    fn count(balancer: BalancerInstance, metrics: &PluginMetrics) -> Self {
        let memory = i64::try_from(balancer.memory()).unwrap_or(i64::MAX);
        metrics.instances.inc();
        metrics.memory.add(memory);
        Self { balancer, memory, metrics: metrics.clone() }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.metrics.instances.dec();
        self.metrics.memory.sub(self.memory);
    }
}

/// What a balancer may ask for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// `:path`, with the query.
    Path,
    /// `:method`
    Method,
    /// `:authority`
    Authority,
    /// `client.address`: the IP address as text.
    ClientAddress,
    /// `header:NAME`: the first value.
    Header(http::HeaderName),
    /// `cookie:NAME`
    Cookie(String),
}

impl Input {
    /// Reads an input's name.
    ///
    /// # Errors
    /// Returns the name when there is no such input.
    pub fn parse(name: &str) -> Result<Self, String> {
        let unknown = || format!("no input is called {name:?}");
        Ok(match name {
            ":path" => Self::Path,
            ":method" => Self::Method,
            ":authority" => Self::Authority,
            "client.address" => Self::ClientAddress,
            _ => match name.split_once(':') {
                Some(("header", field)) => Self::Header(field.parse().map_err(|_| unknown())?),
                Some(("cookie", cookie)) if !cookie.is_empty() => Self::Cookie(cookie.to_owned()),
                _ => return Err(unknown()),
            },
        })
    }

    fn read<'a>(&self, head: &'a Parts, authority: &'a str, client: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Path => Some(head.uri.path_and_query().map_or("/", |p| p.as_str()).as_bytes()),
            Self::Method => Some(head.method.as_str().as_bytes()),
            Self::Authority => Some(authority.as_bytes()),
            Self::ClientAddress => Some(client),
            Self::Header(name) => head.headers.get(name).map(http::HeaderValue::as_bytes),
            Self::Cookie(name) => cookie(&head.headers, name.as_bytes()),
        }
    }
}

impl Chooser {
    /// Makes a chooser; the instance is made with its first pick.
    pub fn new(upstream: Arc<Upstream>, metrics: PluginMetrics) -> Self {
        Self {
            picks: metrics.function("pick"),
            updates: metrics.function("update"),
            upstream,
            metrics,
            instance: None,
            inputs: Vec::new(),
            seen: 0,
            candidates: Vec::new(),
            loads: Vec::new(),
            calls: 0,
            outcomes: Vec::new(),
            told: None,
        }
    }

    /// Chooses the endpoint of one attempt, by its id; `None` when no endpoint is healthy.
    pub fn pick(
        &mut self,
        head: &Parts,
        authority: &str,
        peer: &Peer,
        turn: &mut Turn,
    ) -> Option<u32> {
        self.follow_membership();
        if self.candidates.is_empty() {
            return None;
        }
        let choice = match self.ask(head, authority, peer, turn) {
            Ok(Some(id)) if self.candidates.contains(&id) => Some(id),
            Ok(Some(id)) => {
                self.fail(&self.invalid(format!("picked {id}, which is no healthy endpoint")));
                None
            }
            Ok(None) => {
                self.metrics.failure("none");
                None
            }
            Err(error) => {
                self.fail(&error);
                None
            }
        };
        choice.or_else(|| self.round_robin())
    }

    /// Notes how a request ended, if the balancer asked for that; it is told with its next pick.
    pub fn ended(&mut self, endpoint: u32, status: u16, duration: Duration) {
        let wanted = self.instance.as_ref().is_some_and(|i| i.balancer.needs().outcomes);
        if wanted && self.outcomes.len() < MAX_OUTCOMES {
            let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            self.outcomes.push(Outcome { endpoint, status, duration_us });
        }
    }

    /// Learns which endpoints are healthy, if that changed. The instance is told with the next call.
    fn follow_membership(&mut self) {
        let membership = self.upstream.membership();
        if membership == self.seen {
            return;
        }
        self.seen = membership;
        self.candidates.clear();
        for (id, endpoint) in (0u32..).zip(&self.upstream.endpoints) {
            if endpoint.is_healthy() {
                self.candidates.push(id);
            }
        }
        if let Some(mut instance) = self.instance.take() {
            match self.tell(&mut instance.balancer) {
                Ok(()) => self.instance = Some(instance),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn ask(
        &mut self,
        head: &Parts,
        authority: &str,
        peer: &Peer,
        turn: &mut Turn,
    ) -> Result<Option<u32>, PluginError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.instantiate()?,
        };
        if !self.outcomes.is_empty() {
            let told = instance.balancer.observe(&self.outcomes);
            self.outcomes.clear();
            told?;
        }
        let needs = instance.balancer.needs();
        let sequence = if needs.sequence {
            *turn.sequence.get_or_insert_with(|| self.upstream.next_sequence())
        } else {
            0
        };
        self.loads.clear();
        if needs.loads {
            let endpoints = &self.upstream.endpoints;
            let load = |id: &u32| endpoints.get(*id as usize).map_or(0, |e| e.load());
            self.loads.extend(self.candidates.iter().map(load));
        }
        let mut buffer = [0; 64];
        let client = client_text(peer, &mut buffer);
        let inputs: Vec<_> = self.inputs.iter().map(|i| i.read(head, authority, client)).collect();
        let pick = Pick { sequence, attempt: turn.attempt, inputs: &inputs, loads: &self.loads };

        // Reading the clock twice costs a fifth of the call: one in so many is timed.
        let timed = self.calls.is_multiple_of(TIMED_EVERY).then(Instant::now);
        self.calls = self.calls.wrapping_add(1);
        self.picks.calls.inc();
        let choice = instance.balancer.pick(pick);
        if let Some(start) = timed {
            self.picks.duration.observe(start.elapsed().as_secs_f64());
        }
        if choice.is_ok() {
            self.instance = Some(instance);
        }
        choice
    }

    fn instantiate(&mut self) -> Result<Instance, PluginError> {
        let mut instance = self.upstream.balancer.instantiate(&self.upstream.balancer_config)?;
        self.inputs = inputs(&instance).map_err(|what| self.invalid(what))?;
        self.tell(&mut instance)?;
        Ok(Instance::count(instance, &self.metrics))
    }

    fn tell(&self, instance: &mut BalancerInstance) -> Result<(), PluginError> {
        let known = |id: &u32| {
            let endpoint = self.upstream.endpoints.get(*id as usize)?;
            Some(weir_runtime::Endpoint {
                id: *id,
                address: endpoint.name.to_string(),
                weight: endpoint.weight,
                zone: endpoint.zone.clone(),
                labels: endpoint.labels.clone(),
            })
        };
        let endpoints: Vec<_> = self.candidates.iter().filter_map(known).collect();
        self.updates.calls.inc();
        let start = Instant::now();
        let told = instance.update(&endpoints);
        self.updates.duration.observe(start.elapsed().as_secs_f64());
        told
    }

    fn fail(&mut self, error: &PluginError) {
        self.instance = None;
        self.metrics.failure(error.kind());
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(
                plugin = &*self.upstream.balancer_name,
                upstream = &*self.upstream.name,
                kind = error.kind(),
                error = error as &dyn std::error::Error,
                "balancer failed; round robin took its place for this request"
            );
        }
    }

    fn invalid(&self, what: String) -> PluginError {
        PluginError::invalid(&self.upstream.balancer_name, what)
    }

    fn round_robin(&self) -> Option<u32> {
        let turn = self.upstream.next_sequence() % self.candidates.len() as u64;
        self.candidates.get(usize::try_from(turn).ok()?).copied()
    }
}

/// One call in so many is timed for the histogram.
const TIMED_EVERY: u32 = 16;

/// Outcomes kept until the next pick; more than that between two picks are not told.
const MAX_OUTCOMES: usize = 1024;

/// A balancer that fails with each request is told of this often; the counter has them all.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The inputs that an instance asked for.
///
/// # Errors
/// Says so when there is no input of a name.
pub fn inputs(instance: &BalancerInstance) -> Result<Vec<Input>, String> {
    instance.needs().inputs.iter().map(|name| Input::parse(name)).collect()
}

fn client_text<'a>(peer: &Peer, buffer: &'a mut [u8; 64]) -> &'a [u8] {
    let mut rest = &mut buffer[..];
    let ip = peer.client.ip().to_canonical();
    // An address is 45 characters at the most, so this always fits.
    let _ = write!(rest, "{ip}");
    let left = rest.len();
    buffer.get(..64 - left).unwrap_or_default()
}

/// The value of a cookie (RFC 6265 §4.2.1), from any of the Cookie fields.
fn cookie<'a>(headers: &'a http::HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|b| *b == b';'))
        .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_in_any_field_by_its_whole_name() {
        let mut headers = http::HeaderMap::new();
        headers.append("cookie", "sid2=x; other=1".parse().unwrap());
        headers.append("cookie", "sid=abc=d".parse().unwrap());
        assert_eq!(cookie(&headers, b"sid"), Some(&b"abc=d"[..]));
        assert_eq!(cookie(&headers, b"si"), None);
    }

    #[test]
    fn an_input_is_known_by_its_name_or_refused() {
        assert_eq!(Input::parse("header:X-User"), Ok(Input::Header("x-user".parse().unwrap())));
        assert_eq!(Input::parse("cookie:sid"), Ok(Input::Cookie("sid".into())));
        for name in ["header:", "header:a b", "cookie:", "path", ""] {
            assert!(Input::parse(name).is_err(), "{name}");
        }
    }
}
