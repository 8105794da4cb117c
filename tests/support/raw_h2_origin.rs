//! An origin of HTTP/2 without TLS that answers with frames of a test's choice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::raw_h2::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS};
use super::{fields, spawn};

/// A frame to send: kind, flags, stream and payload.
pub(crate) type Out = (u8, u8, u32, Vec<u8>);

/// A request as it reached the origin: the number of its connection, from 0, and its stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) connection: usize,
    pub(crate) stream: u32,
    /// The number of requests before it, on all connections.
    pub(crate) before: usize,
}

/// An origin that answers each request's head with the frames that a function returns.
#[derive(Debug)]
pub(crate) struct RawH2Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    resets: Arc<AtomicUsize>,
}

/// The function that answers. An empty list of frames is no answer.
type Answer = Arc<dyn Fn(Arrival) -> Vec<Out> + Send + Sync>;

impl RawH2Origin {
    /// Starts with the payload of its SETTINGS.
    pub(crate) async fn start(
        settings: &[(u16, u32)],
        answer: impl Fn(Arrival) -> Vec<Out> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            resets: Arc::default(),
        };
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let (connections, answer) = (Arc::clone(&origin.connections), Arc::new(answer) as Answer);
        let (requests, resets) = (Arc::clone(&origin.requests), Arc::clone(&origin.resets));
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let counts = (Arc::clone(&requests), Arc::clone(&resets));
                spawn(serve(stream, number, settings.clone(), Arc::clone(&answer), counts));
            }
        });
        origin
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Streams that the other side has reset.
    pub(crate) fn resets(&self) -> usize {
        self.resets.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    settings: Vec<u8>,
    answer: Answer,
    (requests, resets): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?;
    write(&mut stream, &(SETTINGS, 0, 0, settings)).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.ok()?;
        match head[3] {
            SETTINGS if head[4] == 0 => write(&mut stream, &(SETTINGS, 1, 0, vec![])).await?,
            HEADERS => {
                let before = requests.fetch_add(1, Ordering::SeqCst);
                for frame in answer(Arrival { connection, stream: id, before }) {
                    write(&mut stream, &frame).await?;
                }
            }
            RST_STREAM => {
                resets.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

async fn write(stream: &mut TcpStream, (kind, flags, id, payload): &Out) -> Option<()> {
    if *kind == CLOSE {
        return None;
    }
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([*kind, *flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).await.ok()
}

/// Stands for the end of the connection.
const CLOSE: u8 = 0xff;

/// Closes the connection.
pub(crate) fn close() -> Out {
    (CLOSE, 0, 0, Vec::new())
}

/// A response's head.
pub(crate) fn head(stream: u32, extra: &[(&str, &str)], is_over: bool) -> Out {
    status(stream, "200", extra, is_over)
}

/// The head of a response with this status.
pub(crate) fn status(stream: u32, status: &str, extra: &[(&str, &str)], is_over: bool) -> Out {
    let fields = [&[(":status", status)], extra].concat();
    let end = if is_over { END_STREAM } else { 0 };
    (HEADERS, END_HEADERS | end, stream, fields::hpack(&fields))
}

pub(crate) fn data(stream: u32, bytes: &[u8], is_over: bool) -> Out {
    (DATA, if is_over { END_STREAM } else { 0 }, stream, bytes.to_vec())
}

pub(crate) fn reset(stream: u32, code: u32) -> Out {
    (RST_STREAM, 0, stream, code.to_be_bytes().to_vec())
}

pub(crate) fn go_away(last: u32, code: u32) -> Out {
    (GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A whole response.
pub(crate) fn whole(stream: u32, body: &str) -> Vec<Out> {
    vec![head(stream, &[], false), data(stream, body.as_bytes(), true)]
}
