//! A client that sends any bytes that a test gives it, and waits for the outcome.

use std::cell::RefCell;

use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};
use weir_h3::Code;
use weir_h3::qpack::Decoder;

use super::wire::{
    self, CONTROL_STREAM, DATA, DECODER_STREAM, ENCODER_STREAM, Fields, HEADERS, SETTINGS, frame,
    take_varint, varint,
};

/// The client's side of a connection.
pub struct Client {
    pub quic: Connection,
    pub control: Option<SendStream>,
    /// Kept open.
    pub streams: Vec<SendStream>,
    /// The server's streams, which the client must not stop.
    passed: RefCell<Vec<RecvStream>>,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole response with this status.
    Status(u16),
    /// The stream was reset.
    Reset(Code),
    /// The connection was closed.
    Closed(Code),
}

/// A whole response.
#[derive(Debug, Default)]
pub struct Answer {
    /// Interim responses and the final one.
    pub heads: Vec<Fields>,
    pub body: Vec<u8>,
    pub trailers: Option<Fields>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.heads.last().and_then(|head| head.status).unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request's stream.
pub struct RequestStream {
    quic: Connection,
    pub send: SendStream,
    pub recv: RecvStream,
    held: Vec<u8>,
}

impl Client {
    pub fn new(quic: Connection) -> Self {
        Self { quic, control: None, streams: Vec::new(), passed: RefCell::default() }
    }

    /// Opens a control stream with these settings.
    pub async fn open_control(&mut self, settings: &[(u64, u64)]) {
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [varint(*id), varint(*value)].concat())
            .collect();
        let stream = self.uni(CONTROL_STREAM, &frame(SETTINGS, payload)).await;
        stream.set_priority(10).unwrap();
        self.control = Some(stream);
    }

    /// Opens a unidirectional stream that begins with a type and `bytes`.
    pub async fn uni(&self, kind: u64, bytes: &[u8]) -> SendStream {
        let mut stream = self.quic.open_uni().await.unwrap();
        let _ = stream.write_all(&[&varint(kind)[..], bytes].concat()).await;
        stream
    }

    /// Sends a frame on the control stream.
    pub async fn say(&mut self, kind: u64, payload: &[u8]) {
        self.write_control(&frame(kind, payload)).await;
    }

    /// Writes to the control stream.
    pub async fn write_control(&mut self, bytes: &[u8]) {
        let _ = self.control.as_mut().unwrap().write_all(bytes).await;
    }

    /// Opens a request's stream and writes to it.
    pub async fn open(&self, bytes: impl AsRef<[u8]>) -> RequestStream {
        let (send, recv) = self.quic.open_bi().await.unwrap();
        let mut stream = RequestStream { quic: self.quic.clone(), send, recv, held: Vec::new() };
        stream.write(bytes).await;
        stream
    }

    /// Opens a request's stream, writes to it and ends it.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> RequestStream {
        let mut stream = self.open(bytes).await;
        stream.finish();
        stream
    }

    /// Returns the outcome of a request.
    pub async fn outcome(&self, bytes: impl AsRef<[u8]>) -> Outcome {
        self.send(bytes).await.outcome().await
    }

    /// Returns the response to a request.
    pub async fn answer(&self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).await.answer().await.unwrap()
    }

    /// Returns the code that the connection ends with.
    pub async fn closed(&self) -> Code {
        code(&self.quic.closed().await)
    }

    /// Checks that another request is served.
    pub async fn assert_serves(&self) {
        assert_eq!(self.outcome(wire::get("/")).await, Outcome::Status(200));
    }

    /// Returns the server's stream of this type, once it is open.
    pub async fn server_stream(&self, kind: u64) -> RecvStream {
        loop {
            let mut stream = self.quic.accept_uni().await.unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            if u64::from(byte[0]) == kind {
                return stream;
            }
            assert!([CONTROL_STREAM, ENCODER_STREAM, DECODER_STREAM].contains(&byte[0].into()));
            self.passed.borrow_mut().push(stream);
        }
    }
}

impl RequestStream {
    pub fn id(&self) -> u64 {
        self.send.id().into()
    }

    /// Writes. If the other side refuses the bytes, the outcome shows it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.send.write_all(bytes.as_ref()).await;
    }

    pub fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// Cancels both directions.
    pub fn cancel(&mut self) {
        let cancelled = VarInt::from_u64(Code::H3_REQUEST_CANCELLED.0).unwrap();
        let _ = self.send.reset(cancelled);
        let _ = self.recv.stop(cancelled);
    }

    pub async fn outcome(&mut self) -> Outcome {
        match self.answer().await {
            Ok(answer) => Outcome::Status(answer.status()),
            Err(outcome) => outcome,
        }
    }

    /// Reads the whole response, or returns the reason why there is none.
    pub async fn answer(&mut self) -> Result<Answer, Outcome> {
        self.answer_with(&mut Decoder::new(0, 0)).await
    }

    /// Reads a response as [`RequestStream::answer`] does, with the table of `decoder`.
    pub async fn answer_with(&mut self, decoder: &mut Decoder) -> Result<Answer, Outcome> {
        let mut answer = Answer::default();
        let mut is_final = false;
        while let Some((kind, payload)) = self.frame().await? {
            match kind {
                HEADERS if is_final => {
                    answer.trailers = Some(wire::decode(decoder, self.id(), &payload));
                }
                HEADERS => {
                    let head = wire::decode(decoder, self.id(), &payload);
                    is_final = head.status.unwrap() >= 200;
                    answer.heads.push(head);
                }
                DATA => answer.body.extend(payload),
                _ => panic!("frame of type {kind:#x}"),
            }
        }
        assert!(is_final, "a response without an end");
        Ok(answer)
    }

    /// Returns the next frame of the response, or `None` at its end.
    pub async fn frame(&mut self) -> Result<Option<(u64, Bytes)>, Outcome> {
        loop {
            let mut bytes = &self.held[..];
            if let (Some(kind), Some(length)) = (take_varint(&mut bytes), take_varint(&mut bytes))
                && let Some(payload) = bytes.get(..length as usize)
            {
                let payload = Bytes::copy_from_slice(payload);
                let used = self.held.len() - bytes.len() + payload.len();
                self.held.drain(..used);
                return Ok(Some((kind, payload)));
            }
            match self.recv.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.held.extend_from_slice(&chunk.bytes),
                Ok(None) if self.held.is_empty() => return Ok(None),
                Ok(None) => panic!("the response ends within a frame"),
                Err(ReadError::Reset(code)) => return Err(Outcome::Reset(code.into())),
                Err(ReadError::ConnectionLost(error)) => return Err(Outcome::Closed(code(&error))),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the server wants no more of the request, and returns its code.
    pub async fn stopped(&mut self) -> Option<Code> {
        match self.send.stopped().await {
            Ok(code) => code.map(Code::from),
            Err(error) => panic!("{error}: {:?}", self.quic.close_reason()),
        }
    }
}

fn code(error: &quinn::ConnectionError) -> Code {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into(),
        other => panic!("{other}"),
    }
}
