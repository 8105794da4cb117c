//! A plugin in a folder of its own, as `weir plugin new` writes it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::component::component;
use crate::guest;
use crate::toolchain::Toolchain;
use crate::workspace::Built;

/// Builds the project in `folder`. A `Cargo.toml` means Rust; a `plugin.yaml` names the language.
/// The tools write their messages to standard error.
///
/// # Errors
///
/// If the folder has no project, a tool is missing (the message has the command that installs it),
/// or a tool fails.
pub fn build(folder: &Path) -> anyhow::Result<Built> {
    if guest::is_guest(folder) {
        return guest::build(folder);
    }
    if folder.join("Cargo.toml").exists() {
        return package(folder, &Toolchain::find()?);
    }
    bail!(
        "{} has neither a plugin.yaml nor a Cargo.toml; weir plugin new NAME writes one",
        folder.display()
    )
}

/// Writes to `build/` what the unit tests of a project in another language than Rust need. Runs no
/// tool. A build writes it anew.
///
/// # Errors
///
/// If `build/` cannot be written.
pub fn prepare(folder: &Path) -> anyhow::Result<()> {
    if guest::is_guest(folder) { guest::prepare(folder) } else { Ok(()) }
}

/// Compiles the package in `folder` and wraps it as a component; cargo writes its progress to
/// standard error.
///
/// # Errors
///
/// If compiling or wrapping fails, or the package produces no module.
fn package(folder: &Path, toolchain: &Toolchain) -> anyhow::Result<Built> {
    let mut command = toolchain.build(&[]);
    command
        .current_dir(folder)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let child = command.spawn().with_context(|| format!("run {command:?}"))?;
    let output = child.wait_with_output().context("wait for cargo")?;
    ensure!(output.status.success(), "compile {} ({})", folder.display(), output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    // The package itself is compiled last; its dependencies produce no modules.
    let module = messages.lines().rev().find_map(module);
    let Some((name, module)) = module else {
        bail!(
            "{} produces no module: its Cargo.toml needs crate-type = [\"cdylib\"]",
            folder.display()
        );
    };
    let core = std::fs::read(&module).with_context(|| format!("read {module}"))?;
    let wasm = component(&core).with_context(|| format!("make a component of {name}"))?;
    Ok(Built { name, wasm })
}

/// Returns the package's name and the module from a message of cargo that contains them.
fn module(line: &str) -> Option<(String, String)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let files = message.get("filenames")?.as_array()?;
    let module = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"))?;
    let target = message.get("target")?.get("name")?.as_str()?;
    Some((target.replace('_', "-"), module.to_owned()))
}
