//! A registry of another project, docker-registry, with its own folder, and a server that answers
//! by a script.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{spawn, tls, tools};

/// A running registry; killed when dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    address: SocketAddr,
    /// Holds the port of a stopped registry: another test's registry could answer there.
    held: Option<TcpSocket>,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry that any user may read and write.
    pub(crate) fn start() -> Self {
        Self::with("", "")
    }

    /// Starts a registry for the user `weir` with the password `sesame` only.
    pub(crate) fn with_password() -> Self {
        Self::with("auth: { htpasswd: { realm: weir, path: users } }", "")
    }

    /// Starts a registry over TLS.
    pub(crate) fn with_tls(certificate: &tls::Certificate) -> Self {
        let (cert, key) = (certificate.cert(), certificate.key());
        Self::with("", &format!(", tls: {{ certificate: \"{cert}\", key: \"{key}\" }}"))
    }

    fn with(top: &str, http: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog: {{ accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: storage }} }}\n\
             http: {{ addr: \"127.0.0.1:0\"{http} }}\n{top}\n"
        );
        std::fs::write(folder.path().join("registry.yml"), config).unwrap();
        std::fs::write(folder.path().join("users"), USERS).unwrap();
        let mut child = tools::registry()
            .args(["serve", "registry.yml"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = log.find_map(|line| {
            let (_, after) = line.split_once("listening on ")?;
            after.split([',', '"']).next()?.parse().ok()
        });
        // The log must be drained: the registry must not fill its pipe.
        std::thread::spawn(move || log.for_each(drop));
        let address = address.expect("the registry starts");
        Self { child, address, held: None, _folder: folder }
    }

    /// Its host, in the form of references.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Stops the registry. Its address refuses connections from then on.
    pub(crate) fn stop(&mut self) {
        self.kill();
        let socket = TcpSocket::new_v4().unwrap();
        // Connections of the stopped registry may linger.
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.held = Some(socket);
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a server of HTTP/1.1 that answers each request with `answer` of its head, and closes.
pub(crate) async fn scripted(
    answer: impl Fn(SocketAddr, &str) -> Vec<u8> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(exchange(stream, address, answer.clone()));
        }
    });
    address
}

async fn exchange(
    mut stream: TcpStream,
    address: SocketAddr,
    answer: impl Fn(SocketAddr, &str) -> Vec<u8>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let answer = answer(address, &String::from_utf8_lossy(&head));
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

/// An answer for [`scripted`], with fields such as `a: b\r\n`.
pub(crate) fn answer(status: &str, fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// `weir:sesame`, by bcrypt with the lowest cost.
const USERS: &str = "weir:$2b$04$4Q2DwhC/XXBy2DJS1Bf/vukmlHYLIPhEo3PZRWhY.sIUiahzr.HFO\n";
