//! Metrics of the process itself, under the names that Prometheus' client libraries use. Each
//! scrape reads them from /proc.

use std::fs;
use std::time::SystemTime;

use prometheus::{Counter, IntGauge};

use crate::telemetry::metrics::Set;

/// Metrics of the process. Without /proc, all but the start time stay 0.
#[derive(Debug)]
pub(crate) struct Process {
    resident: IntGauge,
    cpu: Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
}

impl Process {
    /// Registers the metrics. The start time is the current time, because telemetry starts first.
    pub(crate) fn register(set: &mut Set) -> Self {
        let start = SystemTime::now();
        set.time("process_start_time_seconds", "When the process started, Unix time.", start);
        Self {
            resident: set.gauge("process_resident_memory_bytes", "Resident memory."),
            cpu: set.float_counter("process_cpu_seconds_total", "User and system CPU time."),
            open_fds: set.gauge("process_open_fds", "Open file descriptors."),
            max_fds: set.gauge("process_max_fds", "File descriptors allowed (soft limit)."),
        }
    }

    /// Updates the metrics. A metric that cannot be read keeps its value.
    pub(crate) fn read(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident_bytes(&status) {
            self.resident.set(bytes);
        }
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&stat) {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The descriptor that reads the directory does not count.
            let open = entries.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(limit) = max_fds(&limits) {
            self.max_fds.set(limit);
        }
    }
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Adds fields 14 and 15 of /proc/self/stat (proc_pid_stat(5)). The name in field 2 may contain
/// spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / USER_HZ)
}

fn max_fds(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ticks per second in /proc: 100 on x86-64 and AArch64, a part of Linux' interface to programs.
const USER_HZ: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmRSS:\tmany\n"), None);
    }

    #[test]
    fn a_process_name_cannot_shift_the_fields() {
        let stat = "7 (a) R (b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 99 1000 100";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn the_soft_limit_counts() {
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files    1024    4096    files\n";
        assert_eq!(max_fds(limits), Some(1024));
    }

    #[test]
    fn a_live_process_has_memory_and_descriptors() {
        let mut set = Set::default();
        let process = Process::register(&mut set);
        process.read();
        assert!(process.resident.get() > 100_000);
        assert!(process.open_fds.get() >= 3);
        assert!(process.max_fds.get() > 0);
    }
}
