//! Arguments of the command line that add to a configuration or replace one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::addresses::{HTTPS_PORT, HostPort};
use super::document::{Document, below, item};
use super::error::{ConfigErrors, Place, Problem};
use super::names::{Name, PluginSource};
use super::source::Stamp;
use super::text::Kind;
use super::{Config, Source, defaults, from_value};

/// Arguments of `weir run` that change a configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--plugin NAME=SOURCE`: the source is `file:PATH`, `builtin:NAME` or a path, relative to the
    /// working directory.
    pub plugins: Vec<(String, String)>,
    /// `--upstream URL`: only without a file.
    pub upstreams: Vec<String>,
    /// `--listen ADDRESS`: only with `--upstream`. The default is 127.0.0.1:8443.
    pub listen: Option<SocketAddr>,
}

/// The versions of files and folders, from before they were read.
pub type Stamps = Vec<(PathBuf, Stamp)>;

/// Reads the configuration of a process, at its start and again while it runs.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    /// The configuration file. Without one, the arguments are the configuration.
    pub path: Option<PathBuf>,
    /// Arguments of the command line.
    pub overrides: Overrides,
}

impl Loader {
    /// Reads, checks and resolves the configuration. Returns the stamps of its files and folders,
    /// taken before they were read, also if there are errors.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn load(&self) -> (Stamps, Result<Config, ConfigErrors>) {
        match &self.path {
            Some(path) => super::load_stamped(path, &self.overrides),
            None => (Vec::new(), from_upstreams(&self.overrides)),
        }
    }

    /// Checks and resolves a text in place of the file. Its relative paths are those of the file.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn text(&self, name: &str, text: &str) -> Result<Config, ConfigErrors> {
        let base = self.path.as_deref().map_or(Path::new(""), super::folder);
        // Arguments that stand for a file do not apply to a text.
        let overrides = match &self.path {
            Some(_) => self.overrides.clone(),
            None => Overrides::default(),
        };
        super::from_text(name, text, base, &overrides)
    }
}

