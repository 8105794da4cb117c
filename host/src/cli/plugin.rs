//! `weir plugin …`: write, build, try, publish and swap plugins.

mod package;
mod project;
mod running;
mod trial;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_runtime::{Engine, Environment, Kind, Limits, Plugin, PluginError};

use crate::admin::client::ClientError;
use crate::config::plugin_keys;
use crate::plugins::source;

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Write a project of a plugin that builds and whose test passes.
    New(project::New),
    /// Build the project in a folder to a component beside its manifest.
    Build {
        /// The project's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Run a plugin's cases (YAML) in the real runtime, with a clock and randomness that repeat.
    Test(trial::Test),
    /// Measure calls, memory and compile time of a component.
    Bench(trial::Bench),
    /// Tell what a component is: its manifest, world, imports, needs and the limits that it gets by default.
    Inspect {
        /// A component, or builtin:NAME.
        component: String,
        /// Configuration (JSON) to show the needs for.
        #[arg(long, value_name = "JSON")]
        config: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Print the keys of its configuration, in Markdown.
        #[arg(long, conflicts_with_all = ["json", "config"])]
        reference: bool,
    },
    /// Store a component as a package in an OCI registry, and print its source for the configuration.
    Push(package::Push),
    /// Fetch a component from an OCI registry, and print its source for the configuration.
    Pull(package::Pull),
    /// List the plugins of a running Weir.
    List {
        #[command(flatten)]
        admin: Admin,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Swap a plugin of a running Weir for another component, on trial first.
    Swap {
        /// The plugin's name in the configuration.
        name: String,
        /// The component.
        component: PathBuf,
        /// Share of requests that it gets while it is tried, in percent.
        #[arg(long, value_name = "PERCENT")]
        share: Option<String>,
        /// How long it is tried.
        #[arg(long = "for", value_name = "DURATION")]
        time: Option<String>,
        /// Have it run beside the one that serves, and decide nothing.
        #[arg(long, conflicts_with = "share")]
        shadow: bool,
        #[command(flatten)]
        admin: Admin,
    },
    /// End a plugin's trial, or return to the generation before.
    Rollback {
        /// The plugin's name in the configuration.
        name: String,
        #[command(flatten)]
        admin: Admin,
    },
}

/// How to reach a running Weir.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// Address of the admin API; or set WEIR_ADMIN. [default: 127.0.0.1:9091]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Its token; better set WEIR_ADMIN_TOKEN.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Take both from this configuration.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["admin", "token"])]
    config: Option<PathBuf>,
}

