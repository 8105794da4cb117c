//! Mirror tag: marks a share of requests with a header field, for a mirror behind Weir.
//!
//! A hash of a key decides, so that a client is always marked or never, on every worker and across
//! restarts. Alternatively chance decides. Fields of this name from clients are removed.

mod key;
#[cfg(test)]
mod tests;

use key::Key;
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::{field_name, is_token};
use weir_sdk::{Changes, Filter, FilterNeeds, Input, Refused, Request, RequestDecision, host};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The share of requests to mark, such as `5%` or `0.25%`. `0%` marks none.
    #[schemars(regex(pattern = "^[0-9]{1,3}([.][0-9]{1,4})?%$"))]
    share: String,
    /// The key of the choice: `client` (its address, or the /64 of an IPv6 address), `header:NAME`,
    /// `cookie:NAME`, or `random`. Requests without the header or the cookie are not marked.
    #[serde(default = "by_client")]
    by: String,
    /// A text that is hashed with the key, at most 64 bytes. Another text chooses other clients.
    #[serde(default)]
    #[schemars(length(max = 64))]
    salt: String,
    /// The name of the header field, at most 128 bytes.
    #[serde(default = "header")]
    #[schemars(length(min = 1, max = 128))]
    header: String,
    /// The value of the field on marked requests: at most 256 visible ASCII characters and blanks.
    #[serde(default = "value")]
    #[schemars(length(min = 1, max = 256))]
    value: String,
    /// Methods of requests to mark, in upper case, at most 16. The default is GET and HEAD, which
    /// change nothing when repeated.
    #[serde(default = "methods")]
    #[schemars(length(min = 1, max = 16))]
    methods: Vec<String>,
    /// Paths of requests to mark, at most 64, each with every path below it: `/shop` covers `/shop`
    /// and `/shop/cart`, not `/shops`. Left out: all paths.
    #[serde(default)]
    #[schemars(length(max = 64))]
    paths: Vec<String>,
}

#[derive(Debug)]
struct MirrorTag {
    key: Key,
    /// Requests with a hash below this number are marked. It is the share of 2⁶⁴, so a larger share
    /// keeps all clients of a smaller one.
    below: u128,
    header: String,
    value: String,
    methods: Vec<String>,
    paths: Vec<String>,
    given: Input,
    method: Input,
    path: Option<Input>,
}

#[weir_sdk::filter]
impl Filter for MirrorTag {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let below = share(&config.share)
            .ok_or_else(|| format!("share: {:?} is not a share from 0% to 100%", config.share))?;
        if config.salt.len() > 64 {
            return Err("salt: must be at most 64 bytes".into());
        }
        let header = field(&config.header).map_err(|error| format!("header: {error}"))?;
        check_value(&config.value)?;
        check_methods(&config.methods)?;
        if config.paths.len() > 64 {
            return Err("paths: at most 64".into());
        }
        let paths = config.paths.iter().enumerate();
        let paths =
            paths.map(|(at, path)| prefix(path).map_err(|error| format!("paths[{at}]: {error}")));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        Ok(MirrorTag {
            key: Key::new(&config.by, &config.salt, needs)?,
            below,
            given: needs.header(&header),
            method: needs.method(),
            path: (!paths.is_empty()).then(|| needs.path()),
            header,
            value: config.value,
            methods: config.methods,
            paths,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        if self.is_eligible(request) && self.is_chosen(request) {
            host::count("marked", 1);
            return Changes::new().set(self.header.as_str(), self.value.as_bytes()).into();
        }
        match request.bytes(self.given) {
            Some(_) => Changes::new().remove(self.header.as_str()).into(),
            None => RequestDecision::Next,
        }
    }
}

impl MirrorTag {
    fn is_eligible(&self, request: &Request<'_>) -> bool {
        let method = request.bytes(self.method).unwrap_or_default();
        let is_method = self.methods.iter().any(|one| one.as_bytes() == method);
        let is_path = || {
            let path = self.path.and_then(|path| request.text(path)).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            self.paths.iter().any(|prefix| is_below(path, prefix))
        };
        is_method && (self.paths.is_empty() || is_path())
    }

    fn is_chosen(&mut self, request: &Request<'_>) -> bool {
        let hash = self.key.hash(request);
        hash.is_some_and(|hash| u128::from(hash) < self.below)
    }
}

/// Converts a share in percent to a share of 2⁶⁴.
fn share(text: &str) -> Option<u128> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |digits: &str, most: usize| {
        (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    if !are_digits(whole, 3) || !are_digits(fraction, 4) {
        return None;
    }
    // In millionths: a percentage has four digits after the point.
    let fraction: u128 = format!("{fraction:0<4}").parse().ok()?;
    let millionths = whole.parse::<u128>().ok()? * 10_000 + fraction;
    (millionths <= 1_000_000).then_some((millionths << 64) / 1_000_000)
}

fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns a path without its final slash.
fn prefix(path: &str) -> Result<String, String> {
    let is_of_path = |b: u8| b.is_ascii_graphic() && !b"?#".contains(&b);
    if !path.starts_with('/') || path.len() > 1024 || !path.bytes().all(is_of_path) {
        return Err(format!("{path:?} is not a path without query and fragment"));
    }
    Ok(path.strip_suffix('/').unwrap_or(path).to_owned())
}

fn check_value(value: &str) -> Result<(), String> {
    let is_text = value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value;
    match is_text && (1..=256).contains(&value.len()) {
        true => Ok(()),
        false => {
            Err("value: must be 1 to 256 visible ASCII characters, with blanks inside".to_owned())
        }
    }
}

fn check_methods(methods: &[String]) -> Result<(), String> {
    if !(1..=16).contains(&methods.len()) {
        return Err("methods: must be 1 to 16".to_owned());
    }
    let is_method = |method: &String| {
        let has_lower_case = method.bytes().any(|b| b.is_ascii_lowercase());
        is_token(method) && method.len() <= 32 && !has_lower_case
    };
    match methods.iter().position(|method| !is_method(method)) {
        Some(at) => Err(format!("methods[{at}]: methods must be in upper case")),
        None => Ok(()),
    }
}

/// Returns the name of a field in lower case, if a filter may set it.
fn field(name: &str) -> Result<String, String> {
    if name.len() > 128 {
        return Err("more than 128 bytes".to_owned());
    }
    field_name(name)
}

fn by_client() -> String {
    "client".to_owned()
}

fn header() -> String {
    "x-mirror".to_owned()
}

fn value() -> String {
    "1".to_owned()
}

fn methods() -> Vec<String> {
    ["GET", "HEAD"].map(str::to_owned).to_vec()
}
