//! Copies the source of a guest from an example in a published crate that cargo has unpacked. The
//! line `# example: ` in the manifest of the package names the example.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").unwrap();
    let text = fs::read_to_string(format!("{manifest}/Cargo.toml")).unwrap();
    let example = text.lines().find_map(|line| line.strip_prefix("# example: ")).unwrap();
    let (package, file) = example.split_once(' ').unwrap();
    let metadata = Command::new(env::var("CARGO").unwrap())
        .args(["metadata", "--format-version", "1", "--offline"])
        // Dependencies of other platforms are not downloaded.
        .args(["--filter-platform", &env::var("TARGET").unwrap()])
        .current_dir(&manifest)
        .output()
        .unwrap();
    let metadata = String::from_utf8(metadata.stdout).unwrap();
    let mark = format!("/{package}-");
    let folder = metadata
        .split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split('"').next()?.strip_suffix("/Cargo.toml"))
        .find(|path| path.contains(&mark) && !path[path.rfind(&mark).unwrap() + 1..].contains('/'))
        .expect("the package is among the dependencies");
    let source = PathBuf::from(folder).join("examples").join(file);
    println!("cargo:rerun-if-changed={}", source.display());
    let to = PathBuf::from(env::var("OUT_DIR").unwrap()).join("example.rs");
    fs::copy(&source, to).unwrap();
}
