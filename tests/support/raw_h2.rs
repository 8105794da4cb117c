//! Frames of HTTP/2 that no library would send (RFC 9113 §4.1).

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Weir, fields, tls, within};

/// A TLS connection after the preface; streams are opened by number.
#[derive(Debug)]
pub(crate) struct RawH2 {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The end of a raw request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A response with this status.
    Status(u16),
    /// The stream was reset with this code.
    Reset(u64),
    /// The connection was closed, with this code if there was one.
    Closed(u64),
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// RFC 9113 §4.2: the size that every endpoint accepts.
const MAX_FRAME: usize = 16_384;

impl Outcome {
    /// Whether the request was refused, in any of the ways that the RFCs allow.
    pub(crate) fn is_refusal(self) -> bool {
        match self {
            Self::Status(status) => (400..500).contains(&status),
            Self::Reset(_) | Self::Closed(_) => true,
        }
    }
}

impl RawH2 {
    pub(crate) async fn connect(weir: &Weir) -> Self {
        let stream = tls::connect(weir.address(), &[b"h2"]).await.unwrap();
        let (reader, mut writer) = tokio::io::split(stream);
        writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut raw = Self { reader, writer };
        raw.frame(SETTINGS, 0, 0, &[]).await.unwrap();
        raw.frame(SETTINGS, 1, 0, &[]).await.unwrap();
        raw
    }

    /// Sends one request on a new connection and returns the outcome. Fields come after the four
    /// pseudo-header fields of a POST to `/count`, unless they replace those.
    pub(crate) async fn post(weir: &Weir, extra: &[(&str, &str)], body: &[&str]) -> Outcome {
        let mut raw = Self::connect(weir).await;
        let fields = [&post("/count")[..], extra].concat();
        raw.headers(1, &fields, body.is_empty()).await;
        for (at, chunk) in body.iter().enumerate() {
            raw.data(1, chunk.as_bytes(), at + 1 == body.len()).await;
        }
        raw.outcome(1).await
    }

    /// Sends exactly these fields as a request without a body.
    pub(crate) async fn request(weir: &Weir, fields: &[(&str, &str)]) -> Outcome {
        let mut raw = Self::connect(weir).await;
        raw.headers(1, fields, true).await;
        raw.outcome(1).await
    }

    pub(crate) async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        self.block(stream, &fields::hpack(fields), end).await;
    }

    /// Sends a header block, in as many frames as it needs. If the other side refuses it, the
    /// outcome shows it.
    pub(crate) async fn block(&mut self, stream: u32, block: &[u8], end: bool) {
        let count = block.chunks(MAX_FRAME).count();
        for (at, part) in block.chunks(MAX_FRAME).enumerate() {
            let kind = if at == 0 { HEADERS } else { CONTINUATION };
            let last = if at + 1 == count { END_HEADERS } else { 0 };
            let end = if at == 0 && end { END_STREAM } else { 0 };
            let _ = self.frame(kind, last | end, stream, part).await;
        }
    }

    pub(crate) async fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        let _ = self.frame(DATA, if end { END_STREAM } else { 0 }, stream, bytes).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32) {
        let _ = self.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()).await;
    }

    pub(crate) async fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.writer.write_all(&frame).await?;
        self.writer.flush().await
    }

    /// Returns the next frame, or `None` if the connection was closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within("a frame", self.reader.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        self.reader.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind: head[3], stream, payload })
    }

    /// Waits for the response's head, a reset of the stream, or the end of the connection.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let code = |bytes: &[u8]| u64::from(u32::from_be_bytes(bytes.try_into().unwrap()));
        loop {
            let Some(frame) = self.next().await else { return Outcome::Closed(0) };
            match frame.kind {
                HEADERS if frame.stream == stream => {
                    let status = fields::hpack_status(&frame.payload);
                    return Outcome::Status(status.expect("a response begins with its status"));
                }
                RST_STREAM if frame.stream == stream => {
                    return Outcome::Reset(code(&frame.payload));
                }
                GOAWAY if frame.payload[4..8] != [0; 4] => {
                    return Outcome::Closed(code(&frame.payload[4..8]));
                }
                _ => {}
            }
        }
    }
}

/// The pseudo-header fields of a POST.
pub(crate) fn post(path: &str) -> [(&str, &str); 4] {
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
}

/// The pseudo-header fields of a GET.
pub(crate) fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
}
