//! The committed components, with `manifest.json`, which records the sources of each.
//!
//! Different compilers produce different bytes for the same component. The digest of the sources is
//! therefore compared.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::toolchain::Toolchain;
use crate::workspace::{Built, Workspace};

/// One component in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The package's name; its file is `NAME.wasm`.
    pub name: String,
    /// SHA-256 over the names and contents of its sources, the SDK's and the interface's.
    pub sources: String,
    /// The compiler of the component.
    pub toolchain: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Writes components and their manifest to `dist`, and removes components that no longer exist.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn write(
    workspace: &Workspace,
    toolchain: &Toolchain,
    built: &[Built],
    dist: &Path,
) -> anyhow::Result<Vec<Entry>> {
    fs::create_dir_all(dist).with_context(|| format!("create {}", dist.display()))?;
    let toolchain = toolchain.version()?;
    let mut entries = Vec::new();
    for Built { name, wasm } in built {
        let path = dist.join(name).with_extension("wasm");
        fs::write(&path, wasm).with_context(|| format!("write {}", path.display()))?;
        entries.push(Entry {
            name: name.clone(),
            sources: digest(workspace, name)?,
            toolchain: toolchain.clone(),
            sha256: hex(&Sha256::digest(wasm)),
        });
    }
    let names: BTreeSet<&str> = built.iter().map(|built| built.name.as_str()).collect();
    for name in components(dist)?.iter().filter(|name| !names.contains(name.as_str())) {
        let path = dist.join(name).with_extension("wasm");
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    let path = dist.join(MANIFEST);
    let text = serde_json::to_string_pretty(&entries).context("write the manifest")? + "\n";
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(entries)
}

/// Compares the components in `dist` with their sources. Returns one line for each problem, or
/// nothing.
///
/// # Errors
///
/// If a source or the manifest cannot be read.
pub fn verify(workspace: &Workspace, dist: &Path) -> anyhow::Result<Vec<String>> {
    let path = dist.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let entries: Vec<Entry> =
        serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    let mut wrong = Vec::new();
    let names: BTreeSet<String> = workspace.packages()?.into_iter().collect();
    for name in &names {
        match entries.iter().find(|entry| &entry.name == name) {
            None => wrong.push(format!("{name} was never built")),
            Some(entry) if entry.sources != digest(workspace, name)? => {
                wrong.push(format!("{name} is older than its sources"));
            }
            Some(entry) => match fs::read(dist.join(name).with_extension("wasm")) {
                Ok(wasm) if hex(&Sha256::digest(&wasm)) == entry.sha256 => {}
                Ok(_) => wrong.push(format!("{name} is not the component that was built")),
                Err(error) => wrong.push(format!("{name} cannot be read: {error}")),
            },
        }
    }
    let built = components(dist)?.into_iter();
    let told = entries.iter().map(|entry| entry.name.clone());
    let extra: BTreeSet<String> = built.chain(told).filter(|name| !names.contains(name)).collect();
    wrong.extend(extra.iter().map(|name| format!("{name} has no sources")));
    Ok(wrong)
}

/// Returns the digest of a package's sources.
///
/// # Errors
///
/// If a source cannot be read.
pub fn digest(workspace: &Workspace, name: &str) -> anyhow::Result<String> {
    let mut sha = Sha256::new();
    for path in workspace.sources(name)? {
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let relative = path.strip_prefix(workspace.root()).unwrap_or(&path).to_string_lossy();
        for part in [relative.as_bytes(), &text] {
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part);
        }
    }
    Ok(hex(&sha.finalize()))
}

/// Returns the names of the components in a folder.
fn components(dist: &Path) -> anyhow::Result<Vec<String>> {
    let entries = dist.read_dir().with_context(|| format!("read {}", dist.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", dist.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const MANIFEST: &str = "manifest.json";

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Makes a repository with one plugin, built.
    fn repository() -> (TempDir, Workspace) {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "plugins/Cargo.toml",
            "plugins/Cargo.lock",
            "plugins/common/Cargo.toml",
            "plugins/common/src/lib.rs",
            "plugins/first/Cargo.toml",
            "plugins/first/src/lib.rs",
            "sdk/Cargo.toml",
            "sdk/src/lib.rs",
            "sdk/macros/src/lib.rs",
            "wit/types.wit",
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let workspace = Workspace::new(root.path(), "plugins");
        let built = [Built { name: "first".into(), wasm: b"component".into() }];
        let toolchain = Toolchain::Installed { rustc: "rustc".into() };
        write(&workspace, &toolchain, &built, &root.path().join("plugins/dist")).unwrap();
        (root, workspace)
    }

    fn wrong(root: &TempDir, workspace: &Workspace) -> Vec<String> {
        verify(workspace, &root.path().join("plugins/dist")).unwrap()
    }

    #[test]
    fn what_was_just_built_is_current() {
        let (root, workspace) = repository();
        assert_eq!(wrong(&root, &workspace), Vec::<String>::new());
    }

    #[test]
    fn a_change_of_any_source_makes_a_component_old() {
        for file in [
            "plugins/Cargo.lock",
            "plugins/common/Cargo.toml",
            "plugins/common/src/lib.rs",
            "plugins/first/src/lib.rs",
            "sdk/macros/src/lib.rs",
            "sdk/src/lib.rs",
            "wit/types.wit",
        ] {
            let (root, workspace) = repository();
            fs::write(root.path().join(file), "changed").unwrap();
            assert_eq!(wrong(&root, &workspace), ["first is older than its sources"], "{file}");
        }
    }

    #[test]
    fn a_new_source_file_makes_a_component_old() {
        let (root, workspace) = repository();
        fs::write(root.path().join("plugins/first/src/new.rs"), "").unwrap();
        assert_eq!(wrong(&root, &workspace), ["first is older than its sources"]);
    }

    #[test]
    fn a_component_that_was_exchanged_is_found() {
        let (root, workspace) = repository();
        fs::write(root.path().join("plugins/dist/first.wasm"), "other").unwrap();
        assert_eq!(wrong(&root, &workspace), ["first is not the component that was built"]);
    }

    #[test]
    fn a_component_without_sources_and_sources_without_component_are_found() {
        let (root, workspace) = repository();
        fs::write(root.path().join("plugins/dist/stray.wasm"), "").unwrap();
        fs::create_dir_all(root.path().join("plugins/second/src")).unwrap();
        fs::write(root.path().join("plugins/second/Cargo.toml"), "").unwrap();
        assert_eq!(wrong(&root, &workspace), ["second was never built", "stray has no sources"]);
    }
}
