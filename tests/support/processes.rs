//! Processes by their ids. A process that takes over is no child of the test.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Returns the living processes that a process has started, and those that they have started.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children"));
    let lists = threads.filter_map(Result::ok).filter_map(|thread| of_thread(thread).ok());
    let mut found = Vec::new();
    for child in lists.flat_map(|list| numbers(&list)) {
        found.push(child);
        found.extend(descendants(child));
    }
    found
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether a process has ended. Its parent need not have noticed.
pub(crate) fn has_ended(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['Z', 'X']));
    state.unwrap_or(true)
}

/// Waits until a process has ended.
pub(crate) async fn ended(pid: u32) {
    super::until(format!("the end of process {pid}"), async || has_ended(pid).then_some(())).await;
}

/// Ends a process at once.
pub(crate) fn kill(pid: u32) {
    // It may have ended by itself.
    let _ = kill_process(id(pid), Signal::KILL);
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    kill_process(id(pid), Signal::TERM).unwrap();
}

fn id(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}
