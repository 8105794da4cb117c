//! `weir plugin test` and `bench`: a component in the real runtime, without a proxy around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use weir_runtime::{Endpoint, Engine, Environment, Kind, Limits, Pick, Plugin, service};
use weir_sdk_testing::{Component, cases};

use super::{PluginCliError, print, progress, project, read_file};
use crate::config::defaults;
use crate::files;
use crate::plugins::outside;
use crate::plugins::rules::ProxyRules;

#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// A project's folder, which is built first, or a component.
    #[arg(default_value = ".")]
    subject: PathBuf,
    /// The cases. [default: cases.yaml in the project's folder, or beside the component]
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Memory limit of an instance, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = (defaults::PLUGIN_MEMORY >> 20) as u64, value_parser = memory())]
    memory: u64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Bench {
    /// A component, builtin:NAME, or a project's folder, which is built first.
    #[arg(default_value = ".")]
    component: String,
    /// Configuration (JSON).
    #[arg(long, value_name = "JSON", default_value = "{}")]
    config: String,
    /// Number of endpoints for a balancer to choose among.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    endpoints: u32,
    /// Value of each input, and of each field of the response.
    #[arg(long, default_value = "192.0.2.117")]
    input: String,
    /// Memory limit of an instance, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = (defaults::PLUGIN_MEMORY >> 20) as u64, value_parser = memory())]
    memory: u64,
    /// Duration of the calls of each function.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

pub(super) fn test(test: &Test) -> Result<(), PluginCliError> {
    if !test.subject.is_dir() {
        let folder = test.subject.parent().unwrap_or(Path::new(""));
        return pass(&read_file(&test.subject)?, folder, test);
    }
    let built = project::compile(&test.subject)?;
    pass(&built.wasm, &test.subject, test)?;
    // The component is written after its tests passed: a running Weir may load it at once.
    project::place(&test.subject, &built)
}

/// Runs the cases. There must be at least one, and each must pass.
fn pass(wasm: &[u8], beside: &Path, test: &Test) -> Result<(), PluginCliError> {
    let path = test.cases.clone().unwrap_or_else(|| beside.join("cases.yaml"));
    let text = files::text(&path, MAX_CASES).map_err(|source| PluginCliError::Io {
        what: format!("read {}", path.display()),
        source,
    })?;
    ours(wasm, "test its functions with its language's own tools")?;
    let component = Component::load(wasm, limits(test.memory))?.under(Arc::new(ProxyRules));
    let folder = path.parent().unwrap_or(Path::new(""));
    let outcomes = cases::run(&component, &text, folder)
        .map_err(|error| PluginCliError::Failed(format!("{}: {error}", path.display())))?;
    let (mut report, mut failed) = (String::new(), 0);
    for outcome in &outcomes {
        match &outcome.fault {
            None => report.push_str(&format!("ok    {}\n", outcome.name)),
            Some(fault) => {
                failed += 1;
                report.push_str(&format!("FAIL  {}: {fault}\n", outcome.name));
            }
        }
    }
    for (level, line) in component.world().lines() {
        report.push_str(&format!("log   {level:?}: {line}\n"));
    }
    print(&report)?;
    let count = outcomes.len();
    match (count, failed) {
        (0, _) => Err(PluginCliError::Failed(format!("{} has no cases", path.display()))),
        (_, 0) => print(&format!("{count} cases passed\n")),
        _ if test.subject.is_dir() => Err(PluginCliError::Failed(format!(
            "{failed} of {count} cases failed; the component was not written"
        ))),
        _ => Err(PluginCliError::Failed(format!("{failed} of {count} cases failed"))),
    }
}

pub(super) fn bench(bench: &Bench) -> Result<(), PluginCliError> {
    let wasm = project::component(&bench.component)?;
    ours(&wasm, "serve it as a route's `component` and put load on the route")?;
    let engine = Engine::with_code(None, outside::compiler())?;
    let environment = Environment::default().with_every_space();
    progress(&format!("compiling {}", bench.component));
    let start = Instant::now();
    let (name, limits) = (&bench.component, limits(bench.memory));
    let plugin = Plugin::load(&engine, name, &wasm, limits, &environment)?;
    let compile = start.elapsed();
    let time = Duration::from_secs(bench.seconds);
    let input = Some(bench.input.as_bytes());
    let report = format!(
        "component    {} bytes, {}\ncompile      {compile:.1?}\n",
        wasm.len(),
        plugin.kind().world()
    );
    print(&report)?;
    let line = |name: &str, result: Result<Duration, PluginCliError>| {
        let each =
            result.map_err(|error| PluginCliError::Failed(format!("{name} failed: {error}")))?;
        print(&format!("{name:<12} {:.0} ns\n", each.as_secs_f64() * 1e9))
    };
    let memory = if plugin.kind() == Kind::Balancer {
        line("instantiate", each(time, || Ok(plugin.balancer(&bench.config)?)))?;
        let mut instance = plugin.balancer(&bench.config)?;
        let endpoints: Vec<Endpoint> = (0..bench.endpoints).map(endpoint).collect();
        line("update", each(time, || Ok(instance.update(&endpoints)?)))?;
        let needs = instance.needs().clone();
        let inputs = vec![input; needs.inputs.len()];
        let loads: Vec<u32> = (0..bench.endpoints).map(|n| n * 7919 % 61).collect();
        let loads = if needs.loads { &loads[..] } else { &[] };
        let mut sequence = 0;
        line(
            "pick",
            each(time, || {
                sequence += 1;
                instance.pick(Pick { sequence, attempt: 0, inputs: &inputs, loads })?;
                Ok(())
            }),
        )?;
        instance.memory()
    } else {
        line("instantiate", each(time, || Ok(plugin.filter(&bench.config)?)))?;
        let mut instance = plugin.filter(&bench.config)?;
        let needs = instance.needs().clone();
        let request = vec![input; needs.inputs.len()];
        let response = vec![input; needs.response_inputs.len()];
        if needs.on_request {
            line("on-request", each(time, || Ok(instance.on_request(&request)?)))?;
        }
        if needs.on_response {
            line("on-response", each(time, || Ok(instance.on_response(200, &response, b"")?)))?;
        }
        instance.memory()
    };
    print(&format!("memory       {} KiB for each instance\n", memory >> 10))
}

/// Refuses a standard component, and names the tool for it.
fn ours(wasm: &[u8], instead: &str) -> Result<(), PluginCliError> {
    service::standard(wasm).map_or(Ok(()), |kind| {
        let world = kind.world();
        let text = format!("it is a {world}, not a balancer or filter of Weir's worlds: {instead}");
        Err(PluginCliError::Failed(text))
    })
}

/// Calls for about `time` and returns the duration of one call: the median of ten rounds.
fn each<T>(
    time: Duration,
    mut call: impl FnMut() -> Result<T, PluginCliError>,
) -> Result<Duration, PluginCliError> {
    const ROUNDS: u32 = 10;
    call()?;
    let start = Instant::now();
    call()?;
    let one = start.elapsed().max(Duration::from_nanos(50));
    let calls = (time.as_nanos() / u128::from(ROUNDS) / one.as_nanos()).clamp(1, 1 << 24);
    let calls = u32::try_from(calls).unwrap_or(1);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        rounds.push(start.elapsed() / calls);
    }
    rounds.sort_unstable();
    Ok(rounds.get(rounds.len() / 2).copied().unwrap_or_default())
}

fn endpoint(id: u32) -> Endpoint {
    Endpoint {
        id,
        address: format!("10.0.{}.{}:8080", id >> 8 & 255, id & 255),
        weight: 1 + id % 3,
        zone: String::new(),
        labels: Vec::new(),
    }
}

fn limits(mib: u64) -> Limits {
    let memory = usize::try_from(mib << 20).unwrap_or(usize::MAX);
    Limits { memory, ..Limits::default() }
}

/// Returns the range that a configuration may give an instance (`limits.memory`), in MiB.
fn memory() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=1024)
}

/// The most bytes of a file of cases.
const MAX_CASES: u64 = 64 << 20;
