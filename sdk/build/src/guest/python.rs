//! Python: CPython with the user's modules, by `componentize-py`.

use super::Project;
use super::tool::{Tool, expect_file, run};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    expect_file(&project.folder.join("src/plugin.py"))?;
    project.put("weir", SDK)?;
    project.put(
        "weir",
        match project.world {
            super::World::Balancer => BALANCER,
            super::World::Filter | super::World::BodyFilter => FILTER,
        },
    )?;
    let mut componentize = COMPONENTIZE.command(&project.build)?;
    // Other packages in the tool's environment must not enter the component.
    componentize.env_remove("VIRTUAL_ENV");
    componentize.args(["--wit-path", "wit", "--world", project.world.name(), "componentize"]);
    componentize.args(["--python-path", "../src", "--python-path", "weir", "--stub-wasi"]);
    componentize.args(["--output", "component.wasm", "weir_export"]);
    run(&mut componentize)?;
    project.made("component.wasm")
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
