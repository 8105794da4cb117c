//! Builds plugins in languages other than Rust: a folder with a `plugin.yaml` and the user's
//! sources. This crate brings the interface, the bindings to it and the language's SDK. Each build
//! writes them anew to `build/` in that folder, so that a plugin has exactly the interface of its
//! host.

mod bindings;
mod c;
mod go;
mod other;
mod places;
mod python;
mod script;
mod strip;
mod tool;
mod zig;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::interface::{WIT, World};
use crate::workspace::Built;

/// The file that makes a folder a project.
pub(crate) const MANIFEST: &str = "plugin.yaml";

/// The `.gitignore` in `build/`, which marks an earlier build.
const MARK: &str = "# Written anew by weir plugin build.\n*\n";

/// A language of components, with its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Language {
    /// With clang and Debian's wasi-libc.
    C,
    /// With clang, wasi-libc and libc++.
    Cpp,
    /// With Go's own compiler.
    Go,
    /// With QuickJS.
    Js,
    /// Any language, with a command of the user that makes a core module.
    Other,
    /// With CPython.
    Python,
    /// Like JavaScript, after a check of its types.
    Ts,
    /// With Zig's own compiler.
    Zig,
}

/// The content of `plugin.yaml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// The component is `NAME.wasm`.
    name: String,
    /// The language.
    language: Language,
    /// The world of the plugin.
    world: World,
    /// Only for `other`: a command of the shell that makes the core module.
    build: Option<String>,
    /// Only for `other`: the core module or its text, relative to the folder. If left out, it is
    /// `build/core.wasm`.
    module: Option<PathBuf>,
}

/// A project during a build.
struct Project {
    /// An absolute path, because tools run in other folders.
    folder: PathBuf,
    /// The folder of all generated files.
    build: PathBuf,
    name: String,
    language: Language,
    world: World,
    command: Option<String>,
    module: PathBuf,
}

/// Returns the JSON Schema of `plugin.yaml`, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}

/// Whether a folder has a project for [`build`].
pub(crate) fn is_guest(folder: &Path) -> bool {
    folder.join(MANIFEST).exists()
}

/// Builds the project in a folder; the tools write their messages to standard error.
///
/// # Errors
///
/// If the manifest cannot be read, a tool is missing (the message has the command that installs
/// it), or a tool fails.
pub(crate) fn build(folder: &Path) -> anyhow::Result<Built> {
    let project = Project::open(folder)?;
    project.put("wit", WIT)?;
    let wasm = match project.language {
        Language::C | Language::Cpp => c::build(&project),
        Language::Go => go::build(&project),
        Language::Js | Language::Ts => script::build(&project),
        Language::Other => other::build(&project),
        Language::Python => python::build(&project),
        Language::Zig => zig::build(&project),
    }?;
    Ok(Built { name: project.name, wasm })
}

/// Writes what unit tests in the project's language need, as [`build`] does before it runs tools.
///
/// # Errors
///
/// If the manifest cannot be read, or `build/` cannot be written.
pub(crate) fn prepare(folder: &Path) -> anyhow::Result<()> {
    let project = Project::open(folder)?;
    match project.language {
        Language::Go => go::prepare(&project),
        Language::Js | Language::Ts => script::prepare(&project),
        Language::Python => python::prepare(&project),
        _ => Ok(()),
    }
}

impl Project {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(MANIFEST);
        let text = text(&path)?;
        let Manifest { name, language, world, build: command, module } =
            serde_yaml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        let shown = path.display();
        if language == Language::Other {
            ensure!(
                command.is_some() || module.is_some(),
                "{shown}: language: other needs build: COMMAND, module: FILE, or both"
            );
        } else {
            ensure!(
                command.is_none() && module.is_none(),
                "{shown}: only language: other has build: and module:"
            );
            ensure!(
                world != World::BodyFilter,
                "{shown}: filters of bodies are written in Rust, or with language: other"
            );
        }
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        ensure!(is_name, "{}: {name:?} is no name for a component", path.display());
        let folder = folder.canonicalize().with_context(|| format!("find {}", folder.display()))?;
        let build = folder.join("build");
        if build.exists() {
            let is_ours =
                fs::read_to_string(build.join(".gitignore")).is_ok_and(|text| text == MARK);
            ensure!(
                is_ours,
                "{} does not come from an earlier build; move it elsewhere",
                build.display()
            );
            fs::remove_dir_all(&build).with_context(|| format!("empty {}", build.display()))?;
        }
        let module = module.unwrap_or_else(|| Path::new("build").join("core.wasm"));
        let project = Project { folder, build, name, language, world, command, module };
        project.put("", &[(".gitignore", MARK)])?;
        Ok(project)
    }

    /// Writes files below a folder of `build/`.
    fn put(&self, folder: &str, files: &[(&str, &str)]) -> anyhow::Result<()> {
        for (name, text) in files {
            write(&self.build.join(folder).join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// Returns the sources in `src/` with one of these extensions.
    fn sources(&self, extensions: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.folder.join("src");
        let entries = folder.read_dir().with_context(|| format!("read {}", folder.display()))?;
        let mut sources = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| extensions.contains(&extension)) {
                sources.push(path);
            }
        }
        sources.sort();
        if sources.is_empty() {
            bail!("{} has no .{} file", folder.display(), extensions.join(" or ."));
        }
        Ok(sources)
    }

    /// Reads a file that a tool has made.
    fn made(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.build.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }
}

/// Reads a text file of the user, without the byte order mark that some editors put first.
fn text(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let made = match path.parent() {
        Some(folder) => fs::create_dir_all(folder),
        None => Ok(()),
    };
    made.and_then(|()| fs::write(path, bytes)).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(manifest: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        folder
    }

    fn fault(folder: &tempfile::TempDir) -> String {
        format!("{:#}", Project::open(folder.path()).err().expect("it is refused"))
    }

    #[test]
    fn a_manifest_that_is_wrong_is_told() {
        let right = "{ name: gate, language: go, world: filter }";
        assert!(Project::open(project(right).path()).is_ok());
        assert!(Project::open(project(&format!("\u{feff}{right}")).path()).is_ok());
        for (manifest, expected) in [
            ("{ name: gate, language: cobol, world: filter }", "unknown variant `cobol`"),
            ("{ name: gate, language: go, world: proxy }", "unknown variant `proxy`"),
            ("{ name: ../gate, language: go, world: filter }", "is no name for a component"),
            ("{ name: gate, language: go, world: filter, lang: c }", "unknown field `lang`"),
            ("{ name: gate, language: go, world: filter, build: make }", "only language: other"),
            ("{ name: gate, language: go, world: body-filter }", "are written in Rust"),
            ("{ name: gate, language: other, world: filter }", "needs build: COMMAND"),
        ] {
            let fault = fault(&project(manifest));
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn only_an_earlier_build_is_removed() {
        let folder = project("{ name: gate, language: go, world: filter }");
        let build = folder.path().join("build");
        fs::create_dir(&build).unwrap();
        fs::write(build.join("mine"), "").unwrap();
        assert!(fault(&folder).contains("not come from an earlier build"));
        fs::remove_file(build.join("mine")).unwrap();
        fs::write(build.join(".gitignore"), MARK).unwrap();
        assert!(Project::open(folder.path()).is_ok());
    }
}
