//! Delivery of spans to the collector: a bounded queue, and one thread that empties it over
//! OTLP/gRPC.
//!
//! Weir does not use the batch processor of the SDK. That processor does not count the spans that
//! it drops, limits no export, and does not end within our bound. Its exporter would also need a
//! runtime of its own.

use std::error::Error;
use std::future::Future;
use std::sync::mpsc as sync_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use prometheus::IntCounter;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::telemetry::TelemetryError;
use crate::telemetry::metrics::Metrics;

/// The sending end of the queue.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<SpanData>,
    dropped: IntCounter,
}

/// Delivers the queued spans when dropped, for at most [`FLUSH_TIME`].
#[derive(Debug)]
pub(crate) struct ExportGuard {
    stop: CancellationToken,
    done: sync_mpsc::Receiver<()>,
}

/// Starts the thread that sends to the collector at `endpoint`.
///
/// # Errors
///
/// `endpoint` is malformed, or the thread or its runtime cannot be started.
pub(crate) fn start(
    endpoint: &str,
    resource: &Resource,
    metrics: &Metrics,
) -> Result<(Queue, ExportGuard), TelemetryError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TelemetryError::Thread)?;
    let exporter = {
        // The channel connects at its first use, but needs a runtime already here.
        let _entered = runtime.enter();
        let mut exporter = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIME)
            .build()
            .map_err(|source| TelemetryError::Collector { endpoint: endpoint.into(), source })?;
        exporter.set_resource(resource);
        exporter
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (finished, done) = sync_mpsc::channel();
    let stop = CancellationToken::new();
    let delivery = Delivery {
        receiver,
        exporter,
        stop: stop.clone(),
        exported: metrics.spans_exported.clone(),
        dropped: metrics.spans_dropped.clone(),
        endpoint: endpoint.to_owned(),
        complaint: Complaint::default(),
    };
    thread::Builder::new()
        .name("weir-otlp".to_owned())
        .spawn(move || run(&runtime, delivery, &finished))
        .map_err(TelemetryError::Thread)?;
    Ok((Queue { sender, dropped: metrics.spans_dropped.clone() }, ExportGuard { stop, done }))
}

#[allow(clippy::needless_pass_by_value, reason = "the queue closes with the delivery")]
fn run(runtime: &Runtime, mut delivery: Delivery, finished: &sync_mpsc::Sender<()>) {
    runtime.block_on(delivery.deliver_until_stopped());
    // The guard no longer waits if it has given up.
    let _ = finished.send(());
}

struct Delivery {
    receiver: mpsc::Receiver<SpanData>,
    exporter: OtlpExporter,
    stop: CancellationToken,
    exported: IntCounter,
    dropped: IntCounter,
    endpoint: String,
    complaint: Complaint,
}

impl Delivery {
    async fn deliver_until_stopped(&mut self) {
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(BATCH);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                received = self.receiver.recv() => match received {
                    Some(span) => batch.push(span),
                    None => return,
                },
            }
            // This wait does not watch the queue, so that no further span wakes the thread.
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LINGER) => {}
            }
            self.deliver_queued(&mut batch).await;
        }
        self.receiver.close();
        self.deliver_queued(&mut batch).await;
    }

    async fn deliver_queued(&mut self, batch: &mut Vec<SpanData>) {
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.receiver.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let spans = std::mem::replace(batch, Vec::with_capacity(BATCH));
            self.export(spans).await;
        }
    }

    async fn export(&mut self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        let stop = self.stop.clone();
        let limit = async {
            tokio::select! {
                () = tokio::time::sleep(EXPORT_TIME) => {}
                () = async { stop.cancelled().await; tokio::time::sleep(LAST_EXPORT_TIME).await } => {}
            }
        };
        match bounded(self.exporter.export(spans), limit).await {
            Some(Ok(())) => {
                self.exported.inc_by(count);
                self.complaint.resolve(&self.endpoint);
            }
            Some(Err(error)) => self.lose(count, Some(&error)),
            None => self.lose(count, None),
        }
    }

    fn lose(&mut self, count: u64, error: Option<&(dyn Error + 'static)>) {
        self.dropped.inc_by(count);
        self.complaint.raise(&self.endpoint, count, error);
    }
}

async fn bounded<T>(work: impl Future<Output = T>, limit: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = limit => None,
    }
}

/// The log messages of a failing collector: a warning at the beginning, reminders at intervals, a
/// message at the end.
#[derive(Default)]
struct Complaint {
    warned: Option<Instant>,
    lost: u64,
}

impl Complaint {
    fn raise(&mut self, endpoint: &str, count: u64, error: Option<&(dyn Error + 'static)>) {
        self.lost += count;
        if self.warned.is_some_and(|at| at.elapsed() < REMIND) {
            return;
        }
        self.warned = Some(Instant::now());
        let lost = self.lost;
        match error {
            Some(error) => tracing::warn!(endpoint, lost, error, "spans not delivered"),
            None => tracing::warn!(endpoint, lost, "spans not delivered: no answer in time"),
        }
    }

    fn resolve(&mut self, endpoint: &str) {
        if self.warned.take().is_some() {
            tracing::info!(endpoint, lost = self.lost, "spans are delivered again");
            self.lost = 0;
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Drop for ExportGuard {
    fn drop(&mut self) {
        self.stop.cancel();
        // An error means that the thread is gone or still waits for the collector. The process ends
        // in both cases.
        let _ = self.done.recv_timeout(FLUSH_TIME);
    }
}

/// Maximum number of waiting spans. They take some 4 MiB, with attributes cut to 1 KiB each. With
/// [`LINGER`] the queue suffices for 40,000 spans per second.
const QUEUE: usize = 4_096;

/// Spans in one message, the default of the SDK.
const BATCH: usize = 512;

/// Time for which the first span of a batch waits for others.
const LINGER: Duration = Duration::from_millis(100);

/// Time limit of one export, including the connection.
const EXPORT_TIME: Duration = Duration::from_secs(5);

/// Time limit of an export once the process ends.
const LAST_EXPORT_TIME: Duration = Duration::from_millis(1_500);

/// Time for which the end of the process waits for the collector.
pub(crate) const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Time between two warnings while the collector fails.
const REMIND: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
