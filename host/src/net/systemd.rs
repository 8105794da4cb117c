//! systemd: reports of the state of the service (sd_notify), the watchdog, and sockets that systemd
//! has bound (socket activation).
//!
//! All of it is a protocol of environment variables and datagrams. Without the variables, as
//! outside of systemd, there is nothing to report to and nothing to inherit.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

/// Maximum number of sockets that are taken over. A unit has a socket for each address and kind, or
/// one for each worker with `ReusePort=`.
const MAX_SOCKETS: usize = 1024;

/// The way to report to systemd.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: UnixDatagram,
    address: UnixAddr,
}

/// A state of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State<'a> {
    /// The service serves. After [`State::Reloading`] it is also the end of the reload.
    Ready,
    /// A reload or an upgrade has begun. `Type=notify-reload` needs it before the next `Ready`.
    Reloading,
    /// The service drains and will end.
    Stopping,
    /// Another process is the service from now on. systemd accepts the id of a process in the
    /// service's control group, sent by the present main process.
    MainPid(u32),
    /// A line for `systemctl status`.
    Status(&'a str),
    /// The service is alive, for the watchdog.
    Watchdog,
}

impl Notifier {
    /// Returns the notifier of the environment, or `None` if nobody listens.
    ///
    /// # Errors
    /// The address in `NOTIFY_SOCKET` is unusable, or there are no more descriptors.
    pub(crate) fn from_env() -> io::Result<Option<Self>> {
        env::var_os("NOTIFY_SOCKET").map(|address| Self::new(&address)).transpose()
    }

