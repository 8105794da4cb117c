//! Finds the Go runtime library in the sources of the crate wit-bindgen-go, which contains it but
//! does not export it. Lists the library's files for the program to embed.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let crate_root = in_registry().or_else(in_metadata);
    let Some(crate_root) = crate_root else {
        bail!(
            "the sources of {CRATE} are neither in CARGO_HOME nor in the output of cargo metadata"
        );
    };
    let library = crate_root.join("src/pkg");
    let mut files = vec![library.join("go.mod"), library.join("LICENSE")];
    collect(&library.join("wit"), &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&library)?.to_str().context("the path is not text")?;
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.to_str().unwrap_or_default())?;
    }
    list.push_str("]\n");
    let out = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
    fs::write(Path::new(&out).join("go_runtime.rs"), list).context("write the list of files")
}

/// Returns the folder where cargo unpacks the crate from a registry.
fn in_registry() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    let wanted = format!("{CRATE}-{}", locked()?);
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    registries.flatten().map(|registry| registry.path().join(&wanted)).find(|path| path.is_dir())
}

/// Returns the crate's version in the lock file.
fn locked() -> Option<String> {
    let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", root.display());
    let lock = fs::read_to_string(root).ok()?;
    let package =
        lock.split("[[package]]").find(|p| p.contains(&format!("name = \"{CRATE}\"\n")))?;
    let version = package.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}

/// Returns the crate's folder if it was vendored or comes from another place.
fn in_metadata() -> Option<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--filter-platform"]);
    // Packages that only other platforms need may be missing.
    let told = command.arg(env::var_os("TARGET")?).output().ok()?;
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).ok()?;
    let mut packages = told.get("packages")?.as_array()?.iter();
    let package = packages.find(|package| package.get("name").is_some_and(|name| name == CRATE))?;
    Some(Path::new(package.get("manifest_path")?.as_str()?).parent()?.to_owned())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if matches!(path.extension().and_then(OsStr::to_str), Some("go" | "s")) {
            files.push(path);
        }
    }
    Ok(())
}

const CRATE: &str = "wit-bindgen-go";
