//! A program on disk that a test replaces.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Setup;
use crate::support::tools::output;
use crate::support::weir::WEIR;

/// Puts the binary under test at a path, in place of another file.
pub(super) fn install(path: &Path) {
    let beside = path.with_extension("new");
    if std::fs::hard_link(WEIR, &beside).is_err() {
        std::fs::copy(WEIR, &beside).unwrap();
    }
    std::fs::rename(beside, path).unwrap();
}

/// Puts a shell script at a path, in place of another file.
pub(super) fn script(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A program that new processes start, and that holds them back until the test lets them go on.
#[derive(Debug)]
pub(super) struct Gate {
    program: PathBuf,
    fifo: PathBuf,
}

impl Gate {
    /// Installs the binary under test as the program of a Weir.
    pub(super) async fn of(setup: Setup) -> (Setup, Self) {
        let [program, fifo] = ["weir", "gate"].map(|name| setup.directory().join(name));
        install(&program);
        let mut make = Command::new("mkfifo");
        make.arg(&fifo);
        output(make).await;
        (setup.program(&program), Self { program, fifo })
    }

    /// Holds the next process back, which then is the binary under test.
    pub(super) fn close(&self) {
        let text = format!("read -r _ < {}; exec {WEIR} \"$@\"", self.fifo.display());
        script(&self.program, &text);
    }

    /// Lets the process go on, once it waits.
    pub(super) async fn open(&self) {
        let mut open = Command::new("sh");
        open.args(["-c", "echo > \"$0\""]).arg(&self.fifo);
        output(open).await;
    }
}
