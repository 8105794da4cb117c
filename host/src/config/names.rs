//! Names, sources, paths and codes as they are written in the file.

use std::path::PathBuf;

use super::error::{did_you_mean, nearest};
use super::secret::SecretSource;
use super::text::Kind;
use super::{Source, is_builtin};
use crate::builtin::{BALANCERS, FILTERS};
use crate::oci::{self, Reference, registry_host};

/// A name that other keys refer to and that labels metrics.
pub(super) struct Name;

/// The source of a plugin's component.
pub(super) struct PluginSource;

/// The host of a registry.
pub(super) struct RegistryHost;

/// A SHA-256 in hexadecimal.
pub(super) struct Digest;

/// A secret, or its location.
pub(super) struct Secret;

/// A pattern of request paths.
pub(super) struct PathPattern;

/// A path that Weir requests or serves.
pub(super) struct RequestPath;

/// A request method.
pub(super) struct Method;

/// The name of a protocol in the Upgrade field.
pub(super) struct UpgradeToken;

/// A status code or a range of them.
pub(super) struct StatusRange;

/// The least level of log lines.
pub(super) struct LogLevel;

impl Kind for Name {
    type Value = String;
    const FORMAT: &'static str = "name";
    const MEANING: &'static str =
        "up to 64 letters, digits, `-`, `_` and `.`, beginning with a letter or digit";
    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    const EXAMPLES: &'static [&'static str] = &["app", "canary-by-cookie"];

    fn parse(text: &str) -> Result<String, String> {
        let valid = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if valid {
            Ok(text.to_owned())
        } else {
            Err(format!("\"{text}\" is not a name: {}", Self::MEANING.replace('`', "\"")))
        }
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for PluginSource {
    type Value = Source;
    const FORMAT: &'static str = "source";
    const MEANING: &'static str = "`builtin:NAME`, `file:PATH` relative to the configuration, or a package in a registry: \
         `oci:REGISTRY/NAME@sha256:…`, or `oci:REGISTRY/NAME:TAG` for the package that the tag names \
         when it is loaded";
    const PATTERN: &'static str = "^(builtin|file|oci):.+$";
    const EXAMPLES: &'static [&'static str] = &[
        "file:plugins/canary.wasm",
        "builtin:round-robin",
        "oci:registry.example.com/plugins/canary:1.2",
    ];

    fn parse(text: &str) -> Result<Source, String> {
        match text.split_once(':') {
            Some(("builtin", name)) if is_builtin(name) => Ok(Source::Builtin(name.to_owned())),
            Some(("builtin", name)) => {
                let builtin = [BALANCERS, FILTERS].concat();
                Err(format!("no built-in plugin \"{name}\"{}", did_you_mean(name, &builtin)))
            }
            Some(("file", "")) => Err("\"file:\" names no file".to_owned()),
            Some(("file", path)) => Ok(Source::File(PathBuf::from(path))),
            Some(("oci", reference)) => Reference::parse(reference).map(Source::Oci),
            Some((scheme, _)) if !scheme.contains(['/', '.', '\\']) => Err(format!(
                "\"{text}\" has the unknown scheme \"{scheme}\"; sources are builtin:NAME, file:PATH and oci:REGISTRY/NAME@sha256:…"
            )),
            _ if is_builtin(text) => {
                Err(format!("\"{text}\" has no scheme; write \"builtin:{text}\""))
            }
            _ => Err(format!("\"{text}\" has no scheme; write \"file:{text}\"")),
        }
    }

    fn print(value: &Source) -> String {
        value.to_string()
    }
}

impl Kind for RegistryHost {
    type Value = String;
    const FORMAT: &'static str = "registry";
    const MEANING: &'static str = "`HOST` or `HOST:PORT`";
    const PATTERN: &'static str = "^[A-Za-z0-9.:\\[\\]-]+$";
    const EXAMPLES: &'static [&'static str] = &["registry.example.com:5000", "ghcr.io"];

    fn parse(text: &str) -> Result<String, String> {
        match text.split_once("://") {
            Some((scheme, host)) => {
                let host = host.trim_end_matches('/');
                Err(format!("\"{text}\" is a URL; write \"{host}\" without {scheme}://"))
            }
            None => registry_host(text),
        }
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for Digest {
    type Value = oci::Digest;
    const FORMAT: &'static str = "sha256";
    const MEANING: &'static str = "64 hexadecimal digits";
    const PATTERN: &'static str = "^[0-9A-Fa-f]{64}$";
    const EXAMPLES: &'static [&'static str] =
        &["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"];

    fn parse(text: &str) -> Result<oci::Digest, String> {
        oci::Digest::from_hex(text)
            .ok_or_else(|| format!("\"{text}\" is not a SHA-256: {}", Self::MEANING))
    }

    fn print(value: &oci::Digest) -> String {
        value.hex()
    }
}

