//! An origin made of bytes: it answers each connection by a script, and keeps all received bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{spawn, until};

/// A step of an origin on a connection. After the last step the origin closes.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Reads until a whole header section has arrived since the last answer.
    Head,
    /// Sends bytes.
    Send(String),
    /// Reads until the other side closes.
    Eof,
    /// Closes with a reset, not with an end of stream.
    Reset,
}

/// An origin that follows scripts: the n-th connection the n-th script, later connections the last
/// one.
#[derive(Debug)]
pub(crate) struct RawOrigin {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Received>>>,
}

/// The bytes received on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// Whether the other side has closed the connection.
    pub(crate) closed: bool,
}

impl RawOrigin {
    /// Answers every request with `answer`, and keeps connections open while the other side does.
    pub(crate) async fn answering(answer: &str) -> Self {
        let round = [Step::Head, Step::Send(answer.to_owned())];
        let mut steps: Vec<_> = round.iter().cloned().cycle().take(40).collect();
        steps.push(Step::Eof);
        Self::start(vec![steps]).await
    }

    /// Reads a request's head, sends `answer`, and closes.
    pub(crate) async fn closing_after(answer: &str) -> Self {
        Self::start(vec![vec![Step::Head, Step::Send(answer.to_owned())]]).await
    }

    /// Follows `scripts`.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = connections.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Received::default());
                    all.len() - 1
                };
                let script = scripts.get(number).or(scripts.last()).unwrap().clone();
                spawn(follow(stream, script, number, all.clone()));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The received bytes so far, by connection.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.connections.lock().unwrap().clone()
    }

    /// All bytes of all connections, as text.
    pub(crate) fn text(&self) -> String {
        let all: Vec<u8> = self.received().into_iter().flat_map(|r| r.bytes).collect();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The number of received requests, counted by the first lines of their heads.
    pub(crate) fn requests(&self) -> usize {
        self.text().matches(" HTTP/1.1\r\n").count()
    }

    /// Waits until the other side has closed this connection.
    pub(crate) async fn until_closed(&self, number: usize) {
        let closed = || self.received().get(number).is_some_and(|r| r.closed);
        until(format!("end of upstream connection {number}"), async || closed().then_some(()))
            .await;
    }

    /// Waits until this text has arrived.
    pub(crate) async fn until_text(&self, text: &str) {
        let found = async || self.text().contains(text).then_some(());
        until(format!("{text:?} at the origin"), found).await;
    }
}

/// Returns an address that accepts no more connections, and a guard that keeps it full.
pub(crate) async fn full_listener() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let connect = TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(100), connect).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => return (address, (listener, waiting)),
        }
    }
}

async fn follow(
    mut stream: TcpStream,
    script: Vec<Step>,
    number: usize,
    all: Arc<Mutex<Vec<Received>>>,
) {
    let _ = stream.set_nodelay(true);
    let mut answered = 0;
    for step in script {
        let seen = |bytes: &[u8], end: &str| bytes.windows(end.len()).any(|w| w == end.as_bytes());
        let going_on = match step {
            Step::Head => {
                read_until(&mut stream, number, &all, |b| seen(&b[answered..], "\r\n\r\n")).await
            }
            Step::Eof => read_until(&mut stream, number, &all, |_| false).await,
            Step::Send(bytes) => {
                answered = all.lock().unwrap()[number].bytes.len();
                stream.write_all(bytes.as_bytes()).await.is_ok()
            }
            Step::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
        };
        if !going_on {
            return;
        }
    }
    // An end of stream, not a reset, even if more bytes arrive.
    let _ = stream.shutdown().await;
    read_until(&mut stream, number, &all, |_| false).await;
}

/// Reads until `enough` returns true. Returns false if the other side closed before.
async fn read_until(
    stream: &mut TcpStream,
    number: usize,
    all: &Mutex<Vec<Received>>,
    enough: impl Fn(&[u8]) -> bool,
) -> bool {
    let mut buffer = vec![0; 16 << 10];
    while !enough(&all.lock().unwrap()[number].bytes) {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        let mut all = all.lock().unwrap();
        if read == 0 {
            all[number].closed = true;
            return false;
        }
        all[number].bytes.extend_from_slice(&buffer[..read]);
    }
    true
}
