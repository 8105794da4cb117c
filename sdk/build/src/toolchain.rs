//! [`Toolchain`] is a Rust toolchain that compiles to WebAssembly. It is found, never installed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The target of every plugin.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A way to compile Rust to WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain in use has the target installed, with its standard library.
    Installed {
        /// The compiler.
        rustc: PathBuf,
    },
    /// Debian's packages: the standard library is compiled too, and the linker is LLVM's own.
    FromSource {
        /// The compiler.
        rustc: PathBuf,
        /// Its cargo.
        cargo: PathBuf,
        /// `wasm-ld`.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Finds a toolchain: the one in use if it has the target, else Debian's packages.
    ///
    /// # Errors
    ///
    /// If there is neither; the message has the commands that install one.
    pub fn find() -> anyhow::Result<Toolchain> {
        let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        Self::search(rustc, Path::new("/usr/bin"))
    }

    /// Returns this compiler if it has the target, else that of the system's packages, with their
    /// programs in `packages`.
    fn search(rustc: PathBuf, packages: &Path) -> anyhow::Result<Toolchain> {
        if has_target(&rustc) {
            return Ok(Toolchain::Installed { rustc });
        }
        match from_source(packages) {
            Some(toolchain) => Ok(toolchain),
            None => bail!(MISSING),
        }
    }

    /// Returns the compiler's version, such as `rustc 1.95.0`.
    ///
    /// # Errors
    ///
    /// If the compiler does not run.
    pub fn version(&self) -> anyhow::Result<String> {
        let text = run(self.command(self.rustc()).arg("--version"))?;
        Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Returns the command `cargo build --release` for the target.
    pub(crate) fn build(&self, flags: &[String]) -> Command {
        let mut command = match self {
            Toolchain::Installed { rustc } => {
                let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut command = Command::new(cargo);
                command.env("RUSTC", rustc);
                command.args(["build", "--release", "--target", TARGET]);
                command
            }
            Toolchain::FromSource { rustc, cargo, linker } => {
                let mut command = self.command(cargo);
                command.env("RUSTC", rustc);
                // The packages are of a stable compiler; this variable lets it accept `-Z
                // build-std`.
                command.env("RUSTC_BOOTSTRAP", "1");
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command.args(["build", "--release", "--target", TARGET]);
                command.args(["-Z", "build-std=std,panic_abort"]);
                command
            }
        };
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command
    }

    /// Returns the folder of the compiler's libraries.
    pub(crate) fn sysroot(&self) -> anyhow::Result<PathBuf> {
        let text = run(self.command(self.rustc()).args(["--print", "sysroot"]))?;
        Ok(PathBuf::from(text.trim()))
    }

    fn rustc(&self) -> &Path {
        match self {
            Toolchain::Installed { rustc } | Toolchain::FromSource { rustc, .. } => rustc,
        }
    }

    /// Returns a command of this toolchain. `cargo run` points the library path at its own
    /// toolchain, and Debian's compiler must not load its parts from there.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if matches!(self, Toolchain::FromSource { .. }) {
            command
                .env_remove("LD_LIBRARY_PATH")
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO");
        }
        command
    }
}

fn has_target(rustc: &Path) -> bool {
    let print = ["--print", "target-libdir", "--target", TARGET];
    run(Command::new(rustc).args(print)).is_ok_and(|libraries| Path::new(libraries.trim()).is_dir())
}

fn from_source(bin: &Path) -> Option<Toolchain> {
    let (rustc, cargo) = (bin.join("rustc"), bin.join("cargo"));
    let linker = linker(bin)?;
    if !rustc.exists() || !cargo.exists() {
        return None;
    }
    let toolchain = Toolchain::FromSource { rustc, cargo, linker };
    let library = toolchain.sysroot().ok()?.join("lib/rustlib/src/rust/library/Cargo.toml");
    library.exists().then_some(toolchain)
}

/// Returns the linker, for example `wasm-ld-22`; the newest if there are several. Debian's packages
/// have no name without a version.
fn linker(bin: &Path) -> Option<PathBuf> {
    let version = |name: &OsString| {
        name.to_str()?.strip_prefix("wasm-ld-").and_then(|version| version.parse::<u32>().ok())
    };
    let names = bin.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
    let newest = names.filter_map(|name| Some((version(&name)?, name))).max()?;
    Some(bin.join(newest.1))
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

const MISSING: &str = "no Rust toolchain here compiles to WebAssembly. Install one of:
  rustup target add wasm32-unknown-unknown
  apt-get install --no-install-recommends rustc-web cargo-web rust-web-src rust-web-llvm lld-22";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn without_a_toolchain_the_commands_that_install_one_are_named() {
        let packages = tempfile::tempdir().unwrap();
        let nowhere = packages.path().join("rustc");
        let missing = Toolchain::search(nowhere.clone(), packages.path()).unwrap_err().to_string();
        assert!(missing.contains("rustup target add wasm32-unknown-unknown"), "{missing}");
        assert!(missing.contains("apt-get install --no-install-recommends rustc-web"), "{missing}");
        // A linker alone is no toolchain.
        fs::write(packages.path().join("wasm-ld-22"), "").unwrap();
        assert!(Toolchain::search(nowhere, packages.path()).is_err());
    }

    #[test]
    fn the_newest_linker_is_taken() {
        let bin = tempfile::tempdir().unwrap();
        for name in ["wasm-ld-9", "wasm-ld-22", "wasm-ld-19", "wasm-ld", "wasm-ldx-99"] {
            fs::write(bin.path().join(name), "").unwrap();
        }
        assert_eq!(linker(bin.path()), Some(bin.path().join("wasm-ld-22")));
    }

    #[test]
    fn packages_without_a_linker_are_no_toolchain() {
        let bin = tempfile::tempdir().unwrap();
        fs::write(bin.path().join("rustc"), "").unwrap();
        fs::write(bin.path().join("cargo"), "").unwrap();
        assert_eq!(from_source(bin.path()), None);
    }
}
