//! Bytes of HTTP/1.1 over TLS that no library would write.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Weir, tls};

/// A TLS connection that carries any bytes that a test writes.
#[derive(Debug)]
pub(crate) struct RawH1(TlsStream<TcpStream>);

/// The bytes received until the connection was closed, or until nothing came for long.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) text: String,
    pub(crate) closed: bool,
    /// By an end of TLS, not by a reset or a bare end of TCP.
    pub(crate) ended_well: bool,
}

impl RawH1 {
    pub(crate) async fn connect(weir: &Weir) -> Self {
        Self(tls::connect(weir.address(), &[b"http/1.1"]).await.unwrap())
    }

    /// Sends `bytes` and reads until the other side closes.
    pub(crate) async fn exchange(weir: &Weir, bytes: &str) -> Reply {
        let mut raw = Self::connect(weir).await;
        raw.send(bytes).await;
        raw.rest().await
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.try_send(bytes.as_bytes()).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Closes the sending side.
    pub(crate) async fn finish(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Reads until the received bytes end with `end`, and returns them.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            let read = super::within(format!("{end:?}"), self.0.read_u8()).await;
            all.push(read.unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&all))
            }));
        }
        String::from_utf8(all).unwrap()
    }

    /// Reads until the other side closes.
    pub(crate) async fn rest(&mut self) -> Reply {
        self.read(std::time::Duration::ZERO).await
    }

    /// Reads like [`Self::rest`], but slowly, so that the other side waits with unwritten bytes.
    pub(crate) async fn slowly(&mut self) -> Reply {
        self.read(std::time::Duration::from_micros(100)).await
    }

    async fn read(&mut self, pause: std::time::Duration) -> Reply {
        let (mut all, mut ended_well) = (Vec::new(), false);
        let mut buffer = vec![0; 16 << 10];
        let end = async {
            while let Ok(read) = self.0.read(&mut buffer).await {
                ended_well = read == 0;
                if ended_well {
                    break;
                }
                all.extend_from_slice(&buffer[..read]);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        };
        let closed = tokio::time::timeout(super::PATIENCE / 4, end).await.is_ok();
        Reply { text: String::from_utf8_lossy(&all).into_owned(), closed, ended_well }
    }
}

impl Reply {
    /// The status of the first response; 0 if there was none.
    pub(crate) fn status(&self) -> u16 {
        let status = self.text.strip_prefix("HTTP/1.1 ").or(self.text.strip_prefix("HTTP/1.0 "));
        status.and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
    }

    /// The number of responses.
    pub(crate) fn responses(&self) -> usize {
        self.text.matches("HTTP/1.1 ").count()
    }
}
