//! Python: CPython with the user's modules, by `componentize-py`.

use super::Project;
use super::tool::{Tool, expect_file, run};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    expect_file(&project.folder.join("src/plugin.py"))?;
    prepare(project)?;
    let mut componentize = COMPONENTIZE.command(&project.build)?;
    // Other packages in the tool's environment must not enter the component.
    componentize.env_remove("VIRTUAL_ENV");
    componentize.args(["--wit-path", "wit", "--world", project.world.name(), "componentize"]);
    componentize.args(["--python-path", "../src", "--python-path", "weir", "--stub-wasi"]);
    componentize.args(["--output", "component.wasm", "weir_export"]);
    run(&mut componentize)?;
    project.made("component.wasm")
}

/// Writes the SDK, and stand-ins for the generated bindings, for unit tests.
pub(super) fn prepare(project: &Project) -> anyhow::Result<()> {
    project.put("weir", SDK)?;
    project.put("native/wit_world", NATIVE)?;
    project.put(
        "weir",
        match project.world {
            super::World::Balancer => BALANCER,
            super::World::Filter | super::World::BodyFilter => FILTER,
        },
    )
}

const COMPONENTIZE: Tool =
    Tool { names: &["componentize-py"], install: "pip install componentize-py" };

const SDK: &[(&str, &str)] = &[
    ("weir/__init__.py", include_str!("../../../python/weir.py")),
    ("weir/state.py", include_str!("../../../python/state.py")),
];

const BALANCER: &[(&str, &str)] = &[
    ("weir/balancer.py", include_str!("../../../python/balancer.py")),
    ("weir_export.py", include_str!("../../../python/export_balancer.py")),
];

const FILTER: &[(&str, &str)] = &[
    ("weir/filter.py", include_str!("../../../python/filter.py")),
    ("weir_export.py", include_str!("../../../python/export_filter.py")),
];

/// `wit_world`, the package that the tool generates, without WebAssembly.
const NATIVE: &[(&str, &str)] = &[
    ("__init__.py", ""),
    ("imports/__init__.py", ""),
    ("imports/host.py", include_str!("../../../python/native/host.py")),
    ("imports/state.py", include_str!("../../../python/native/state.py")),
    ("imports/balancing.py", include_str!("../../../python/native/balancing.py")),
    ("imports/filtering.py", include_str!("../../../python/native/filtering.py")),
];
