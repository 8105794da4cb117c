//! `weir plugin new` and `build`: a project in a folder of its own, and its component.

mod guest;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use weir_sdk_build::Built;

use super::{PluginCliError, print, progress, read};

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The project's folder. Its last part is the plugin's name.
    pub(super) name: PathBuf,
    /// The language.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(super) lang: Language,
    /// The kind of plugin.
    #[arg(long, value_enum, default_value_t = NewKind::Filter)]
    pub(super) kind: NewKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    /// With weir-sdk.
    Rust,
    /// With clang and wasi-libc.
    C,
    /// C++, with clang and libc++.
    Cpp,
    /// With Zig's own compiler.
    Zig,
    /// With Go's own compiler.
    Go,
    /// JavaScript, run by QuickJS.
    Js,
    /// TypeScript, run by QuickJS.
    Ts,
    /// Run by CPython.
    Python,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum NewKind {
    /// Chooses endpoints.
    Balancer,
    /// Filters requests and responses.
    Filter,
    /// A filter that also sees bodies.
    BodyFilter,
}

/// Writes a project into a new or empty folder.
pub(super) fn write(
    folder: &Path,
    language: Language,
    kind: NewKind,
) -> Result<(), PluginCliError> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_name || name.len() > 64 {
        let hint = "lower-case letters, digits and hyphens, beginning with a letter";
        return Err(PluginCliError::Failed(format!("{name:?} is not a name for a plugin: {hint}")));
    }
    let is_taken = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || folder.is_file() {
        let shown = folder.display();
        return Err(PluginCliError::Failed(format!("{shown} exists already and is not empty")));
    }
    let use_of_it = match kind {
        NewKind::Balancer => "upstreams: [{ name: app, balancer: @NAME@, … }]",
        NewKind::Filter | NewKind::BodyFilter => "routes: [{ filters: [@NAME@], upstream: app }]",
    };
    let written = match language {
        Language::Rust => in_rust(kind),
        _ => guest::files(language, kind)?,
    };
    for (path, text) in written {
        let text = text.replace("@USE@", use_of_it).replace("@NAME@", name);
        put(&folder.join(path), &text)?;
    }
    weir_sdk_build::prepare(folder)
        .map_err(|error| PluginCliError::Failed(format!("{error:#}")))?;
    let shown = folder.display();
    let unit_tests = match language {
        Language::Rust => "  cargo test             # runs its unit tests\n",
        Language::Go => "  go test                # runs its unit tests\n",
        Language::Js | Language::Ts => "  npm test               # runs its unit tests\n",
        Language::Python => "  python3 -m unittest    # runs its unit tests\n",
        _ => "",
    };
    print(&format!(
        "{shown} is written. Next:\n\n  cd {shown}\n  weir plugin build      # makes {name}.wasm\n  \
         weir plugin test       # runs cases.yaml in the real runtime\n{unit_tests}"
    ))
}

fn in_rust(kind: NewKind) -> guest::Files {
    let (source, cases) = match kind {
        NewKind::Balancer => (BALANCER, BALANCER_CASES),
        NewKind::Filter => (FILTER, FILTER_CASES),
        NewKind::BodyFilter => (BODY_FILTER, BODY_FILTER_CASES),
    };
    let own = [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", source),
        ("cases.yaml", cases),
        ("README.md", README),
        (".gitignore", "/target\n/*.wasm\n"),
    ];
    own.iter().chain(SDK).map(|(path, text)| (*path, (*text).to_owned())).collect()
}

/// Builds the project in `folder` and writes its component.
pub(super) fn build(folder: &Path) -> Result<(), PluginCliError> {
    place(folder, &compile(folder)?)
}

/// Builds the project in `folder`. The existing component stays as it is: a running Weir may watch
/// it.
pub(super) fn compile(folder: &Path) -> Result<Built, PluginCliError> {
    progress(&format!("building {}", folder.display()));
    weir_sdk_build::build(folder).map_err(|error| PluginCliError::Failed(format!("{error:#}")))
}

/// Returns the bytes of a component: a file, a built-in plugin, or a project's, which is built.
pub(super) fn component(subject: &str) -> Result<Vec<u8>, PluginCliError> {
    let folder = Path::new(subject);
    if folder.is_dir() { Ok(compile(folder)?.wasm) } else { read(subject) }
}

/// Replaces the previous component. A reader never sees half a file.
pub(super) fn place(folder: &Path, built: &Built) -> Result<(), PluginCliError> {
    let path = folder.join(&built.name).with_extension("wasm");
    let new = path.with_extension("wasm.new");
    let written = fs::write(&new, &built.wasm).and_then(|()| fs::rename(&new, &path));
    written.map_err(|source| PluginCliError::Io {
        what: format!("write {}", path.display()),
        source,
    })?;
    progress(&format!("{} ({} bytes)", path.display(), built.wasm.len()));
    Ok(())
}

