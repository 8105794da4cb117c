//! Geo: lets requests pass, denies or routes them by the country and autonomous system of the
//! client.
//!
//! The host looks both up in its own databases. Values from the client do not count.

mod places;

use places::{Origin, Places, Verdict};
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::field_name;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, host,
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The header field that carries the client's country to upstreams (ISO 3166-1 alpha-2, such as
    /// `DE`). Fields of this name from clients are removed, also if the country is unknown.
    #[schemars(length(min = 1, max = 128))]
    country_header: Option<String>,
    /// The header field that carries the number of the client's autonomous system to upstreams, for
    /// example `64512`. Fields of this name from clients are removed.
    #[schemars(length(min = 1, max = 128))]
    asn_header: Option<String>,
    /// The clients that may pass. Left out: all that are not denied.
    allow: Option<List>,
    /// The clients that are denied, even if `allow` has them.
    deny: Option<List>,
    /// The treatment of a client if a list needs a fact that is unknown, for example for a private
    /// address.
    unknown: Unknown,
    /// The status for denied requests: 403, or 451 for legal reasons (RFC 7725).
    #[schemars(extend("enum" = STATUSES, "default" = 403))]
    status: Option<u16>,
    /// The body for denied requests, as plain text, at most 16 KiB. Left out: a short sentence.
    #[schemars(length(max = 16_384))]
    body: Option<String>,
    /// Upstreams for clients of some places. The first route that fits takes the request. At most
    /// 256.
    #[schemars(length(max = 256))]
    routes: Vec<Route>,
}

/// Countries and autonomous systems.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct List {
    /// Countries, as two letters (ISO 3166-1 alpha-2).
    #[schemars(length(max = 676), inner(regex(pattern = "^[A-Za-z]{2}$")))]
    countries: Vec<String>,
    /// Numbers of autonomous systems; at most 10,000.
    #[schemars(length(max = 10_000), inner(range(min = 1)))]
    asns: Vec<u32>,
}

/// The upstream for clients of some places.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Route {
    /// Countries, as two letters.
    #[serde(default)]
    #[schemars(length(max = 676), inner(regex(pattern = "^[A-Za-z]{2}$")))]
    countries: Vec<String>,
    /// Numbers of autonomous systems; at most 10,000.
    #[serde(default)]
    #[schemars(length(max = 10_000), inner(range(min = 1)))]
    asns: Vec<u32>,
    /// The upstream, named in `allow.upstreams`.
    #[schemars(length(min = 1))]
    upstream: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    /// The client passes.
    Allow,
    /// The client is denied.
    #[default]
    Deny,
}

#[derive(Debug)]
struct Geo {
    country: Option<Input>,
    asn: Option<Input>,
    country_header: Option<String>,
    asn_header: Option<String>,
    allow: Option<Places>,
    deny: Places,
    unknown: Unknown,
    routes: Vec<(Places, String)>,
    reply: Reply,
}