impl Kind for Secret {
    type Value = SecretSource;
    const FORMAT: &'static str = "secret";
    const MEANING: &'static str = "`env:NAME` for a variable of the environment, `file:PATH` relative to the configuration, or the text itself";
    const PATTERN: &'static str = "^.+$";
    const EXAMPLES: &'static [&'static str] = &["env:WEIR_ADMIN_TOKEN", "file:admin.token"];

    fn parse(text: &str) -> Result<SecretSource, String> {
        match text.split_once(':') {
            _ if text.is_empty() => Err("a secret cannot be empty".to_owned()),
            Some(("env", "")) => Err("\"env:\" names no variable".to_owned()),
            Some(("file", "")) => Err("\"file:\" names no file".to_owned()),
            Some(("env", name)) => Ok(SecretSource::Environment(name.to_owned())),
            Some(("file", path)) => Ok(SecretSource::File(PathBuf::from(path))),
            _ => Ok(SecretSource::Plain(text.to_owned())),
        }
    }

    fn print(value: &SecretSource) -> String {
        match value {
            SecretSource::Environment(name) => format!("env:{name}"),
            SecretSource::File(path) => format!("file:{}", path.display()),
            SecretSource::Plain(_) => "(a secret)".to_owned(),
        }
    }
}

impl Kind for PathPattern {
    type Value = String;
    const FORMAT: &'static str = "path-pattern";
    const MEANING: &'static str = "`/exact`, or `/prefix/*` for the prefix and everything below it; `{name}` is any one segment, and \
         `{*name}` at the end any number of them";
    const PATTERN: &'static str = r"^/([^*?# ]*|([^*?# ]*/)?(\*|\{\*[^*?# /{}]+\}))$";
    const EXAMPLES: &'static [&'static str] =
        &["/api/*", "/healthz", "/*", "/users/{id}/orders", "/files/{*path}"];

    fn parse(text: &str) -> Result<String, String> {
        if !text.starts_with('/') {
            return Err(format!("\"{text}\" does not begin with \"/\"; write \"/{text}\""));
        }
        if text.contains('?') {
            return Err(format!("\"{text}\" has a query; only paths are compared"));
        }
        let mut names = Vec::new();
        let mut rest = text.split('/').skip(1).peekable();
        let mut path = String::new();
        while let Some(segment) = rest.next() {
            let is_last = rest.peek().is_none();
            let named = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            let name = named.map(|name| name.strip_prefix('*').filter(|_| is_last).unwrap_or(name));
            match name {
                Some(name) if !is_capture_name(name) => {
                    return Err(format!(
                        "\"{text}\" has \"{segment}\": a name has letters, digits and \"_\""
                    ));
                }
                Some(name) if names.contains(&name) => {
                    return Err(format!("\"{text}\" has the name \"{name}\" twice"));
                }
                Some(name) => {
                    names.push(name);
                    path.push_str("/x");
                }
                None if segment == "*" && is_last => {}
                None if segment.contains('*') => {
                    return Err(format!(
                        "\"{text}\" has a \"*\" that is not its last segment, as in \"/api/*\""
                    ));
                }
                None if segment.contains(['{', '}']) => {
                    return Err(format!(
                        "\"{text}\" has \"{segment}\": a name in braces is a whole segment, as in \
                         \"/users/{{id}}\""
                    ));
                }
                None => {
                    path.push('/');
                    path.push_str(segment);
                }
            }
        }
        request_path(if path.is_empty() { "/" } else { &path })?;
        Ok(text.to_owned())
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for RequestPath {
    type Value = String;
    const FORMAT: &'static str = "path";
    const MEANING: &'static str = "a path that begins with `/`, percent-encoded";
    const PATTERN: &'static str = "^/[^# ]*$";
    const EXAMPLES: &'static [&'static str] = &["/healthz", "/metrics"];

    fn parse(text: &str) -> Result<String, String> {
        request_path(text)?;
        Ok(text.to_owned())
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for Method {
    type Value = http::Method;
    const FORMAT: &'static str = "method";
    const MEANING: &'static str = "a request method in capitals";
    const PATTERN: &'static str = "^[A-Z][A-Z-]*$";
    const EXAMPLES: &'static [&'static str] = &["GET", "POST"];

    fn parse(text: &str) -> Result<http::Method, String> {
        // Methods are case-sensitive (RFC 9110 §9.1): `get` would never match.
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(format!(
                "\"{text}\" is not in capitals; write \"{}\"",
                text.to_ascii_uppercase()
            ));
        }
        text.parse().map_err(|_| format!("\"{text}\" is not a request method, as in \"GET\""))
    }

    fn print(value: &http::Method) -> String {
        value.to_string()
    }
}

