//! Components and endpoints for the tests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use weir_runtime::{Endpoint, Engine, Environment, Limits, Plugin, PluginError};

/// Loads a built-in balancer from `plugins/dist`, or from the fresh build in the folder
/// `WEIR_PLUGINS`.
pub(crate) fn builtin(name: &str) -> Plugin {
    let dist = env::var_os("WEIR_PLUGINS").map(PathBuf::from);
    let dist = dist.unwrap_or_else(|| root().join("plugins/dist"));
    let wasm = read(&dist, name, "cargo run -p weir-sdk-build -- plugins");
    Plugin::load(engine(), name, &wasm, PATIENT, &Environment::default()).unwrap()
}

/// Loads a guest that misbehaves, under limits that it reaches soon.
pub(crate) fn guest(name: &str) -> Result<Plugin, PluginError> {
    let dist = root().join("tests/guests/target/dist");
    let wasm = read(&dist, name, "cargo run -p weir-sdk-build -- guests");
    let limits = Limits { memory: MEMORY, ..Limits::default() };
    Plugin::load(engine(), name, &wasm, limits, &Environment::default())
}

/// Tests share the processors, so no result may depend on a millisecond.
const PATIENT: Limits = Limits { memory: 16 << 20, time: Duration::from_secs(2) };

/// The memory that a guest may have.
pub(crate) const MEMORY: usize = 16 << 20;

/// One engine per process: nextest gives each test a process of its own.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().unwrap())
}

/// Endpoints with these weights; ids count from 0.
pub(crate) fn endpoints(weights: &[u32]) -> Vec<Endpoint> {
    let endpoint = |(id, weight): (usize, &u32)| Endpoint {
        id: id as u32,
        address: format!("10.0.0.{id}:8080"),
        weight: *weight,
        zone: "a".into(),
        labels: vec![("version".into(), format!("v{id}"))],
    };
    weights.iter().enumerate().map(endpoint).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(dist: &Path, name: &str, command: &str) -> Vec<u8> {
    let path = dist.join(name).with_extension("wasm");
    fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; build it with `{command}`", path.display()))
}
