//! Split: puts each request into a group with an upstream, for experiments (A/B) and canaries.
//!
//! A client chooses by header, if `by_header` is on. Otherwise its cookie decides, and otherwise a
//! key of the request, always the same way. The choice goes to the response as context, because
//! another instance may see the response.

mod config;
mod draw;
mod key;

use config::{Config, Cookie, Group as Written, SameSite};
use draw::Draw;
use key::Key;
use weir_sdk::parse::{field_name, is_token};
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Request, RequestDecision, Response,
    ResponseDecision, host,
};

#[derive(Debug)]
struct Split {
    groups: Vec<Group>,
    by_header: Option<Input>,
    cookie: Option<Input>,
    key: Key,
    draw: Draw,
    header: String,
    response_header: Option<String>,
    /// The value of Vary, or empty.
    vary: String,
}

/// A checked group.
#[derive(Debug)]
struct Group {
    name: String,
    upstream: Option<String>,
    takes_part: bool,
    /// The value of Set-Cookie that keeps a client in the group.
    set_cookie: String,
}

/// The choice for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    group: usize,
    /// Whether the response must set the cookie.
    is_new: bool,
}

#[weir_sdk::filter]
impl Filter for Split {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        check_groups(&config.groups)?;
        if let Some(cookie) = &config.cookie {
            check_cookie(cookie)?;
        }
        let (header, vary) = (header(&config)?, vary(&config));
        let named = |key: &str, name: &Option<String>| {
            let name = name.as_deref().map(field_name).transpose();
            name.map_err(|error| format!("{key}: {error}"))
        };
        let by_header = named("by_header", &config.by_header)?;
        let response_header = named("response_header", &config.response_header)?;
        if config.cookie.is_some() || response_header.is_some() || !vary.is_empty() {
            needs.on_response();
        }
        let weights = config.groups.iter().map(|group| (group.name.as_str(), group.weight));
        let draw = Draw::new(&config.salt, weights);
        let cookie = config.cookie.as_ref();
        let groups = config.groups.into_iter().map(|group| Group {
            set_cookie: cookie.map(|cookie| set_cookie(cookie, &group.name)).unwrap_or_default(),
            takes_part: group.weight > 0,
            name: group.name,
            upstream: group.upstream,
        });
        needs.on_request();
        Ok(Split {
            groups: groups.collect(),
            by_header: by_header.map(|name| needs.header(&name)),
            cookie: cookie.map(|cookie| needs.cookie(&cookie.name)),
            key: Key::new(&config.by, needs, host::random)?,
            draw,
            header,
            response_header,
            vary,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let choice = self.choose(request);
        let Some(group) = self.groups.get(choice.group) else { return RequestDecision::Next };
        let mut changes = Changes::new().context(choice.to_bytes());
        if let Some(upstream) = &group.upstream {
            changes = changes.upstream(upstream.as_str());
        }
        if !self.header.is_empty() {
            changes = changes.set(self.header.as_str(), group.name.as_str());
        }
        changes.into()
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        let choice = Choice::from_bytes(response.context);
        let group = choice.and_then(|choice| Some((choice, self.groups.get(choice.group)?)));
        let Some((choice, group)) = group else { return ResponseDecision::Next };
        let mut changes = Changes::new();
        if let Some(name) = &self.response_header {
            changes = changes.set(name.as_str(), group.name.as_str());
        }
        if !self.vary.is_empty() {
            changes = changes.append("vary", self.vary.as_str());
        }
        if choice.is_new && self.cookie.is_some() {
            // A shared cache would put all its users into this group.
            changes = changes
                .append("set-cookie", group.set_cookie.as_str())
                .append("cache-control", "private");
        }
        if changes.edits.is_empty() { ResponseDecision::Next } else { changes.into() }
    }
}

impl Split {
    fn choose(&mut self, request: &Request<'_>) -> Choice {
        let named = |input: Option<Input>, takes_part: bool| {
            let value = request.bytes(input?)?;
            self.groups.iter().position(|group| {
                group.name.as_bytes() == value && (group.takes_part || !takes_part)
            })
        };
        if let Some(group) = named(self.by_header, false).or_else(|| named(self.cookie, true)) {
            return Choice { group, is_new: false };
        }
        Choice { group: self.draw.of(self.key.of(request)), is_new: true }
    }
}

impl Choice {
    fn to_bytes(self) -> [u8; 2] {
        // There are at most 32 groups.
        [u8::try_from(self.group).unwrap_or(u8::MAX), u8::from(self.is_new)]
    }

