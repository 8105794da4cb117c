//! Lines for standard output, standard error and files. Their writers never block.
//!
//! One thread per stream writes, and all other threads append to a bounded buffer. If the reader of
//! the stream is too slow, the buffer fills, and further lines are dropped and counted. Weir does
//! not use the writer of tracing-appender: it copies and allocates each line, and if the stream is
//! stuck, its guard blocks the end of the process.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

/// Accepts lines. Clones share the buffer.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

/// Writes the remaining lines when dropped, for at most [`FLUSH_TIME`]. Later lines are dropped.
#[derive(Debug)]
pub(crate) struct WriterGuard {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
    written: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    /// The thread waits for the first line and must be notified of it.
    is_idle: bool,
    /// The thread is inside the stream's `write`.
    is_writing: bool,
    is_closed: bool,
}

impl Writer {
    /// Starts the thread that writes to `stream`. A line may wait for `linger`, to share a system
    /// call with others.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn start(
        name: &str,
        stream: impl Write + Send + 'static,
        linger: Duration,
        dropped: IntCounter,
    ) -> io::Result<(Self, WriterGuard)> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            changed: Condvar::new(),
            written: Condvar::new(),
            dropped,
        });
        let writing = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writing.write_until_closed(stream, linger))?;
        Ok((Self { shared: Arc::clone(&shared) }, WriterGuard { shared }))
    }

    /// Appends `line`, which ends with a line feed. If the buffer is full, the line is dropped and
    /// counted.
    pub(crate) fn line(&self, line: &[u8]) {
        let mut buffer = self.shared.lock();
        if buffer.is_closed || buffer.lines.len().saturating_add(line.len()) > CAPACITY {
            drop(buffer);
            self.shared.dropped.inc();
            return;
        }
        let was_eager = buffer.lines.len() >= EAGER;
        buffer.lines.extend_from_slice(line);
        // Notifying the thread is a system call, so it happens once per batch.
        let is_awaited = buffer.is_idle || (!was_eager && buffer.lines.len() >= EAGER);
        buffer.is_idle = false;
        drop(buffer);
        if is_awaited {
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    fn write_until_closed(&self, mut stream: impl Write, linger: Duration) {
        let mut lines = Vec::new();
        while self.take(&mut lines, linger) {
            // The stream may be closed or broken. Only the metric can report that.
            self.dropped.inc_by(write(&mut stream, &lines));
            lines.clear();
            self.lock().is_writing = false;
            self.written.notify_all();
        }
    }

    /// Swaps the filled buffer for the empty `lines`. Returns false if the writer is closed and the
    /// buffer is empty.
    fn take(&self, lines: &mut Vec<u8>, linger: Duration) -> bool {
        let mut buffer = self.lock();
        while buffer.lines.is_empty() {
            if buffer.is_closed {
                return false;
            }
            buffer.is_idle = true;
            buffer = self.changed.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        if !linger.is_zero() {
            buffer = self
                .changed
                .wait_timeout_while(buffer, linger, |b| b.lines.len() < EAGER && !b.is_closed)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        buffer.is_idle = false;
        buffer.is_writing = true;
        std::mem::swap(&mut buffer.lines, lines);
        true
    }

    /// Locks the buffer. A thread that panicked left it consistent, because appending and swapping
    /// are single steps.
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        let end = Instant::now() + FLUSH_TIME;
        let mut buffer = self.shared.lock();
        buffer.is_closed = true;
        self.shared.changed.notify_one();
        while !buffer.lines.is_empty() || buffer.is_writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            buffer = self
                .shared
                .written
                .wait_timeout(buffer, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Writes `lines`, and returns the number of those that are lost.
fn write(stream: &mut impl Write, lines: &[u8]) -> u64 {
    let count = |lines: &[u8]| lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    let mut rest = lines;
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(written @ 1..) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return count(rest),
        }
    }
    if stream.flush().is_ok() { 0 } else { count(lines) }
}

/// Maximum number of waiting bytes per stream: some 3,000 records, tens of milliseconds of a busy
/// machine. The thread holds as many again while it writes.
const CAPACITY: usize = 1024 * 1024;

/// Number of bytes that the thread writes without further waiting: half the size of a Linux pipe.
const EAGER: usize = 32 * 1024;

/// Time for which the end of the process waits for a stream.
const FLUSH_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A stream that passes on the bytes written to it, and blocks until they are taken.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn dropped() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    #[test]
    fn lines_arrive_in_order_and_the_guard_waits_for_them() {
        let (sender, receiver) = mpsc::sync_channel(1024);
        let (writer, guard) =
            Writer::start("test", Pipe(sender), Duration::from_secs(3600), dropped()).unwrap();
        for n in 0..100 {
            writer.line(format!("{n}\n").as_bytes());
        }
        drop(guard);
        let text = String::from_utf8(receiver.try_iter().flatten().collect()).unwrap();
        assert_eq!(text, (0..100).map(|n| format!("{n}\n")).collect::<String>());
    }

    #[test]
    fn a_stuck_stream_costs_lines_and_not_time() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let dropped = dropped();
        let (writer, guard) =
            Writer::start("test", Pipe(sender), Duration::ZERO, dropped.clone()).unwrap();
        let line = vec![b'x'; 64 * 1024];
        for _ in 0..100 {
            writer.line(&line);
        }
        // At most one buffer is inside `write` and one waits.
        assert!(dropped.get() >= 100 - 2 * (CAPACITY / line.len()) as u64);
        let start = Instant::now();
        drop(guard);
        assert!(start.elapsed() < FLUSH_TIME * 5);
        drop(receiver);
    }

    /// A stream that takes some bytes, and then fails.
    struct Bounded(usize);

    impl Write for Bounded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken > 0 { Ok(taken) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_the_lines_that_are_not_whole_in_the_stream_are_lost() {
        for (room, lost) in [(0, 3), (3, 3), (4, 2), (5, 2), (13, 1), (14, 0), (99, 0)] {
            assert_eq!(write(&mut Bounded(room), b"one\ntwo\nthree\n"), lost, "{room}");
        }
    }

    #[test]
    fn lines_after_the_end_and_on_a_broken_stream_are_counted() {
        let (sender, receiver) = mpsc::sync_channel(0);
        drop(receiver);
        let dropped = dropped();
        let (writer, guard) =
            Writer::start("test", Pipe(sender), Duration::ZERO, dropped.clone()).unwrap();
        writer.line(b"one\ntwo\n");
        drop(guard);
        writer.line(b"three\n");
        assert_eq!(dropped.get(), 3);
    }
}
