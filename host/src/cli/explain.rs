//! `weir check --explain URL`: the route that gets a request, and the reason why each route before
//! it does not.

use std::fmt::Write as _;
use std::net::IpAddr;

use clap::Args;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use crate::route::{Action, Route};
use crate::state::State;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Tell which route gets a request for this URL, and why the routes before it do not.
    #[arg(long, value_name = "URL")]
    explain: Option<Uri>,
    /// The method of the request.
    #[arg(long, value_name = "METHOD", default_value = "GET", requires = "explain")]
    method: Method,
    /// A field of the request. Repeatable.
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_field, requires = "explain")]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The address of the client.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", requires = "explain")]
    client: IpAddr,
}

/// A request that cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    /// The URL names no host.
    #[error("--explain needs a URL with a host, as in https://example.com/path")]
    NoHost,
}

/// A request to explain.
pub(super) struct ExplainRequest {
    head: Parts,
    authority: String,
    client: IpAddr,
}

fn parse_field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as \"name: value\"")?;
    let name = name.trim().parse().map_err(|_| "the name is no field's name")?;
    let value = value.trim().parse().map_err(|_| "the value is no field's value")?;
    Ok((name, value))
}

impl ExplainArgs {
    /// Returns the request, if one is to be explained.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub(super) fn request(&self) -> Result<Option<ExplainRequest>, ExplainError> {
        let Some(uri) = &self.explain else { return Ok(None) };
        let authority = uri.authority().ok_or(ExplainError::NoHost)?.to_string();
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri.clone();
        for (name, value) in &self.header {
            request.headers_mut().append(name, value.clone());
        }
        let (head, ()) = request.into_parts();
        Ok(Some(ExplainRequest { head, authority, client: self.client }))
    }
}

/// Returns the explanation of a request, a line for each route that was looked at.
pub(super) fn text(state: &State, request: &ExplainRequest) -> String {
    let mut text = String::new();
    for (at, route) in state.router.iter().enumerate() {
        let reason = route.mismatch(&request.head, &request.authority, request.client);
        let (number, name) = (at + 1, &route.name);
        // Writing to a text cannot fail.
        let _ = match &reason {
            Some(reason) => writeln!(text, "{number}. {name}: {reason}"),
            None => writeln!(text, "{number}. {name}: matches, {}", action(state, route)),
        };
        if reason.is_none() {
            return text;
        }
    }
    text + "no route matches: the answer is 404\n"
}

fn action(state: &State, route: &Route) -> String {
    let config = &state.config;
    let filters = route.filters.iter().filter_map(|id| id.of(&config.plugins));
    let mut filters = filters.map(|plugin| plugin.name.as_str()).collect::<Vec<_>>().join(", ");
    if !filters.is_empty() {
        filters = format!(" through {filters}");
    }
    let target = match &route.action {
        Action::Upstream(id) => {
            let name = id.of(&config.upstreams).map_or("", |upstream| upstream.name.as_str());
            format!("upstream {name}")
        }
        Action::Split(split) => {
            let shares: Vec<_> = split.shares().map(|(name, n)| format!("{name} ({n})")).collect();
            format!("upstream {}", shares.join(" or "))
        }
        Action::Respond(respond) => format!("a fixed response with {}", respond.status.as_u16()),
        Action::Component(id) => {
            let name = id.of(&config.plugins).map_or("", |plugin| plugin.name.as_str());
            format!("component {name}")
        }
        Action::ConnectUdp(_) => "a tunnel of UDP".to_owned(),
    };
    format!("to {target}{filters}")
}
