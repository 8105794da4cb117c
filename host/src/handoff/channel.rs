//! The protocol of two processes over a Unix stream: messages with descriptors.
//!
//! A message is a header, a body in JSON, and descriptors in batches. The header has a magic
//! number, the version of the protocol, the number of descriptors and the length of the body. Each
//! batch is one byte, the number of its descriptors, with the descriptors as ancillary data
//! (SCM_RIGHTS).
//!
//! A process trusts its peer, which is its parent or its child of the same user. Checks of all
//! counts and lengths still find versions that do not fit each other, before a socket gets lost.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net;
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::package::{Message, Package};

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// Maximum number of descriptors of a message: ten listeners with TCP and UDP for 200 workers.
pub const MAX_DESCRIPTORS: usize = 4096;

const MAGIC: [u8; 8] = *b"WEIR-UPG";
const HEADER: usize = 24;

/// Maximum length of a body. The configuration and the state of a large installation have a few
/// MiB.
const MAX_LENGTH: u64 = 64 << 20;

/// Descriptors of one batch. The kernel takes 253.
const BATCH: usize = 250;

/// Descriptors that one receive can return: all that the kernel sends at a time. The buffer is
/// therefore never too small, and surplus descriptors are seen.
const RECEIVED: usize = 253;

/// Bytes of a body that are read at a time. Memory grows with the bytes that came, not with the
/// length that the header states.
const PIECE: usize = 64 << 10;

/// A connection between an older and a newer process.
///
/// A channel is broken after any error, also after one of time. It belongs to the runtime that it
/// was made on. [`Channel::into_stream`] takes it to another one.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// Makes a channel of a connected socket. Must run on a runtime.
    ///
    /// # Errors
    /// The runtime does not accept the socket.
    pub fn new(stream: net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)? })
    }

    /// Returns the socket, for another runtime. No message may be under way.
    ///
    /// # Errors
    /// The runtime does not let the socket go.
    pub fn into_stream(self) -> io::Result<net::UnixStream> {
        self.stream.into_std()
    }

    /// Sends a message that has no descriptors, within a time.
    ///
    /// # Errors
    /// [`ChannelError`]. The message may have been sent in part.
    pub async fn send(&self, message: &Message, within: Duration) -> Result<(), ChannelError> {
        self.send_all(message, &[], within).await
    }

    /// Offers a package with its descriptors, within a time.
    ///
    /// # Errors
    /// [`ChannelError`]. The package may have been sent in part.
    pub async fn offer(
        &self,
        package: Package,
        descriptors: &[OwnedFd],
        within: Duration,
    ) -> Result<(), ChannelError> {
        let expected = package.descriptors();
        if descriptors.len() != expected || expected > MAX_DESCRIPTORS {
            return Err(ChannelError::Descriptors { expected, received: descriptors.len() });
        }
        self.send_all(&Message::Offer(Box::new(package)), descriptors, within).await
    }

    async fn send_all(
        &self,
        message: &Message,
        descriptors: &[OwnedFd],
        within: Duration,
    ) -> Result<(), ChannelError> {
        let body = serde_json::to_vec(message).map_err(ChannelError::Body)?;
        let length = body.len() as u64;
        if length > MAX_LENGTH {
            return Err(ChannelError::Length(length));
        }
        let count = u32::try_from(descriptors.len()).unwrap_or(u32::MAX);
        let numbers = [PROTOCOL.to_be_bytes(), count.to_be_bytes()];
        let header = [&MAGIC, numbers.as_flattened(), &length.to_be_bytes()].concat();
        let descriptors: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
        let send = async {
            self.write(&header).await?;
            self.write(&body).await?;
            for batch in descriptors.chunks(BATCH) {
                self.write_batch(batch).await?;
            }
            Ok(())
        };
        timeout(within, send).await.map_err(|_| ChannelError::Late)?.map_err(ChannelError::of)
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write_some(bytes, &[]).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    async fn write_batch(&self, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
        // A batch has at most 250 descriptors.
        self.write_some(&[batch.len() as u8], batch).await.map(|_| ())
    }

    async fn write_some(&self, bytes: &[u8], rights: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(rights)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Ok(sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
        };
        self.stream.async_io(Interest::WRITABLE, send).await
    }

    /// Receives an offer and its descriptors, within a time. The descriptors are closed in programs
    /// that this process starts.
    ///
    /// # Errors
    /// [`ChannelError`]. All descriptors that came are closed.
    pub async fn receive_offer(
        &self,
        within: Duration,
    ) -> Result<(Package, Vec<OwnedFd>), ChannelError> {
        let (message, descriptors) = self.receive_all(within).await?;
        let Message::Offer(package) = message else {
            return Err(unexpected(message, "offer"));
        };
        let (expected, received) = (package.descriptors(), descriptors.len());
        if expected == received {
            Ok((*package, descriptors))
        } else {
            Err(ChannelError::Descriptors { expected, received })
        }
    }

    /// Receives a message that has no descriptors, within a time.
    ///
    /// # Errors
    /// [`ChannelError`], also if the peer has failed or sends another message than `expected`, by
    /// [`Message::name`].
    pub async fn receive(
        &self,
        expected: &'static str,
        within: Duration,
    ) -> Result<Message, ChannelError> {
        let (message, descriptors) = self.receive_all(within).await?;
        if message.name() != expected {
            return Err(unexpected(message, expected));
        }
        if descriptors.is_empty() { Ok(message) } else { Err(ChannelError::Surplus) }
    }

    async fn receive_all(&self, within: Duration) -> Result<(Message, Vec<OwnedFd>), ChannelError> {
        timeout(within, self.read_message()).await.map_err(|_| ChannelError::Late)?
    }

    async fn read_message(&self) -> Result<(Message, Vec<OwnedFd>), ChannelError> {
        let mut header = [0; HEADER];
        self.read(&mut header, true).await?;
        let (count, length) = parse(&header)?;
        let mut body = Vec::new();
        while body.len() < length {
            let start = body.len();
            body.resize(length.min(start + PIECE), 0);
            self.read(body.get_mut(start..).unwrap_or_default(), false).await?;
        }
        // The descriptors come before the check of the body: a body that is damaged must not leave
        // them in the socket's buffer.
        let mut descriptors = Vec::new();
        while descriptors.len() < count {
            self.read_batch(BATCH.min(count - descriptors.len()), &mut descriptors).await?;
        }
        let message = serde_json::from_slice(&body).map_err(ChannelError::Body)?;
        Ok((message, descriptors))
    }

    /// Fills `buffer`. Descriptors are an error here.
    async fn read(&self, mut buffer: &mut [u8], is_start: bool) -> Result<(), ChannelError> {
        let mut is_start = is_start;
        while !buffer.is_empty() {
            let mut rights = Vec::new();
            let count = self.read_some(buffer, &mut rights).await?;
            if !rights.is_empty() {
                return Err(ChannelError::Surplus);
            }
            if count == 0 {
                return Err(if is_start { ChannelError::Ended } else { ChannelError::Truncated });
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
            is_start = false;
        }
        Ok(())
    }

    async fn read_batch(
        &self,
        expected: usize,
        descriptors: &mut Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let (mut stated, before) = ([0], descriptors.len());
        if self.read_some(&mut stated, descriptors).await? == 0 {
            return Err(ChannelError::Truncated);
        }
        let received = descriptors.len() - before;
        if received == expected && usize::from(stated[0]) == expected {
            Ok(())
        } else {
            Err(ChannelError::Descriptors { expected, received })
        }
    }

    async fn read_some(
        &self,
        buffer: &mut [u8],
        rights: &mut Vec<OwnedFd>,
    ) -> Result<usize, ChannelError> {
        let receive = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(RECEIVED))];
            // Its end closes all descriptors that were not taken out.
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(buffer)];
            let received =
                recvmsg(&self.stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    rights.extend(descriptors);
                }
            }
            // The process has reached its limit of descriptors.
            let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
            if is_cut { Err(io::Error::other(CUT)) } else { Ok(received.bytes) }
        };
        self.stream.async_io(Interest::READABLE, receive).await.map_err(ChannelError::of)
    }
}

