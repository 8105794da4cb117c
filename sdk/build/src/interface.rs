//! The interface of this build: its files, its worlds, and components of core modules by them.

use std::path::Path;

use anyhow::{Context, bail};
use schemars::JsonSchema;
use serde::Deserialize;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap, WorldId};

/// The world of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Chooses endpoints.
    Balancer,
    /// Decides on requests and responses.
    Filter,
    /// A filter that also sees bodies.
    BodyFilter,
}

impl World {
    /// Returns the name in the interface.
    pub fn name(self) -> &'static str {
        match self {
            World::Balancer => "balancer",
            World::Filter => "filter",
            World::BodyFilter => "body-filter",
        }
    }
}

/// A core module inside a component that answers imports of the plugin's module.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The name of the module that the plugin imports from.
    pub name: String,
    /// The core module.
    pub wasm: Vec<u8>,
}

impl Adapter {
    /// Returns the adapter for WASI, preview 1. It gives nothing, and sends written text to the
    /// log.
    ///
    /// # Errors
    ///
    /// The adapter cannot be assembled, which a test excludes.
    pub fn wasi() -> anyhow::Result<Self> {
        let mut wasm = wat::parse_str(DENY).context("assemble the adapter")?;
        let mut resolve = interface()?.0;
        let package = resolve.push_str("adapter.wit", ADAPTER)?;
        let world = resolve.select_world(&[package], Some("adapter"))?;
        embed_component_metadata(&mut wasm, &resolve, world, StringEncoding::UTF8, false)
            .context("embed the world in the adapter")?;
        Ok(Self { name: "wasi_snapshot_preview1".to_owned(), wasm })
    }
}

/// The interface's files.
pub const WIT: &[(&str, &str)] = &[
    ("balancer.wit", include_str!("../../../wit/balancer.wit")),
    ("filter.wit", include_str!("../../../wit/filter.wit")),
    ("host.wit", include_str!("../../../wit/host.wit")),
    ("types.wit", include_str!("../../../wit/types.wit")),
];

/// Reads the interface and one of its worlds.
pub(crate) fn resolve(world: World) -> anyhow::Result<(Resolve, WorldId)> {
    let (resolve, package) = interface()?;
    let world = resolve.select_world(&[package], Some(world.name()))?;
    Ok((resolve, world))
}

fn interface() -> anyhow::Result<(Resolve, wit_parser::PackageId)> {
    let mut map = SourceMap::new();
    for (name, text) in WIT {
        map.push(Path::new(name), *text);
    }
    let group = match map.parse() {
        Ok(group) => group,
        Err((_, error)) => bail!("read the interface: {error}"),
    };
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group).context("resolve the interface")?;
    Ok((resolve, package))
}

/// Returns the version of the interface.
pub(crate) fn version() -> anyhow::Result<String> {
    let (resolve, package) = interface()?;
    let package = resolve.packages.get(package).context("the package of the interface")?;
    let version = package.name.version.as_ref().context("the interface has a version")?;
    Ok(version.to_string())
}

/// Embeds the description of its world in a core module.
pub(crate) fn embed(core: &mut Vec<u8>, world: World) -> anyhow::Result<()> {
    let (resolve, world) = resolve(world)?;
    embed_component_metadata(core, &resolve, world, StringEncoding::UTF8, false)
        .context("embed the world in the module")
}

/// Wraps a core module with the description of its world as a component.
pub(crate) fn wrap(core: &[u8], adapters: &[Adapter]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(core).context("read the core module")?;
    for Adapter { name, wasm } in adapters {
        encoder.adapter(name, wasm).with_context(|| format!("read the adapter {name}"))?;
    }
    encoder.encode().context("encode the component")
}

const DENY: &str = include_str!("../../wasi/deny.wat");

/// The world of the adapter.
const ADAPTER: &str = "package weir:sdk; world adapter { import weir:plugin/host@0.2.0; }";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_interface_is_carried_along() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let mut there: Vec<String> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let carried: Vec<&str> = WIT.iter().map(|(name, _)| *name).collect();
        assert_eq!(carried, there);
    }

    #[test]
    fn each_world_is_there_and_the_adapter_is_a_module() {
        for world in [World::Balancer, World::Filter, World::BodyFilter] {
            resolve(world).unwrap();
        }
        Adapter::wasi().unwrap();
    }
}
