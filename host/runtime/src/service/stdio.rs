//! A guest's standard output and error as lines of the plugin's log, within its budget.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::environment::Level;
use crate::voice::Voice;

/// The voice of an instance, shared by its store, its streams and the call that it serves. All of
/// them are on one thread.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Voice>>);

impl Shared {
    pub(super) fn new(voice: Voice) -> Self {
        Self(Arc::new(Mutex::new(voice)))
    }

    pub(super) fn with<T>(&self, call: impl FnOnce(&mut Voice) -> T) -> T {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream that logs its lines. Cloning shares the unfinished line.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<Line>>);

struct Line {
    voice: Shared,
    level: Level,
    unfinished: Vec<u8>,
}

impl Lines {
    pub(super) fn new(voice: &Shared, level: Level) -> Self {
        let voice = voice.clone();
        Self(Arc::new(Mutex::new(Line { voice, level, unfinished: Vec::new() })))
    }

    fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }
}

impl Line {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LENGTH.saturating_sub(self.unfinished.len());
            self.unfinished.extend_from_slice(text.get(..room).unwrap_or(text));
            if ends {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.unfinished);
        if !line.is_empty() {
            self.voice.with(|voice| voice.say(self.level, &String::from_utf8_lossy(&line)));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Lines::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

/// Bytes of a line; the log cuts at the same length.
const LENGTH: usize = 4096;

/// Bytes that a guest may write at once.
const PERMIT: usize = 64 << 10;
