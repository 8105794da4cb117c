//! Swapping a component in. It is compiled on its own thread, one component at a time, and
//! installed only if the caller still waits.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_runtime::with_causes;

use super::generation::Origin;
use super::outside;
use super::slot::{LoadError, Outdated, Slot};
use super::trial::Terms;

/// Allows one component to be compiled at a time, because the compiler needs many times the
/// component's size in memory. Clones share the turn.
#[derive(Debug, Clone)]
pub struct Compiler {
    turn: Arc<Semaphore>,
    wait: Duration,
    time: Duration,
}

/// Wakes a thread that waits for a turn.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The permission to compile.
///
/// A file is read only under this permission, so that one component is in memory at a time. The
/// upload of a client is read before, because the client may stall.
#[derive(Debug)]
pub struct CompileTurn {
    turn: OwnedSemaphorePermit,
    time: Duration,
}

/// The reason why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Other components occupied the compiler for too long.
    #[error("other components are being compiled; waited {0:?}")]
    Busy(Duration),
    /// The compilation takes too long.
    #[error("the component takes longer than {0:?} to compile")]
    TooLong(Duration),
    /// No thread could be started.
    #[error("start a compiler thread")]
    Thread(#[source] io::Error),
    /// The compiler panicked.
    #[error("the compiler failed; its message is on standard error")]
    Broken,
}

/// The reason why a component was not swapped in. Nothing has changed in that case.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The component could not be read.
    #[error("read the component")]
    Read(#[source] io::Error),
    /// The component cannot serve.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The component was not compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The configuration was reloaded meanwhile.
    #[error(transparent)]
    Outdated(#[from] Outdated),
}

impl Default for Compiler {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), wait: WAIT, time: outside::time() + TRY }
    }
}

impl Compiler {
    /// Waits for a turn, within a bound.
    ///
    /// # Errors
    ///
    /// [`CompileError::Busy`] if no turn comes in time.
    pub async fn turn(&self) -> Result<CompileTurn, CompileError> {
        let turn = timeout(self.wait, Arc::clone(&self.turn).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(CompileError::Busy(self.wait))?;
        Ok(CompileTurn { turn, time: self.time })
    }

    /// Waits for a turn like [`Compiler::turn`], on a thread of its own. The caller compiles, and
    /// drops the turn afterwards.
    ///
    /// # Errors
    ///
    /// [`CompileError::Busy`] if no turn comes in time.
    pub(super) fn turn_blocking(&self) -> Result<CompileTurn, CompileError> {
        let until = Instant::now() + self.wait;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        // A runtime's budget does not apply: nothing renews it while the thread waits here.
        let turn = tokio::task::unconstrained(Arc::clone(&self.turn).acquire_owned());
        let mut turn = pin!(turn);
        loop {
            if let Poll::Ready(turn) = turn.as_mut().poll(&mut Context::from_waker(&waker)) {
                let turn = turn.map_err(|_| CompileError::Busy(self.wait))?;
                return Ok(CompileTurn { turn, time: self.time });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CompileError::Busy(self.wait));
            }
            thread::park_timeout(left);
        }
    }
}

impl CompileTurn {
    /// Runs `work` on a thread. Gives up after the time for compiling and trying, or when the
    /// future is dropped.
    ///
    /// The thread keeps the turn until it ends, and its result is discarded. The compiler's process
    /// is ended at once, so the next turn comes soon.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CompileError> {
        let (done, result) = tokio::sync::oneshot::channel();
        let cancelled = CancellationToken::new();
        // Ends the compiler's process when nobody waits for its result.
        let _guard = cancelled.clone().drop_guard();
        let thread = thread::Builder::new().name("plugin-compiler".to_owned());
        let Self { turn, time } = self;
        let run = move || {
            outside::end_when(cancelled);
            // The send fails if the caller has gone. The result is then dropped here, before the
            // turn ends.
            drop(done.send(work()));
            drop(turn);
        };
        thread.spawn(run).map_err(CompileError::Thread)?;
        let result = timeout(time, result).await.map_err(|_| CompileError::TooLong(time))?;
        result.map_err(|_| CompileError::Broken)
    }
}

