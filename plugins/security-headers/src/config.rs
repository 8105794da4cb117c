//! The configuration, and the fields made from it.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::duration;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Strict-Transport-Security (RFC 6797), on responses over https only: an object with
    /// `max_age`, `subdomains` and `preload`, or `false`. By default one year, for this host only.
    pub(crate) strict_transport_security: Option<Setting<Transport>>,
    /// Content-Security-Policy, at most 8 KiB, such as
    /// `default-src 'self'; frame-ancestors 'none'`. Not sent by default, because a policy must be
    /// written for its site.
    pub(crate) content_security_policy: Option<Setting<String>>,
    /// Content-Security-Policy-Report-Only, at most 8 KiB: a policy that only reports. Not sent by
    /// default.
    pub(crate) content_security_policy_report_only: Option<Setting<String>>,
    /// X-Content-Type-Options: `true` for `nosniff`, its only value and the default, or `false`.
    pub(crate) x_content_type_options: Option<Setting<NoSniff>>,
    /// X-Frame-Options: `DENY`, `SAMEORIGIN` or `false`. By default `SAMEORIGIN`: other sites
    /// cannot show pages in frames.
    pub(crate) x_frame_options: Option<Setting<Framing>>,
    /// Referrer-Policy: values in order of preference, separated by commas, or `false`. By default
    /// `strict-origin-when-cross-origin`.
    pub(crate) referrer_policy: Option<Setting<String>>,
    /// Permissions-Policy, at most 8 KiB, such as `camera=(), microphone=()`. Not sent by default.
    pub(crate) permissions_policy: Option<Setting<String>>,
    /// Cross-Origin-Opener-Policy: `same-origin`, `same-origin-allow-popups`,
    /// `noopener-allow-popups`, `unsafe-none` or `false`. By default `same-origin-allow-popups`:
    /// pages are isolated from windows of other sites, except popups that they open.
    pub(crate) cross_origin_opener_policy: Option<Setting<Opener>>,
    /// Cross-Origin-Embedder-Policy: `require-corp`, `credentialless`, `unsafe-none` or `false`.
    /// Not sent by default, because every embedded resource must agree to it.
    pub(crate) cross_origin_embedder_policy: Option<Setting<Embedder>>,
    /// Cross-Origin-Resource-Policy: `same-origin`, `same-site`, `cross-origin` or `false`. By
    /// default `same-site`: pages of other sites cannot embed responses, unless they use CORS.
    pub(crate) cross_origin_resource_policy: Option<Setting<Resource>>,
    /// Whether these fields replace the origin server's own. `false` keeps the origin server's,
    /// field by field.
    #[serde(rename = "override")]
    pub(crate) replaces: Replaces,
    /// Names of fields to remove, such as `server` and `x-powered-by`, at most 32.
    #[schemars(length(max = 32))]
    pub(crate) remove: Vec<String>,
}

/// A field: off, on with its default, or on with a value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Setting<T> {
    /// `true` for the default, `false` for none.
    Switch(bool),
    /// The value.
    Value(T),
}

/// Whether the origin server's fields are replaced.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Replaces(pub(crate) bool);

impl Default for Replaces {
    fn default() -> Self {
        Replaces(true)
    }
}

/// Strict-Transport-Security.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Transport {
    /// How long browsers use only https, such as `365d`, `12h`. `0s` revokes an earlier policy. One
    /// year by default.
    #[schemars(regex(pattern = "^[0-9]{1,9}[smhd]$"))]
    pub(crate) max_age: String,
    /// Whether the policy covers all hosts below this one.
    pub(crate) subdomains: bool,
    /// Whether the host may be put on the preload list of browsers, which is hard to undo. Needs
    /// `subdomains` and at least a year.
    pub(crate) preload: bool,
}

impl Default for Transport {
    fn default() -> Self {
        Transport { max_age: "365d".to_owned(), subdomains: false, preload: false }
    }
}

/// Defines an enumeration with the text of each value.
macro_rules! values {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
        pub(crate) enum $name {
            $(#[serde(rename = $text)] $variant,)+
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                match value {
                    $($name::$variant => $text.to_owned(),)+
                }
            }
        }
    };
}

values!(
    /// X-Content-Type-Options.
    NoSniff { NoSniff = "nosniff" }
);
values!(
    /// X-Frame-Options.
    Framing { Deny = "DENY", SameOrigin = "SAMEORIGIN" }
);
values!(
    /// Cross-Origin-Opener-Policy.
    Opener {
        SameOrigin = "same-origin",
        AllowPopups = "same-origin-allow-popups",
        Severed = "noopener-allow-popups",
        UnsafeNone = "unsafe-none",
    }
);
values!(
    /// Cross-Origin-Embedder-Policy.
    Embedder {
        RequireCorp = "require-corp",
        Credentialless = "credentialless",
        UnsafeNone = "unsafe-none",
    }
);
values!(
    /// Cross-Origin-Resource-Policy.
    Resource { SameOrigin = "same-origin", SameSite = "same-site", CrossOrigin = "cross-origin" }
);

/// A field to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Whether it is sent over https only.
    pub(crate) is_of_tls: bool,
}

