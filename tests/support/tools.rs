//! Programs of other projects. A missing one fails the test with the command that installs it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A component of `tests/guests`, built by `make guests`.
pub(crate) fn guest(name: &str) -> PathBuf {
    let path = root().join(format!("tests/guests/target/dist/{name}.wasm"));
    assert!(path.exists(), "no {}: run `make guests`", path.display());
    path
}

/// A component of `tests/components`, built by `make guests`.
pub(crate) fn component(name: &str) -> PathBuf {
    let path = root().join(format!("tests/components/target/dist/{name}.wasm"));
    assert!(path.exists(), "no {}: run `make guests`", path.display());
    path
}

/// Returns the file of a built-in plugin: the fresh build of `make test` in the folder
/// `WEIR_PLUGINS`, or the committed file.
pub(crate) fn builtin(name: &str) -> PathBuf {
    fresh_builtin(name)
        .unwrap_or_else(|| root().join("plugins/dist").join(name).with_extension("wasm"))
}

/// Returns the file of a built-in plugin from the fresh build of `make test`, or `None` without
/// `WEIR_PLUGINS`.
pub(crate) fn fresh_builtin(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("WEIR_PLUGINS")?);
    let path = folder.join(name).with_extension("wasm");
    assert!(path.exists(), "WEIR_PLUGINS is set, and there is no {}", path.display());
    Some(path)
}

/// The names of the built-in plugins.
pub(crate) fn builtins() -> Vec<String> {
    let dist = std::fs::read_dir(root().join("plugins/dist")).unwrap();
    let paths = dist.map(|entry| entry.unwrap().path());
    let components = paths.filter(|path| path.extension().is_some_and(|end| end == "wasm"));
    let mut names: Vec<_> =
        components.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// curl with HTTP/3.
pub(crate) fn curl() -> Command {
    let speaks_h3 = |path: &Path| {
        let version = Command::new(path).arg("--version").output();
        version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("HTTP3"))
    };
    let mut curl = Command::new(find("WEIR_CURL", &["curl-h3", "curl"], speaks_h3));
    curl.args(["--silent", "--show-error", "--insecure", "--max-time", "20"]);
    curl
}

/// Chromium without a window, as any user.
pub(crate) fn browser() -> Command {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut browser = Command::new(find("WEIR_CHROMIUM", &names, |path| works(path, "--version")));
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
    browser.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    browser.args(["--disable-dev-shm-usage", "--host-resolver-rules=MAP localhost 127.0.0.1"]);
    browser
}

/// The tool that makes components of JavaScript.
pub(crate) fn componentize_js() -> Command {
    let names = ["componentize-js"];
    Command::new(find("WEIR_COMPONENTIZE_JS", &names, |path| works(path, "--version")))
}

/// The tool that makes components of Python.
pub(crate) fn componentize_py() -> Command {
    let names = ["componentize-py"];
    Command::new(find("WEIR_COMPONENTIZE_PY", &names, |path| works(path, "--version")))
}

/// Returns the folder where cargo has unpacked a dependency.
pub(crate) fn packaged(name: &str) -> PathBuf {
    packaged_in(root(), name)
}

/// Does the same in another workspace. Packages that only other platforms need are left out: a
/// build for this platform does not download them.
pub(crate) fn packaged_in(workspace: &Path, name: &str) -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform()])
        .current_dir(workspace)
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// The platform that cargo builds the tests for.
fn platform() -> String {
    let version = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// nginx; the caller provides its configuration.
pub(crate) fn nginx() -> Command {
    Command::new(find("WEIR_NGINX", &["nginx"], |path| works(path, "-v")))
}

/// The registry of OCI packages that Debian calls docker-registry; the caller provides its
/// configuration.
pub(crate) fn registry() -> Command {
    Command::new(find("WEIR_REGISTRY", &["docker-registry"], |path| works(path, "--version")))
}

/// h2load for HTTP/2 and HTTP/1.1.
pub(crate) fn h2load() -> Command {
    Command::new(find("WEIR_H2LOAD", &["h2load"], |path| works(path, "--version")))
}

/// h2load with HTTP/3, which no distribution packages; returns it if it was built.
pub(crate) fn h2load_h3() -> Option<Command> {
    let mut places = Vec::new();
    places.extend(
        std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/weir-bench/bin/h2load")),
    );
    places.extend(std::env::var_os("WEIR_H2LOAD").map(PathBuf::from));
    let speaks_h3 = |path: &PathBuf| {
        let help = Command::new(path).arg("--help").output();
        help.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("h3"))
    };
    places.into_iter().rev().find(speaks_h3).map(Command::new)
}

/// A program of `tests/clients`, in the Python of `.venv`.
pub(crate) fn python(script: &str) -> Command {
    let python = root().join(".venv/bin/python");
    assert!(python.exists(), "no {}: run `.ci/setup test`", python.display());
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients").join(script));
    command
}

/// The client of `tests/clients/h3i`.
pub(crate) fn h3i() -> Command {
    let program = root().join("target/h3i/debug/weir-h3i");
    assert!(program.exists(), "no {}: run `make h3i`", program.display());
    Command::new(program)
}

/// The Python of `.venv` itself.
pub(crate) fn python_module(module: &str) -> Command {
    let python = root().join(".venv/bin/python");
    assert!(python.exists(), "no {}: run `.ci/setup test`", python.display());
    let mut command = Command::new(python);
    command.args(["-m", module]);
    command
}

/// The Python of the system.
pub(crate) fn python3() -> PathBuf {
    find("WEIR_PYTHON3", &["python3"], |path| works(path, "--version"))
}

/// Runs a command to its end without blocking the test's runtime. Fails the test if the command
/// fails.
pub(crate) async fn output(command: Command) -> String {
    let result = try_output(command).await;
    let text = String::from_utf8_lossy(&result.stdout).into_owned();
    let errors = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{}: {text}{errors}", result.status);
    text
}

/// Runs a command to its end without blocking the test's runtime.
pub(crate) async fn try_output(mut command: Command) -> Output {
    let run = move || command.stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    output.unwrap_or_else(|error| panic!("start a tool: {error}"))
}

/// A process that is killed when the test ends.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn find(variable: &str, names: &[&str], good: impl Fn(&Path) -> bool) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        assert!(good(&path), "{variable} is {}, which is not what the tests need", path.display());
        return path;
    }
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = home("WEIR_CACHE")
        .or_else(|| home("XDG_CACHE_HOME").map(|cache| cache.join("weir")))
        .or_else(|| home("HOME").map(|home| home.join(".cache/weir")));
    let places = cache.into_iter().map(|cache| cache.join("bin")).chain([PathBuf::new()]);
    let all = places.flat_map(|place| names.iter().map(move |name| place.join(name)));
    all.into_iter().find(|path| good(path)).unwrap_or_else(|| {
        panic!("no {}: run `.ci/setup test`, or point {variable} to one", names[0])
    })
}

fn works(path: &Path, argument: &str) -> bool {
    Command::new(path).arg(argument).output().is_ok_and(|output| output.status.success())
}
