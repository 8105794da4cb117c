//! `weir-sdk-build`: builds the components of this repository, and detects components that are
//! older than their sources.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use weir_sdk_build::{Built, Toolchain, Workspace, build, component, verify, write};

/// Builds Weir's components.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the built-in plugins, with a manifest
    Plugins {
        /// Output folder, instead of plugins/dist
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Builds the guests of the tests, to target/dist in tests/guests and in tests/components
    Guests,
    /// Fails when a component in plugins/dist is older than its sources
    Verify,
    /// Prints the reference of the plugin interface, in Markdown
    Reference,
    /// Writes the bindings of the Rust SDK, to sdk/src/bindings
    Bindings,
    /// Builds the plugin in a folder, in any language
    Project {
        /// The folder
        folder: PathBuf,
        /// Output file, instead of NAME.wasm in the folder
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Makes a component of a core module
    Component {
        /// The module, built with weir-sdk for wasm32-unknown-unknown
        module: PathBuf,
        /// Output file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Plugins { out } => plugins(out),
        Command::Guests => guests(),
        Command::Verify => current(),
        Command::Reference => {
            let page = weir_sdk_build::reference(&repository()?.join("wit"))?;
            io::stdout().write_all(page.as_bytes()).context("write to standard output")
        }
        Command::Bindings => {
            let folder = repository()?.join("sdk/src/bindings");
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
            for (module, text) in weir_sdk_build::bindings()? {
                let path = folder.join(module).with_extension("rs");
                fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            }
            Ok(())
        }
        Command::Project { folder, output } => {
            let Built { name, wasm } = build(&folder)?;
            let path = output.unwrap_or_else(|| folder.join(name).with_extension("wasm"));
            fs::write(&path, wasm).with_context(|| format!("write {}", path.display()))
        }
        Command::Component { module, output } => {
            let core = fs::read(&module).with_context(|| format!("read {}", module.display()))?;
            let wasm = component(&core)?;
            fs::write(&output, wasm).with_context(|| format!("write {}", output.display()))
        }
    }
}

fn plugins(out: Option<PathBuf>) -> anyhow::Result<()> {
    let root = repository()?;
    let workspace = Workspace::new(&root, "plugins");
    let toolchain = Toolchain::find()?;
    let built = workspace.build(&toolchain)?;
    let dist = out.unwrap_or_else(|| root.join("plugins/dist"));
    write(&workspace, &toolchain, &built, &dist)?;
    report(&built, &dist)
}

fn guests() -> anyhow::Result<()> {
    let root = repository()?;
    let toolchain = Toolchain::find()?;
    for folder in ["tests/guests", "tests/components"] {
        let workspace = Workspace::new(&root, folder);
        let built = workspace.build(&toolchain)?;
        let dist = root.join(folder).join("target/dist");
        write(&workspace, &toolchain, &built, &dist)?;
        report(&built, &dist)?;
    }
    Ok(())
}

fn current() -> anyhow::Result<()> {
    let root = repository()?;
    let wrong = verify(&Workspace::new(&root, "plugins"), &root.join("plugins/dist"))?;
    if !wrong.is_empty() {
        bail!("plugins/dist: {}; run `make plugins` and commit it", wrong.join("; "));
    }
    Ok(())
}

fn report(built: &[Built], dist: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for Built { name, wasm } in built {
        let path = dist.join(name).with_extension("wasm");
        writeln!(out, "{} ({} bytes)", path.display(), wasm.len()).context("write a report")?;
    }
    Ok(())
}

/// Returns the repository that contains the current folder.
fn repository() -> anyhow::Result<PathBuf> {
    let folder = env::current_dir().context("find the current folder")?;
    folder
        .ancestors()
        .find(|folder| folder.join("wit/balancer.wit").exists() && folder.join("sdk").exists())
        .map(Path::to_owned)
        .context("run this in the repository: no folder above has wit/ and sdk/")
}
