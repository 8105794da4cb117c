//! JWT: requests with a valid JSON Web Token pass, and the origin sees the chosen claims.
//!
//! The filter accepts signed tokens in the compact form (RFC 7515, RFC 7519) of HS256, RS256, ES256
//! and EdDSA. It follows the advice of RFC 8725: a key has one algorithm, which a token cannot
//! change. `none` does not exist. A key or URL in a token's header is never used. Critical
//! extensions are refused. Refusals follow RFC 6750.

mod claims;
mod config;
mod key;
mod recent;
mod remote;
mod reply;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use claims::Demands;
use config::{Config, KeyConfig, Route};
use key::{Key, Origin, document};
use recent::Recent;
use remote::Remote;
use reply::Refusal;
use token::{Claims, Token};
use weir_sdk::credential::{Places, is_identity_field};
use weir_sdk::{
    Changes, Edit, Filter, FilterNeeds, Header, Refused, Reply, Request, RequestDecision, Response,
    ResponseDecision, host,
};

#[derive(Debug)]
struct Jwt {
    places: Places,
    /// The fields that can carry a token: responses depend on them.
    vary: Option<String>,
    keys: Vec<Key>,
    remote: Option<Remote>,
    demands: Demands,
    /// Claims, and the fields that show them to the origin.
    fields: Vec<(String, String)>,
    route: Option<Route>,
    optional: bool,
    forward: bool,
    realm: Option<String>,
    recent: Recent,
}

