//! The configuration: a file becomes a [`Config`] in which nothing is left to check.
//!
//! `document` reads the text and notes the place of each part. `shape` compares it with the JSON
//! Schema. `file` mirrors the YAML as it is written, and `check` resolves it. After [`load`] no key
//! is unknown, no name dangles and no unit is implicit. The module starts nothing and opens no
//! socket. `run`, `check` and `schema` all call it.
//!
//! `source` joins the files of a configuration and watches them. `difference` compares two
//! configurations, and `masked` hides their secrets.

mod addresses;
mod admin;
pub mod check;
pub mod defaults;
mod difference;
mod discovery;
mod document;
mod endpoints;
mod error;
mod file;
mod formats;
mod id;
mod items;
pub(crate) mod json_schema;
mod masked;
mod names;
mod plugins;
mod reference;
mod routes;
mod secret;
mod shape;
mod shortcut;
pub mod source;
mod telemetry;
mod text;
mod types;
mod udp;
mod units;
mod upstreams;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use file::File;
use serde_json::Value;

pub use admin::{Admin, AdminToken, ControlAddress, Role};
pub use difference::{Change, difference, masked_difference, needs_restart};
pub use discovery::*;
pub use document::Places;
pub use endpoints::endpoints;
pub(crate) use error::did_you_mean;
pub use error::{ConfigErrors, Problem};
pub use id::{ListenerId, PluginId, UpstreamId};
pub use masked::{MASK, Secrets, masked, unmask};
pub use plugins::*;
pub use reference::{plugin_keys, reference, schema};
pub use routes::*;
pub use secret::secret;
pub use shortcut::{Loader, Overrides, Stamps, from_upstreams};
pub use telemetry::{Log, LogFile, LogFormat, MetricsEndpoint, Rotation, Telemetry, Tracing};
pub use types::*;
pub use udp::{CONNECT_UDP, ConnectUdp, TARGET_HOST, TARGET_PORT, UdpHost, UdpTarget};
pub use upstreams::*;

use self::check::Check;
use self::document::Document;
use self::error::Place;
use self::shape::Shape;
use self::source::{Sources, Stamp};
use crate::{builtin, files};

/// Whether a plugin of this name is embedded in the binary.
pub fn is_builtin(name: &str) -> bool {
    builtin::component(name).is_some()
}

/// Reads a name in the form of the configuration, for example that of a plugin.
///
/// # Errors
/// The fault of the name.
pub fn name(text: &str) -> Result<String, String> {
    <names::Name as text::Kind>::parse(text)
}

/// Reads `HOST:PORT` in the form of an endpoint's address. Returns the host and the port.
///
/// # Errors
/// The fault of the text.
pub fn host_port(text: &str) -> Result<(String, u16), String> {
    <addresses::HostPort as text::Kind>::parse(text)
}

/// Reads, checks and resolves a configuration file and the files that it includes. Relative paths
/// in all of them are below its folder.
///
/// # Errors
/// All faults of the files, unless one fault hides another.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Config, ConfigErrors> {
    load_stamped(path, overrides).1
}

/// Does the same as [`load`], and returns the stamps of the files and folders that it read, for
/// [`source::Watcher::set`]. There are stamps also if there are errors.
pub fn load_stamped(
    path: &Path,
    overrides: &Overrides,
) -> (Vec<(PathBuf, Stamp)>, Result<Config, ConfigErrors>) {
    let mut sources = Sources::default();
    sources.stamp(path);
    let config = open(path).and_then(|(document, value, length)| {
        sources.files.push(path.to_owned());
        resolve(document, value, length, folder(path), &mut sources, overrides)
    });
    (sources.stamps, config)
}

