//! systemd: sockets that it has bound, and reports of the state.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use tokio::net::UnixDatagram;

use crate::support::weir::free_address;
use crate::support::{Origin, Protocol, Setup, Weir, processes, tools, within};

use super::upgrade;

/// Plays systemd: binds an address for TCP and UDP, passes both sockets from descriptor 3 on, and
/// becomes the program.
const ACTIVATE: &str = r#"
import fcntl, os, socket, sys
host, port = sys.argv[1].rsplit(":", 1)
for target, kind in enumerate((socket.SOCK_STREAM, socket.SOCK_DGRAM), 3):
    bound = socket.socket(socket.AF_INET, kind)
    bound.bind((host, int(port)))
    if kind == socket.SOCK_STREAM:
        bound.listen(128)
    high = fcntl.fcntl(bound.detach(), fcntl.F_DUPFD, 20 + target)
    os.environ["MOVED_%d" % target] = str(high)
for target in (3, 4):
    os.dup2(int(os.environ.pop("MOVED_%d" % target)), target, inheritable=True)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "2"
os.environ["LISTEN_FDNAMES"] = "https:quic"
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// Returns an address at which neither TCP nor UDP is bound.
fn free_for_both() -> SocketAddr {
    loop {
        let address = free_address();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

#[tokio::test]
async fn sockets_of_systemd_serve_also_after_an_upgrade() {
    let origin = Origin::start().await;
    let (python, address) = (tools::python3(), free_for_both());
    let launcher = [python.to_str().unwrap(), "-c", ACTIVATE, &address.to_string()];
    let mut weir = Setup::to([&origin]).launcher(&launcher).start().await;
    assert_eq!(weir.address(), address, "another socket was bound");
    for round in 0..3 {
        for protocol in Protocol::ALL {
            // More connections than workers: one UDP socket has to serve all of them.
            for _ in 0..4 {
                let answer = weir.get(protocol, "/who").await;
                assert_eq!(answer, (200, "origin".to_owned()), "{round} {protocol:?}");
            }
        }
        if round < 2 {
            let (old, _) = upgrade(&mut weir).await;
            if round == 1 {
                processes::ended(old).await;
            }
        }
    }
}

/// The messages that systemd gets.
struct Reports(UnixDatagram);

impl Reports {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).unwrap())
    }

    async fn next(&self) -> String {
        let mut buffer = [0; 1000];
        let length = within("a report", self.0.recv(&mut buffer)).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message other than those of the watchdog.
    async fn news(&self) -> String {
        loop {
            let report = self.next().await;
            if report != "WATCHDOG=1\n" {
                return report;
            }
        }
    }

    async fn until_watchdog(&self) {
        while self.next().await != "WATCHDOG=1\n" {}
    }

    async fn expect_reloading(&self) {
        let report = self.news().await;
        let micros = report.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::trim_end);
        assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{report}");
    }
}

/// A Weir that reports, and is alive only if it does so twice a second.
async fn reporting(origin: &Origin) -> (Weir, Reports) {
    let setup = Setup::to([origin]);
    let path = setup.directory().join("notify");
    let reports = Reports::at(&path);
    let setup = setup.variable("NOTIFY_SOCKET", path.to_str().unwrap());
    let weir = setup.variable("WATCHDOG_USEC", "500000").start().await;
    assert_eq!(reports.news().await, "READY=1\nSTATUS=serving\n");
    (weir, reports)
}

#[tokio::test]
async fn systemd_hears_of_a_reload_and_of_the_end() {
    let origin = Origin::start().await;
    let (mut weir, reports) = reporting(&origin).await;
    reports.until_watchdog().await;
    reports.until_watchdog().await;
    weir.signal("HUP");
    reports.expect_reloading().await;
    assert_eq!(reports.news().await, "READY=1\n");
    weir.signal("TERM");
    assert_eq!(reports.news().await, "STOPPING=1\n");
    assert!(weir.exit().await.success());
}

#[tokio::test]
async fn systemd_follows_to_the_new_process() {
    let origin = Origin::start().await;
    let (mut weir, reports) = reporting(&origin).await;
    let (old, new) = upgrade(&mut weir).await;
    reports.expect_reloading().await;
    // Two processes report. systemd ignores the new one until the old one has named it.
    let mut told = [reports.news().await, reports.news().await];
    told.sort();
    assert_eq!(told, [format!("MAINPID={new}\nREADY=1\n"), "READY=1\nSTATUS=serving\n".to_owned()]);
    processes::ended(old).await;
    reports.until_watchdog().await;
    reports.until_watchdog().await;
    reports.until_watchdog().await;
    weir.signal("TERM");
    assert_eq!(reports.news().await, "STOPPING=1\n");
    processes::ended(new).await;
}
