//! An origin of HTTP/3 that answers with bytes of a test's choice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::watch;

use super::origin::AUTHORITY;
use super::raw_h3::{DATA, HEADERS, read_frame, varint};
use super::{fields, h3_origin, spawn};

/// A step of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Writes these bytes to the request's stream.
    Write(Vec<u8>),
    /// Ends the response.
    Finish,
    /// Resets the response with this code.
    Reset(u64),
    /// Asks for no more of the request, with this code.
    Stop(u64),
    /// Writes these bytes to the control stream.
    Control(Vec<u8>),
    /// Opens a unidirectional stream of this type with these bytes.
    Uni(u64, Vec<u8>),
    /// Closes the connection with this code.
    Close(u64),
    /// Sends each further byte of the request back, and ends with it.
    Echo,
    /// Reads the rest of the request, and counts its end or its reset.
    Rest,
    /// Waits for [`RawH3Origin::release`].
    Hold,
}

/// A request as it reached the origin: the number of its connection, from 0, and its stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) connection: usize,
    pub(crate) stream: u64,
    /// The number of requests before it, on all connections.
    pub(crate) before: usize,
}

/// An origin that answers each request's head with the steps that a function returns.
#[derive(Debug)]
pub(crate) struct RawH3Origin {
    address: SocketAddr,
    counts: Arc<Counts>,
    endpoint: quinn::Endpoint,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Requests that ended, and those that were reset, after [`Step::Rest`].
    ended: AtomicUsize,
    resets: AtomicUsize,
    released: watch::Sender<bool>,
    /// The code that the last connection ended with, plus one.
    closed: AtomicUsize,
}

/// The function that answers, with the head's section.
type Answer = Arc<dyn Fn(Arrival, &[u8]) -> Vec<Step> + Send + Sync>;

