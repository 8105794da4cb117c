//! The compiler in a process of its own: this binary, started with a hidden command.
//!
//! A hostile component can make the compiler run for hours or take all memory, and a thread cannot
//! be stopped. A process can. It bounds its own memory and CPU time, has a low priority, and ends
//! with this process. `WEIR_COMPILE_TIME` (seconds) and `WEIR_COMPILE_MEMORY` (MiB) replace its
//! limits.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use weir_runtime::code::{self, CompileFailure, Outside, Settings};

use std::os::unix::process::ExitStatusExt as _;

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
pub(super) fn compiler() -> Option<Arc<dyn Outside>> {
    KNOWS_COMMAND.get()?;
    let number = |name| std::env::var(name).ok()?.parse().ok().filter(|number| *number > 0);
    let time = number("WEIR_COMPILE_TIME").map_or(TIME, Duration::from_secs);
    let memory = number("WEIR_COMPILE_MEMORY").unwrap_or(MEMORY);
    Some(Arc::new(CompilerProcess { time, memory }))
}

/// Notes on this thread that its compilations end when `cancelled` becomes true.
pub(super) fn end_when(cancelled: Arc<AtomicBool>) {
    CANCELLED.set(Some(cancelled));
}

impl Outside for CompilerProcess {
    fn compile(&self, settings: Settings, wasm: &[u8]) -> Result<Vec<u8>, CompileFailure> {
        let mut child = self.start(settings).map_err(|error| {
            CompileFailure::Unavailable(format!("start a process for the compiler: {error}"))
        })?;
        let ended = converse(&mut child, wasm, self.time);
        // Nothing is left behind, also after an error above.
        let _ = child.kill();
        let status = child.wait();
        let (code, told) = ended?;
        self.judge(status, code, &told)
    }
}

impl CompilerProcess {
    fn start(self, settings: Settings) -> io::Result<Child> {
        Command::new(BINARY)
            .args([COMMAND, &settings.to_string()])
            .arg(format!("--seconds={}", self.seconds()))
            .arg(format!("--memory={}", self.memory))
            // It needs nothing of the environment, which has secrets.
            .env_clear()
            // The allocator takes address space in small steps, because the limit counts it.
            .env("MIMALLOC_ARENA_RESERVE", "32768")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Seconds of CPU time, on all cores together.
    fn seconds(self) -> u64 {
        self.time.as_secs().saturating_mul(2)
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
            (Some(0), _) if code.len() as u64 == MOST_CODE => {
                Err(CompileFailure::Ended("its code is too large".to_owned()))
            }
            (Some(0), _) => Ok(code),
            (Some(REFUSED), _) => Err(CompileFailure::Component(told.to_owned())),
            (_, Some(XCPU)) => Err(CompileFailure::Ended(format!(
                "it takes more than {} s of CPU time to compile",
                self.seconds()
            ))),
            // An allocation that fails aborts. The kernel kills when the machine has no memory
            // left.
            (_, Some(ABRT | KILL | SEGV)) => Err(CompileFailure::Ended(format!(
                "it takes more than {} MiB of memory to compile",
                self.memory
            ))),
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
    let until = Instant::now() + time;
    let cancelled = CANCELLED.with_borrow(Clone::clone).unwrap_or_default();
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        // It fails if the process has ended, which its status tells.
        scope.spawn(move || input.write_all(wasm));
        let told = scope.spawn(move || {
            let mut told = Vec::new();
            let _ = errors.take(MOST_TOLD).read_to_end(&mut told);
            told
        });
        let code = scope.spawn(move || {
            let mut code = Vec::new();
            let read = (&mut output).take(MOST_CODE).read_to_end(&mut code);
            let _ = done.send(());
            read.map(|_| code)
        });
        let failure = loop {
            match is_done.recv_timeout(LOOK) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) if cancelled.load(Ordering::Relaxed) => {
                    break Some("nobody waits for it any more".to_owned());
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => {
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
        Ok((code, told.join().unwrap_or_default()))
    })
}

/// Compiles a component from standard input to standard output, within these seconds of CPU time
/// and MiB of memory. Returns the exit code of the process.
pub fn run(settings: &str, seconds: u64, memory: u64) -> u8 {
    let compiled =
        limit(seconds, memory).map_err(|error| format!("set limits: {error}")).and_then(|()| {
            let settings: Settings = settings.parse()?;
            let mut wasm = Vec::new();
            io::stdin().lock().read_to_end(&mut wasm).map_err(|error| error.to_string())?;
            Ok((settings, wasm))
        });
    let (settings, wasm) = match compiled {
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
fn limit(seconds: u64, memory: u64) -> io::Result<()> {
    // Requests come first.
    let _ = rustix::process::nice(NICE);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let bytes = memory.saturating_mul(1 << 20);
    for (resource, most) in [(Resource::Data, bytes), (Resource::Cpu, seconds), (Resource::Core, 0)]
    {
        let Rlimit { maximum, .. } = getrlimit(resource);
        let most = maximum.map_or(most, |maximum| maximum.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

static KNOWS_COMMAND: OnceLock<()> = OnceLock::new();

thread_local! {
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// This binary, also after another one has taken its path.
const BINARY: &str = "/proc/self/exe";

/// The exit code for bytes that are no component.
const REFUSED: i32 = 65;

const XCPU: i32 = Signal::XCPU.as_raw();
const ABRT: i32 = Signal::ABORT.as_raw();
const KILL: i32 = Signal::KILL.as_raw();
const SEGV: i32 = Signal::SEGV.as_raw();

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