/// Writes a file, with the folders around it.
pub(super) fn put(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), PluginCliError> {
    let made = match path.parent() {
        Some(folder) => fs::create_dir_all(folder),
        None => Ok(()),
    };
    made.and_then(|()| fs::write(path, bytes))
        .map_err(|source| PluginCliError::Io { what: format!("write {}", path.display()), source })
}

const MANIFEST: &str = include_str!("project/Cargo.toml.in");
const README: &str = include_str!("project/README.md.in");
const BALANCER: &str = include_str!("project/balancer.rs.in");
const BALANCER_CASES: &str = include_str!("project/balancer.yaml");
const FILTER: &str = include_str!("project/filter.rs.in");
const FILTER_CASES: &str = include_str!("project/filter.yaml");
const BODY_FILTER: &str = include_str!("project/body_filter.rs.in");
const BODY_FILTER_CASES: &str = include_str!("project/body_filter.yaml");

/// The SDK that this Weir was built with. A project has exactly the interface of its host, and it
/// needs no registry for it.
macro_rules! sdk {
    ($($path:literal),* $(,)?) => {
        &[
            ("weir/sdk/Cargo.toml", include_str!("project/sdk.toml")),
            ("weir/sdk/macros/Cargo.toml", include_str!("project/macros.toml")),
            $((concat!("weir/", $path), include_str!(concat!("../../../../", $path)))),*
        ]
    };
}

const SDK: &[(&str, &str)] = sdk![
    "sdk/src/balancer.rs",
    "sdk/src/bindings.rs",
    "sdk/src/bindings/balancer.rs",
    "sdk/src/bindings/body_filter.rs",
    "sdk/src/bindings/filter.rs",
    "sdk/src/config.rs",
    "sdk/src/credential.rs",
    "sdk/src/credential/tests.rs",
    "sdk/src/export.rs",
    "sdk/src/filter.rs",
    "sdk/src/filter/decisions.rs",
    "sdk/src/host.rs",
    "sdk/src/host/component.rs",
    "sdk/src/host/native.rs",
    "sdk/src/lib.rs",
    "sdk/src/needs.rs",
    "sdk/src/parse.rs",
    "sdk/src/refused.rs",
    "sdk/src/secret.rs",
    "sdk/src/state.rs",
    "sdk/src/state/component.rs",
    "sdk/src/state/native.rs",
    "sdk/macros/src/lib.rs",
    "wit/balancer.wit",
    "wit/filter.wit",
    "wit/host.wit",
    "wit/types.wit",
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::ValueEnum as _;

    use super::*;

    fn files(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, all) } else { all.push(path) }
        }
    }

    #[test]
    fn every_file_of_the_sdk_is_carried_along() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut there = Vec::new();
        for folder in ["sdk/src", "sdk/macros/src", "wit"] {
            files(&root.join(folder), &mut there);
        }
        let mut there: Vec<String> = there
            .iter()
            .map(|path| format!("weir/{}", path.strip_prefix(root).unwrap().display()))
            .collect();
        there.sort();
        let mut carried: Vec<&str> = SDK.iter().map(|(path, _)| *path).collect();
        carried.retain(|path| !path.ends_with(".toml"));
        carried.sort_unstable();
        assert_eq!(carried, there);
    }

    #[test]
    fn a_project_can_be_written_in_every_language() {
        for language in Language::value_variants() {
            let folder = tempfile::tempdir().unwrap();
            let project = folder.path().join("gate");
            write(&project, *language, NewKind::Balancer).unwrap();
            let mut written = Vec::new();
            files(&project, &mut written);
            assert!(written.iter().any(|path| path.ends_with("cases.yaml")), "{language:?}");
            let own = written.iter().filter(|path| !path.starts_with(project.join("weir")));
            for path in own {
                let text = fs::read_to_string(path).unwrap();
                let is_hole = |part: &str| {
                    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase())
                };
                assert!(!text.split('@').any(is_hole), "{}", path.display());
            }
        }
        let project = tempfile::tempdir().unwrap().path().join("gate");
        assert!(write(&project, Language::Go, NewKind::BodyFilter).is_err());
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        let project = folder.path().join("gate");
        fs::create_dir(&project).unwrap();
        fs::write(project.join("mine"), "").unwrap();
        assert!(write(&project, Language::C, NewKind::Filter).is_err());
        for name in ["Gate", "1gate", "g ate", "..", ""] {
            assert!(
                write(&folder.path().join(name), Language::Rust, NewKind::Filter).is_err(),
                "{name}"
            );
        }
    }
}