impl RawH3Origin {
    /// Starts with this payload of SETTINGS.
    pub(crate) fn start(
        settings: &[(u64, u64)],
        answer: impl Fn(Arrival, &[u8]) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [varint(*id), varint(*value)].concat())
            .collect();
        Self::beginning([vec![0x00], frame(SETTINGS, &payload)].concat(), answer)
    }

    /// Starts with these bytes on its first stream, which should be the control stream.
    pub(crate) fn beginning(
        prelude: Vec<u8>,
        answer: impl Fn(Arrival, &[u8]) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let tls = AUTHORITY.server(&[b"h3"], None);
        let endpoint = h3_origin::open("127.0.0.1:0".parse().unwrap(), tls).unwrap();
        let (address, counts) = (endpoint.local_addr().unwrap(), Arc::<Counts>::default());
        let (accepting, told) = (endpoint.clone(), Arc::clone(&counts));
        let answer: Answer = Arc::new(answer);
        spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let (told, answer, prelude) =
                    (Arc::clone(&told), Arc::clone(&answer), prelude.clone());
                spawn(async move {
                    let Ok(quic) = incoming.await else { return };
                    let number = told.connections.fetch_add(1, Ordering::SeqCst);
                    let _ = serve(&quic, number, &prelude, &told, answer).await;
                    if let quinn::ConnectionError::ApplicationClosed(close) = quic.closed().await {
                        let code = usize::try_from(close.error_code.into_inner()).unwrap();
                        told.closed.store(code + 1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { address, counts, endpoint }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The keys of an upstream for it.
    pub(crate) fn upstream(&self) -> String {
        format!("protocol: h3\n    tls: {{ ca: {} }}", AUTHORITY.cert())
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Lets the steps after [`Step::Hold`] go on.
    pub(crate) fn release(&self) {
        self.counts.released.send_replace(true);
    }

    /// Requests that were read to their end, and those that were reset.
    pub(crate) fn rests(&self) -> (usize, usize) {
        (self.counts.ended.load(Ordering::SeqCst), self.counts.resets.load(Ordering::SeqCst))
    }

    /// The code that the other side closed the last connection with.
    pub(crate) fn closed(&self) -> Option<usize> {
        self.counts.closed.load(Ordering::SeqCst).checked_sub(1)
    }
}

impl Drop for RawH3Origin {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0x100), b"");
    }
}

async fn serve(
    quic: &Connection,
    connection: usize,
    prelude: &[u8],
    counts: &Arc<Counts>,
    answer: Answer,
) -> Result<(), quinn::ConnectionError> {
    let mut control = quic.open_uni().await?;
    let _ = control.write_all(prelude).await;
    let control = Arc::new(tokio::sync::Mutex::new(control));
    let passed = quic.clone();
    spawn(async move {
        // The other side's streams must not be stopped.
        let mut kept = Vec::new();
        while let Ok(stream) = passed.accept_uni().await {
            kept.push(stream);
        }
    });
    loop {
        let (send, mut receive) = quic.accept_bi().await?;
        let (counts, answer) = (Arc::clone(counts), Arc::clone(&answer));
        let (quic, control) = (quic.clone(), Arc::clone(&control));
        spawn(async move {
            let stream = u64::from(send.id());
            let (_, section) = read_frame(&mut receive).await.unwrap_or_default();
            let before = counts.requests.fetch_add(1, Ordering::SeqCst);
            let steps = answer(Arrival { connection, stream, before }, &section);
            let _ = act(&quic, steps, (send, receive), &control, &counts).await;
        });
    }
}

async fn act(
    quic: &Connection,
    steps: Vec<Step>,
    (mut send, mut receive): (SendStream, RecvStream),
    control: &tokio::sync::Mutex<SendStream>,
    counts: &Counts,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut is_over = false;
    let mut opened = Vec::new();
    for step in steps {
        match step {
            Step::Write(bytes) => send.write_all(&bytes).await?,
            Step::Finish => {
                is_over = true;
                send.finish()?;
            }
            Step::Reset(code) => {
                is_over = true;
                send.reset(VarInt::from_u64(code)?)?;
            }
            Step::Stop(code) => receive.stop(VarInt::from_u64(code)?)?,
            Step::Control(bytes) => control.lock().await.write_all(&bytes).await?,
            Step::Uni(kind, bytes) => {
                let mut stream = quic.open_uni().await?;
                stream.write_all(&[varint(kind), bytes].concat()).await?;
                opened.push(stream);
            }
            Step::Close(code) => quic.close(VarInt::from_u64(code)?, b""),
            Step::Hold => drop(counts.released.subscribe().wait_for(|is| *is).await?),
            Step::Rest => {
                let ended = match receive.read_to_end(usize::MAX).await {
                    Ok(_) => &counts.ended,
                    Err(_) => &counts.resets,
                };
                ended.fetch_add(1, Ordering::SeqCst);
            }
            Step::Echo => {
                tokio::io::copy(&mut receive, &mut send).await?;
                is_over = true;
                send.finish()?;
            }
        }
    }
    if is_over {
        let _ = send.stopped().await;
    } else {
        // An answer that is not complete stays open.
        quic.closed().await;
    }
    Ok(())
}

const SETTINGS: u64 = 4;

/// A frame.
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), varint(payload.len() as u64), payload.to_vec()].concat()
}

/// The head of a response with this status.
pub(crate) fn status(status: &str, extra: &[(&str, &str)]) -> Step {
    let fields = [&[(":status", status)], extra].concat();
    section(&fields)
}

/// A section of fields.
pub(crate) fn section(section: &[(&str, &str)]) -> Step {
    Step::Write(frame(HEADERS, &fields::qpack(section)))
}

pub(crate) fn data(bytes: &[u8]) -> Step {
    Step::Write(frame(DATA, bytes))
}

/// A whole response with this body.
pub(crate) fn whole(body: &str) -> Vec<Step> {
    vec![status("200", &[]), data(body.as_bytes()), Step::Finish]
}

/// A GOAWAY from this stream on.
pub(crate) fn go_away(stream: u64) -> Step {
    Step::Control(frame(7, &varint(stream)))
}
