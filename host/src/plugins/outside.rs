//! The compiler in a process of its own: this binary, started with a hidden command.
//!
//! A hostile component can make the compiler run for hours or take all memory, and a thread cannot
//! be stopped. A process can. It bounds its own memory and CPU time, has a low priority, and ends
//! with this process. `WEIR_COMPILE_TIME` (seconds) and `WEIR_COMPILE_MEMORY` (MiB) replace its
//! limits.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use weir_runtime::code::{self, CompileFailure, Outside, Settings};

/// The hidden command.
pub const COMMAND: &str = "compile-component";

/// Starts processes that compile.
#[derive(Debug, Clone, Copy)]
struct CompilerProcess {
    time: Duration,
    /// MiB that it may write to.
    memory: u64,
}

/// Says that this binary knows [`COMMAND`]. A test of this library has another binary.
pub fn announce() {
    let _ = KNOWS_COMMAND.set(());
}

/// Returns the compiler in another process, if this binary can be one.
pub fn compiler() -> Option<Arc<dyn Outside>> {
    KNOWS_COMMAND.get()?;
    let memory = number("WEIR_COMPILE_MEMORY").unwrap_or(MEMORY);
    Some(Arc::new(CompilerProcess { time: time(), memory }))
}

/// Returns the time that a component may take to compile.
pub(super) fn time() -> Duration {
    // A larger number is a mistake, and must not overflow a sum.
    let most = Duration::from_secs(24 * 3600);
    number("WEIR_COMPILE_TIME").map_or(TIME, Duration::from_secs).min(most)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok().filter(|number| *number > 0)
}

/// Notes on this thread that its compilations end with `cancelled`.
pub(super) fn end_when(cancelled: CancellationToken) {
    CANCELLED.set(Some(cancelled));
}

impl Outside for CompilerProcess {
    fn compile(&self, settings: Settings, wasm: &[u8]) -> Result<Vec<u8>, CompileFailure> {
        let mut child = self.start(settings).map(Running).map_err(|error| {
            let reason = format!("start a process for the compiler: {error}");
            // Only where there can be none does this process compile. A machine that is full now
            // may have room later.
            match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::Unsupported => CompileFailure::Unavailable(reason),
                _ => CompileFailure::Ended(reason),
            }
        })?;
        let (code, told) = converse(&mut child.0, wasm, self.time)?;
        self.judge(child.0.wait(), code, &told)
    }
}

/// A process that is ended and waited for in any case.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl CompilerProcess {
    fn start(self, settings: Settings) -> io::Result<Child> {
        Command::new(BINARY)
            .args([COMMAND, &settings.to_string()])
            .arg(format!("--seconds={}", self.seconds()))
            .arg(format!("--memory={}", self.memory))
            .arg(format!("--parent={}", std::process::id()))
            // It needs nothing of the environment, which has secrets.
            .env_clear()
            // The allocator takes address space in small steps, because the limit counts it.
            .env("MIMALLOC_ARENA_RESERVE", "32768")
            // Each thread has a stack, which the limit counts too.
            .env("RAYON_NUM_THREADS", threads().to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Seconds of CPU time of all its threads. The time on the clock is over first, except in a
    /// process whose parent has stopped.
    fn seconds(self) -> u64 {
        self.time.as_secs().saturating_add(1).saturating_mul(threads())
    }

    fn judge(
        self,
        status: io::Result<ExitStatus>,
        code: Vec<u8>,
        told: &[u8],
    ) -> Result<Vec<u8>, CompileFailure> {
        let status = status.map_err(|error| CompileFailure::Ended(error.to_string()))?;
        let told = String::from_utf8_lossy(told);
        let told = told.trim();
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(code),
            (Some(REFUSED), _) => Err(CompileFailure::Component(told.to_owned())),
            // The limits could not be set, or the program could not be loaded.
            (Some(UNSET | NO_PROGRAM), _) | (_, Some(SYS)) => {
                Err(CompileFailure::Unavailable(format!("the compiler's process: {status} {told}")))
            }
            (_, Some(XCPU)) => Err(CompileFailure::Ended(format!(
                "it takes more than {} s of CPU time to compile",
                self.seconds()
            ))),
            // An allocation that fails aborts.
            (_, Some(ABRT)) => Err(CompileFailure::Ended(format!(
                "it takes more than {} MiB of memory to compile",
                self.memory
            ))),
            (_, Some(KILL)) => Err(CompileFailure::Ended(
                "its compiler was killed: perhaps the machine has no memory left".to_owned(),
            )),
            _ => Err(CompileFailure::Ended(format!("the compiler failed ({status}): {told}"))),
        }
    }
}

