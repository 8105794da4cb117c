//! Any other language: a command of the user makes a core module.

use std::fs;
use std::process::Command;

use anyhow::Context;

use super::Project;
use super::tool::{places, run};
use crate::componentize::componentize;

pub(super) fn build(project: &Project) -> anyhow::Result<Vec<u8>> {
    if let Some(command) = &project.command {
        // The interface is in `build/wit`, for generators of bindings.
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(&project.folder);
        let path = std::env::join_paths(places(&project.folder));
        shell.env("PATH", path.context("a folder around the project has a colon in its name")?);
        run(&mut shell).with_context(|| format!("run {command:?}"))?;
    }
    let path = project.folder.join(&project.module);
    let module = fs::read(&path).with_context(|| {
        let shown = path.display();
        format!("read the core module {shown} (module: in plugin.yaml names another place)")
    })?;
    componentize(&module, project.world, Vec::new())
}
