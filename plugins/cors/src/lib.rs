//! CORS: pages of other origins may read responses (Fetch standard, §3.3 "CORS protocol").
//!
//! A browser sends the origin of the page in `Origin`. It hands the response over only if
//! `Access-Control-Allow-Origin` has this origin. Before a request that a form cannot send, the
//! browser sends a preflight, which this filter answers. The filter replaces the origin server's
//! own fields of the protocol, so that only one place decides.

mod config;
mod origin;
#[cfg(test)]
mod tests;

use config::{Config, Policy};
use origin::Origins;
use weir_sdk::parse::is_token;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, Response,
    ResponseDecision, ResponseInput, host,
};

#[derive(Debug)]
struct Cors {
    policy: Policy,
    asked: Asked,
    /// The fields of the origin server's response, in the order of [`OWN`].
    said: [ResponseInput; OWN.len()],
    vary: ResponseInput,
}

/// The inputs of a request.
#[derive(Debug)]
struct Asked {
    origin: Input,
    method: Input,
    /// Access-Control-Request-Method. It makes an OPTIONS request a preflight.
    of_method: Input,
    of_headers: Option<Input>,
    of_private_network: Option<Input>,
    /// Scheme and authority, which give the server's own origin.
    own: Option<(Input, Input)>,
}

#[weir_sdk::filter]
impl Filter for Cors {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let policy = Policy::new(&config)?;
        let asked = Asked {
            origin: needs.header("origin"),
            method: needs.method(),
            of_method: needs.header("access-control-request-method"),
            of_headers: policy
                .mirrors_headers
                .then(|| needs.header("access-control-request-headers")),
            of_private_network: policy
                .private_network
                .then(|| needs.header("access-control-request-private-network")),
            own: policy.reject.then(|| (needs.input(":scheme"), needs.authority())),
        };
        needs.pure();
        let said = OWN.map(|name| needs.response_header(name));
        Ok(Cors { policy, asked, said, vary: needs.response_header("vary") })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let Some(origin) = request.bytes(self.asked.origin) else { return RequestDecision::Next };
        let is_preflight = request.bytes(self.asked.method) == Some(b"OPTIONS")
            && request.bytes(self.asked.of_method).is_some();
        if !self.policy.origins.allows(origin) {
            if self.policy.reject && !self.is_own(origin, request) {
                return refusal().into();
            }
            if is_preflight && !self.policy.passthrough {
                return Reply::new(204).header("vary", self.policy.preflight_vary.as_str()).into();
            }
            return RequestDecision::Next;
        }
        if is_preflight {
            return self.preflight(origin, request);
        }
        if self.policy.origins == Origins::Any {
            return RequestDecision::Next;
        }
        Changes::new().context([ALLOWED, origin].concat()).into()
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        let fields = self.fields(response.context);
        let mut changes = Changes::new();
        for (own, said) in OWN.iter().zip(self.said) {
            match fields.iter().find(|(name, _)| name == own) {
                Some((_, value)) => changes = changes.set(*own, *value),
                None if response.bytes(said).is_some() => changes = changes.remove(*own),
                None => {}
            }
        }
        if self.policy.origins != Origins::Any && !varies(response.bytes(self.vary)) {
            changes = changes.append("vary", "Origin");
        }
        if changes.edits.is_empty() { ResponseDecision::Next } else { changes.into() }
    }
}

impl Cors {
    /// Whether the request comes from a page of the server itself. Browsers send Origin with its
    /// POSTs too.
    fn is_own(&self, origin: &[u8], request: &Request<'_>) -> bool {
        let own = self.asked.own.and_then(|(scheme, authority)| {
            Some(origin::serialized(request.text(scheme)?, request.text(authority)?))
        });
        own.is_some_and(|own| own.as_bytes() == origin)
    }

    /// Answers a preflight. If it goes on to the origin server, the filter sets the fields on the
    /// response.
    fn preflight(&self, origin: &[u8], request: &Request<'_>) -> RequestDecision {
        let policy = &self.policy;
        let mut fields: Vec<(&str, &[u8])> = vec![(ALLOW_ORIGIN, policy.allow_origin(origin))];
        let given = policy.preflight.iter();
        fields.extend(given.map(|(name, value)| (*name, value.as_bytes())));
        let mirrored = self.asked.of_headers.and_then(|input| request.bytes(input));
        if let Some(names) = mirrored.filter(|names| is_list_of_names(names)) {
            fields.push(("access-control-allow-headers", names));
        }
        let private = self.asked.of_private_network.and_then(|input| request.bytes(input));
        if private == Some(b"true") {
            fields.push(("access-control-allow-private-network", b"true"));
        }
        if policy.passthrough {
            let lines =
                fields.iter().flat_map(|(name, value)| [name.as_bytes(), b":", value, b"\n"]);
            let context = [PREFLIGHT].into_iter().chain(lines).collect::<Vec<_>>().concat();
            return Changes::new().context(context).into();
        }
        let reply = Reply::new(204).header("vary", policy.preflight_vary.as_str());
        fields.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value)).into()
    }

    /// Returns the fields for a response, from the context that the request left.
    fn fields<'a>(&'a self, context: &'a [u8]) -> Vec<(&'a str, &'a [u8])> {
        if let Some(lines) = context.strip_prefix(PREFLIGHT) {
            return lines.split(|b| *b == b'\n').filter_map(field).collect();
        }
        let origin = match (&self.policy.origins, context.strip_prefix(ALLOWED)) {
            (Origins::Any, _) => &b"*"[..],
            (Origins::Listed { .. }, Some(origin)) => origin,
            (Origins::Listed { .. }, None) => return Vec::new(),
        };
        let given = self.policy.response.iter();
        let given = given.map(|(name, value)| (*name, value.as_bytes()));
        [(ALLOW_ORIGIN, origin)].into_iter().chain(given).collect()
    }
}

/// Splits a line of a context, `name:value`.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((std::str::from_utf8(name).ok()?, value.strip_prefix(b":")?))
}

fn refusal() -> Reply {
    host::count("rejected", 1);
    Reply::new(403)
        .header("vary", "Origin")
        .header("cache-control", "no-store")
        .header("content-type", "text/plain; charset=utf-8")
        .body("this origin is not allowed\n")
}

/// Whether the first Vary of a response already has the origin. A second field does no harm.
fn varies(vary: Option<&[u8]>) -> bool {
    let is_it = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"origin");
    vary.is_some_and(|vary| vary.split(|b| *b == b',').any(|name| is_it(name.trim_ascii())))
}

/// Whether the list can be sent back as Access-Control-Allow-Headers: names, commas and blanks
/// within a bound.
fn is_list_of_names(list: &[u8]) -> bool {
    list.len() <= MAX_MIRRORED
        && list
            .split(|b| *b == b',')
            .all(|name| std::str::from_utf8(name.trim_ascii()).is_ok_and(is_token))
}

/// The fields of the protocol. Values from the origin server do not pass.
const OWN: [&str; 7] = [
    ALLOW_ORIGIN,
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
];

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// The first byte of the context of a request with an allowed origin. The origin follows.
const ALLOWED: &[u8] = b"o";

/// The first byte of the context of a preflight that goes on. The fields of its response follow.
const PREFLIGHT: &[u8] = b"p";

/// The longest Access-Control-Request-Headers that is mirrored, in bytes. Browsers send a handful
/// of names.
const MAX_MIRRORED: usize = 4096;