/// Sends the component and receives the code and the error text.
fn converse(
    child: &mut Child,
    wasm: &[u8],
    time: Duration,
) -> Result<(Vec<u8>, Vec<u8>), CompileFailure> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(mut output), Some(errors)) = pipes else {
        return Err(CompileFailure::Unavailable("the process has no pipes".to_owned()));
    };
    let begun = Instant::now();
    let cancelled = CANCELLED.with_borrow(Clone::clone).unwrap_or_default();
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        let spawn_failed =
            |error: io::Error| CompileFailure::Ended(format!("start a thread: {error}"));
        // It fails if the process has ended, which its status tells.
        let write = move || drop(input.write_all(wasm));
        thread::Builder::new().spawn_scoped(scope, write).map_err(spawn_failed)?;
        let tell = move || {
            let mut told = Vec::new();
            let _ = errors.take(MOST_TOLD).read_to_end(&mut told);
            told
        };
        let told = thread::Builder::new().spawn_scoped(scope, tell).map_err(spawn_failed)?;
        let receive = move || {
            let mut code = Vec::new();
            let read = (&mut output).take(MOST_CODE).read_to_end(&mut code);
            let _ = done.send(());
            read.map(|_| code)
        };
        let code = thread::Builder::new().spawn_scoped(scope, receive).map_err(spawn_failed)?;
        let failure = loop {
            match is_done.recv_timeout(LOOK) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) if cancelled.is_cancelled() => {
                    break Some("nobody waits for it any more".to_owned());
                }
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= time => {
                    break Some(format!("it takes longer than {time:?} to compile"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        if let Some(failure) = failure {
            // The threads end with the process.
            let _ = child.kill();
            return Err(CompileFailure::Ended(failure));
        }
        let broken = || CompileFailure::Ended("the compiler's output could not be read".to_owned());
        let code = code.join().ok().and_then(Result::ok).ok_or_else(broken)?;
        if code.len() as u64 == MOST_CODE {
            let _ = child.kill();
            return Err(CompileFailure::Ended("its code is too large".to_owned()));
        }
        Ok((code, told.join().unwrap_or_default()))
    })
}

/// Threads of the compiler.
fn threads() -> u64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(MOST_THREADS) as u64
}

/// The limits of a process that compiles.
#[derive(Debug, clap::Args)]
pub struct CompileLimits {
    /// Seconds of CPU time.
    #[arg(long)]
    seconds: u64,
    /// MiB of memory.
    #[arg(long)]
    memory: u64,
    /// The process that waits for the code.
    #[arg(long)]
    parent: u32,
}

/// Compiles a component from standard input to standard output, under limits. Returns the exit code
/// of the process.
pub fn run(settings: &str, limits: &CompileLimits) -> u8 {
    if let Err(error) = limit(limits) {
        return tell(&format!("set limits: {error}"), UNSET.unsigned_abs() as u8);
    }
    let given = settings.parse().and_then(|settings: Settings| {
        let mut wasm = Vec::new();
        io::stdin().lock().read_to_end(&mut wasm).map_err(|error| error.to_string())?;
        Ok((settings, wasm))
    });
    let (settings, wasm) = match given {
        Ok(given) => given,
        Err(error) => return tell(&error, 1),
    };
    match code::compile(settings, &wasm) {
        Ok(code) => match io::stdout().lock().write_all(&code) {
            Ok(()) => 0,
            Err(error) => tell(&error.to_string(), 1),
        },
        Err(error) => tell(&error, REFUSED.unsigned_abs() as u8),
    }
}

fn tell(error: &str, code: u8) -> u8 {
    let _ = writeln!(io::stderr(), "{error}");
    code
}

/// Bounds this process.
fn limit(limits: &CompileLimits) -> io::Result<()> {
    // These three only help others: their failure is none. The name of the program's file is `exe`.
    let _ = std::fs::write("/proc/self/comm", COMMAND);
    let _ = rustix::process::nice(NICE);
    let _ = std::fs::write("/proc/self/oom_score_adj", EXPENDABLE);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(limits.parent) {
        return Err(io::Error::other("the process that waits has ended"));
    }
    let bytes = limits.memory.saturating_mul(1 << 20);
    // At the soft limit of CPU time the process gets a signal, at the hard one it is killed.
    let cpu = limits.seconds;
    for (resource, soft, hard) in [
        (Resource::Data, bytes, bytes),
        (Resource::Cpu, cpu, cpu.saturating_add(1)),
        (Resource::Core, 0, 0),
    ] {
        let Rlimit { maximum, .. } = getrlimit(resource);
        let within = |wanted: u64| maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let limit = Rlimit { current: Some(within(soft)), maximum: Some(within(hard)) };
        setrlimit(resource, limit)?;
    }
    Ok(())
}

static KNOWS_COMMAND: OnceLock<()> = OnceLock::new();

thread_local! {
    static CANCELLED: RefCell<Option<CancellationToken>> = const { RefCell::new(None) };
}

/// This binary, also after another one has taken its path.
const BINARY: &str = "/proc/self/exe";

/// The exit code for bytes that are no component.
const REFUSED: i32 = 65;

/// The exit code of a process that cannot bound itself.
const UNSET: i32 = 71;

/// The exit code of a program whose libraries are missing.
const NO_PROGRAM: i32 = 127;

const SYS: i32 = Signal::SYS.as_raw();
const XCPU: i32 = Signal::XCPU.as_raw();
const ABRT: i32 = Signal::ABORT.as_raw();
const KILL: i32 = Signal::KILL.as_raw();

/// Time limit for compiling a component. The largest known ones take half a minute.
const TIME: Duration = Duration::from_secs(120);

/// MiB of memory that the compiler may write to. The largest known component needs less than half.
const MEMORY: u64 = 2 << 10;

/// Bytes of code.
const MOST_CODE: u64 = 512 << 20;

/// Bytes of an error text.
const MOST_TOLD: u64 = 4 << 10;

/// How often a cancelled compilation is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// The lowest priority has 19.
const NICE: i32 = 10;

/// A machine without memory ends this process before the one that serves.
const EXPENDABLE: &str = "500";

/// More threads compile hardly faster.
const MOST_THREADS: usize = 8;
