//! Programs of other languages: finds and runs them. If one is missing, the error has the command
//! that installs it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// A program with all its possible names, and the command that installs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    pub(super) names: &'static [&'static str],
    pub(super) install: &'static str,
}

impl Tool {
    /// Finds the program where npm and Python install programs for a folder (`node_modules/.bin`
    /// and `.venv/bin`, in it or in a folder above), else in the search path.
    pub(super) fn find(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let places = places(folder);
        let found = self.names.iter().find_map(|name| {
            places.iter().map(|place| place.join(name)).find(|program| program.is_file())
        });
        let Some(found) = found else {
            let names = self.names.join(" or ");
            bail!("{names} is not installed. To install it:\n  {}", self.install);
        };
        Ok(found)
    }

    /// Returns a command of the program, to be run in a folder.
    pub(super) fn command(&self, folder: &Path) -> anyhow::Result<Command> {
        let mut command = Command::new(self.find(folder)?);
        command.current_dir(folder);
        Ok(command)
    }
}

/// Returns the places of programs: those of npm and Python around a folder, then the search path.
pub(super) fn places(folder: &Path) -> Vec<PathBuf> {
    let local = folder
        .ancestors()
        .flat_map(|folder| [folder.join("node_modules/.bin"), folder.join(".venv/bin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    local.chain(env::split_paths(&path)).collect()
}

/// Runs a command to its end. Standard output belongs to the build, so a tool's output goes to
/// standard error.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({})\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout).trim_end()
        );
    }
    Ok(())
}

/// Joins two parts into one argument.
pub(super) fn joined(first: &str, second: &Path) -> OsString {
    let mut argument = OsString::from(first);
    argument.push(second);
    argument
}

/// Checks that a file of the user exists.
pub(super) fn expect_file(path: &Path) -> anyhow::Result<()> {
    ensure!(path.is_file(), "{} does not exist", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_beside_the_project_and_what_is_missing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("node_modules/.bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("some-tool-of-mine"), "").unwrap();
        let project = folder.path().join("a/b");
        let tool = Tool { names: &["some-tool-of-mine"], install: "npm install some-tool" };
        assert_eq!(tool.find(&project).unwrap(), bin.join("some-tool-of-mine"));
        let gone = Tool { names: &["gone-1", "gone"], install: "npm install gone" };
        let error = gone.find(&project).unwrap_err().to_string();
        assert_eq!(error, "gone-1 or gone is not installed. To install it:\n  npm install gone");
    }
}