const CUT: &str = "descriptors were lost; the limit of open files is too low";

/// Reads a header, and returns the number of descriptors and the length of the body.
fn parse(header: &[u8; HEADER]) -> Result<(usize, usize), ChannelError> {
    let (magic, rest) = header.split_at(MAGIC.len());
    let (numbers, length) = rest.split_at(8);
    let mut numbers = numbers.as_chunks().0.iter().map(|number| u32::from_be_bytes(*number));
    let (version, count) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let length = length.first_chunk().map_or(u64::MAX, |length| u64::from_be_bytes(*length));
    if magic != MAGIC {
        return Err(ChannelError::Magic);
    }
    if version != PROTOCOL {
        return Err(ChannelError::Version { theirs: version });
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > MAX_DESCRIPTORS {
        return Err(ChannelError::Descriptors { expected: MAX_DESCRIPTORS, received: count });
    }
    let limited = usize::try_from(length).ok().filter(|_| length <= MAX_LENGTH);
    limited.map(|length| (count, length)).ok_or(ChannelError::Length(length))
}

fn unexpected(message: Message, expected: &'static str) -> ChannelError {
    match message {
        Message::Failed { reason } => ChannelError::Refused(reason),
        message => ChannelError::Unexpected { received: message.name(), expected },
    }
}

/// The reason why two processes do not understand each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The socket failed.
    #[error("the connection to the other process failed")]
    Io(#[source] io::Error),
    /// The peer has closed its end between two messages.
    #[error("the other process has ended")]
    Ended,
    /// The peer has closed its end within a message.
    #[error("the other process has ended within a message")]
    Truncated,
    /// The peer did not answer in time.
    #[error("the other process did not answer in time")]
    Late,
    /// The bytes are no message.
    #[error("the other process sends no message of an upgrade")]
    Magic,
    /// The versions of the protocol differ.
    #[error(
        "the other process has version {theirs} of the upgrade protocol, and this one {PROTOCOL}; restart the service \
         instead of upgrading it"
    )]
    Version {
        /// The version of the peer.
        theirs: u32,
    },
    /// The body is too long.
    #[error("a message of {0} bytes is too long")]
    Length(u64),
    /// The body has another form than this version knows.
    #[error("a message is damaged")]
    Body(#[source] serde_json::Error),
    /// The number of descriptors differs from the stated one.
    #[error("{received} descriptors came instead of {expected}")]
    Descriptors {
        /// The number that the message states, or the maximum.
        expected: usize,
        /// The number that came.
        received: usize,
    },
    /// Descriptors came where none belong.
    #[error("descriptors came with a message that has none")]
    Surplus,
    /// Another message came.
    #[error("the message is {received} instead of {expected}")]
    Unexpected {
        /// The kind that came.
        received: &'static str,
        /// The kind that the order of messages requires.
        expected: &'static str,
    },
    /// The newer process cannot serve.
    #[error("the new process cannot serve: {0}")]
    Refused(String),
}

impl ChannelError {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Ended,
            _ => Self::Io(error),
        }
    }
}
