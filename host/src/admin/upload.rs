//! Uploads of components: few at a time, each within its time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::Refusal;

/// Reads components. At most [`UPLOADS`] are in memory or on their way.
pub(super) struct Uploads {
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    grace: Duration,
}

impl Default for Uploads {
    fn default() -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { places: semaphore(UPLOADS), queue: semaphore(UPLOADS + QUEUE), grace: GRACE }
    }
}

/// A component that has arrived. Dropping it makes room for another.
pub(super) struct Upload {
    wasm: Vec<u8>,
    _places: [OwnedSemaphorePermit; 2],
}

impl AsRef<[u8]> for Upload {
    fn as_ref(&self) -> &[u8] {
        &self.wasm
    }
}

impl Uploads {
    /// Reads a body to its end. Each byte gives the rest of the body more time. A client that
    /// stalls is cut off soon, and a client on a slow network is not.
    ///
    /// # Errors
    /// A [`Refusal`]: 503 if too many other clients send components, 408 if the body takes too
    /// long, 413 if it is too large, 400 if it breaks off.
    pub(super) async fn read<B>(&self, body: B) -> Result<Upload, Refusal>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    {
        let queued = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| busy())?;
        let place = timeout(WAIT, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(busy)?;
        let mut body = Limited::new(body, weir_runtime::MAX_COMPONENT);
        let (mut wasm, start) = (Vec::new(), Instant::now());
        loop {
            let earned = Duration::from_secs(wasm.len() as u64) / LEAST_RATE;
            let deadline = start + (self.grace + earned).min(TIME);
            let slow = |_| {
                let reason = format!("the component did not arrive in time: {} bytes", wasm.len());
                Refusal::new(StatusCode::REQUEST_TIMEOUT, reason)
            };
            let frame = timeout_at(deadline, body.frame()).await.map_err(slow)?;
            let Some(frame) = frame else { break };
            if let Some(bytes) = frame.map_err(|error| unreadable(&*error))?.data_ref() {
                wasm.extend_from_slice(bytes);
            }
        }
        Ok(Upload { wasm, _places: [queued, place] })
    }
}

fn unreadable(error: &(dyn Error + Send + Sync + 'static)) -> Refusal {
    let is_large = error.is::<LengthLimitError>();
    let status = if is_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    Refusal::new(status, format!("read the component: {error}"))
}

fn busy() -> Refusal {
    let reason = "other components are being sent and compiled; try again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)
}

/// Components in memory at once, of at most 64 MiB each. They are compiled one at a time. Some more
/// may arrive meanwhile, or stall.
const UPLOADS: usize = 4;

/// Clients that wait to send a component. Each keeps a place of the listener.
const QUEUE: usize = 16;

/// The longest wait of a client.
const WAIT: Duration = Duration::from_secs(30);

/// The time for a body without a byte.
const GRACE: Duration = Duration::from_secs(5);

/// Bytes a second that a body needs on average beyond [`GRACE`].
const LEAST_RATE: u32 = 64 << 10;

/// The longest time for a body, at any rate.
const TIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use http_body_util::Full;

    use super::*;

    /// Gives its bytes one by one, and then never ends.
    struct Stalling(u8);

    impl Body for Stalling {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Pending };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up() {
        let uploads = Uploads { grace: Duration::from_millis(10), ..Uploads::default() };
        for _ in 0..3 * UPLOADS {
            let refusal = uploads.read(Stalling(9)).await.err().unwrap();
            assert_eq!(refusal.status, StatusCode::REQUEST_TIMEOUT);
            assert!(refusal.reason.ends_with("9 bytes"), "{}", refusal.reason);
        }
    }

    #[tokio::test]
    async fn few_components_are_in_memory_and_few_wait() {
        let uploads = Arc::new(Uploads::default());
        let whole = || Full::from("component");
        let mut there = Vec::new();
        for _ in 0..UPLOADS {
            there.push(uploads.read(whole()).await.ok().unwrap());
        }
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(uploads.read(whole()))).collect();
        for read in &mut waiting {
            assert!(futures_util::poll!(read).is_pending());
        }
        let refusal = uploads.read(whole()).await.err().unwrap();
        assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
        let upload = there.pop().unwrap();
        assert_eq!(upload.as_ref(), b"component");
        drop(upload);
        assert!(waiting.remove(0).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_a_413() {
        let large = Full::from(vec![0; weir_runtime::MAX_COMPONENT + 1]);
        let refusal = Uploads::default().read(large).await.err().unwrap();
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
