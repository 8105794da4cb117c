//! The commands: `demo`, `run`, `check`, `schema`, `plugin`, and those on a running Weir.

mod endpoints;
mod explain;
mod operate;
mod plugin;
mod remote;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgGroup, Args, Parser, Subcommand};
use weir_runtime::with_causes;

use crate::config::{self, Config, ConfigErrors, ListenerId, Loader, Overrides, Stamps};
use crate::demo;
use crate::plugins::outside;
use crate::server::{self, Before, Server, ServerError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{Telemetry, TelemetryError, log};

/// A reverse proxy for HTTP/3, HTTP/2 and HTTP/1.1 with its policy in WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 configuration error.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a demonstration: three small origins, the built-in balancers, https://localhost:8443.
    Demo(DemoArgs),
    /// Serve a configuration.
    Run(Source),
    /// Read a configuration and compile every plugin, but start nothing.
    Check(CheckArgs),
    #[command(flatten)]
    Operate(operate::OperateCommand),
    /// Write, build, test, measure and swap plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Compile a component from standard input to standard output. Weir calls this itself.
    #[command(name = outside::COMMAND, hide = true)]
    CompileComponent {
        /// The settings of the engine.
        settings: String,
        #[command(flatten)]
        limits: outside::CompileLimits,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema {
        /// Print the reference as Markdown instead.
        #[arg(long)]
        reference: bool,
    },
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Address for HTTP/3, HTTP/2 and HTTP/1.1.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address for metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    metrics: SocketAddr,
    /// Address for the admin API.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9091")]
    admin: SocketAddr,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    explain: explain::ExplainArgs,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["config", "upstream"]).required(true)))]
struct Source {
    /// The configuration file (YAML).
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Add a plugin or replace one: builtin:NAME, file:PATH, oci:REGISTRY/NAME:TAG, or a path.
    /// Repeatable.
    #[arg(long, value_name = "NAME=SOURCE", value_parser = parse_plugin)]
    plugin: Vec<(String, String)>,
    /// Proxy this server (http://HOST:PORT) without a file. Repeatable.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// Address for clients, with --upstream. [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    listen: Option<SocketAddr>,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Plugin(#[from] plugin::PluginCliError),
    #[error(transparent)]
    Remote(#[from] remote::RemoteError),
    #[error("start telemetry")]
    Telemetry(#[from] TelemetryError),
    #[error("write to standard output")]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Explain(#[from] explain::ExplainError),
    #[error("format JSON")]
    Json(#[from] serde_json::Error),
}

/// Runs the command of the process.
pub fn main() -> ExitCode {
    outside::announce();
    let cli = Cli::try_parse().unwrap_or_else(|error| hinted(error).exit());
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Adds a hint. An argument that is a file is most often meant as the configuration.
fn hinted(mut error: clap::Error) -> clap::Error {
    let takes_one = std::env::args().nth(1).is_some_and(|name| name == "run" || name == "check");
    if takes_one
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && Path::new(argument).is_file()
    {
        let tip = format!("pass a configuration as `--config {argument}`").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

fn execute(command: Command) -> Result<(), CliError> {
    match command {
        Command::CompileComponent { settings, limits } => match outside::run(&settings, &limits) {
            0 => Ok(()),
            code => std::process::exit(code.into()),
        },
        Command::Demo(args) => {
            let demo = demo::Demo::bind()?;
            let config = demo.config(args.listen, args.metrics, args.admin)?;
            let mut before = Before::nothing()?;
            serve(config, (Loader::default(), Vec::new()), Some(demo), &mut before)
        }
        Command::Run(source) => {
            let mut before = Before::find()?;
            let loader = source.loader();
            let (stamps, config) = before.configuration(&loader);
            let served = config.map_err(CliError::from);
            let served =
                served.and_then(|config| serve(config, (loader, stamps), None, &mut before));
            served.inspect_err(|error| before.fail(error))
        }
        Command::Check(arguments) => check(&arguments),
        Command::Operate(command) => Ok(operate::execute(command)?),
        Command::Plugin(command) => Ok(plugin::execute(command)?),
        Command::Schema { reference } => {
            let text = if reference {
                config::reference()
            } else {
                serde_json::to_string_pretty(&config::schema())? + "\n"
            };
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
    }
}

fn serve(
    config: Config,
    loader: (Loader, Stamps),
    demo: Option<demo::Demo>,
    before: &mut Before,
) -> Result<(), CliError> {
    let (telemetry, _flush) = Telemetry::start(&config.telemetry)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let shown = demo.as_ref().map(|_| config.clone());
    let server = Server::bind(config, loader, telemetry, before)?;
    let welcome = shown.zip(server.addresses().next());
    let welcome = welcome.map(|(config, address)| demo::welcome(address, &config));
    Ok(server.run(before, |tasks| {
        demo.map_or(Ok(()), |demo| demo.serve(tasks))?;
        // The demonstration serves even if nobody reads the welcome.
        let _ = std::io::stderr().write_all(welcome.unwrap_or_default().as_bytes());
        Ok(())
    })?)
}

fn check(arguments: &CheckArgs) -> Result<(), CliError> {
    let config = Arc::new(arguments.source.loader().load().1?);
    log::install_plain(PACKAGES);
    let ids: Vec<_> = (0..config.listeners.len()).map(ListenerId::new).collect();
    let state = server::state(&config, &ids, &Metrics::new(), None)?;
    for warning in &config.warnings {
        writeln!(std::io::stderr(), "warning: {warning}")?;
    }
    let parts = [
        counted(config.listeners.len(), "listener"),
        counted(config.routes.len(), "route"),
        counted(config.upstreams.len(), "upstream"),
        counted(config.plugins.len(), "plugin"),
    ];
    let text = match arguments.explain.request()? {
        Some(request) => explain::text(&state, &request),
        None => format!("configuration is good: {}\n", parts.join(", ")),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Returns `1 route`, `2 routes`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl Source {
    fn loader(&self) -> Loader {
        let overrides = Overrides {
            plugins: self.plugin.clone(),
            upstreams: self.upstream.clone(),
            listen: self.listen,
        };
        Loader { path: self.config.clone(), overrides }
    }
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Plugin(plugin::PluginCliError::Config(_))
            | Self::Server(ServerError::Config(_))
            | Self::Telemetry(
                TelemetryError::Directives { .. } | TelemetryError::Collector { .. },
            ) => CONFIGURATION_ERROR,
            Self::Remote(error) | Self::Plugin(plugin::PluginCliError::Remote(error))
                if error.is_of_configuration() =>
            {
                CONFIGURATION_ERROR
            }
            _ => 1,
        }
    }
}

/// Prints an error with its causes on one line.
fn report(error: &CliError) {
    let text = format!("weir: {}\n", with_causes(error));
    // If standard error is closed, the error has no other place to go.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn parse_plugin(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, source)) if !name.is_empty() && !source.is_empty() => {
            Ok((name.to_owned(), source.to_owned()))
        }
        _ => Err("expected NAME=SOURCE, as in mine=file:target/mine.wasm".to_owned()),
    }
}

/// The log of commands that serve nothing, while packages are moved.
const PACKAGES: &str = "weir::oci=info";

/// EX_CONFIG of sysexits.h.
const CONFIGURATION_ERROR: u8 = 78;
