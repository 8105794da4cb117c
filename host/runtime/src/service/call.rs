//! [`Call`] is one request of a standard component; polling it runs the guest.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use http_body_util::BodyExt;
use wasmtime::{AsContextMut as _, Store};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{Prepared, Proxy};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;

use super::guest::Guest;
use super::meter::Meter;
use super::outgoing::Asks;
use super::stdio::Shared;
use super::{GuestBody, Handler, HttpError, Incoming};
use crate::engine::Engine;
use crate::error::PluginError;
use crate::limits::Limits;
use crate::voice::Voice;

/// An instance that has served a request to its end and may serve another.
pub struct IdleGuest {
    store: Store<Guest>,
    proxy: Proxy,
    served: u32,
}

impl IdleGuest {
    /// Requests that it has served.
    pub fn served(&self) -> u32 {
        self.served
    }
}

impl std::fmt::Debug for IdleGuest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("served", &self.served).finish_non_exhaustive()
    }
}

/// A request on its way through a component. Polling it runs guest code; dropping it ends the guest
/// code.
pub struct Call {
    driver: Option<Driver>,
    head: Option<oneshot::Receiver<wasmtime::Result<http::Response<GuestBody>>>>,
    /// Dropped when the response is over. Until then a guest of 0.3 may still copy one body to
    /// another.
    over: Option<oneshot::Sender<()>>,
    meter: Arc<Meter>,
    voice: Shared,
    engine: Engine,
    plugin: Arc<str>,
    limits: Limits,
}

type Told = oneshot::Sender<wasmtime::Result<http::Response<GuestBody>>>;

type Driver = Pin<Box<dyn Future<Output = wasmtime::Result<IdleGuest>> + Send>>;

impl Handler {
    /// Begins a request in the kept instance, or in a fresh one. The guest's network requests go to
    /// `asks`. The lines that the guest logs carry the request's number, `id`.
    pub fn call(
        &self,
        request: http::Request<Incoming>,
        id: u64,
        kept: Option<IdleGuest>,
        asks: Asks,
    ) -> Call {
        let (told, head) = oneshot::channel();
        let (over, is_over) = oneshot::channel();
        let limits = self.service.limits;
        let (meter, voice) = match kept.as_ref().map(|kept| kept.store.data()) {
            Some(guest) => (Arc::clone(&guest.meter), guest.voice.clone()),
            None => {
                let voice = Voice::new(&self.service.environment, &self.service.name);
                (Arc::new(Meter::new(limits.time)), Shared::new(voice))
            }
        };
        meter.progress();
        voice.with(|voice| {
            voice.serve(Some(id));
            voice.begin();
        });
        let request = request.map(BodyExt::boxed_unsync);
        let instance = match kept {
            Some(kept) => Instance::IdleGuest(kept),
            None => Instance::Fresh(Arc::clone(&meter), voice.clone()),
        };
        let driver = drive(self.clone(), instance, request, asks, (told, is_over));
        Call {
            driver: Some(Box::pin(driver)),
            head: Some(head),
            over: Some(over),
            meter,
            voice,
            engine: self.service.engine.clone(),
            plugin: Arc::clone(&self.service.name),
            limits,
        }
    }
}

impl Call {
    /// Runs guest code. It is ready when the guest has finished this request: with the instance, or
    /// with the error. After that it is pending for ever.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<IdleGuest, PluginError>> {
        let Some(driver) = &mut self.driver else { return Poll::Pending };
        let running = self.engine.run();
        self.meter.begin();
        let polled = driver.as_mut().poll(cx);
        self.meter.end();
        drop(running);
        let ended = std::task::ready!(polled);
        self.driver = None;
        Poll::Ready(ended.map_err(|error| self.failed(error)))
    }

    /// Returns the response's head when the guest has produced it. Runs no guest code. After that
    /// it is pending for ever.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<GuestBody>, PluginError>> {
        let Some(head) = &mut self.head else { return Poll::Pending };
        let told = std::task::ready!(Pin::new(head).poll(cx));
        self.head = None;
        Poll::Ready(match told {
            Ok(told) => told.map_err(|error| self.failed(error)),
            Err(oneshot::Canceled) => {
                Err(PluginError::invalid(&self.plugin, "handle: it gave no response"))
            }
        })
    }

    /// Notes that the caller wants nothing more of the response. The guest may finish its other
    /// work.
    pub fn finish(&mut self) {
        self.over = None;
    }

    /// Notes progress of the request, such as a piece of a body. The limit of CPU time begins anew.
    pub fn progress(&self) {
        self.meter.progress();
    }

    /// Bytes of the instance's linear memory.
    pub fn memory(&self) -> usize {
        self.meter.memory()
    }

    fn failed(&self, error: wasmtime::Error) -> PluginError {
        let code = error.downcast_ref::<p3::ErrorCode>().map(ToString::to_string);
        let code = code.or_else(|| error.downcast_ref::<p2::ErrorCode>().map(ToString::to_string));
        let code = code.or_else(|| error.downcast_ref::<HttpError>().map(ToString::to_string));
        if let Some(code) = code {
            return PluginError::Answered { plugin: Arc::clone(&self.plugin), code };
        }
        let words = self.voice.with(Voice::last_words);
        PluginError::failed(&self.plugin, "handle", self.limits, error, words)
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

/// The instance that serves a request.
enum Instance {
    IdleGuest(IdleGuest),
    /// A new instance, made with this meter and voice.
    Fresh(Arc<Meter>, Shared),
}

async fn drive(
    handler: Handler,
    instance: Instance,
    request: http::Request<GuestBody>,
    asks: Asks,
    (told, is_over): (Told, oneshot::Receiver<()>),
) -> wasmtime::Result<IdleGuest> {
    let mut kept = match instance {
        Instance::IdleGuest(mut kept) => {
            kept.store.data_mut().asks = asks;
            kept
        }
        Instance::Fresh(meter, voice) => {
            let mut store = Guest::store(&handler, meter, voice, asks);
            let proxy = handler.service.pre.instantiate_async(&mut store).await?;
            IdleGuest { store, proxy, served: 0 }
        }
    };
    let IdleGuest { store, proxy, served } = &mut kept;
    let ran = store.run_concurrent(async |accessor| {
        let prepared = accessor.with(|mut store| {
            Prepared::new(store.as_context_mut(), proxy, request, Guest::http, told)
        })?;
        prepared.run(accessor, pending()).await?;
        // A guest of 0.2 runs no more after this: if its body is incomplete, it stays incomplete.
        if matches!(proxy, Proxy::P3(_)) {
            // An error here means that the sender was dropped, which is the signal.
            let _ = is_over.await;
        }
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        wasmtime::error::Ok(())
    });
    ran.await??;
    *served = served.saturating_add(1);
    Ok(kept)
}
