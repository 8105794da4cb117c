//! `weir plugin wit` and `componentize`: plugins in languages that Weir knows nothing of.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use weir_sdk_build::{Adapter, World};

use super::project::{NewKind, put};
use super::{PluginCliError, print, progress, read_file};

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

/// A file of plugin projects.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum ProjectFile {
    /// cases.yaml
    Cases,
    /// plugin.yaml
    Plugin,
}

/// Prints the JSON Schema of a file.
pub(super) fn schema(file: ProjectFile) -> Result<(), PluginCliError> {
    let schema = match file {
        ProjectFile::Cases => weir_sdk_testing::cases::schema(),
        ProjectFile::Plugin => weir_sdk_build::schema(),
    };
    print(&format!("{schema:#}\n"))
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

    /// All files of this repository are valid by the schemas, and other keys are not.
    #[test]
    fn the_schemas_describe_the_files_of_projects() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (cases, plugin) = (weir_sdk_testing::cases::schema(), weir_sdk_build::schema());
        let (mut pending, mut seen) = (vec![root.join("plugins"), root.join("examples")], [0, 0]);
        while let Some(folder) = pending.pop() {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let (at, schema) = match name {
                    "cases.yaml" => (0, &cases),
                    "plugin.yaml" => (1, &plugin),
                    "target" | "build" | "node_modules" => continue,
                    _ if path.is_dir() => {
                        pending.push(path);
                        continue;
                    }
                    _ => continue,
                };
                let text = std::fs::read_to_string(&path).unwrap();
                let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
                let fault = jsonschema::validate(schema, &value).err().map(|e| e.to_string());
                assert_eq!(fault, None, "{}", path.display());
                seen[at] += 1;
            }
        }
        assert!(seen[0] > 15 && seen[1] > 10, "{seen:?}");
        let valid =
            |schema, text| jsonschema::is_valid(schema, &serde_yaml::from_str(text).unwrap());
        assert!(valid(
            &cases,
            "{ cases: [{ name: a, picks: [null, none], then: [{ attempt: 1 }] }] }"
        ));
        for wrong in
            ["{ cases: [{ name: a, expects: next }] }", "{ cases: [{ name: a, repeat: x }] }", "{}"]
        {
            assert!(!valid(&cases, wrong), "{wrong}");
        }
        assert!(!valid(&plugin, "{ name: a, language: cobol, world: filter }"));
    }

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