/// Compiles the component that `read` returns and puts it on trial. Returns the number of its
/// generation.
///
/// `origin` is the origin of the component. Dropping the future leaves everything as it is.
///
/// # Errors
///
/// [`SwapError`]. Nothing has changed in that case.
pub async fn swap<W: AsRef<[u8]>>(
    slot: &Arc<Slot>,
    turn: CompileTurn,
    read: impl FnOnce() -> io::Result<W> + Send + 'static,
    origin: Origin,
    terms: Terms,
) -> Result<u64, SwapError> {
    let (preparing, is_sent) = (Arc::clone(slot), origin == Origin::Sent);
    let prepare = move || -> Result<_, SwapError> {
        let wasm = read().map_err(SwapError::Read)?;
        let prepared = preparing.prepare(wasm.as_ref(), terms.mode)?;
        Ok(if is_sent { prepared.sent(wasm.as_ref().into()) } else { prepared })
    };
    let prepared = turn.run(prepare).await.map_err(SwapError::from).flatten();
    match prepared {
        Ok(prepared) => Ok(slot.install(prepared, origin, terms)?.number),
        Err(error) => {
            slot.refuse(with_causes(&error));
            Err(error)
        }
    }
}

/// Time limit for trying a component that has been compiled.
const TRY: Duration = Duration::from_secs(60);

/// Time limit for waiting for a turn. Another component may be in the compiler.
const WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_comes_too_late_is_thrown_away_and_nobody_compiles_beside_it() {
        let short = Duration::from_millis(20);
        let compiler = Compiler { wait: short, time: short, ..Compiler::default() };
        let (release, released) = mpsc::channel::<()>();
        let made = Arc::new(());
        let kept = Arc::downgrade(&made);
        let slow = move || {
            let _ = released.recv();
            made
        };
        let late = compiler.turn().await.unwrap().run(slow).await;
        assert!(matches!(late, Err(CompileError::TooLong(_))), "{late:?}");
        assert!(matches!(compiler.turn().await, Err(CompileError::Busy(_))));
        drop(release);
        let patient = Compiler { wait: WAIT, ..compiler };
        patient.turn().await.unwrap();
        assert!(kept.upgrade().is_none(), "what was made too late is gone");
    }

    #[test]
    fn a_thread_waits_for_its_turn_within_a_bound() {
        let compiler = Compiler::default();
        let turn = compiler.turn_blocking().unwrap();
        let short = Compiler { wait: Duration::from_millis(20), ..compiler.clone() };
        assert!(matches!(short.turn_blocking(), Err(CompileError::Busy(_))));
        let (asks, asked) = mpsc::channel();
        let waiting = thread::spawn(move || {
            asks.send(()).unwrap();
            compiler.turn_blocking().map(drop)
        });
        asked.recv().unwrap();
        drop(turn);
        waiting.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_waits_no_longer_gets_nothing() {
        let compiler = Compiler::default();
        let (release, released) = mpsc::channel::<()>();
        let (made, kept) = mpsc::channel::<()>();
        let work = move || {
            let _ = released.recv();
            made
        };
        let turn = compiler.turn().await.unwrap();
        let gone = timeout(Duration::from_millis(20), turn.run(work)).await;
        assert!(gone.is_err());
        drop(release);
        compiler.turn().await.unwrap();
        assert!(kept.try_recv().is_err_and(|error| error == mpsc::TryRecvError::Disconnected));
    }

    #[tokio::test]
    async fn a_compiler_that_panics_is_told_from_one_that_takes_long() {
        let compiler = Compiler::default();
        let turn = compiler.turn().await.unwrap();
        let broken = turn.run(|| -> () { panic!("on purpose") }).await;
        assert!(matches!(broken, Err(CompileError::Broken)), "{broken:?}");
        let turn = compiler.turn().await.unwrap();
        assert_eq!(turn.run(|| 7).await.unwrap(), 7);
    }
}
