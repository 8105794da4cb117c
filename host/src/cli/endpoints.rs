//! `weir endpoints`: lists the endpoints of a running Weir and changes them.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::operate::Plain;
use super::remote::{RemoteError, cell, items, table};
use crate::config;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct EndpointsArgs {
    #[command(subcommand)]
    command: Option<EndpointsCommand>,
    /// Only this upstream.
    upstream: Option<String>,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Subcommand)]
enum EndpointsCommand {
    /// Give an upstream other endpoints than its configuration has.
    Set {
        /// The upstream.
        upstream: String,
        /// The endpoints, each with its weight if it is not 1.
        #[arg(required = true, value_name = "HOST:PORT[=WEIGHT]", value_parser = endpoint)]
        endpoints: Vec<(String, u32)>,
        #[command(flatten)]
        plain: Plain,
    },
    /// Give an upstream the endpoints of its configuration again.
    Reset {
        /// The upstream.
        upstream: String,
        #[command(flatten)]
        plain: Plain,
    },
    /// Send no new requests to an endpoint.
    Drain {
        #[command(flatten)]
        one: One,
    },
    /// Send requests to an endpoint again.
    Undrain {
        #[command(flatten)]
        one: One,
    },
    /// Change the weight of an endpoint.
    Weight {
        #[command(flatten)]
        one: One,
        /// The weight.
        weight: u32,
    },
}

/// One endpoint.
#[derive(Debug, Args)]
struct One {
    /// The upstream.
    upstream: String,
    /// The endpoint as `weir endpoints` lists it.
    #[arg(value_name = "HOST:PORT")]
    endpoint: String,
    #[command(flatten)]
    plain: Plain,
}

pub(super) fn execute(args: EndpointsArgs) -> Result<(), RemoteError> {
    let Some(command) = args.command else {
        return match args.upstream {
            None => args.plain.tell(Method::GET, "/api/upstreams", Vec::new(), listed),
            Some(name) => args.plain.tell(Method::GET, &of(&name), Vec::new(), one),
        };
    };
    match command {
        EndpointsCommand::Set { upstream, endpoints, plain } => {
            let endpoint =
                |(address, weight): &(String, u32)| json!({ "address": address, "weight": weight });
            let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
            let body = json!({ "endpoints": endpoints }).to_string();
            plain.tell(Method::PUT, &list(&upstream), body.into(), one)
        }
        EndpointsCommand::Reset { upstream, plain } => {
            plain.tell(Method::DELETE, &list(&upstream), Vec::new(), one)
        }
        EndpointsCommand::Drain { one } => drain(&one.plain, &one.upstream, &one.endpoint, true),
        EndpointsCommand::Undrain { one } => drain(&one.plain, &one.upstream, &one.endpoint, false),
        EndpointsCommand::Weight { one, weight } => {
            let change = json!({ "weight": weight });
            patch(&one.plain, &one.upstream, &one.endpoint, &change)
        }
    }
}

/// Begins or ends the drain of an endpoint.
pub(super) fn drain(
    plain: &Plain,
    upstream: &str,
    endpoint: &str,
    drain: bool,
) -> Result<(), RemoteError> {
    patch(plain, upstream, endpoint, &json!({ "drain": drain }))
}

fn patch(plain: &Plain, upstream: &str, endpoint: &str, change: &Value) -> Result<(), RemoteError> {
    let path = format!("{}/{}", list(upstream), encoded(endpoint));
    plain.tell(Method::PATCH, &path, change.to_string().into(), one)
}

fn of(upstream: &str) -> String {
    format!("/api/upstreams/{}", encoded(upstream))
}

fn list(upstream: &str) -> String {
    of(upstream) + "/endpoints"
}

/// Encodes a segment of a path (RFC 3986 §2.1).
fn encoded(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Reads `HOST:PORT` or `HOST:PORT=WEIGHT`. The server reads it again.
fn endpoint(text: &str) -> Result<(String, u32), String> {
    let (address, weight) = match text.split_once('=') {
        Some((address, weight)) => {
            (address, weight.parse().map_err(|error| format!("{weight:?}: {error}"))?)
        }
        None => (text, 1),
    };
    config::host_port(address)?;
    Ok((address.to_owned(), weight))
}

fn listed(answer: &Value) -> String {
    told(items(answer, "/upstreams"))
}

fn one(upstream: &Value) -> String {
    told(std::iter::once(upstream))
}

fn told<'a>(upstreams: impl Iterator<Item = &'a Value>) -> String {
    let head = ["UPSTREAM", "ENDPOINT", "WEIGHT", "STATE", "REQUESTS", "ZONE", "ORIGIN"];
    let mut rows = vec![head.map(str::to_owned)];
    for upstream in upstreams {
        for endpoint in items(upstream, "/endpoints") {
            rows.push([
                cell(upstream, "/name"),
                cell(endpoint, "/endpoint"),
                cell(endpoint, "/weight"),
                state(endpoint),
                cell(endpoint, "/requests"),
                Some(cell(endpoint, "/zone"))
                    .filter(|zone| !zone.is_empty())
                    .unwrap_or("-".to_owned()),
                cell(upstream, "/origin"),
            ]);
        }
    }
    table(&rows)
}

/// Returns the reasons why an endpoint gets no new requests.
fn state(endpoint: &Value) -> String {
    let is = |key: &str, value: bool| endpoint.get(key) == Some(&Value::Bool(value));
    let reasons = [(is("healthy", false), "unhealthy"), (is("drain", true), "drained")];
    let reasons: Vec<&str> =
        reasons.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name).collect();
    if reasons.is_empty() { "available".to_owned() } else { reasons.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_listed_with_the_reasons_that_keep_requests_away() {
        let endpoint = |healthy: bool, drain: bool| {
            json!({ "endpoint": "a:80", "weight": 3, "zone": "", "healthy": healthy,
                    "drain": drain, "requests": 0 })
        };
        let endpoints = [endpoint(true, false), endpoint(false, true)];
        let upstream = json!({ "name": "app", "origin": "api", "endpoints": endpoints });
        assert_eq!(
            listed(&json!({ "upstreams": [upstream] })),
            "UPSTREAM  ENDPOINT  WEIGHT  STATE              REQUESTS  ZONE  ORIGIN\n\
             app       a:80      3       available          0         -     api\n\
             app       a:80      3       unhealthy,drained  0         -     api\n"
        );
    }

    #[test]
    fn an_endpoint_is_read_with_its_weight_or_refused() {
        assert_eq!(endpoint("a.internal:80"), Ok(("a.internal:80".to_owned(), 1)));
        assert_eq!(endpoint("[::1]:80=5"), Ok(("[::1]:80".to_owned(), 5)));
        for wrong in ["a", "a:80=", "a:80=-1", "a:80=x", "http://a:80", ""] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_segment_of_a_path_is_encoded() {
        assert_eq!(encoded("[::1]:80"), "%5B::1%5D:80");
        assert_eq!(encoded("a/b?c d%"), "a%2Fb%3Fc%20d%25");
        assert_eq!(encoded("app-1.internal:8080"), "app-1.internal:8080");
    }
}
