//! Copies the WIT of `wasi:http` from a published crate to the folder of `wit_bindgen::generate`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=../Cargo.lock");
    let manifest = env::var("CARGO_MANIFEST_DIR").unwrap();
    let metadata = Command::new(env::var("CARGO").unwrap())
        .args(["metadata", "--format-version", "1", "--offline"])
        // Dependencies of other platforms are not downloaded.
        .args(["--filter-platform", &env::var("TARGET").unwrap()])
        .current_dir(&manifest)
        .output()
        .unwrap();
    let metadata = String::from_utf8(metadata.stdout).unwrap();
    let folder = metadata
        .split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split('"').next()?.strip_suffix("/Cargo.toml"))
        .find(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("wasip3-0")))
        .expect("wasip3 is among the dependencies");
    copy(&PathBuf::from(folder).join("wit"), &Path::new(&manifest).join("../target/wit"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