#[weir_sdk::filter]
impl Filter for Jwt {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let places = Places::new("from", &config.from, needs)?;
        let vary = places.vary();
        if vary.is_some() {
            needs.on_response();
        }
        let demands = Demands::new(&config)?;
        let mut keys = Vec::new();
        for (at, key) in config.keys.into_iter().enumerate() {
            keys.extend(read(key).map_err(|reason| format!("keys[{at}]: {reason}"))?);
        }
        let remote = config.jwks.map(Remote::new).transpose()?;
        if keys.is_empty() && remote.is_none() {
            return Err("keys: there must be keys, here or in jwks".into());
        }
        for (claim, name) in &config.claims_to_headers {
            if claim.is_empty() || !is_identity_field(name) {
                return Err(format!(
                    "claims_to_headers.{claim}: {name:?} is not the name of a header field that can be set"
                ).into());
            }
        }
        let names = config.claims_to_headers.values().map(|name| name.to_ascii_lowercase());
        if names.collect::<BTreeSet<_>>().len() < config.claims_to_headers.len() {
            return Err("claims_to_headers: two claims have the same field".into());
        }
        if config.route.as_ref().is_some_and(|route| route.claim.is_empty()) {
            return Err("route.claim: must not be empty".into());
        }
        let is_quotable = |b: u8| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\';
        if config.realm.as_ref().is_some_and(|realm| !realm.bytes().all(is_quotable)) {
            return Err("realm: must be visible ASCII without quotes and backslashes".into());
        }
        let lower = |(claim, name): (String, String)| (claim, name.to_ascii_lowercase());
        Ok(Jwt {
            places,
            vary,
            keys,
            remote,
            demands,
            fields: config.claims_to_headers.into_iter().map(lower).collect(),
            route: config.route,
            optional: config.optional,
            forward: config.forward,
            realm: config.realm,
            recent: Recent::new(config.remember.into()),
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let edits =
            if self.forward { self.places.keep(request) } else { self.places.remove(request) };
        let token = match self.places.find(request) {
            Ok(Some(token)) if token::is_plausible(&token) => token,
            Ok(Some(_)) => return self.refuse(&Refusal::Invalid(token::MALFORMED)),
            Ok(None) if self.optional => return self.anonymous(edits),
            Ok(None) => return self.refuse(&Refusal::Missing),
            Err(_) => return self.refuse(&Refusal::Unclear),
        };
        let now = milliseconds();
        let verdict = self.check(&token, now);
        if let Some(remote) = &self.remote {
            let is_wanted = match &verdict {
                Ok(_) => remote.is_due(now) && remote.claim(),
                Err(Refusal::UnknownKey) => remote.claim(),
                Err(Refusal::NoKeys) => remote.may_begin(),
                Err(_) => false,
            };
            if is_wanted && let Some(context) = pack(&token, &edits) {
                return remote.fetch(context).into();
            }
        }
        self.finish(verdict, edits)
    }

    fn on_fetch(&mut self, context: &[u8], answer: Result<Reply, String>) -> RequestDecision {
        let now = milliseconds();
        if self.remote.as_mut().is_some_and(|remote| remote.answered(answer, now)) {
            self.recent.clear();
        }
        match unpack(context) {
            Some((token, edits)) => {
                let verdict = self.check(token, now);
                self.finish(verdict, edits)
            }
            None => self.refuse(&Refusal::Invalid(token::MALFORMED)),
        }
    }

    fn on_response(&mut self, _response: &Response<'_>) -> ResponseDecision {
        match &self.vary {
            Some(names) => Changes::new().append("vary", names.as_str()).into(),
            None => ResponseDecision::Next,
        }
    }
}

impl Jwt {
    /// Returns the edits of a token, or the reason of its refusal. `now` is in milliseconds.
    fn check(&mut self, text: &str, now: u64) -> Result<Vec<Edit>, Refusal> {
        let is_changed = self.remote.as_mut().is_some_and(|remote| remote.look(now));
        if is_changed {
            self.recent.clear();
        }
        let fetched = self.remote.as_ref().map_or(&[][..], |remote| &remote.keys);
        if self.keys.is_empty() && fetched.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let seconds = Duration::from_millis(now).as_secs_f64();
        let fingerprint = Recent::fingerprint(text);
        if let Some((times, edits)) = self.recent.find(&fingerprint) {
            times.check(seconds)?;
            return Ok(edits.to_vec());
        }
        let token = Token::parse(text).map_err(Refusal::Invalid)?;
        let times = self.demands.check(&token, seconds)?;
        let all = self.keys.iter().chain(fetched);
        let keys = all.filter(|key| key.fits(token.algorithm, token.id.as_deref()));
        // The keys with the name of the token come first.
        let (named, others): (Vec<&Key>, Vec<&Key>) =
            keys.partition(|key| key.id.is_some() && key.id == token.id);
        let mut tried = named.iter().chain(&others).take(MOST_TRIED);
        if !tried.any(|key| key.verifies(token.message, &token.signature)) {
            let is_unknown = named.is_empty() && (token.id.is_some() || others.is_empty());
            return Err(match is_unknown {
                true => Refusal::UnknownKey,
                false => Refusal::Invalid("the signature is not right"),
            });
        }
        self.demands.allow(&token.claims)?;
        let edits = self.meaning(&token.claims)?;
        self.recent.put(fingerprint, times, &edits);
        Ok(edits)
    }

    /// Returns the edits that follow from the claims of a token.
    fn meaning(&self, claims: &Claims) -> Result<Vec<Edit>, Refusal> {
        let fields = self.fields.iter().map(|(claim, name)| claims::field(claims, claim, name));
        let mut edits: Vec<Edit> = fields.collect();
        let size = |edit: &Edit| if let Edit::Set(header) = edit { header.value.len() } else { 0 };
        if edits.iter().map(size).sum::<usize>() > MOST_OF_FIELDS {
            return Err(Refusal::Invalid("the token's claims are too long for header fields"));
        }
        if let Some(route) = &self.route
            && let Some(value) = claims::claim(claims, &route.claim)
        {
            let upstream = claims::texts(value).find_map(|text| route.upstreams.get(&text));
            edits.extend(upstream.map(|upstream| Edit::Upstream(upstream.clone())));
        }
        Ok(edits)
    }