impl Overrides {
    /// Adds plugins. A plugin of an existing name gets the new source, and loses the digest of its
    /// old one.
    pub(super) fn apply(
        &self,
        document: &mut Document,
        file: &mut Value,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(url) = self.upstreams.first() {
            let place = Place::Argument(format!("--upstream {url}"));
            problems.push(Problem::new(place, "is for running without a configuration file"));
        }
        let Some(file) = file.as_object_mut().filter(|_| !self.plugins.is_empty()) else {
            return if problems.is_empty() { Ok(()) } else { Err(problems) };
        };
        let plugins = file.entry("plugins").or_insert_with(|| json!([]));
        for (name, from) in &self.plugins {
            let argument = format!("--plugin {name}={from}");
            let (Ok(from), Ok(_)) = (plugin_source(from), Name::parse(name)) else {
                let why = plugin_source(from).err().or(Name::parse(name).err()).unwrap_or_default();
                problems.push(Problem::new(Place::Argument(argument), why));
                continue;
            };
            // A value of another type is reported by `shape`.
            let Some(plugins) = plugins.as_array_mut() else { break };
            let named = |plugin: &Value| plugin.get("name").and_then(Value::as_str) == Some(name);
            let at = plugins.iter().position(named).unwrap_or(plugins.len());
            match plugins.get_mut(at).and_then(Value::as_object_mut) {
                Some(plugin) => {
                    plugin.remove("sha256");
                    plugin.insert("source".to_owned(), from.into());
                    document.set_argument(below(&item("plugins", at), "source"), argument);
                }
                None => {
                    plugins.push(json!({ "name": name, "source": from }));
                    document.set_argument(item("plugins", at), argument);
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Returns the configuration that proxies to `overrides.upstreams`. It has a self-signed listener
/// with every protocol, one upstream of all these endpoints and one route. The last of
/// `overrides.plugins` is the balancer. Without plugins the balancer is round robin.
///
/// # Errors
/// A URL is not `http://HOST[:PORT]` or `https://HOST[:PORT]`, its host is unknown, or a plugin is unusable.
pub fn from_upstreams(overrides: &Overrides) -> Result<Config, ConfigErrors> {
    let mut document = Document::argument("--upstream");
    let mut problems = Vec::new();
    let (mut endpoints, mut schemes) = (Vec::new(), Vec::new());
    for (at, url) in overrides.upstreams.iter().enumerate() {
        let argument = format!("--upstream {url}");
        match endpoint(url) {
            Ok((scheme, address)) => {
                if schemes.iter().any(|other| *other != scheme) {
                    let why = "all upstreams must have the same scheme, http or https";
                    problems.push(Problem::new(Place::Argument(argument.clone()), why.to_owned()));
                }
                schemes.push(scheme);
                endpoints.push(json!({ "address": address }));
            }
            Err(why) => problems.push(Problem::new(Place::Argument(argument.clone()), why)),
        }
        document.set_argument(item("upstreams[0].endpoints", at), argument);
    }
    let listener = overrides.listen.map_or(LISTENER.to_owned(), |address| address.to_string());
    document.set_argument("listeners[0].address".to_owned(), "--listen".to_owned());
    if !problems.is_empty() {
        return Err(ConfigErrors::new(problems));
    }
    let balancer = overrides.plugins.last().map_or(defaults::BALANCER, |(name, _)| name);
    let mut file = json!({
        "listeners": [{ "address": listener, "tls": { "self_signed": {} } }],
        "upstreams": [{ "name": "default", "balancer": balancer, "endpoints": endpoints }],
        "routes": [{ "name": "default", "upstream": "default" }],
    });
    if schemes.contains(&"https")
        && let Some(upstream) = file.pointer_mut("/upstreams/0").and_then(Value::as_object_mut)
    {
        upstream.insert("tls".to_owned(), json!({}));
    }
    let plugins = Overrides { plugins: overrides.plugins.clone(), ..Overrides::default() };
    plugins.apply(&mut document, &mut file).map_err(ConfigErrors::new)?;
    from_value(document, file, Path::new(""))
}

/// Returns the scheme and the endpoint's address in `http://HOST[:PORT]` or `https://HOST[:PORT]`.
fn endpoint(url: &str) -> Result<(&'static str, String), String> {
    let (scheme, port, rest) = match url.split_once("://") {
        Some(("http", rest)) => ("http", HTTP_PORT, rest),
        Some(("https", rest)) => ("https", HTTPS_PORT, rest),
        Some((scheme, _)) => {
            return Err(format!(
                "{scheme}:// is not supported for upstreams; use http:// or https://"
            ));
        }
        None => return Err(format!("is not a URL; write \"http://{url}\"")),
    };
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.contains(['/', '?', '#']) {
        return Err("has a path; requests keep the path that the client asked for".to_owned());
    }
    let with_port = format!("{address}:{port}");
    let parsed =
        HostPort::parse(address).or_else(|error| HostPort::parse(&with_port).map_err(|_| error))?;
    Ok((scheme, HostPort::print(&parsed)))
}

/// Returns the `source` of a plugin with an absolute path. Paths are relative to the working
/// directory, not to the file.
fn plugin_source(text: &str) -> Result<String, String> {
    let named = PluginSource::parse(text);
    let parsed = match named {
        Err(_) if !text.contains(':') && !text.is_empty() => Source::File(text.into()),
        named => named?,
    };
    let Source::File(path) = parsed else { return Ok(PluginSource::print(&parsed)) };
    let path =
        std::path::absolute(&path).map_err(|error| format!("cannot find \"{text}\": {error}"))?;
    Ok(PluginSource::print(&Source::File(path)))
}

/// Loopback, and a port that needs no privilege.
const LISTENER: &str = "127.0.0.1:8443";

/// The port of `http` (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;
