//! C and C++: clang for `wasm32-wasi`, Debian's wasi-libc, bindings by wit-bindgen.

use std::path::Path;

use super::bindings;
use super::tool::{Tool, joined, run};
use super::{Language, Project};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    let is_cpp = project.language == Language::Cpp;
    let world = project.world.name();
    bindings::generate(project, wit_bindgen_c::Opts::default().build(), "gen")?;
    project.put("include", HEADERS)?;
    project.put("lib", LIBRARY)?;
    let objects = objects(project, is_cpp)?;
    let tool = if is_cpp { CLANGXX } else { CLANG };
    let mut link = tool.command(&project.build)?;
    link.args(TARGET).args(["-mexec-model=reactor", "-Wl,--strip-debug", "-o", "core.wasm"]);
    link.args(objects).arg(format!("gen/{world}_component_type.o"));
    run(&mut link)?;
    bindings::component(&project.made("core.wasm")?)
}

fn objects(project: &Project, is_cpp: bool) -> anyhow::Result<Vec<String>> {
    let world = project.world.name();
    let mut sources = vec![
        project.build.join(format!("gen/{world}.c")),
        project.build.join("lib/weir.c"),
        project.build.join("lib/weir_json.c"),
    ];
    let extensions: &[&str] = if is_cpp { &["cpp", "cc", "c"] } else { &["c"] };
    sources.extend(project.sources(extensions)?);
    let mut objects = Vec::new();
    for source in sources {
        let object = format!("{}.o", objects.len());
        run(&mut compile(project, &source, &object)?)?;
        objects.push(object);
    }
    Ok(objects)
}

fn compile(
    project: &Project,
    source: &Path,
    object: &str,
) -> anyhow::Result<std::process::Command> {
    let is_c = source.extension().is_some_and(|extension| extension == "c");
    let world = project.world.name();
    let mut compile = CLANG.command(&project.build)?;
    compile.args(TARGET).args(["-c", "-O2", "-Iinclude", "-Igen"]);
    compile.arg(format!("-DWEIR_{}", world.to_uppercase()));
    if is_c {
        compile.arg("-std=c17");
    } else {
        compile.args(["-xc++", "-std=c++23", "-fno-exceptions", "-fno-rtti"]);
    }
    if source.starts_with(project.folder.join("src")) {
        compile.args(["-Wall", "-Wextra", "-fdiagnostics-color=auto"]);
        compile.arg(joined("-I", &project.folder.join("src")));
    }
    // Assertions name their file relative to the project's folder.
    compile.arg(joined("-ffile-prefix-map=", &project.folder.join("=")));
    compile.arg(source).args(["-o", object]);
    Ok(compile)
}

/// Debian has the headers and libraries under this older name of the target.
const TARGET: &[&str] = &["--target=wasm32-wasi", "-Wno-deprecated"];

const INSTALL: &str = "apt-get install --no-install-recommends clang-22 lld-22 libclang-rt-22-dev-wasm32 \
                       libc++-22-dev-wasm32 libc++abi-22-dev-wasm32 wasi-libc";

const CLANG: Tool =
    Tool { names: &["clang-22", "clang-21", "clang-20", "clang-19", "clang"], install: INSTALL };

/// Links the C++ library.
const CLANGXX: Tool = Tool {
    names: &["clang++-22", "clang++-21", "clang++-20", "clang++-19", "clang++"],
    install: INSTALL,
};

const HEADERS: &[(&str, &str)] = &[
    ("weir.h", include_str!("../../../c/weir.h")),
    ("weir_json.h", include_str!("../../../c/weir_json.h")),
    ("weir.hpp", include_str!("../../../cpp/weir.hpp")),
];

const LIBRARY: &[(&str, &str)] = &[
    ("weir.c", include_str!("../../../c/weir.c")),
    ("weir_json.c", include_str!("../../../c/weir_json.c")),
];
