//! Geo: lets requests pass, denies or routes them by the country and the autonomous system of the client.
//!
//! The host knows both from its own databases, or does not; nothing that a client sends counts.

mod places;

use places::{Origin, Places, Verdict};
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::field_name;
use weir_sdk::{Changes, Filter, FilterNeeds, Input, Reply, Request, RequestDecision, host};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The field that tells upstreams the client's country (ISO 3166-1 alpha-2, such as `DE`). What a client sends
    /// of this name is removed, also where the country is not known.
    #[schemars(length(min = 1, max = 128))]
    country_header: Option<String>,
    /// The field that tells upstreams the number of the client's autonomous system, such as `64512`; as above.
    #[schemars(length(min = 1, max = 128))]
    asn_header: Option<String>,
    /// Who may pass. Left out: everybody who is not denied.
    allow: Option<List>,
    /// Who is denied, though allowed.
    deny: Option<List>,
    /// What becomes of a client of which the lists ask what is not known, such as one with a private address.
    unknown: Unknown,
    /// The status of what is denied: 403, or 451 for legal reasons (RFC 7725).
    #[schemars(extend("enum" = STATUSES, "default" = 403))]
    status: Option<u16>,
    /// The body of what is denied, as plain text; at most 16 KiB. Left out: a short sentence.
    #[schemars(length(max = 16_384))]
    body: Option<String>,
    /// Upstreams for clients of some places; the first that fits takes the request. At most 256.
    #[schemars(length(max = 256))]
    routes: Vec<Route>,
}

/// Places.
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

/// Where clients of some places are sent.
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
    /// It passes.
    Allow,
    /// It is denied.
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

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, String> {
        let allow = config.allow.map(|list| Places::new("allow", &list.countries, list.asns));
        let allow = allow.transpose()?;
        if allow.as_ref().is_some_and(Places::is_empty) {
            return Err("allow: names no country and no AS: nobody would pass".to_owned());
        }
        let deny = config.deny.unwrap_or_default();
        let deny = Places::new("deny", &deny.countries, deny.asns)?;
        let routes = routes(config.routes)?;
        let country_header = header("country_header", config.country_header)?;
        let asn_header = header("asn_header", config.asn_header)?;
        if country_header.is_some() && country_header == asn_header {
            return Err("asn_header: is the country_header as well".to_owned());
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
    /// Whether a client is denied: the name of the metric that counts it.
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

/// Tells upstreams a value, or takes away what a client says of it.
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

/// A field's name in lower case, if a filter may set it.
fn header(key: &str, name: Option<String>) -> Result<Option<String>, String> {
    let Some(name) = name else { return Ok(None) };
    if name.len() > NAME {
        return Err(format!("{key}: more than {NAME} bytes"));
    }
    field_name(&name).map(Some).map_err(|what| format!("{key}: {what}"))
}

const STATUSES: [u16; 2] = [403, 451];

/// Routes of a configuration: they are tried in turn.
const ROUTES: usize = 256;

/// Bytes of the body.
const BODY: usize = 16_384;

/// Bytes of a field's name.
const NAME: usize = 128;

#[cfg(test)]
mod tests;
