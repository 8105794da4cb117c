//! The code that is generated from the interface, and the component of a language's core module.

use anyhow::Context;
use wit_bindgen_core::{Files, WorldGenerator};

use super::{Project, write};
use crate::interface::{self, Adapter};

/// Writes a generator's output for the project's world to a folder of `build/`.
pub(super) fn generate(
    project: &Project,
    mut generator: Box<dyn WorldGenerator>,
    folder: &str,
) -> anyhow::Result<()> {
    let (mut resolve, world) = interface::resolve(project.world)?;
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files).context("generate bindings")?;
    for (name, bytes) in files.iter() {
        write(&project.build.join(folder).join(name), bytes)?;
    }
    Ok(())
}

/// Embeds the description of its world in a core module, for languages with bindings that do not.
pub(super) fn embed(core: &mut Vec<u8>, project: &Project) -> anyhow::Result<()> {
    interface::embed(core, project.world)
}

/// Wraps a core module as a component. An adapter inside it answers the WASI calls of the
/// language's library: it gives nothing, and sends written text to the log.
pub(super) fn component(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    interface::wrap(core, &[Adapter::wasi()?])
}
