//! The compiler under attack: components that take hours or all memory to compile are refused, and
//! the next component is compiled at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::api::{Api, TOKEN};
use crate::support::tools::builtin;
use crate::support::weir::WEIR;
use crate::support::{Origin, Setup, Weir, until};

/// A component of a few kilobytes with one function: loops within each other, and variables that
/// change in the innermost one. The compiler's time grows with the product, and more.
fn slow(loops: usize, variables: usize) -> Vec<u8> {
    let mut code = [3, 0x40].repeat(loops);
    for variable in 0..variables {
        // (local.set V (i32.add (local.get V + 1) (i32.const 1)))
        code.push(0x20);
        code.extend(leb((variable + 1) % variables));
        code.extend([0x41, 1, 0x6a, 0x21]);
        code.extend(leb(variable));
    }
    for level in 0..loops {
        // (br_if 0 (local.get L)), and the end of a loop.
        code.push(0x20);
        code.extend(leb(level % variables));
        code.extend([0x0d, 0, 0x0b]);
    }
    code.push(0x0b);
    let function = [vec![1], leb(variables), vec![0x7f], code].concat();
    let function = [leb(function.len()), function].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(10, &[vec![1], function].concat()),
    ]
    .concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

struct Bench {
    weir: Weir,
    api: Api,
    folder: tempfile::TempDir,
    /// Kept for the connections of Weir.
    _origin: Origin,
}

impl Bench {
    async fn start(variable: &str, value: &str) -> Self {
        let origin = Origin::start().await;
        let plugin =
            format!("plugins: [{{ name: p, source: \"file:{}\" }}]", builtin("headers").display());
        let weir = Setup::to([&origin])
            .top(&format!("{plugin}\n{}", Api::config("127.0.0.1:0")))
            .routes("  - { filters: [p], upstream: app }")
            .variable(variable, value)
            .start()
            .await;
        let api = Api::of(&weir);
        Self { weir, api, folder: tempfile::tempdir().unwrap(), _origin: origin }
    }

    fn file(&self, wasm: &[u8]) -> PathBuf {
        let path = self.folder.path().join("component.wasm");
        std::fs::write(&path, wasm).unwrap();
        path
    }

    /// Swaps a component in. Returns the success, the output and the time.
    async fn swap(&self, file: &Path) -> (bool, String, Duration) {
        let begun = Instant::now();
        let (ok, text) = self.api.command(&["plugin", "swap", "p", file.to_str().unwrap()]).await;
        (ok, text, begun.elapsed())
    }

    /// The number of compilers that run now.
    fn compilers(&self) -> usize {
        children(self.weir.pid()).len()
    }
}

/// The child processes of a process.
fn children(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end meanwhile.
        let all = std::fs::read_to_string(task.unwrap().path().join("children"));
        all.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    tasks.flat_map(of).collect()
}

#[tokio::test]
async fn a_component_that_takes_too_long_is_refused_and_holds_nothing_up() {
    let bench = Bench::start("WEIR_COMPILE_TIME", "2").await;
    let (ok, text, took) = bench.swap(&bench.file(&slow(300, 1000))).await;
    assert!(!ok && text.contains("it takes longer than 2s to compile"), "{text}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(bench.compilers(), 0);
    let (ok, text, _) = bench.swap(&builtin("headers")).await;
    assert!(ok, "{text}");
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_is_refused() {
    let bench = Bench::start("WEIR_COMPILE_MEMORY", "100").await;
    let (ok, text, _) = bench.swap(&bench.file(&slow(100, 400))).await;
    assert!(!ok && text.contains("it takes more than 100 MiB of memory to compile"), "{text}");
    assert_eq!(bench.weir.client(crate::support::Protocol::H3).await.get("/who").await.status, 200);
    let (ok, text, _) = bench.swap(&bench.file(b"\0asm\x0d\0\x01\0no component")).await;
    assert!(!ok && text.contains("this is not a WebAssembly component"), "{text}");
}

#[tokio::test]
async fn a_compilation_that_nobody_waits_for_is_ended() {
    let bench = Bench::start("WEIR_COMPILE_TIME", "100").await;
    let file = bench.file(&slow(300, 1000));
    let mut client = Command::new(WEIR)
        .args(["plugin", "swap", "p", file.to_str().unwrap()])
        .envs([("WEIR_ADMIN", bench.api.address()), ("WEIR_ADMIN_TOKEN", TOKEN)])
        .spawn()
        .unwrap();
    let runs = async |wanted| {
        until("compilers", async || (bench.compilers() == wanted).then_some(())).await;
    };
    runs(1).await;
    client.kill().unwrap();
    client.wait().unwrap();
    runs(0).await;
    let (ok, text, _) = bench.swap(&builtin("headers")).await;
    assert!(ok, "{text}");
}

#[test]
fn a_compiler_ends_with_its_weir() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("slow.wasm"), slow(300, 1000)).unwrap();
    let config = "listeners: [{ address: \"127.0.0.1:0\" }]\n\
                  plugins: [{ name: p, source: \"file:slow.wasm\" }]\n\
                  routes: [{ filters: [p], respond: { body: x } }]\n";
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, config).unwrap();
    let mut weir = Command::new(WEIR)
        .args(["check", "-c", file.to_str().unwrap()])
        .env("WEIR_PLUGIN_CACHE", "off")
        .spawn()
        .unwrap();
    let child = loop {
        if let Some(child) = children(weir.id()).pop() {
            break child;
        }
        assert!(weir.try_wait().unwrap().is_none(), "it compiles nothing");
        std::thread::yield_now();
    };
    // The number of a process is used again, the time of its start is not.
    let start = || -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let is_over = fields.starts_with(['Z', 'X']);
        fields.split(' ').nth(19).filter(|_| !is_over).map(str::to_owned)
    };
    let own = start().expect("it runs");
    weir.kill().unwrap();
    weir.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while start().as_ref() == Some(&own) {
        assert!(Instant::now() < until, "the compiler {child} lives on");
        std::thread::yield_now();
    }
}