#[weir_sdk::filter]
impl Filter for Geo {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let allow = config.allow.map(|list| Places::new("allow", &list.countries, list.asns));
        let allow = allow.transpose()?;
        if allow.as_ref().is_some_and(Places::is_empty) {
            return Err("allow: names no country and no AS, so no client would pass".into());
        }
        let deny = config.deny.unwrap_or_default();
        let deny = Places::new("deny", &deny.countries, deny.asns)?;
        let routes = routes(config.routes)?;
        let country_header = header("country_header", config.country_header)?;
        let asn_header = header("asn_header", config.asn_header)?;
        if country_header.is_some() && country_header == asn_header {
            return Err("asn_header: is also the country_header".into());
        }
        let places = || allow.iter().chain([&deny]).chain(routes.iter().map(|(places, _)| places));
        let asks_country = country_header.is_some() || places().any(Places::has_countries);
        let asks_asn = asn_header.is_some() || places().any(Places::has_asns);
        needs.pure();
        Ok(Geo {
            country: asks_country.then(|| needs.input("client.country")),
            asn: asks_asn.then(|| needs.input("client.asn")),
            country_header,
            asn_header,
            allow,
            deny,
            unknown: config.unknown,
            routes,
            reply: reply(config.status, config.body)?,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let country = self.country.and_then(|input| request.text(input));
        let asn = self.asn.and_then(|input| request.text(input));
        let origin = Origin::new(country, asn);
        if let Some(metric) = self.refuses(&origin) {
            host::count(metric, 1);
            return self.reply.clone().into();
        }
        let mut changes = Changes::new();
        if let Some(name) = &self.country_header {
            changes = tell(changes, name, origin.country.and(country));
        }
        if let Some(name) = &self.asn_header {
            changes = tell(changes, name, origin.asn.and(asn));
        }
        if let Some((_, upstream)) = self.routes.iter().find(|(places, _)| places.has(&origin)) {
            changes = changes.upstream(upstream.as_str());
        }
        if changes.edits.is_empty() { RequestDecision::Next } else { changes.into() }
    }
}

impl Geo {
    /// Returns the name of the metric that counts the refusal, if the client is denied.
    fn refuses(&self, origin: &Origin) -> Option<&'static str> {
        let mut is_unknown = false;
        match self.deny.judge(origin) {
            Verdict::Has => return Some("denied"),
            Verdict::Unknown => is_unknown = true,
            Verdict::HasNot => {}
        }
        match self.allow.as_ref().map(|allow| allow.judge(origin)) {
            Some(Verdict::HasNot) => return Some("denied"),
            Some(Verdict::Unknown) => is_unknown = true,
            Some(Verdict::Has) | None => {}
        }
        (is_unknown && self.unknown == Unknown::Deny).then_some("unknown")
    }
}

/// Sets the field for upstreams, or removes the client's field if the value is unknown.
fn tell(changes: Changes, name: &str, value: Option<&str>) -> Changes {
    match value {
        Some(value) => changes.set(name, value),
        None => changes.remove(name),
    }
}

fn routes(routes: Vec<Route>) -> Result<Vec<(Places, String)>, String> {
    if routes.len() > ROUTES {
        return Err(format!("routes: more than {ROUTES}"));
    }
    let check = |(at, route): (usize, Route)| {
        let places = Places::new(&format!("routes[{at}]"), &route.countries, route.asns)?;
        if places.is_empty() {
            return Err(format!("routes[{at}]: names no country and no AS"));
        }
        if route.upstream.is_empty() {
            return Err(format!("routes[{at}].upstream: is empty"));
        }
        Ok((places, route.upstream))
    };
    routes.into_iter().enumerate().map(check).collect()
}

fn reply(status: Option<u16>, body: Option<String>) -> Result<Reply, String> {
    let status = status.unwrap_or(STATUSES[0]);
    if !STATUSES.contains(&status) {
        return Err(format!("status: {status} is neither 403 nor 451"));
    }
    let body = body.unwrap_or_else(|| "not available in your region\n".to_owned());
    if body.len() > BODY {
        return Err(format!("body: more than {BODY} bytes"));
    }
    Ok(Reply::new(status)
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "no-store")
        .body(body))
}

/// Returns the name of a field in lower case, if a filter may set it.
fn header(key: &str, name: Option<String>) -> Result<Option<String>, String> {
    let Some(name) = name else { return Ok(None) };
    if name.len() > NAME {
        return Err(format!("{key}: more than {NAME} bytes"));
    }
    field_name(&name).map(Some).map_err(|what| format!("{key}: {what}"))
}

const STATUSES: [u16; 2] = [403, 451];

/// The most routes. They are tried in order.
const ROUTES: usize = 256;

/// The longest body, in bytes.
const BODY: usize = 16_384;

/// The longest name of a field, in bytes.
const NAME: usize = 128;

#[cfg(test)]
mod tests;
