//! `weir plugin wit` and `componentize`: plugins in languages that Weir knows nothing of.

use std::path::{Path, PathBuf};

use clap::Args;
use weir_sdk_build::{Adapter, World};

use super::project::{NewKind, put};
use super::{PluginCliError, progress, read_file};

#[derive(Debug, Args)]
pub(in crate::cli) struct Componentize {
    /// The core module, or its text (WAT).
    module: PathBuf,
    /// The world of the plugin.
    #[arg(long, value_enum)]
    world: NewKind,
    /// A core module that answers imports of the module NAME, which is the name of FILE if left
    /// out. Imports of WASI (preview 1) are answered already.
    #[arg(long = "adapter", value_name = "[NAME=]FILE")]
    adapters: Vec<String>,
    /// The component. [default: MODULE with the ending .component.wasm]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the interface into a folder.
pub(super) fn wit(folder: &Path) -> Result<(), PluginCliError> {
    for (name, text) in weir_sdk_build::WIT {
        let path = folder.join(name);
        put(&path, text)?;
        progress(&format!("{}", path.display()));
    }
    Ok(())
}

/// Makes a component of a core module.
pub(super) fn componentize(given: &Componentize) -> Result<(), PluginCliError> {
    let Componentize { module, world, adapters, output } = given;
    let adapters: Result<Vec<_>, _> = adapters.iter().map(|text| adapter(text)).collect();
    let world = match world {
        NewKind::Balancer => World::Balancer,
        NewKind::Filter => World::Filter,
        NewKind::BodyFilter => World::BodyFilter,
    };
    let component = weir_sdk_build::componentize(&read_file(module)?, world, adapters?);
    let component = component
        .map_err(|error| PluginCliError::Failed(format!("{}: {error:#}", module.display())))?;
    let output = output.clone().unwrap_or_else(|| module.with_extension("component.wasm"));
    put(&output, &component)?;
    progress(&format!("{} ({} bytes)", output.display(), component.len()));
    Ok(())
}

/// Reads `[NAME=]FILE`.
fn adapter(text: &str) -> Result<Adapter, PluginCliError> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (name.to_owned(), Path::new(path)),
        None => {
            let stem = Path::new(text).file_stem().and_then(|stem| stem.to_str());
            (stem.unwrap_or_default().to_owned(), Path::new(text))
        }
    };
    if name.is_empty() {
        return Err(PluginCliError::Failed(format!("--adapter {text:?} names no module")));
    }
    Ok(Adapter { name, wasm: read_file(path)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_has_the_name_of_its_file_or_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env.wasm");
        std::fs::write(&path, "wasm").unwrap();
        assert_eq!(adapter(path.to_str().unwrap()).unwrap().name, "env");
        let named = adapter(&format!("mine={}", path.display())).unwrap();
        assert_eq!((named.name.as_str(), &named.wasm[..]), ("mine", &b"wasm"[..]));
        assert!(adapter(&format!("={}", path.display())).is_err());
        assert!(adapter("there-is-none.wasm").is_err());
    }
}
