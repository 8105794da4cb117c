//! `weir plugin push` and `pull`: plugins as packages in OCI registries.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::inspect::load;
use super::{PluginCliError, print, progress, read};
use crate::cli::PACKAGES;
use crate::config;
use crate::files;
use crate::oci::signature::{Policy, PrivateKey, PublicKey};
use crate::oci::{self, About, Access, Credentials, Reference};
use crate::plugins;
use crate::telemetry::log;

#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// A component, or builtin:NAME.
    component: String,
    /// The package: REGISTRY/NAME:TAG.
    #[arg(value_parser = parse_target)]
    reference: Reference,
    /// Sign it with this private key: a PEM file (PKCS#8, Ed25519 or ECDSA P-256), or env:NAME.
    #[arg(long, value_name = "KEY")]
    sign: Option<String>,
    /// Add an annotation to its manifest. Repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_annotation)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    registry: Registry,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    /// The package: REGISTRY/NAME@sha256:… or REGISTRY/NAME:TAG.
    #[arg(value_parser = parse_reference)]
    reference: Reference,
    /// File for the component. [default: its name with .wasm]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Accept it only with a signature by this public key: a PEM file, or env:NAME. Repeatable; one
    /// of them is enough.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    #[command(flatten)]
    registry: Registry,
}

/// The access to the registry. Without a user, credentials come from Docker's configuration.
#[derive(Debug, Args)]
struct Registry {
    /// The user.
    #[arg(long, value_name = "USER", requires = "password_from")]
    username: Option<String>,
    /// Source of the user's password: env:NAME or file:PATH.
    #[arg(long, value_name = "SOURCE", requires = "username", value_parser = parse_password)]
    password_from: Option<String>,
    /// Connect without TLS; always so for a loopback address.
    #[arg(long)]
    plain_http: bool,
    /// Trust these certificate authorities (PEM) besides the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    ca: Option<PathBuf>,
}

pub(super) fn push(push: Push) -> Result<(), PluginCliError> {
    log::install_plain(PACKAGES);
    let wasm = read(&push.component)?;
    let plugin = load(&push.component, &wasm)?;
    let (manifest, interfaces) = (plugin.manifest(), plugin.interfaces());
    let mut annotations = BTreeMap::from(
        [
            ("org.opencontainers.image.title", manifest.name.as_str()),
            ("org.opencontainers.image.version", &manifest.version),
            ("org.opencontainers.image.description", &manifest.summary),
            ("weir.plugin.world", plugin.kind().world()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    annotations.extend(push.annotation);
    let about = About {
        exports: interfaces.exports.clone(),
        imports: interfaces.imports.clone(),
        annotations,
    };
    let key = push.sign.as_deref().map(|key| pem(key, PrivateKey::from_pem)).transpose()?;
    let access = push.registry.access(&push.reference.registry)?;
    progress(&format!("pushing {} ({} bytes)", push.reference, wasm.len()));
    let pushed = oci::push(&push.reference, &access, wasm, &about, key.as_ref())?;
    print(&format!("oci:{}\n", push.reference.at(pushed.digest)))
}

pub(super) fn pull(pull: &Pull) -> Result<(), PluginCliError> {
    log::install_plain(PACKAGES);
    let mut access = pull.registry.access(&pull.reference.registry)?;
    let keys = pull.key.iter().map(|key| pem(key, PublicKey::from_pem));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    access.policy = (!keys.is_empty()).then_some(Policy { keys, required: true });
    let cache = plugins::package_cache();
    let package = oci::pull(&pull.reference, &access, cache.as_ref())?;
    let file = pull.output.clone().unwrap_or_else(|| pull.reference.file_name().into());
    fs::write(&file, &package.wasm).map_err(|source| PluginCliError::Io {
        what: format!("write {}", file.display()),
        source,
    })?;
    progress(&format!("wrote {}", file.display()));
    print(&format!("oci:{}\n", pull.reference.at(package.digest)))
}

impl Registry {
    fn access(&self, host: &str) -> Result<Access, PluginCliError> {
        let mut access = Access::to(host);
        access.plain_http |= self.plain_http;
        if let (Some(username), Some(source)) = (&self.username, &self.password_from) {
            let password = config::secret(source, Path::new(""))
                .map_err(|error| PluginCliError::Failed(format!("--password-from: {error}")))?;
            let (username, password) = (username.clone(), password.trim().to_owned());
            access.credentials = Some(Credentials::Basic { username, password });
        }
        if let Some(path) = &self.ca {
            access.ca = files::certificates(path).map_err(|error| {
                PluginCliError::Failed(format!(
                    "read certificates from {}: {error}",
                    path.display()
                ))
            })?;
            access.plain_http = false;
        }
        Ok(access)
    }
}

/// Reads a key from a file, or from a variable of the environment.
fn pem<K>(source: &str, parse: impl Fn(&str) -> Result<K, String>) -> Result<K, PluginCliError> {
    let named =
        if source.starts_with("env:") { source.to_owned() } else { format!("file:{source}") };
    config::secret(&named, Path::new(""))
        .and_then(|text| parse(&text))
        .map_err(|error| PluginCliError::Failed(format!("use the key {source}: {error}")))
}

/// Reads a reference. It may begin with `oci:`, as in a configuration.
fn parse_reference(text: &str) -> Result<Reference, String> {
    Reference::parse(text.strip_prefix("oci:").unwrap_or(text))
}

fn parse_target(text: &str) -> Result<Reference, String> {
    let reference = parse_reference(text)?;
    match (&reference.tag, reference.digest) {
        (Some(_), None) => Ok(reference),
        _ => Err("expected REGISTRY/NAME:TAG without a digest".to_owned()),
    }
}

fn parse_annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Refuses the password itself: it would be in the list of processes and in the shell's history.
fn parse_password(text: &str) -> Result<String, String> {
    if text.starts_with("env:") || text.starts_with("file:") {
        Ok(text.to_owned())
    } else {
        Err("expected env:NAME or file:PATH".to_owned())
    }
}
