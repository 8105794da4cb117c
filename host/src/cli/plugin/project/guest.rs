//! The projects of `weir plugin new` in languages other than Rust.

use super::{BALANCER_CASES, FILTER_CASES};
use super::{Language, NewKind};
use crate::cli::plugin::PluginCliError;

/// Files by their paths. `@NAME@` and other placeholders are still in them.
pub(super) type Files = Vec<(&'static str, String)>;

/// Returns the files of a project.
///
/// # Errors
///
/// The SDK of the language does not support this kind of plugin.
pub(super) fn files(language: Language, kind: NewKind) -> Result<Files, PluginCliError> {
    let Some((_, name, path, balancer, filter)) =
        SOURCES.iter().find(|(known, ..)| *known == language)
    else {
        return Err(PluginCliError::Failed("there is no template for this language".to_owned()));
    };
    let (world, source, cases) = match kind {
        NewKind::Balancer => ("balancer", balancer, BALANCER_CASES),
        NewKind::Filter => ("filter", filter, FILTER_CASES),
        NewKind::BodyFilter => {
            let hint = "body filters are written in Rust; leave --lang out";
            return Err(PluginCliError::Failed(hint.to_owned()));
        }
    };
    let (lang, limits) = match language {
        Language::Rust => ("rust", ""),
        Language::C => ("c", ""),
        Language::Cpp => ("cpp", ""),
        Language::Zig => ("zig", ""),
        Language::Go => ("go", ""),
        Language::Js => ("js", ""),
        Language::Ts => ("ts", ""),
        // An instance takes 13 MiB before its first call.
        Language::Python => ("python", ", limits: { memory: 64MiB }"),
    };
    let mut files = vec![
        ("plugin.yaml", MANIFEST.to_owned()),
        (*path, (*source).to_owned()),
        ("cases.yaml", cases.to_owned()),
        ("README.md", README.to_owned()),
        (".gitignore", "/build\n/node_modules\n/.venv\n/*.wasm\n".to_owned()),
    ];
    match language {
        Language::Go => {
            let test = if kind == NewKind::Balancer { GO_TESTS.0 } else { GO_TESTS.1 };
            files.push(("go.mod", GO_MODULE.to_owned()));
            files.push(("plugin_test.go", test.to_owned()));
        }
        Language::Python => {
            let test = if kind == NewKind::Balancer { PYTHON_TESTS.0 } else { PYTHON_TESTS.1 };
            files.push(("test_plugin.py", test.to_owned()));
        }
        Language::Js | Language::Ts => {
            let test = if kind == NewKind::Balancer { SCRIPT_TESTS.0 } else { SCRIPT_TESTS.1 };
            files.push(("package.json", PACKAGE.to_owned()));
            if language == Language::Ts {
                files.push(("test/plugin.test.ts", test.to_owned()));
                files.push(("tsconfig.json", TS_CONFIG.to_owned()));
            } else {
                files.push(("test/plugin.test.js", test.to_owned()));
            }
        }
        _ => {}
    }
    let values =
        [("@LANGUAGE@", *name), ("@LANG@", lang), ("@WORLD@", world), ("@LIMITS@", limits)];
    for (_, text) in &mut files {
        for (from, to) in values {
            *text = text.replace(from, to);
        }
    }
    Ok(files)
}

/// A language, its name for people, the path of the source, and the sources of a balancer and a
/// filter.
type Source = (Language, &'static str, &'static str, &'static str, &'static str);

macro_rules! sources {
    ($($language:ident $name:literal $path:literal $folder:literal $extension:literal),* $(,)?) => {
        &[$((
            Language::$language,
            $name,
            $path,
            include_str!(concat!($folder, "/balancer.", $extension)),
            include_str!(concat!($folder, "/filter.", $extension)),
        )),*]
    };
}

const SOURCES: &[Source] = sources![
    C "C" "src/plugin.c" "c" "c",
    Cpp "C++" "src/plugin.cpp" "cpp" "cpp",
    Zig "Zig" "src/plugin.zig" "zig" "zig",
    Go "Go" "plugin.go" "go" "go",
    Js "JavaScript" "src/plugin.js" "js" "js",
    Ts "TypeScript" "src/plugin.ts" "ts" "ts",
    Python "Python" "src/plugin.py" "python" "py",
];

const MANIFEST: &str = include_str!("plugin.yaml.in");
const README: &str = include_str!("GUEST.md.in");
const GO_MODULE: &str = include_str!("go/go.mod.in");
/// Unit tests of a balancer and of a filter.
const GO_TESTS: (&str, &str) =
    (include_str!("go/balancer_test.go.in"), include_str!("go/filter_test.go.in"));
const PYTHON_TESTS: (&str, &str) =
    (include_str!("python/test_balancer.py"), include_str!("python/test_filter.py"));
const SCRIPT_TESTS: (&str, &str) =
    (include_str!("script/balancer.test.in"), include_str!("script/filter.test.in"));
const PACKAGE: &str = include_str!("script/package.json.in");
const TS_CONFIG: &str = include_str!("ts/tsconfig.json");
