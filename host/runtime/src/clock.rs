//! The clock that bounds guest code. It advances the engine's epoch while calls run, and sleeps
//! otherwise.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::EngineWeak;

/// A thread of the engine, joined on drop.
pub(crate) struct Clock {
    alarm: Option<Sender<()>>,
    is_asleep: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    pub(crate) fn start(engine: EngineWeak) -> io::Result<Clock> {
        let (alarm, alarms) = mpsc::channel::<()>();
        let is_asleep = Arc::new(AtomicBool::new(false));
        let asleep = Arc::clone(&is_asleep);
        let thread = thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || tick(&engine, &alarms, &asleep))?;
        Ok(Clock { alarm: Some(alarm), is_asleep, thread: Some(thread) })
    }

    /// Marks this thread as running guest code until the result is dropped, and wakes the clock.
    #[inline]
    pub(crate) fn run(&self) -> Running {
        let running = Running::enter();
        if self.is_asleep.load(Ordering::SeqCst)
            && let Some(alarm) = &self.alarm
        {
            // The send fails only if the thread has ended, and the thread ends with the engine.
            let _ = alarm.send(());
        }
        running
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        drop(self.alarm.take());
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and a drop has no caller to report an error to.
            let _ = thread.join();
        }
    }
}

/// A call of guest code on this thread.
pub(crate) struct Running(());

impl Running {
    #[inline]
    fn enter() -> Running {
        // This store must come before the caller checks whether the clock sleeps. The clock does
        // the reverse: it first says that it sleeps, then looks for calls.
        IS_RUNNING.with(|is_running| is_running.store(true, Ordering::SeqCst));
        Running(())
    }
}

impl Drop for Running {
    #[inline]
    fn drop(&mut self) {
        IS_RUNNING.with(|is_running| is_running.store(false, Ordering::Release));
    }
}

thread_local! {
    /// Whether guest code runs on this thread; every clock reads it.
    static IS_RUNNING: Arc<AtomicBool> = register();
}

/// Every thread that has run guest code.
static THREADS: Mutex<Vec<Weak<AtomicBool>>> = Mutex::new(Vec::new());

fn register() -> Arc<AtomicBool> {
    let is_running = Arc::new(AtomicBool::new(false));
    THREADS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&is_running));
    is_running
}

fn is_any_running() -> bool {
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.retain(|thread| thread.strong_count() > 0);
    threads.iter().filter_map(Weak::upgrade).any(|is_running| is_running.load(Ordering::SeqCst))
}

fn tick(engine: &EngineWeak, alarms: &Receiver<()>, is_asleep: &AtomicBool) {
    let mut quiet = 0;
    loop {
        match alarms.recv_timeout(TICK) {
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        }
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        drop(engine);
        quiet = if is_any_running() { 0 } else { quiet + 1 };
        if quiet < QUIET {
            continue;
        }
        quiet = 0;
        is_asleep.store(true, Ordering::SeqCst);
        if !is_any_running() && alarms.recv().is_err() {
            return;
        }
        is_asleep.store(false, Ordering::SeqCst);
    }
}

/// The time between two looks at running calls. It is the precision of
/// [`Limits::time`](crate::Limits). A thread that wakes this often costs less than 1 % of a core.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a call until the clock sleeps. Waking it costs a call some microseconds.
const QUIET: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn until(what: &str, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            thread::yield_now();
        }
    }

    /// This is one test because it looks at all threads: no other test of this process may run
    /// guests meanwhile. nextest runs each test in a process of its own.
    #[test]
    fn the_clock_sleeps_while_nothing_runs_and_wakes_for_a_call() {
        let engine = wasmtime::Engine::default();
        let clock = Clock::start(engine.weak()).unwrap();
        let asleep = || clock.is_asleep.load(Ordering::SeqCst);
        until("the clock sleeps", asleep);
        for _ in 0..3 {
            let running = clock.run();
            until("the clock wakes", || !asleep());
            drop(running);
            until("the clock sleeps again", asleep);
        }
    }
}
