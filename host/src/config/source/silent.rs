//! Replaces `inotify` on other systems. It hears nothing, and the watcher looks at intervals.

use std::path::Path;

/// Reports no event.
#[derive(Debug)]
pub(super) struct Inotify;

impl Inotify {
    /// Makes one that reports nothing.
    pub(super) fn new() -> Self {
        Self
    }

    /// Does nothing.
    pub(super) fn follow<'a>(&mut self, _: impl Iterator<Item = &'a Path>) {}

    /// Never completes.
    pub(super) async fn heard(&mut self) {
        std::future::pending().await
    }
}