    fn finish(&self, verdict: Result<Vec<Edit>, Refusal>, mut edits: Vec<Edit>) -> RequestDecision {
        match verdict {
            Ok(more) => {
                edits.extend(more);
                decided(edits)
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn anonymous(&self, mut edits: Vec<Edit>) -> RequestDecision {
        edits.extend(self.fields.iter().map(|(_, name)| Edit::Remove(name.clone())));
        decided(edits)
    }

    fn refuse(&self, refusal: &Refusal) -> RequestDecision {
        host::count(refusal.metric(), 1);
        refusal.reply(self.realm.as_deref()).into()
    }
}

fn decided(edits: Vec<Edit>) -> RequestDecision {
    match edits.is_empty() {
        true => RequestDecision::Next,
        false => Changes { edits, context: Vec::new() }.into(),
    }
}

/// Reads the keys of an entry of the configuration.
fn read(config: KeyConfig) -> Result<Vec<Key>, String> {
    let id = config.id;
    if id.as_ref().is_some_and(String::is_empty) {
        return Err("id: must not be empty".to_owned());
    }
    match (config.pem, config.jwks, config.secret) {
        (Some(pem), None, None) => {
            let key = Key::pem(id, pem.expose()).map_err(|reason| format!("pem: {reason}"))?;
            Ok(vec![key])
        }
        (None, Some(jwks), None) => {
            if id.is_some() {
                return Err("id: the keys of a document have their own names (kid)".to_owned());
            }
            document(jwks.expose(), Origin::Own).map_err(|reason| format!("jwks: {reason}"))
        }
        (None, None, Some(secret)) => {
            let text = secret.expose();
            // A text that everybody knows is no secret (RFC 8725 §2.1).
            if text.contains("-----BEGIN") || text.trim_start().starts_with('{') {
                return Err("secret: this is another kind of key: use pem or jwks".to_owned());
            }
            let key = Key::secret(id, text.as_bytes());
            Ok(vec![key.map_err(|reason| format!("secret: {reason}"))?])
        }
        _ => Err("there must be one of pem, jwks and secret".to_owned()),
    }
}

/// Packs a token and edits for the context of a fetch, one per line: none of them contains a line
/// end. Returns `None` if the context is too long.
fn pack(token: &str, edits: &[Edit]) -> Option<Vec<u8>> {
    let mut bytes = token.as_bytes().to_vec();
    for edit in edits {
        let (kind, name, value) = match edit {
            Edit::Set(header) => ("\nset ", header.name.as_str(), header.value.as_slice()),
            Edit::Remove(name) => ("\nremove ", name.as_str(), &[][..]),
            Edit::Path(path) => ("\npath ", path.as_str(), &[][..]),
            _ => return None,
        };
        bytes.extend([kind.as_bytes(), name.as_bytes(), b" ", value].concat());
    }
    (bytes.len() <= LONGEST_CONTEXT).then_some(bytes)
}

fn unpack(context: &[u8]) -> Option<(&str, Vec<Edit>)> {
    let mut lines = context.split(|byte| *byte == b'\n');
    let token = std::str::from_utf8(lines.next()?).ok()?;
    let edit = |line: &[u8]| {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let kind = parts.next()?;
        let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
        match kind {
            b"set" => Some(Edit::Set(Header::new(name, parts.next()?))),
            b"remove" => Some(Edit::Remove(name)),
            b"path" => Some(Edit::Path(name)),
            _ => None,
        }
    };
    Some((token, lines.map(edit).collect::<Option<_>>()?))
}

/// Returns the time in milliseconds.
fn milliseconds() -> u64 {
    u64::try_from(host::now().as_millis()).unwrap_or(u64::MAX)
}

/// The most keys that are tried for a token without a key name. Each try costs a signature check.
const MOST_TRIED: usize = 4;

/// The most bytes of all values of fields. A decision may have 64 KiB.
const MOST_OF_FIELDS: usize = 32 << 10;

/// The longest context, in bytes: the host accepts 16 KiB.
const LONGEST_CONTEXT: usize = 16 << 10;