/// Reads the address of the admin API and its token from a configuration file. Returns `None` if it
/// has no `admin`. The rest of the file is not checked: an operator must be able to act on a
/// running Weir after a plugin or a certificate is removed.
///
/// # Errors
/// The file cannot be read, is not YAML, or its `admin` is wrong.
pub fn admin(path: &Path) -> Result<Option<Admin>, ConfigErrors> {
    let (document, mut value, _) = open(path)?;
    let admin = value.get_mut(ADMIN).map(Value::take);
    let Some(mut admin) = admin else { return Ok(None) };
    let none = Value::Null;
    let schema = SCHEMA.pointer("/properties/admin").unwrap_or(&none);
    let shape = Shape::of_part(&document, ADMIN, schema, &mut admin);
    let file = match serde_json::from_value::<file::Admin>(admin) {
        Ok(file) => file,
        Err(_) if shape.has_problems() => return Err(ConfigErrors::new(shape.into_problems())),
        Err(error) => return Err(Problem::new(document.value(ADMIN), error.to_string()).into()),
    };
    let mut check = Check::new(&document, folder(path));
    let admin = check.admin(file);
    let mut problems: Vec<Problem> =
        check.problems.into_iter().map(|(_, problem)| problem).collect();
    problems.extend(shape.into_problems());
    if problems.is_empty() { Ok(Some(admin)) } else { Err(ConfigErrors::new(problems)) }
}

/// Reads the main file. Returns its length as well.
fn open(path: &Path) -> Result<(Document, Value, usize), ConfigErrors> {
    let name = path.display().to_string();
    let most = document::MAX_BYTES as u64;
    let text = files::text(path, most).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => document::too_large(&name),
        _ => Problem::new(Place::File(name.clone()), format!("cannot read: {error}")),
    })?;
    let (document, value) = document::read(&name, &text).map_err(ConfigErrors::new)?;
    Ok((document, value, text.len()))
}

/// Returns the folder that the paths in a file are relative to.
fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Reads a configuration's text without checking it.
///
/// # Errors
/// The text is not YAML.
pub fn values(name: &str, text: &str) -> Result<Value, ConfigErrors> {
    document::read(name, text).map(|(_, value)| value).map_err(ConfigErrors::new)
}

/// Checks and resolves a configuration's text. Errors show `name` as the file. Relative paths,
/// those of included files as well, are below `base`.
///
/// # Errors
/// As [`load`].
pub fn from_text(
    name: &str,
    text: &str,
    base: &Path,
    overrides: &Overrides,
) -> Result<Config, ConfigErrors> {
    let (document, value) = document::read(name, text).map_err(ConfigErrors::new)?;
    resolve(document, value, text.len(), base, &mut Sources::default(), overrides)
}

fn resolve(
    mut document: Document,
    value: Value,
    length: usize,
    base: &Path,
    sources: &mut Sources,
    overrides: &Overrides,
) -> Result<Config, ConfigErrors> {
    let value = sources.include(&mut document, value, base, length);
    let mut value = value.map_err(ConfigErrors::new)?;
    overrides.apply(&mut document, &mut value).map_err(ConfigErrors::new)?;
    let mut config = from_value(document, value, base)?;
    config.files.clone_from(&sources.files);
    config.globs.clone_from(&sources.globs);
    config.warnings.append(&mut sources.warnings);
    Problem::sort(&mut config.warnings);
    Ok(config)
}

fn from_value(document: Document, mut value: Value, base: &Path) -> Result<Config, ConfigErrors> {
    let mut written = value.clone();
    let shape = Shape::of(&document, &SCHEMA, &mut value);
    let file = match serde_json::from_value::<File>(value) {
        Ok(file) => file,
        // Missing and wrong parts have been reported with their places.
        Err(_) if shape.has_problems() => return Err(ConfigErrors::new(shape.into_problems())),
        Err(error) => return Err(Problem::new(document.value(""), error.to_string()).into()),
    };
    let mut check = Check::new(&document, base);
    let mut config = check.config(file);
    let mut problems = check.problems;
    problems.retain(|(path, _)| !shape.is_faulty_at(path));
    let mut problems: Vec<Problem> = problems.into_iter().map(|(_, problem)| problem).collect();
    problems.extend(shape.into_problems());
    if !problems.is_empty() {
        return Err(ConfigErrors::new(problems));
    }
    if let Some(written) = written.as_object_mut() {
        written.remove(document::INCLUDE);
    }
    config.tag = source::tag(&written);
    config.value = Values::new(written);
    config.places = Places::new(document);
    Ok(config)
}

/// The most bytes of a configuration's text.
pub const MAX_BYTES: usize = document::MAX_BYTES;

/// The key of the admin API at the top level.
const ADMIN: &str = "admin";

/// The schema, made once: it is the same for every file.
static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

#[cfg(test)]
mod tests;
