//! The `weir` command: reads arguments, runs what they ask for, turns errors into exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::cli::main()
}