    fn from_bytes(bytes: &[u8]) -> Option<Choice> {
        let [group, is_new] = bytes.try_into().ok()?;
        Some(Choice { group: usize::from(group), is_new: is_new == 1 })
    }
}

fn check_groups(groups: &[Written]) -> Result<(), String> {
    if !(1..=MOST_GROUPS).contains(&groups.len()) {
        return Err(format!("groups: must be 1 to {MOST_GROUPS}"));
    }
    for (at, group) in groups.iter().enumerate() {
        let Written { name, upstream, weight } = group;
        let stands = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(stands) {
            let hint = "1 to 32 letters, digits, hyphens and underscores";
            return Err(format!("groups[{at}].name: {name:?} is not a name: {hint}"));
        }
        if groups.iter().take(at).any(|other| other.name == *name) {
            return Err(format!("groups[{at}].name: another group has the name {name:?}"));
        }
        if upstream.as_deref() == Some("") {
            return Err(format!("groups[{at}].upstream: must not be empty"));
        }
        if *weight > MOST_WEIGHT {
            return Err(format!("groups[{at}].weight: must be at most {MOST_WEIGHT}"));
        }
    }
    if groups.iter().all(|group| group.weight == 0) {
        return Err("groups: no group has a weight above 0".to_owned());
    }
    Ok(())
}

/// Checks the rules of browsers: special name prefixes (RFC 6265bis §4.1.3) and SameSite=None need
/// Secure.
fn check_cookie(cookie: &Cookie) -> Result<(), String> {
    let name = cookie.name.as_str();
    if !is_token(name) || name.len() > 64 {
        return Err(format!("cookie.name: {name:?} is not the name of a cookie"));
    }
    let lower = name.to_ascii_lowercase();
    let is_held = lower.starts_with("__host-") || lower.starts_with("__secure-");
    if !cookie.secure && (is_held || cookie.same_site == SameSite::None) {
        return Err("cookie.secure: clients refuse this cookie without secure".to_owned());
    }
    if cookie.max_age.is_some_and(|seconds| !(1..=LONGEST_AGE).contains(&seconds)) {
        return Err(format!("cookie.max_age: must be 1 to {LONGEST_AGE} seconds"));
    }
    Ok(())
}

fn set_cookie(cookie: &Cookie, group: &str) -> String {
    let mut text = format!("{}={group}; Path=/", cookie.name);
    if let Some(seconds) = cookie.max_age {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    for (is_on, attribute) in [(cookie.secure, "; Secure"), (cookie.http_only, "; HttpOnly")] {
        if is_on {
            text.push_str(attribute);
        }
    }
    text.push_str("; SameSite=");
    text.push_str(cookie.same_site.name());
    text
}

/// Returns the name of the field for the origin, or an empty text.
fn header(config: &Config) -> Result<String, String> {
    if config.header.is_empty() {
        return Ok(String::new());
    }
    field_name(&config.header).map_err(|error| format!("header: {error}"))
}

/// Returns the request fields that the group depends on.
fn vary(config: &Config) -> String {
    let mut names = Vec::new();
    names.extend(config.by_header.as_deref().map(str::to_ascii_lowercase));
    match config.by.split_once(':') {
        Some(("header", name)) => names.push(name.to_ascii_lowercase()),
        Some(("cookie", _)) => names.push("cookie".to_owned()),
        _ => {}
    }
    if config.cookie.is_some() {
        names.push("cookie".to_owned());
    }
    names.sort();
    names.dedup();
    names.join(", ")
}

const MOST_GROUPS: usize = 32;

const LONGEST_NAME: usize = 32;

const MOST_WEIGHT: u32 = 1_000_000;

/// 400 days, in seconds. Browsers shorten longer ages to it (RFC 6265bis §5.5).
const LONGEST_AGE: u32 = 34_560_000;

#[cfg(test)]
mod tests;
