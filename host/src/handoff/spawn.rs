//! The side of the older process: starts the newer one and waits for its connection.
//!
//! The newer process connects back. It inherits no descriptor, which would need unsafe code on both
//! sides. The socket has a random name in the abstract namespace of Linux, so no file stays behind.
//! Other processes can connect to an abstract name, so the kernel's word on the peer's process and
//! user decides (SO_PEERCRED).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::UnixListener;
use tokio::time::{sleep, timeout};

use super::SOCKET_VARIABLE;
use super::channel::Channel;

/// The interval at which the end of the new process is looked for. It matters only while the older
/// process waits, for seconds.
const LOOK: Duration = Duration::from_millis(50);

/// Variables that concern one process: systemd's sockets and the process that systemd watches. The
/// new process gets the sockets from this one, and is watched in its place.
const PERSONAL: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A new process that is to replace this one.
///
/// Dropping the value leaves the process alone: after a successful hand-over it outlives this one.
/// [`Successor::kill`] ends it.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    listener: UnixListener,
}

impl Successor {
    /// Starts `executable`, or the program on disk that this process was started from, with
    /// `arguments`. Output goes where that of this process goes. Must run on a runtime.
    ///
    /// # Errors
    /// [`SpawnError::Start`], with the path of the program.
    pub fn start(
        executable: Option<&Path>,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, SpawnError> {
        let program = match executable {
            Some(path) => path.to_owned(),
            None => present_program().map_err(SpawnError::Socket)?,
        };
        let name = format!("weir-upgrade-{:032x}", rand::random::<u128>());
        let listener = listen(&name).map_err(SpawnError::Socket)?;
        let mut command = Command::new(&program);
        command.args(arguments).env(SOCKET_VARIABLE, format!("{}:{name}", std::process::id()));
        for variable in PERSONAL {
            command.env_remove(variable);
        }
        let child = command.spawn().map_err(|source| SpawnError::Start { program, source })?;
        Ok(Self { child, listener })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has connected, for at most `within`. Cancel safe.
    ///
    /// # Errors
    /// [`SpawnError`]. The process has ended, is late, or the socket failed.
    pub async fn connect(&mut self, within: Duration) -> Result<Channel, SpawnError> {
        let connect = async {
            tokio::select! {
                biased;
                stream = accept(&self.listener, self.child.id()) => {
                    stream.and_then(Channel::new).map_err(SpawnError::Socket)
                }
                status = ended(&mut self.child) => Err(SpawnError::Ended(status)),
            }
        };
        timeout(within, connect).await.map_err(|_| SpawnError::Late)?
    }

    /// Completes when the process has ended, with its status. Reaps it. Cancel safe.
    ///
    /// The caller races this against each message, so that the log shows the status, and not only
    /// that the connection is closed. The messages of the process are in the same log.
    pub async fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child).await
    }

    /// Ends the process and reaps it. It has no work to save before it serves.
    pub fn kill(mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!(%error, pid = self.child.id(), "end the new process");
        }
    }
}

fn listen(name: &str) -> io::Result<UnixListener> {
    let address = net::SocketAddr::from_abstract_name(name)?;
    let listener = net::UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Accepts connections until one is of the process with id `child` and of the same user.
async fn accept(listener: &UnixListener, child: u32) -> io::Result<net::UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        let peer = stream.peer_cred()?;
        let is_child = peer.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(child);
        if is_child && peer.uid() == geteuid().as_raw() {
            return stream.into_std();
        }
        tracing::warn!(pid = peer.pid(), "a stranger connected to the upgrade socket");
    }
}

async fn ended(child: &mut Child) -> ExitStatus {
    loop {
        // The call fails only for a process that was reaped already, which this value never does
        // behind its own back.
        if let Ok(Some(status)) = child.try_wait() {
            return status;
        }
        sleep(LOOK).await;
    }
}

/// Returns the path of the program of this process, also if another file has taken its place.
fn present_program() -> io::Result<PathBuf> {
    std::env::current_exe().map(|path| on_disk(path.as_os_str()))
}

/// Removes the mark that Linux adds to the path of a program whose file was replaced.
fn on_disk(path: &OsStr) -> PathBuf {
    let bytes = path.as_bytes();
    let path = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(OsString::from_vec(path.to_vec()))
}

/// The reason why there is no new process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The socket for its connection is not available.
    #[error("prepare the start of a new process")]
    Socket(#[source] io::Error),
    /// The program cannot be started.
    #[error("start {program}", program = program.display())]
    Start {
        /// The path of the program.
        program: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The process ended before it connected.
    #[error("the new process has ended ({0}); its messages are in the log")]
    Ended(ExitStatus),
    /// The process did not connect in time.
    #[error("the new process did not connect in time; is the program a Weir that knows upgrades?")]
    Late,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_replaced_a_deleted_one_is_found() {
        assert_eq!(on_disk(OsStr::new("/usr/bin/weir (deleted)")), Path::new("/usr/bin/weir"));
        assert_eq!(on_disk(OsStr::new("/usr/bin/weir")), Path::new("/usr/bin/weir"));
    }
}
