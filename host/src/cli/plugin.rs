//! `weir plugin …`: write, build, try, publish and swap plugins.

mod any;
mod inspect;
mod package;
mod project;
mod running;
mod trial;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use weir_runtime::PluginError;

use super::remote::{self, Admin, RemoteError};
use crate::{builtin, config};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Write a new plugin project that builds and passes its test.
    New(project::New),
    /// Build the project in a folder. The component is written beside its manifest.
    Build {
        /// The project's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Write the interface (WIT) of this Weir, for tools of other languages.
    Wit {
        /// The folder. Its files of the same names are replaced.
        folder: PathBuf,
    },
    /// Make a component of a core module of any language.
    Componentize(any::Componentize),
    /// Print the JSON Schema of a file of plugin projects, for editors.
    Schema {
        /// The file.
        #[arg(value_enum)]
        file: any::ProjectFile,
    },
    /// Run a plugin's cases (YAML) in the real runtime, with a fixed clock and fixed randomness.
    Test(trial::Test),
    /// Measure calls, memory and compile time of a component.
    Bench(trial::Bench),
    /// Show a component: its manifest, world, imports, needs and default limits.
    Inspect {
        /// A component, builtin:NAME, or a project's folder, which is built first.
        #[arg(default_value = ".")]
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
    /// Store a component as a package in an OCI registry, and print its source for the
    /// configuration.
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
    /// Swap a plugin of a running Weir for another component, with a trial first.
    Swap {
        /// The plugin's name in the configuration.
        #[arg(value_parser = config::name)]
        name: String,
        /// The component.
        component: PathBuf,
        /// Share of requests that it gets during the trial, in percent.
        #[arg(long, value_name = "PERCENT", value_parser = running::share)]
        share: Option<String>,
        /// Duration of the trial.
        #[arg(long = "for", value_name = "DURATION", value_parser = running::time)]
        time: Option<String>,
        /// Run it beside the current generation without any effect on requests.
        #[arg(long, conflicts_with = "share")]
        shadow: bool,
        /// End of a trial that no request reaches: the new generation serves, or the old one.
        #[arg(long, value_name = "END", value_parser = running::no_traffic())]
        on_no_traffic: Option<String>,
        /// Wait for the end of the trial. The exit code is 0 only if the component serves then, or
        /// has run its time in the shadow.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        admin: Admin,
    },
    /// End a plugin's trial, or return to the previous generation.
    Rollback {
        /// The plugin's name in the configuration.
        #[arg(value_parser = config::name)]
        name: String,
        #[command(flatten)]
        admin: Admin,
    },
}

/// The reason why a command on plugins failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginCliError {
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Package(#[from] crate::oci::OciError),
    #[error(transparent)]
    Config(#[from] config::ConfigErrors),
    #[error("{0}")]
    Failed(String),
}

pub(super) fn execute(command: PluginCommand) -> Result<(), PluginCliError> {
    match command {
        PluginCommand::New(new) => project::write(&new.name, new.lang, new.kind),
        PluginCommand::Build { folder } => project::build(&folder),
        PluginCommand::Wit { folder } => any::wit(&folder),
        PluginCommand::Componentize(componentize) => any::componentize(&componentize),
        PluginCommand::Schema { file } => any::schema(file),
        PluginCommand::Test(test) => trial::test(&test),
        PluginCommand::Bench(bench) => trial::bench(&bench),
        PluginCommand::Inspect { component, reference: true, .. } => inspect::reference(&component),
        PluginCommand::Inspect { component, config, json, reference: false } => {
            inspect::run(&component, config.as_deref(), json)
        }
        PluginCommand::Push(push) => package::push(push),
        PluginCommand::Pull(pull) => package::pull(&pull),
        PluginCommand::List { admin, json } => running::list(&admin, json),
        PluginCommand::Swap {
            name,
            component,
            share,
            time,
            shadow,
            on_no_traffic,
            wait,
            admin,
        } => {
            let terms = running::Terms { share, time, shadow, on_no_traffic };
            running::swap(&name, &component, &terms, wait, &admin)
        }
        PluginCommand::Rollback { name, admin } => running::rollback(&name, &admin),
    }
}

/// Returns the bytes of a component: a file, or a built-in plugin.
fn read(component: &str) -> Result<Vec<u8>, PluginCliError> {
    if let Some(name) = component.strip_prefix("builtin:") {
        return builtin::component(name).map(<[u8]>::to_vec).ok_or_else(|| {
            let names: Vec<&str> = builtin::COMPONENTS.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            PluginCliError::Failed(format!(
                "no built-in plugin {name:?}; the built-in plugins are {names}"
            ))
        });
    }
    read_file(Path::new(component))
}

fn read_file(path: &Path) -> Result<Vec<u8>, PluginCliError> {
    if path.is_dir() {
        let path = path.display();
        return Err(PluginCliError::Failed(format!(
            "{path} is a folder; run `weir plugin build {path}` and give its component"
        )));
    }
    fs::read(path)
        .map_err(|source| PluginCliError::Io { what: format!("read {}", path.display()), source })
}

fn print(text: &str) -> Result<(), PluginCliError> {
    Ok(remote::print(text)?)
}

/// Prints progress. It may fail: nothing depends on a reader.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