    fn new(address: &OsStr) -> io::Result<Self> {
        // systemd writes an abstract address with `@`.
        let address = match address.as_bytes() {
            [b'@', name @ ..] => UnixAddr::from_abstract_name(name)?,
            _ => UnixAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Reports states in one message, so that systemd sees them together. Never waits.
    ///
    /// # Errors
    /// systemd does not read, or has gone. The caller may log the error and go on.
    pub(crate) fn notify(&self, states: &[State<'_>]) -> io::Result<()> {
        let message = message(states)?;
        self.socket.send_to_addr(message.as_bytes(), &self.address).map(|_| ())
    }
}

fn message(states: &[State<'_>]) -> io::Result<String> {
    let mut message = String::new();
    for state in states {
        // A write to a string does not fail.
        let _ = match state {
            State::Ready => writeln!(message, "READY=1"),
            State::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
                writeln!(message, "RELOADING=1\nMONOTONIC_USEC={micros}")
            }
            State::Stopping => writeln!(message, "STOPPING=1"),
            State::MainPid(id) => writeln!(message, "MAINPID={id}"),
            // A line break would begin another assignment.
            State::Status(text) => writeln!(message, "STATUS={}", text.replace(['\n', '\r'], " ")),
            State::Watchdog => writeln!(message, "WATCHDOG=1"),
        };
    }
    if message.is_empty() { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(message) }
}

/// Returns the interval at which the service has to report that it is alive: half of the time after
/// which systemd ends it. `None` if systemd does not watch this process.
pub(crate) fn watchdog() -> Option<Duration> {
    let [limit, process] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| env::var(name).ok());
    watchdog_of(limit.as_deref()?, process.as_deref(), std::process::id())
}

fn watchdog_of(limit: &str, process: Option<&str>, own: u32) -> Option<Duration> {
    let is_watched = process.is_none_or(|process| process.parse() == Ok(own));
    let limit: u64 = limit.parse().ok().filter(|limit| *limit > 0)?;
    is_watched.then(|| Duration::from_micros(limit) / 2)
}

/// A socket that systemd has bound.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// The name of the socket unit, or `FileDescriptorName=`. Empty if systemd gives none.
    pub(crate) name: String,
    /// The bound address.
    pub(crate) address: SocketAddr,
    /// The socket itself.
    pub(crate) socket: InheritedSocket,
}

/// The kind of an inherited socket.
#[derive(Debug)]
pub(crate) enum InheritedSocket {
    /// A listening socket of TCP.
    Tcp(TcpListener),
    /// A socket of UDP.
    Udp(UdpSocket),
}

/// Takes the sockets that systemd has bound for this process. The caller matches them with its
/// listeners by kind and address. Only the first call returns any.
///
/// The call has to be the first of the program: it removes `LISTEN_FDS` from the environment, which
/// is not allowed while another thread runs. It also sets the sockets to be closed in programs that
/// this process starts.
///
/// # Errors
/// A descriptor is no socket of TCP or UDP, or there are too many.
pub(crate) fn inherited() -> io::Result<Vec<Inherited>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let process = env::var("LISTEN_PID").ok();
    let is_ours = process.is_some_and(|id| id.parse() == Ok(std::process::id()));
    let count = env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    if !is_ours || count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    if count > MAX_SOCKETS {
        let message = format!("systemd passes {count} sockets; the maximum is {MAX_SOCKETS}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let names = env::var_os("LISTEN_FDNAMES").unwrap_or_default();
    let mut descriptors = ListenFd::from_env();
    (0..descriptors.len())
        .map(|index| take(&mut descriptors, index, &name(&names, index)))
        .collect()
}

fn name(names: &OsStr, index: usize) -> String {
    let name = names.as_bytes().split(|byte| *byte == b':').nth(index).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn take(descriptors: &mut ListenFd, index: usize, name: &str) -> io::Result<Inherited> {
    let foreign = || {
        let message = format!(
            "descriptor {} ({name}) from systemd is no socket of TCP or UDP; remove it from the socket unit",
            index + FIRST
        );
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    let tcp = descriptors.take_tcp_listener(index).ok().flatten().map(InheritedSocket::Tcp);
    let socket = match tcp {
        Some(socket) => Some(socket),
        None => descriptors.take_udp_socket(index).ok().flatten().map(InheritedSocket::Udp),
    };
    let socket = socket.ok_or_else(foreign)?;
    let address = match &socket {
        InheritedSocket::Tcp(listener) => listener.local_addr(),
        InheritedSocket::Udp(socket) => socket.local_addr(),
    };
    Ok(Inherited { name: name.to_owned(), address: address?, socket })
}

/// Number of the first descriptor that systemd passes.
const FIRST: usize = 3;

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 500];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn states_arrive_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("weir-test-{:x}", rand::random::<u64>());
        let abstract_address = UnixAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ];
        for (socket, address) in sockets {
            let notifier = Notifier::new(&address).unwrap();
            notifier.notify(&[State::MainPid(17), State::Ready]).unwrap();
            assert_eq!(received(&socket), "MAINPID=17\nREADY=1\n");
            notifier.notify(&[State::Stopping, State::Status("a\nREADY=1")]).unwrap();
            assert_eq!(received(&socket), "STOPPING=1\nSTATUS=a READY=1\n");
            notifier.notify(&[State::Watchdog]).unwrap();
            assert_eq!(received(&socket), "WATCHDOG=1\n");
            notifier.notify(&[State::Reloading]).unwrap();
            let reloading = received(&socket);
            let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.trim_end().parse::<u64>().unwrap() > 0);
            assert!(notifier.notify(&[]).is_err());
        }
    }

    #[test]
    fn a_notifier_without_a_listener_fails_and_does_not_wait() {
        let notifier = Notifier::new(OsStr::new("@weir-test-nobody")).unwrap();
        assert!(notifier.notify(&[State::Ready]).is_err());
        assert!(Notifier::new(OsStr::new(&"x".repeat(200))).is_err());
    }

    #[test]
    fn only_the_watched_process_has_an_interval() {
        let half = Some(Duration::from_secs(15));
        assert_eq!(watchdog_of("30000000", Some("9"), 9), half);
        assert_eq!(watchdog_of("30000000", None, 9), half);
        for (limit, process) in [("30000000", "8"), ("0", "9"), ("-1", "9"), ("x", "9"), ("1", "")]
        {
            assert_eq!(watchdog_of(limit, Some(process), 9), None);
        }
    }

    /// Plays the service, if the test below has started this process.
    #[test]
    fn the_service() {
        let Ok(expected) = env::var("WEIR_TEST_ADDRESSES") else { return };
        let found = inherited();
        assert!(inherited().unwrap().is_empty());
        if expected == "error" {
            let error = found.unwrap_err().to_string();
            assert!(error.contains("descriptor 4 (b) from systemd"), "{error}");
            return;
        }
        let found: Vec<String> = found
            .unwrap()
            .into_iter()
            .map(|inherited| {
                let kind = match inherited.socket {
                    InheritedSocket::Tcp(_) => "tcp",
                    InheritedSocket::Udp(_) => "udp",
                };
                format!("{kind} {} {}", inherited.name, inherited.address)
            })
            .collect();
        assert_eq!(found.join(","), expected);
    }

    /// Starts this program as systemd does, with two sockets from descriptor 3 on.
    fn service(first: OwnedFd, second: OwnedFd, process: &str, expected: &str) -> bool {
        let script = format!(
            "exec 3<&0 4<&2 2>/dev/null; LISTEN_FDS=2 LISTEN_FDNAMES=a:b LISTEN_PID={process} \
             exec \"$0\" --exact net::systemd::tests::the_service"
        );
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .arg(env::current_exe().unwrap())
            .env("WEIR_TEST_ADDRESSES", expected)
            .stdin(Stdio::from(first))
            .stdout(Stdio::null())
            .stderr(Stdio::from(second))
            .status();
        status.unwrap().success()
    }

    #[test]
    fn the_sockets_of_a_unit_are_taken_with_their_names() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let expected =
            format!("tcp a {},udp b {}", tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let sockets = || (tcp.try_clone().unwrap().into(), udp.try_clone().unwrap().into());
        let (first, second) = sockets();
        assert!(service(first, second, "$$", &expected));
        // The sockets are for another process.
        let (first, second) = sockets();
        assert!(service(first, second, "1", ""));
        let (first, second) = (tcp.into(), UnixDatagram::unbound().unwrap().into());
        assert!(service(first, second, "$$", "error"));
    }
}