/// Why a command on plugins failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginCliError {
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Package(#[from] crate::oci::OciError),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigErrors),
    #[error("{0}")]
    Failed(String),
    #[error("write to standard output")]
    Output(#[source] std::io::Error),
}

pub(super) fn execute(command: PluginCommand) -> Result<(), PluginCliError> {
    match command {
        PluginCommand::New(new) => project::write(&new.name, new.lang, new.kind),
        PluginCommand::Build { folder } => project::build(&folder).map(drop),
        PluginCommand::Test(test) => trial::test(&test),
        PluginCommand::Bench(bench) => trial::bench(&bench),
        PluginCommand::Inspect { component, reference: true, .. } => {
            print(&plugin_keys(&schema(&load(&component, &read(&component)?)?)))
        }
        PluginCommand::Inspect { component, config, json, reference: false } => {
            inspect(&component, config.as_deref(), json)
        }
        PluginCommand::Push(push) => package::push(push),
        PluginCommand::Pull(pull) => package::pull(&pull),
        PluginCommand::List { admin, json } => running::list(&admin, json),
        PluginCommand::Swap { name, component, share, time, shadow, admin } => {
            let terms = running::terms(share.as_deref(), time.as_deref(), shadow);
            running::swap(&name, &component, &terms, &admin)
        }
        PluginCommand::Rollback { name, admin } => running::rollback(&name, &admin),
    }
}

fn inspect(component: &str, config: Option<&str>, as_json: bool) -> Result<(), PluginCliError> {
    let wasm = read(component)?;
    let limits = Limits::default();
    let plugin = load(component, &wasm)?;
    let manifest = plugin.manifest();
    let interfaces = plugin.interfaces();
    let schema = schema(&plugin);
    let needs = needs(&plugin, config.unwrap_or("{}"));
    let about = json!({
        "name": manifest.name,
        "version": manifest.version,
        "summary": manifest.summary,
        "world": plugin.kind().world(),
        "sha256": source::digest(&wasm),
        "bytes": wasm.len(),
        "imports": interfaces.imports,
        "exports": interfaces.exports,
        "needs": needs.as_ref().ok(),
        "limits": { "memory_bytes": limits.memory, "time_seconds": limits.time.as_secs_f64() },
        "config_schema": schema,
    });
    if as_json {
        return print(&format!("{about:#}\n"));
    }
    let mut text = format!(
        "{} {}: {}\n\nworld    {}\nsha256   {}\nsize     {} bytes\nimports  {}\n\
         limits   {} MiB of memory and {:?} a call, if the configuration does not say\n",
        manifest.name,
        manifest.version,
        manifest.summary,
        plugin.kind().world(),
        source::digest(&wasm),
        wasm.len(),
        join(&interfaces.imports),
        limits.memory >> 20,
        limits.time,
    );
    match needs {
        Ok(Value::Object(needs)) => {
            for (name, value) in needs {
                text.push_str(&format!("{name:<8} {value}\n"));
            }
        }
        Ok(_) => {}
        Err(error) => text.push_str(&format!("needs    unknown without --config: {error}\n")),
    }
    text.push_str(&format!("\nconfiguration:\n{schema:#}\n"));
    print(&text)
}

/// Loads a component to look at it.
fn load(component: &str, wasm: &[u8]) -> Result<Plugin, PluginCliError> {
    // An interpreter takes more than the default to begin with; what it really takes is shown.
    let ample = Limits { memory: 256 << 20, ..Limits::default() };
    let environment = Environment::default().with_every_space();
    Ok(Plugin::load(&Engine::new()?, component, wasm, ample, &environment)?)
}

fn schema(plugin: &Plugin) -> Value {
    serde_json::from_str(&plugin.manifest().config_schema).unwrap_or(Value::Null)
}

fn needs(plugin: &Plugin, config: &str) -> Result<Value, PluginError> {
    if plugin.kind() == Kind::Balancer {
        let instance = plugin.balancer(config)?;
        let needs = instance.needs();
        return Ok(json!({
            "inputs": needs.inputs, "sequence": needs.sequence, "loads": needs.loads,
            "outcomes": needs.outcomes, "memory": instance.memory(),
        }));
    }
    let instance = plugin.filter(config)?;
    let needs = instance.needs();
    Ok(json!({
        "inputs": needs.inputs, "response-inputs": needs.response_inputs,
        "on-request": needs.on_request, "on-response": needs.on_response,
        "memory": instance.memory(),
    }))
}

/// The bytes of a component: a file's, or those of a built-in plugin.
fn read(component: &str) -> Result<Vec<u8>, PluginCliError> {
    if let Some(name) = component.strip_prefix("builtin:") {
        return source::builtin(name).map(<[u8]>::to_vec).ok_or_else(|| {
            let names: Vec<&str> = source::BUILTIN.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            PluginCliError::Failed(format!("no built-in plugin {name:?}; there are {names}"))
        });
    }
    read_file(Path::new(component))
}

fn read_file(path: &Path) -> Result<Vec<u8>, PluginCliError> {
    fs::read(path)
        .map_err(|source| PluginCliError::Io { what: format!("read {}", path.display()), source })
}

fn join(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn print(text: &str) -> Result<(), PluginCliError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(PluginCliError::Output)
}

/// Tells what goes on; nothing depends on it being read.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
