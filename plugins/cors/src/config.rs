//! The configuration, and the policy made from it.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::{duration, is_token};

use crate::origin::Origins;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Origins with pages that may read responses, at most 256: `https://app.example.com`, with the
    /// port if it is not the default of the scheme; `https://*.example.com` for every host below
    /// (not `example.com` itself); `http://localhost:*` for every port; `null` for sandboxed frames
    /// and files; or `*` alone for every origin.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) origins: Vec<String>,
    /// Methods that these pages may use, in upper case, at most 32. Browsers always allow GET, HEAD
    /// and POST. `*` alone allows all, without credentials.
    #[serde(default = "methods")]
    #[schemars(length(max = 32))]
    pub(crate) methods: Vec<String>,
    /// Header fields that pages may send besides the fields that a form can send, at most 128.
    /// `mirror` allows the fields that the preflight names. `*` alone allows all but Authorization,
    /// without credentials. None by default.
    #[serde(default)]
    pub(crate) headers: Headers,
    /// Header fields of responses that pages may read besides the safelisted ones, at most 128. `*`
    /// alone allows all, without credentials.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub(crate) expose: Vec<String>,
    /// Whether browsers send cookies and other credentials. Needs listed origins: neither `*` nor
    /// `null`.
    #[serde(default)]
    pub(crate) credentials: bool,
    /// How long a browser may remember the answer to a preflight, such as `30s`, `10m` or `2h`.
    /// `0s` turns this off. Browsers have their own limits: Chromium 2 hours, Firefox 24 hours.
    #[serde(default = "ten_minutes")]
    #[schemars(regex(pattern = "^[0-9]{1,5}[smh]$"))]
    pub(crate) max_age: String,
    /// Whether public pages may send requests to this server in a private network (Private Network
    /// Access).
    #[serde(default)]
    pub(crate) private_network: bool,
    /// Whether preflights go on to the origin server. The filter then sets the fields on the
    /// response, and browsers accept it only with a status from 200 to 299. Otherwise the filter
    /// answers preflights with 204.
    #[serde(default)]
    pub(crate) passthrough: bool,
    /// Whether requests of an origin that is not allowed get 403. Otherwise they pass, and the
    /// browser withholds the response from the page. Requests of the server's own pages always
    /// pass.
    #[serde(default)]
    pub(crate) reject: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Headers {
    /// The fields that the preflight names.
    Mirror(Mirror),
    /// The listed fields.
    Listed(#[schemars(length(max = 128))] Vec<String>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mirror {
    /// The fields that the preflight names.
    Mirror,
}

impl Default for Headers {
    fn default() -> Self {
        Headers::Listed(Vec::new())
    }
}

/// The checked configuration, with the fields that do not depend on the request.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) origins: Origins,
    /// The fields of answers to preflights, besides the origin.
    pub(crate) preflight: Vec<(&'static str, String)>,
    /// The fields of other responses.
    pub(crate) response: Vec<(&'static str, String)>,
    /// The request fields that answers to preflights depend on.
    pub(crate) preflight_vary: String,
    pub(crate) mirrors_headers: bool,
    pub(crate) private_network: bool,
    pub(crate) passthrough: bool,
    pub(crate) reject: bool,
}

impl Policy {
    pub(crate) fn new(config: &Config) -> Result<Policy, String> {
        let origins = Origins::new(&config.origins)?;
        if config.credentials && (origins == Origins::Any || origins.has_null()) {
            return Err("credentials: with origins * or null any page could use a visitor's \
                        session; list the origins"
                .to_owned());
        }
        let lists = |key: &str, names: &[String], most| list(key, names, most, config.credentials);
        let methods = lists("methods", &config.methods, 32)?;
        if let Some(at) = config.methods.iter().position(|method| has_lower_case(method)) {
            return Err(format!("methods[{at}]: methods must be in upper case"));
        }
        let (headers, mirrors_headers) = match &config.headers {
            Headers::Mirror(Mirror::Mirror) => (String::new(), true),
            Headers::Listed(names) => (lists("headers", names, 128)?, false),
        };
        let expose = lists("expose", &config.expose, 128)?;
        let max_age = seconds(&config.max_age).ok_or_else(|| {
            format!("max_age: {:?} is not a time up to 24h, such as 30s, 10m or 2h", config.max_age)
        })?;
        let credentials = if config.credentials { "true" } else { "" };
        let with_values = |fields: Vec<(&'static str, String)>| -> Vec<_> {
            fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
        };
        let preflight = with_values(vec![
            ("access-control-allow-credentials", credentials.to_owned()),
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", headers),
            ("access-control-max-age", max_age.to_string()),
        ]);
        let response = with_values(vec![
            ("access-control-allow-credentials", credentials.to_owned()),
            ("access-control-expose-headers", expose),
        ]);
        let mut vary = vec!["Access-Control-Request-Method"];
        vary.extend((origins != Origins::Any).then_some("Origin"));
        vary.extend(mirrors_headers.then_some("Access-Control-Request-Headers"));
        vary.extend(config.private_network.then_some("Access-Control-Request-Private-Network"));
        Ok(Policy {
            origins,
            preflight,
            response,
            preflight_vary: vary.join(", "),
            mirrors_headers,
            private_network: config.private_network,
            passthrough: config.passthrough,
            reject: config.reject,
        })
    }

    /// Returns the value of Access-Control-Allow-Origin for an allowed origin.
    pub(crate) fn allow_origin<'a>(&self, origin: &'a [u8]) -> &'a [u8] {
        if self.origins == Origins::Any { b"*" } else { origin }
    }
}

/// Joins the list to the value of a field. `*` means all only without credentials. With credentials
/// browsers read it as a name.
fn list(key: &str, names: &[String], most: usize, credentials: bool) -> Result<String, String> {
    if names.len() > most {
        return Err(format!("{key}: at most {most}"));
    }
    for (at, name) in names.iter().enumerate() {
        if !is_token(name) || name.len() > MAX_NAME {
            return Err(format!("{key}[{at}]: {name:?} is not a name"));
        }
        if name == "*" && (credentials || names.len() > 1) {
            return Err(format!(
                "{key}[{at}]: * must stand alone, and has no meaning with credentials"
            ));
        }
    }
    Ok(names.join(", "))
}

fn has_lower_case(method: &str) -> bool {
    method.bytes().any(|b| b.is_ascii_lowercase())
}

fn seconds(text: &str) -> Option<u64> {
    // The bound is a day, so this key has no unit `d`.
    let time = duration(text).filter(|_| !text.ends_with('d'))?;
    Some(time.as_secs()).filter(|seconds| *seconds <= 24 * 3600)
}

fn methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(str::to_owned).to_vec()
}

fn ten_minutes() -> String {
    "10m".to_owned()
}

/// The longest name, in bytes. 128 names stay far below the limit for the edits of a decision.
const MAX_NAME: usize = 128;
