//! The socket of a listener for operators: TCP, or Unix with its file.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::config::ControlAddress;

/// A connection of either kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A socket that is bound and listens, before a runtime has it.
#[derive(Debug)]
pub(crate) struct Bound {
    address: ControlAddress,
    socket: Socket,
    file: Option<Arc<SocketFile>>,
    /// Ends the acceptance of connections.
    stop: CancellationToken,
}

impl Bound {
    /// Lets `stop` end the acceptance of connections. Accepted ones go on.
    #[must_use]
    pub(crate) fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Binds an address. A Unix socket has the mode 0600. The file of a process that has died is
    /// replaced.
    ///
    /// # Errors
    /// The address cannot be bound. Another process listens there, or the file is no socket.
    pub(crate) fn new(address: &ControlAddress) -> io::Result<Self> {
        match address {
            ControlAddress::Tcp(address) => Self::tcp(std::net::TcpListener::bind(address)?),
            ControlAddress::Unix(path) => {
                clear(path)?;
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.bind(&SockAddr::unix(path)?)?;
                let file = SocketFile::new(path)?;
                // Nobody can connect before `listen`, so nobody connects with a wider mode.
                fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
                socket.listen(BACKLOG)?;
                let stop = CancellationToken::new();
                Ok(Self { address: address.clone(), socket, file: Some(Arc::new(file)), stop })
            }
        }
    }

    /// Takes a TCP socket that listens.
    ///
    /// # Errors
    /// The socket has no address.
    pub(crate) fn tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        let address = ControlAddress::Tcp(listener.local_addr()?);
        Ok(Self { address, socket: listener.into(), file: None, stop: CancellationToken::new() })
    }

    /// Takes a Unix socket that listens, and its file, from the process before this one. The file
    /// stays that process's until [`SocketFile::keep`].
    ///
    /// # Errors
    /// The file is gone.
    pub(crate) fn unix(
        listener: std::os::unix::net::UnixListener,
        path: &Path,
    ) -> io::Result<Self> {
        let file = SocketFile::new(path)?;
        file.give_away();
        let address = ControlAddress::Unix(path.to_owned());
        let stop = CancellationToken::new();
        Ok(Self { address, socket: listener.into(), file: Some(Arc::new(file)), stop })
    }

    /// Returns the address, with the port that was taken.
    pub(crate) fn address(&self) -> &ControlAddress {
        &self.address
    }

    /// Returns the file of the socket. Its owner may give it away.
    pub(crate) fn file(&self) -> Option<Arc<SocketFile>> {
        self.file.clone()
    }

    /// Hands the socket to the runtime.
    pub(super) fn listen(self) -> io::Result<Listener> {
        self.socket.set_nonblocking(true)?;
        match self.file {
            Some(file) => {
                let socket = UnixListener::from_std(self.socket.into())?;
                Ok(Listener::Unix { socket, _file: file })
            }
            None => Ok(Listener::Tcp(TcpListener::from_std(self.socket.into())?)),
        }
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The file of a Unix socket. The last owner removes it, unless another process has it by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    is_given_away: AtomicBool,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        Ok(Self { path: path.to_owned(), device, inode, is_given_away: AtomicBool::new(false) })
    }

    /// Leaves the file in place at the end: another process has the socket.
    pub(crate) fn give_away(&self) {
        self.is_given_away.store(true, Ordering::Release);
    }

    /// Removes the file at the end: no other process has the socket any more.
    pub(crate) fn keep(&self) {
        self.is_given_away.store(false, Ordering::Release);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode));
        if is_own && !self.is_given_away.load(Ordering::Acquire) {
            // A file that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a process that has died.
fn clear(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the file exists and is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

/// A socket that accepts.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix { socket: UnixListener, _file: Arc<SocketFile> },
}

impl Listener {
    /// Accepts a connection. All clients of a Unix socket count as one client of this machine.
    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Io>, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                notice_dead_peer(&stream);
                Ok((Box::new(stream), client.ip().to_canonical()))
            }
            Self::Unix { socket, .. } => {
                let (stream, _) = socket.accept().await?;
                Ok((Box::new(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

/// Has the system close a connection whose peer acknowledges nothing for a while. A stream of few
/// bytes fits into the buffers of the system for hours, and its writes never wait.
fn notice_dead_peer(stream: &TcpStream) {
    // Without the option the system gives up later.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(super::STREAM_TIME));
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Only the user of the process may connect.
const MODE: u32 = 0o600;

/// Connections that wait for their accept. Operators and programs have few.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn address(folder: &tempfile::TempDir) -> (PathBuf, ControlAddress) {
        let path = folder.path().join("admin.sock");
        (path.clone(), ControlAddress::Unix(path))
    }

    #[test]
    fn a_unix_socket_is_for_its_user_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (path, address) = address(&folder);
        let bound = Bound::new(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        let error = Bound::new(&address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "a live socket is not replaced");
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_a_dead_process_is_replaced_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, address) = address(&folder);
        // The standard library leaves the file, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = Bound::new(&address).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(bound);
        fs::write(&path, "precious").unwrap();
        let error = Bound::new(&address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_file_that_another_process_has_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, address) = address(&folder);
        let given = Bound::new(&address).unwrap();
        given.file().unwrap().give_away();
        drop(given);
        assert!(path.exists());
        let replaced = Bound::new(&address).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(replaced);
        assert!(path.exists(), "the file has another inode");
    }

    #[test]
    fn the_file_stays_if_a_process_ends_before_it_has_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(Bound::unix(listener.try_clone().unwrap(), &path).unwrap());
        assert!(path.exists());
        let bound = Bound::unix(listener, &path).unwrap();
        bound.file().unwrap().keep();
        drop(bound);
        assert!(!path.exists());
    }
}
