//! Log files: lines appended to a file that others may move, and that moves itself when it is large
//! or old.
//!
//! A [`FileSink`] is the stream of a [`Writer`](super::writer::Writer), so only that thread waits
//! for the disk. Two processes may have one file open, as during an upgrade: the file is opened for
//! appending, it is rotated by renaming only, and a process follows when the file has moved.

mod open;
mod pace;
mod rotated;

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::config::{LogFile, Rotation};
use open::{Open, first_line};
use pace::{Complaint, Pace};

/// A file to which lines are appended.
pub(crate) struct FileSink<W = System> {
    path: PathBuf,
    rotate: Rotation,
    reopen: Reopen,
    /// The requests to reopen that were met.
    reopened: u64,
    /// `None` before the first line and after a failure.
    open: Option<Open>,
    /// The bytes in rotated files.
    kept: u64,
    looked: Pace,
    rotation_failed: Pace,
    cannot_write: Complaint,
    cannot_rotate: Complaint,
    world: W,
}

/// The request to all files to open their paths again. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reopen(Arc<AtomicU64>);

/// The clock, the disk and standard error, which tests replace.
pub(crate) trait World: Send {
    fn now(&mut self) -> SystemTime;
    fn append(&mut self, file: &File, bytes: &[u8]) -> io::Result<usize>;
    fn tell(&mut self, text: &str);
}

/// The world outside of tests.
pub(crate) struct System;

impl Reopen {
    /// Has each file opened again before its next line.
    pub(crate) fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn asked(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl World for System {
    fn now(&mut self) -> SystemTime {
        SystemTime::now()
    }

    fn append(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn tell(&mut self, text: &str) {
        // If standard error is closed, there is no other place to report that.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl FileSink {
    /// Makes a sink that opens its file with the first line.
    pub(crate) fn new(config: &LogFile, reopen: &Reopen) -> Self {
        Self::within(System, config, reopen)
    }
}

impl<W: World> FileSink<W> {
    fn within(world: W, config: &LogFile, reopen: &Reopen) -> Self {
        Self {
            path: config.path.clone(),
            rotate: config.rotate.clone(),
            reopen: reopen.clone(),
            reopened: reopen.asked(),
            open: None,
            kept: 0,
            looked: Pace::default(),
            rotation_failed: Pace::default(),
            cannot_write: Complaint::default(),
            cannot_rotate: Complaint::default(),
            world,
        }
    }

    /// Opens the file now.
    ///
    /// # Errors
    ///
    /// The file can be neither opened nor made.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        let now = self.world.now();
        self.open = Some(self.current(now)?);
        Ok(())
    }

    /// Appends the first lines, and returns their bytes. A failure closes the file: opening it
    /// shows the state in which the failure left it.
    fn append(&mut self, lines: &[u8], now: SystemTime) -> io::Result<usize> {
        let mut open = self.current(now)?;
        if self.is_due(&open, lines, now) {
            open = self.rotate(open, now)?;
        }
        let fitting = open.fitting(lines, self.rotate.size);
        self.make_room(&open, fitting.len() as u64);
        match open.append(fitting, now, &mut self.world) {
            (whole, None) => {
                self.open = Some(open);
                Ok(whole)
            }
            (0, Some(error)) => Err(error),
            (whole, Some(_)) => Ok(whole),
        }
    }

    /// Returns the file at the path: the open one, unless it has moved or a reopening is asked for.
    fn current(&mut self, now: SystemTime) -> io::Result<Open> {
        let asked = self.reopen.asked();
        let is_asked = std::mem::replace(&mut self.reopened, asked) != asked;
        let looks = self.looked.has_passed(now, LOOK_EVERY);
        if looks {
            self.looked.mark(now);
        }
        if let Some(mut open) = self.open.take().filter(|_| !is_asked)
            && (!looks || open.is_at(&self.path))
        {
            return Ok(open);
        }
        self.open_anew(now)
    }

    fn open_anew(&mut self, now: SystemTime) -> io::Result<Open> {
        let open = Open::at(&self.path, now)?;
        self.kept = rotated::total(&open.path);
        Ok(open)
    }

    fn is_due(&self, open: &Open, lines: &[u8], now: SystemTime) -> bool {
        let len = open.len.saturating_add(first_line(lines).len() as u64);
        let is_old = || self.rotate.age.is_some_and(|age| open.age(now) >= age);
        open.len > 0
            && (len > self.rotate.size || is_old())
            && self.rotation_failed.has_passed(now, LOOK_EVERY)
    }

    /// Renames the file and returns a new one. Returns the same file if it cannot be renamed: a
    /// large file is better than no lines.
    fn rotate(&mut self, mut open: Open, now: SystemTime) -> io::Result<Open> {
        let path = open.path.clone();
        // Another process may have renamed the file already.
        if open.is_at(&path) {
            if let Err(error) = rotated::set_aside(&path, now) {
                self.rotation_failed.mark(now);
                if self.cannot_rotate.begins(now) {
                    self.tell(&format!("cannot rotate {path:?}: {error}; the file grows on"));
                }
                return Ok(open);
            }
            self.cannot_rotate.ends();
        }
        self.open_anew(now)
    }

    fn make_room(&mut self, open: &Open, bytes: u64) {
        let used = open.len.saturating_add(bytes);
        if self.kept > 0 && used.saturating_add(self.kept) > self.rotate.keep {
            let room = self.rotate.keep.saturating_sub(used);
            let left = rotated::prune(&open.path, room);
            // Files that cannot be deleted are not tried again with each line.
            self.kept = if left > room { 0 } else { left };
        }
    }

    fn tell(&mut self, text: &str) {
        self.world.tell(&format!("weir: {text}\n"));
    }
}

impl<W: World> Write for FileSink<W> {
    /// Writes whole lines only, and counts a line as written only if it is whole.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if lines.is_empty() {
            return Ok(0);
        }
        let now = self.world.now();
        let result = self.append(lines, now);
        if self.open.is_some() {
            self.cannot_write.ends();
        }
        if let Err(error) = &result
            && self.cannot_write.begins(now)
        {
            let path = self.path.clone();
            self.tell(&format!("cannot write to {path:?}: {error}; lines are dropped meanwhile"));
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time between two looks at the path, and between two attempts to rotate a file. A look is one
/// system call.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