impl Kind for UpgradeToken {
    type Value = String;
    const FORMAT: &'static str = "upgrade-token";
    const MEANING: &'static str = "a protocol of the Upgrade field; case does not matter";
    const PATTERN: &'static str = "^[A-Za-z0-9!#$%&'*+.^_`|~/-]+$";
    const EXAMPLES: &'static [&'static str] = &["websocket", "SPDY/3.1"];

    fn parse(text: &str) -> Result<String, String> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~/-".contains(&b);
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(format!("\"{text}\" is not a protocol, as in \"websocket\""));
        }
        if text.eq_ignore_ascii_case("h2c") {
            return Err("\"h2c\" is no tunnel: it would hide requests from the routes".to_owned());
        }
        Ok(text.to_ascii_lowercase())
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for StatusRange {
    type Value = (u16, u16);
    const FORMAT: &'static str = "status-range";
    const MEANING: &'static str = "a status code, or the first and the last of a range";
    const PATTERN: &'static str = "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$";
    const EXAMPLES: &'static [&'static str] = &["200-299", "404"];
    const INTEGERS: bool = true;

    fn parse(text: &str) -> Result<(u16, u16), String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.parse().ok().filter(|status| (100..600).contains(status));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok((first, last)),
            (Some(first), Some(last)) => {
                Err(format!("\"{text}\" is backwards; write \"{last}-{first}\""))
            }
            _ => Err(format!("\"{text}\" is not a status code or a range, as in \"200-299\"")),
        }
    }

    fn print((first, last): &Self::Value) -> String {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    }
}

impl Kind for LogLevel {
    type Value = String;
    const FORMAT: &'static str = "log-level";
    const MEANING: &'static str = "`error`, `warn`, `info`, `debug`, `trace` or `off`, and after commas `TARGET=LEVEL` for \
         parts of the program";
    const PATTERN: &'static str = "^[a-z0-9_:=,]+$";
    const EXAMPLES: &'static [&'static str] = &["info", "warn", "info,weir::upstream=debug"];

    fn parse(text: &str) -> Result<String, String> {
        for directive in text.split(',') {
            let (target, level) = directive.split_once('=').unwrap_or(("weir", directive));
            let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
            if target.is_empty() || !target.bytes().all(valid) {
                return Err(format!(
                    "\"{target}\" is not a target, as in \"weir::upstream=debug\""
                ));
            }
            if !LEVELS.contains(&level) {
                let hint = match nearest(level, LEVELS) {
                    Some(near) => format!("; did you mean \"{near}\"?"),
                    None => format!("; levels are {}", LEVELS.join(", ")),
                };
                return Err(format!("unknown level \"{level}\"{hint}"));
            }
        }
        Ok(text.to_owned())
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

fn is_capture_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn request_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("\"{text}\" does not begin with \"/\"; write \"/{text}\""));
    }
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(parsed) if parsed.as_str() == text => Ok(()),
        _ => Err(format!(
            "\"{text}\" is not a path: characters outside RFC 3986 must be percent-encoded"
        )),
    }
}

const LEVELS: &[&str] = &["info", "warn", "error", "debug", "trace", "off"];
