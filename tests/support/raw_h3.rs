//! Frames of HTTP/3 on QUIC streams that no library would send (RFC 9114 §7.1).

use quinn::{Connection, Endpoint, ReadExactError, RecvStream, SendStream, VarInt};

use super::raw_h2::{Outcome, post};
use super::{Weir, client, fields, within};

/// A QUIC connection with a control stream; requests are streams of their own.
#[derive(Debug)]
pub(crate) struct RawH3 {
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
    _control: SendStream,
}

/// One request's stream.
#[derive(Debug)]
pub(crate) struct RawStream {
    connection: Connection,
    pub(crate) send: SendStream,
    recv: RecvStream,
}

pub(crate) const DATA: u64 = 0;
pub(crate) const HEADERS: u64 = 1;

impl RawH3 {
    pub(crate) async fn connect(weir: &Weir) -> Self {
        Self::announcing(weir, &[]).await
    }

    /// Connects with this payload of SETTINGS.
    pub(crate) async fn announcing(weir: &Weir, settings: &[u8]) -> Self {
        let (endpoint, connection) = client::quic(weir.address()).await.unwrap();
        let mut control = connection.open_uni().await.unwrap();
        let head = [0x00, 0x04, settings.len() as u8]; // the stream's type; SETTINGS
        control.write_all(&[&head, settings].concat()).await.unwrap();
        Self { connection, _endpoint: endpoint, _control: control }
    }

    /// Does the same as [`super::raw_h2::RawH2::post`].
    pub(crate) async fn post(weir: &Weir, extra: &[(&str, &str)], body: &[&str]) -> Outcome {
        let raw = Self::connect(weir).await;
        let mut stream = raw.open().await;
        stream.headers(&[&post("/count")[..], extra].concat()).await;
        for chunk in body {
            stream.frame(DATA, chunk.as_bytes()).await;
        }
        stream.finish();
        stream.outcome().await
    }

    /// Does the same as [`super::raw_h2::RawH2::request`].
    pub(crate) async fn request(weir: &Weir, fields: &[(&str, &str)]) -> Outcome {
        let raw = Self::connect(weir).await;
        let mut stream = raw.open().await;
        stream.headers(fields).await;
        stream.finish();
        stream.outcome().await
    }

    pub(crate) async fn open(&self) -> RawStream {
        let (send, recv) = within("a stream", self.connection.open_bi()).await.unwrap();
        RawStream { connection: self.connection.clone(), send, recv }
    }
}

impl RawStream {
    pub(crate) async fn headers(&mut self, fields: &[(&str, &str)]) {
        self.frame(HEADERS, &fields::qpack(fields)).await;
    }

    /// Sends a frame. If the other side refuses it, the outcome shows it.
    pub(crate) async fn frame(&mut self, kind: u64, payload: &[u8]) {
        let mut frame = varint(kind);
        frame.extend(varint(payload.len() as u64));
        frame.extend(payload);
        let _ = self.send.write_all(&frame).await;
    }

    pub(crate) fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// Cancels the request in both directions.
    pub(crate) fn cancel(&mut self) {
        let cancelled = VarInt::from_u32(0x10c);
        let _ = self.send.reset(cancelled);
        let _ = self.recv.stop(cancelled);
    }

    /// Waits for the response's head, a reset of the stream, or the end of the connection.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        loop {
            match within("an outcome", read_frame(&mut self.recv)).await {
                Ok((HEADERS, payload)) => {
                    let status = fields::qpack_status(&payload);
                    return Outcome::Status(status.expect("a response begins with its status"));
                }
                Ok(_) => {}
                Err(ReadExactError::ReadError(quinn::ReadError::Reset(code))) => {
                    return Outcome::Reset(code.into_inner());
                }
                Err(_) => match self.connection.close_reason() {
                    Some(quinn::ConnectionError::ApplicationClosed(close)) => {
                        return Outcome::Closed(close.error_code.into_inner());
                    }
                    _ => return Outcome::Closed(0),
                },
            }
        }
    }

    /// The bytes of the next DATA frame; `None` at the end of the stream.
    pub(crate) async fn data(&mut self) -> Option<Vec<u8>> {
        loop {
            match within("data", read_frame(&mut self.recv)).await {
                Ok((DATA, payload)) => return Some(payload),
                Ok(_) => {}
                Err(ReadExactError::FinishedEarly(_)) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Reads a frame: its type and its payload.
pub(crate) async fn read_frame(stream: &mut RecvStream) -> Result<(u64, Vec<u8>), ReadExactError> {
    let kind = read_varint(stream).await?;
    let length = read_varint(stream).await?;
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await?;
    Ok((kind, payload))
}

async fn read_varint(stream: &mut RecvStream) -> Result<u64, ReadExactError> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes[..1]).await?;
    let length = 1usize << (bytes[0] >> 6);
    bytes[0] &= 0x3f;
    stream.read_exact(&mut bytes[1..length]).await?;
    Ok(bytes[..length].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// An integer in the fewest bytes (RFC 9000 §16).
pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0b11 << 62).to_be_bytes().to_vec(),
    }
}
