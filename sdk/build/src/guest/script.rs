//! JavaScript and TypeScript: esbuild bundles the code, and `componentize-qjs` puts QuickJS, which
//! runs it, into the component.

use anyhow::Context;

use super::places;
use super::tool::{Tool, expect_file, joined, run};
use super::{Language, Project, write};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    let is_typed = project.language == Language::Ts;
    let entry = if is_typed { "src/plugin.ts" } else { "src/plugin.js" };
    expect_file(&project.folder.join(entry))?;
    prepare(project)?;
    if is_typed {
        run(TSC.command(&project.folder)?.args(["--noEmit", "--project", "tsconfig.json"]))?;
    }
    let mut bundle = ESBUILD.command(&project.folder)?;
    bundle
        .args([entry, "--bundle", "--format=esm", "--target=es2023", "--log-level=warning"])
        .args(["--external:weir:plugin/*", "--alias:weir=./build/weir/weir.ts"])
        .args(["--sourcemap=external", "--sources-content=false"])
        .arg(joined("--outfile=", &project.build.join("plugin.js")));
    run(&mut bundle)?;
    name_places(project)?;
    let mut componentize = QUICKJS.command(&project.build)?;
    componentize.args(["--wit", "wit", "--world", project.world.name(), "--js", "plugin.js"]);
    componentize.args(["--sync", "--stub-wasi", "--output", "component.wasm"]);
    run(&mut componentize)?;
    project.made("component.wasm")
}

/// Writes the SDK, and stand-ins for the host, for unit tests.
pub(super) fn prepare(project: &Project) -> anyhow::Result<()> {
    project.put("weir", SDK)?;
    project.put("native", NATIVE)
}

/// Adds the source places of its lines to the bundle, so that the SDK can report the place of an
/// error.
fn name_places(project: &Project) -> anyhow::Result<()> {
    let map = project.made("plugin.js.map")?;
    let places = places::of(&map).context("read the source map that esbuild wrote")?;
    let mut bundle = project.made("plugin.js")?;
    bundle.extend_from_slice(format!("\nglobalThis.weirPlaces = {places};\n").as_bytes());
    write(&project.build.join("plugin.js"), &bundle)
}

const INSTALL: &str = "npm install componentize-qjs esbuild typescript";
const ESBUILD: Tool = Tool { names: &["esbuild"], install: INSTALL };
const TSC: Tool = Tool { names: &["tsc"], install: INSTALL };
const QUICKJS: Tool = Tool { names: &["componentize-qjs"], install: INSTALL };

const SDK: &[(&str, &str)] = &[
    ("check.ts", include_str!("../../../typescript/check.ts")),
    ("host.ts", include_str!("../../../typescript/host.ts")),
    ("state.ts", include_str!("../../../typescript/state.ts")),
    ("telling.ts", include_str!("../../../typescript/telling.ts")),
    ("weir.ts", include_str!("../../../typescript/weir.ts")),
    ("raw.d.ts", include_str!("../../../typescript/raw.d.ts")),
];

/// The modules of the host in Node.
const NATIVE: &[(&str, &str)] = &[
    ("host.ts", include_str!("../../../typescript/native-host.ts")),
    ("state.ts", include_str!("../../../typescript/native-state.ts")),
];
