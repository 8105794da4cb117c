//! The interface of this build, and the code generated from it.

use std::path::Path;

use anyhow::Context;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::{Project, write};

/// The interface's files.
pub(super) const WIT: &[(&str, &str)] = &[
    ("balancer.wit", include_str!("../../../../wit/balancer.wit")),
    ("filter.wit", include_str!("../../../../wit/filter.wit")),
    ("host.wit", include_str!("../../../../wit/host.wit")),
    ("types.wit", include_str!("../../../../wit/types.wit")),
];

/// Writes a generator's output for the project's world to a folder of `build/`.
pub(super) fn generate(
    project: &Project,
    mut generator: Box<dyn WorldGenerator>,
    folder: &str,
) -> anyhow::Result<()> {
    let (mut resolve, world) = resolve(project)?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files).context("generate bindings")?;
    for (name, bytes) in files.iter() {
        write(&project.build.join(folder).join(name), bytes)?;
    }
    Ok(())
}

/// Embeds the description of its world in a core module, for languages with bindings that do not.
pub(super) fn embed(core: &mut Vec<u8>, project: &Project) -> anyhow::Result<()> {
    let (resolve, world) = resolve(project)?;
    embed_component_metadata(core, &resolve, world, StringEncoding::UTF8, false)
        .context("embed the world in the module")
}

/// Wraps a core module as a component. An adapter inside it answers the WASI calls of the
/// language's library: it gives nothing, and sends written text to the log.
pub(super) fn component(core: &[u8], project: &Project) -> anyhow::Result<Vec<u8>> {
    let adapter = adapter(&project.build.join("wit"))?;
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .context("read the core module")?
        .adapter("wasi_snapshot_preview1", &adapter)
        .context("read the adapter")?
        .encode()
        .context("encode the component")
}

/// Returns the adapter, with the description of its imports.
fn adapter(wit: &Path) -> anyhow::Result<Vec<u8>> {
    let mut adapter = wat::parse_str(DENY).context("assemble the adapter")?;
    let mut resolve = Resolve::default();
    resolve.push_dir(wit).with_context(|| format!("read {}", wit.display()))?;
    let package = resolve.push_str("adapter.wit", ADAPTER)?;
    let world = resolve.select_world(&[package], Some("adapter"))?;
    embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8, false)
        .context("embed the world in the adapter")?;
    Ok(adapter)
}

/// Reads the interface in `build/` and one of its worlds.
fn resolve(project: &Project) -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let folder = project.build.join("wit");
    let (package, _) =
        resolve.push_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let world = resolve.select_world(&[package], Some(project.world.name()))?;
    Ok((resolve, world))
}

const DENY: &str = include_str!("../../../wasi/deny.wat");

/// The world of the adapter.
const ADAPTER: &str = "package weir:sdk; world adapter { import weir:plugin/host@0.1.0; }";

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
    fn the_adapter_is_a_module() {
        adapter(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    }
}
