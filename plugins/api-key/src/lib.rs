//! API key: requests with a known key pass, and the origin sees the name of the owner.
//!
//! The filter looks up a key by its SHA-256. Neither the text of a key nor the search time reveals
//! anything about other keys.

mod config;
mod owner;

use std::collections::BTreeMap;

use config::{Body, Config};
use owner::{Fingerprint, LONGEST, Owner, fingerprint, hash};
use weir_sdk::credential::{Places, is_identity_field};
use weir_sdk::{
    Changes, Edit, Filter, FilterNeeds, Header, Input, Refused, Reply, Request, RequestDecision,
    Response, ResponseDecision, host,
};

#[derive(Debug)]
struct ApiKey {
    places: Places,
    /// The fields that can carry a key: responses depend on them.
    vary: Option<String>,
    owners: BTreeMap<Fingerprint, Owner>,
    /// Method and path, if a key has rules for them.
    asked: Option<(Input, Input)>,
    consumer_header: String,
    forward: bool,
    body: Body,
}

/// The reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Missing,
    Unclear,
    Unknown,
    Forbidden,
}

#[weir_sdk::filter]
impl Filter for ApiKey {
    type Config = Config;

    fn new(mut config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let places = Places::new("from", &config.from, needs)?;
        let vary = places.vary();
        if vary.is_some() {
            needs.on_response();
        }
        if config.keys.is_empty() {
            return Err("keys: there must be at least one".into());
        }
        if !is_identity_field(&config.consumer_header) {
            let name = &config.consumer_header;
            return Err(format!(
                "consumer_header: {name:?} is not the name of a header field that can be set"
            )
            .into());
        }
        let mut owners = BTreeMap::new();
        for (name, key) in &config.keys {
            let key =
                fingerprint(key.expose()).map_err(|reason| format!("keys.{name}: {reason}"))?;
            let rule = config.rules.remove(name).unwrap_or_default();
            let owner =
                Owner::new(name, rule).map_err(|reason| format!("rules.{name}: {reason}"))?;
            if owners.insert(key, owner).is_some() {
                return Err(format!("keys.{name}: another name has this key").into());
            }
        }
        if let Some(name) = config.rules.keys().next() {
            return Err(format!("rules.{name}: there is no such name in keys").into());
        }
        let is_free = owners.values().all(Owner::is_free);
        Ok(ApiKey {
            places,
            vary,
            owners,
            asked: (!is_free).then(|| (needs.method(), needs.path())),
            consumer_header: config.consumer_header.to_ascii_lowercase(),
            forward: config.forward,
            body: config.body,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let owner = match self.owner(request) {
            Ok(owner) => owner,
            Err(refusal) => {
                host::count(refusal.metric(), 1);
                return refusal.reply(self.body).into();
            }
        };
        host::count("accepted", 1);
        let mut edits =
            if self.forward { self.places.keep(request) } else { self.places.remove(request) };
        // Comes after the edits for the credential, which can concern a field of the same name.
        edits.push(Edit::Set(Header::new(&*self.consumer_header, &*owner.name)));
        edits.extend(owner.upstream.clone().map(Edit::Upstream));
        Changes { edits, context: Vec::new() }.into()
    }

    fn on_response(&mut self, _response: &Response<'_>) -> ResponseDecision {
        match &self.vary {
            Some(names) => Changes::new().append("vary", names.as_str()).into(),
            None => ResponseDecision::Next,
        }
    }
}

impl ApiKey {
    fn owner(&self, request: &Request<'_>) -> Result<&Owner, Refusal> {
        let key =
            self.places.find(request).map_err(|_| Refusal::Unclear)?.ok_or(Refusal::Missing)?;
        if key.len() > LONGEST {
            return Err(Refusal::Unknown);
        }
        let owner = self.owners.get(&hash(&key)).ok_or(Refusal::Unknown)?;
        let text = |input| request.text(input).unwrap_or_default();
        match self.asked {
            Some((method, path)) if !owner.may(text(method), text(path)) => Err(Refusal::Forbidden),
            _ => Ok(owner),
        }
    }
}

impl Refusal {
    fn metric(self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Unclear => "unclear",
            Refusal::Unknown => "unknown",
            Refusal::Forbidden => "forbidden",
        }
    }

    fn reply(self, body: Body) -> Reply {
        let (status, text) = match self {
            Refusal::Missing => (401, "a key is required"),
            Refusal::Unclear => (400, "there must be one key"),
            Refusal::Unknown => (401, "the key is not known"),
            Refusal::Forbidden => (403, "the key does not allow this"),
        };
        let reply = Reply::new(status).header("cache-control", "no-store");
        let reply = match body {
            Body::Text => {
                reply.header("content-type", "text/plain; charset=utf-8").body(format!("{text}\n"))
            }
            Body::Json => reply
                .header("content-type", "application/json")
                .body(format!("{{\"error\":\"{text}\"}}\n")),
        };
        match status {
            // A 401 must carry a challenge (RFC 9110 §15.5.2), even if no scheme has that name.
            401 => reply.header("www-authenticate", "ApiKey"),
            _ => reply,
        }
    }
}

#[cfg(test)]
mod tests;