/// Builds the fields of a configuration.
pub(crate) fn fields(config: &mut Config) -> Result<Vec<Field>, String> {
    let strict_transport = match config.strict_transport_security.take() {
        Some(Setting::Switch(false)) => None,
        Some(Setting::Value(value)) => Some(transport(&value)?),
        None | Some(Setting::Switch(true)) => Some(transport(&Transport::default())?),
    };
    let policy = |key, setting: &mut Option<Setting<String>>, by_default| {
        let value = or(key, setting.take(), by_default)?;
        value.map(|value| text(key, value)).transpose()
    };
    let csp = policy("content_security_policy", &mut config.content_security_policy, None)?;
    let csp_report_only = policy(
        "content_security_policy_report_only",
        &mut config.content_security_policy_report_only,
        None,
    )?;
    let referrer =
        policy("referrer_policy", &mut config.referrer_policy, Some(REFERRER_POLICIES[0]))?;
    referrer.as_deref().map_or(Ok(()), check_referrer)?;
    let permissions = policy("permissions_policy", &mut config.permissions_policy, None)?;
    let sniff =
        or("x_content_type_options", config.x_content_type_options.take(), Some("nosniff"))?;
    let framing = or("x_frame_options", config.x_frame_options.take(), Some("SAMEORIGIN"))?;
    let opener = or(
        "cross_origin_opener_policy",
        config.cross_origin_opener_policy.take(),
        Some("same-origin-allow-popups"),
    )?;
    let embedder =
        or("cross_origin_embedder_policy", config.cross_origin_embedder_policy.take(), None)?;
    let resource = or(
        "cross_origin_resource_policy",
        config.cross_origin_resource_policy.take(),
        Some("same-site"),
    )?;
    let all = [
        (STRICT_TRANSPORT_SECURITY, strict_transport),
        ("content-security-policy", csp),
        ("content-security-policy-report-only", csp_report_only),
        ("x-content-type-options", sniff),
        ("x-frame-options", framing),
        ("referrer-policy", referrer),
        ("permissions-policy", permissions),
        ("cross-origin-opener-policy", opener),
        ("cross-origin-embedder-policy", embedder),
        ("cross-origin-resource-policy", resource),
    ];
    let field = |(name, value): (&'static str, Option<String>)| {
        Some(Field { name, value: value?, is_of_tls: name == STRICT_TRANSPORT_SECURITY })
    };
    Ok(all.into_iter().filter_map(field).collect())
}

/// Returns the value of a setting: its own, the default, or none. A setting without a default
/// cannot be turned on by `true`.
fn or<T: Into<String>>(
    key: &str,
    setting: Option<Setting<T>>,
    by_default: Option<&str>,
) -> Result<Option<String>, String> {
    match setting {
        Some(Setting::Switch(false)) => Ok(None),
        Some(Setting::Switch(true)) if by_default.is_none() => {
            Err(format!("{key}: has no default and needs a value"))
        }
        Some(Setting::Value(value)) => Ok(Some(value.into())),
        None | Some(Setting::Switch(true)) => Ok(by_default.map(str::to_owned)),
    }
}

fn transport(transport: &Transport) -> Result<String, String> {
    let seconds = seconds(&transport.max_age).ok_or_else(|| {
        format!(
            "strict_transport_security.max_age: {:?} is not a time such as 365d, 12h or 0s",
            transport.max_age
        )
    })?;
    if transport.preload && !(transport.subdomains && seconds >= YEAR) {
        return Err(
            "strict_transport_security.preload: needs subdomains and a max_age of at least \
                    365d"
                .to_owned(),
        );
    }
    let subdomains = if transport.subdomains { "; includeSubDomains" } else { "" };
    let preload = if transport.preload { "; preload" } else { "" };
    Ok(format!("max-age={seconds}{subdomains}{preload}"))
}

fn text(key: &str, value: String) -> Result<String, String> {
    let is_text = value.bytes().all(|b| (b' '..=b'~').contains(&b)) && !value.trim().is_empty();
    if !is_text || value.len() > MAX_POLICY {
        return Err(format!(
            "{key}: must be 1 to {MAX_POLICY} visible ASCII characters and blanks, on one line"
        ));
    }
    Ok(value)
}

/// Checks all values of the list: browsers use the last value that they know.
fn check_referrer(list: &str) -> Result<(), String> {
    match list.split(',').map(str::trim).find(|one| !REFERRER_POLICIES.contains(one)) {
        Some(unknown) => Err(format!("referrer_policy: unknown policy {unknown:?}")),
        None => Ok(()),
    }
}

fn seconds(text: &str) -> Option<u64> {
    duration(text).map(|time| time.as_secs()).filter(|seconds| *seconds <= 100 * YEAR)
}

const STRICT_TRANSPORT_SECURITY: &str = "strict-transport-security";

/// In seconds.
const YEAR: u64 = 365 * 24 * 3600;

/// The longest policy, in bytes. Three of them stay within the limit for the edits of a decision.
const MAX_POLICY: usize = 8 * 1024;

/// The values of Referrer Policy §3. The first is the default.
const REFERRER_POLICIES: [&str; 8] = [
    "strict-origin-when-cross-origin",
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "unsafe-url",
];
