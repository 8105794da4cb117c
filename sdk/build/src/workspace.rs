//! [`Workspace`] is a cargo workspace in which each package becomes one component.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::component::component;
use crate::toolchain::{TARGET, Toolchain};

/// A folder with a `Cargo.toml` of its own and a package in each subfolder; a package has the name
/// of its folder. The optional package in `common` is a library for the others, and no component.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    folder: PathBuf,
}

/// A built component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The package's name.
    pub name: String,
    /// The component.
    pub wasm: Vec<u8>,
}

impl Workspace {
    /// Opens the workspace in `folder` of the repository at `root`.
    pub fn new(root: &Path, folder: &str) -> Workspace {
        Workspace { root: root.to_owned(), folder: root.join(folder) }
    }

    /// Returns the names of its packages, sorted.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or has no package.
    pub fn packages(&self) -> anyhow::Result<Vec<String>> {
        let entries =
            self.folder.read_dir().with_context(|| format!("read {}", self.folder.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", self.folder.display()))?;
            let is_library = entry.file_name() == COMMON;
            if !is_library && entry.path().join("Cargo.toml").exists() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        ensure!(!names.is_empty(), "{} has no package", self.folder.display());
        names.sort();
        Ok(names)
    }

    /// Compiles every package and wraps it as a component.
    ///
    /// # Errors
    ///
    /// If compiling or wrapping fails; cargo writes its own messages to standard error.
    pub fn build(&self, toolchain: &Toolchain) -> anyhow::Result<Vec<Built>> {
        let target = self.folder.join("target");
        let mut command = toolchain.build(&self.flags(toolchain)?);
        command.current_dir(&self.folder).arg("--workspace").arg("--target-dir").arg(&target);
        let status = command.status().with_context(|| format!("run {command:?}"))?;
        ensure!(status.success(), "compile {} ({status})", self.folder.display());
        let modules = target.join(TARGET).join("release");
        self.packages()?.into_iter().map(|name| wrap(&modules, name)).collect()
    }

    /// Returns the source files of a package's component, with the files that all components share.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read.
    pub(crate) fn sources(&self, name: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = vec![
            self.folder.join("Cargo.toml"),
            self.folder.join("Cargo.lock"),
            self.folder.join(name).join("Cargo.toml"),
            self.root.join("sdk/Cargo.toml"),
        ];
        let common = self.folder.join(COMMON);
        if common.exists() {
            files.push(common.join("Cargo.toml"));
            collect(&common.join("src"), &mut files)?;
        }
        for folder in [
            self.folder.join(name).join("src"),
            self.root.join("sdk/src"),
            self.root.join("sdk/macros/src"),
            self.root.join("wit"),
        ] {
            collect(&folder, &mut files)?;
        }
        files.sort();
        Ok(files)
    }

    /// The repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns compiler flags that replace paths. Panic messages name source files; without the
    /// flags a component would contain, and depend on, the path of its build.
    fn flags(&self, toolchain: &Toolchain) -> anyhow::Result<Vec<String>> {
        let root = self.root.canonicalize().context("find the repository")?;
        let sysroot = toolchain.sysroot()?.join("lib/rustlib/src/rust");
        let mut remaps = vec![(root, "/weir"), (sysroot, "/rust")];
        let home = env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        if let Some(home) = home {
            remaps.push((home, "/cargo"));
        }
        let remap =
            |(from, to): (PathBuf, &str)| format!("--remap-path-prefix={}={to}", from.display());
        Ok(remaps.into_iter().map(remap).collect())
    }
}

/// The folder of the library.
const COMMON: &str = "common";

fn wrap(modules: &Path, name: String) -> anyhow::Result<Built> {
    let path = modules.join(name.replace('-', "_")).with_extension("wasm");
    let core = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let wasm = component(&core).with_context(|| format!("make a component of {name}"))?;
    Ok(Built { name, wasm })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = folder.read_dir().with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
