//! JavaScript and TypeScript: bundled by esbuild, run by QuickJS, which `componentize-qjs` puts into the component.

use super::tool::{Tool, expect_file, joined, run};
use super::{Language, Project};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    let is_typed = project.language == Language::Ts;
    let entry = if is_typed { "src/plugin.ts" } else { "src/plugin.js" };
    expect_file(&project.folder.join(entry))?;
    project.put("weir", SDK)?;
    if is_typed {
        run(TSC.command(&project.folder)?.args(["--noEmit", "--project", "tsconfig.json"]))?;
    }
    let mut bundle = ESBUILD.command(&project.folder)?;
    bundle
        .args([entry, "--bundle", "--format=esm", "--target=es2023", "--log-level=warning"])
        .args(["--external:weir:plugin/*", "--alias:weir=./build/weir/weir.ts"])
        .arg(joined("--outfile=", &project.build.join("plugin.js")));
    run(&mut bundle)?;
    let mut componentize = QUICKJS.command(&project.build)?;
    componentize.args(["--wit", "wit", "--world", project.world.name(), "--js", "plugin.js"]);
    componentize.args(["--sync", "--stub-wasi", "--output", "component.wasm"]);
    run(&mut componentize)?;
    project.made("component.wasm")
}

const INSTALL: &str = "npm install componentize-qjs esbuild typescript";
const ESBUILD: Tool = Tool { names: &["esbuild"], install: INSTALL };
const TSC: Tool = Tool { names: &["tsc"], install: INSTALL };
const QUICKJS: Tool = Tool { names: &["componentize-qjs"], install: INSTALL };

const SDK: &[(&str, &str)] = &[
    ("weir.ts", include_str!("../../../typescript/weir.ts")),
    ("host.d.ts", include_str!("../../../typescript/host.d.ts")),
];
