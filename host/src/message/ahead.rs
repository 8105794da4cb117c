//! What the requests of one HTTP/2 or HTTP/3 connection hold of the bytes that its client may send
//! ahead.
//!
//! The client may send so many bytes on all streams together. When origins take nothing of some
//! requests, theirs stay unread, and in the end the client can send nothing on any stream: that is
//! no slow client.

use std::cell::Cell;
use std::rc::Rc;

use crate::config::Quic;

/// What one connection's requests share.
#[derive(Debug)]
pub(crate) struct Ahead {
    unread: Cell<usize>,
    /// So many requests that nobody reads can hold all that the client may send.
    most: usize,
}

/// One request's body, as its connection's others see it.
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

    /// Begins with a body that nobody has asked for.
    pub(crate) fn begin(self: &Rc<Self>) -> Reading {
        let mut reading = Reading { ahead: Rc::clone(self), is_unread: false };
        reading.note(true);
        reading
    }
}

impl Reading {
    /// Notes whether the body may have more than it was asked for.
    pub(crate) fn note(&mut self, is_unread: bool) {
        if is_unread != self.is_unread {
            let others = self.ahead.unread.get() - usize::from(self.is_unread);
            self.ahead.unread.set(others + usize::from(is_unread));
            self.is_unread = is_unread;
        }
    }

    /// Whether what the others hold may be all that the client may send.
    pub(crate) fn is_held_up(&self) -> bool {
        self.ahead.unread.get() - usize::from(self.is_unread) >= self.ahead.most
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.note(false);
    }
}
