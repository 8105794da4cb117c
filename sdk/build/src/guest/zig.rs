//! Zig: its own compiler, and the written-out bindings of `sdk/zig`.

use super::bindings;
use super::strip::without_dwarf;
use super::tool::{Tool, expect_file, run};
use super::{Project, World};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    expect_file(&project.folder.join("src/plugin.zig"))?;
    project.put("weir", SDK)?;
    let root = match project.world {
        World::Balancer => "weir/balancer.zig",
        World::Filter | World::BodyFilter => "weir/filter.zig",
    };
    let mut zig = ZIG.command(&project.build)?;
    // A detected bug ends the instance, and the host starts a fresh one.
    zig.args(["build-exe", "-fno-entry", "-rdynamic", "-fno-strip", "-OReleaseSafe"]);
    zig.args(["-target", "wasm32-freestanding", "--stack", "131072", "--dep", "plugin"]);
    zig.args(["--dep", "weir", &format!("-Mroot={root}"), "--dep", "weir"]);
    zig.args(["-Mplugin=../src/plugin.zig", "-Mweir=weir/weir.zig", "-femit-bin=core.wasm"]);
    run(&mut zig)?;
    let mut core = without_dwarf(&project.made("core.wasm")?)?;
    bindings::embed(&mut core, project)?;
    bindings::component(&core)
}

const ZIG: Tool = Tool {
    names: &["zig", "python-zig"],
    install: "pip install ziglang==0.17.1      # or Zig 0.17 from https://ziglang.org/download",
};

const SDK: &[(&str, &str)] = &[
    ("balancer.zig", include_str!("../../../zig/balancer.zig")),
    ("filter.zig", include_str!("../../../zig/filter.zig")),
    ("weir.zig", include_str!("../../../zig/weir.zig")),
];
