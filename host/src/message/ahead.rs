//! The bytes that a client may send ahead, and the requests of one HTTP/2 or HTTP/3 connection that
//! hold them.
//!
//! All streams together share one bound. If origins do not take the bodies of some requests, these
//! bytes stay unread. In the end the client can send on no stream at all. The client is held up,
//! not slow.

use std::cell::Cell;
use std::rc::Rc;

use crate::config::Quic;

/// The state that the requests of one connection share.
#[derive(Debug)]
pub(crate) struct Ahead {
    unread: Cell<usize>,
    /// Number of unread requests that can hold all bytes that the client may send.
    most: usize,
}

/// The body of one request, as the other requests of the connection see it.
#[derive(Debug)]
pub(crate) struct Reading {
    ahead: Rc<Ahead>,
    is_unread: bool,
}

impl Ahead {
    pub(crate) fn new(quic: &Quic) -> Rc<Self> {
        let most = quic.connection_window.div_ceil(quic.stream_window.max(1));
        Rc::new(Self { unread: Cell::new(0), most: usize::try_from(most).unwrap_or(usize::MAX) })
    }

    /// Adds a body that has not been read yet.
    pub(crate) fn begin(self: &Rc<Self>) -> Reading {
        let mut reading = Reading { ahead: Rc::clone(self), is_unread: false };
        reading.note(true);
        reading
    }
}

impl Reading {
    /// Notes whether the body may hold more bytes than its reader has taken.
    pub(crate) fn note(&mut self, is_unread: bool) {
        if is_unread != self.is_unread {
            let others = self.ahead.unread.get() - usize::from(self.is_unread);
            self.ahead.unread.set(others + usize::from(is_unread));
            self.is_unread = is_unread;
        }
    }

    /// Returns whether the other bodies may hold all bytes that the client may send.
    pub(crate) fn is_held_up(&self) -> bool {
        self.ahead.unread.get() - usize::from(self.is_unread) >= self.ahead.most
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.note(false);
    }
}
