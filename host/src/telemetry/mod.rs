//! Telemetry for operators: metrics, the log, access records, traces.
//!
//! [`Telemetry::start`] starts the parts that the configuration enables. A [`record::Record`]
//! follows one request and reports to all of them. Telemetry never delays traffic: output that
//! cannot be delivered in time is dropped and counted.

pub mod log;
pub mod metrics;
pub mod record;
pub mod trace;

mod access;
mod clock;
mod line;
mod otlp;
mod process;
mod serve;
#[cfg(test)]
mod testing;
mod traceparent;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config;

pub use serve::serve_metrics;

/// All telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    /// All metrics.
    pub metrics: Arc<metrics::Metrics>,
    access: Option<access::AccessLog>,
    tracer: Option<trace::Tracer>,
}

/// Delivers the remaining output when dropped: spans for at most 2 s, then access records and the
/// log for at most 1 s each.
#[derive(Debug)]
#[must_use = "dropping it ends the delivery"]
pub struct Guard {
    // The fields are dropped in this order: delivering spans may write to the log.
    _spans: Option<otlp::ExportGuard>,
    _access: Option<writer::WriterGuard>,
    _log: Option<writer::WriterGuard>,
}

/// The reason why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Log directives cannot be parsed.
    #[error("parse log level {text:?}")]
    Directives {
        /// The configured text.
        text: String,
        /// The error of the parser.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The address of a collector cannot be used.
    #[error("use {endpoint} as OTLP collector")]
    Collector {
        /// The configured address.
        endpoint: String,
        /// The error of the exporter.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// A thread or its runtime could not be started.
    #[error("start a telemetry thread")]
    Thread(#[source] io::Error),
}

impl Telemetry {
    /// Starts the telemetry of `config` except serving metrics, which [`serve_metrics`] does.
    ///
    /// # Errors
    ///
    /// Log directives or the collector's address are malformed, or a thread cannot be started.
    pub fn start(config: &config::Telemetry) -> Result<(Arc<Self>, Guard), TelemetryError> {
        let metrics = Arc::new(metrics::Metrics::new());
        let log_guard = log::install(&config.log, &metrics)?;
        let (access, access_guard) = if config.log.access {
            let dropped = metrics.access_dropped.clone();
            let (writer, guard) =
                writer::Writer::start("weir-access", io::stdout(), ACCESS_LINGER, dropped)
                    .map_err(TelemetryError::Thread)?;
            (Some(access::AccessLog::new(writer, config.log.format)), Some(guard))
        } else {
            (None, None)
        };
        let (tracer, spans_guard) = match &config.tracing {
            Some(tracing) => {
                let (tracer, guard) = trace::Tracer::start(tracing, &metrics)?;
                (Some(tracer), Some(guard))
            }
            None => (None, None),
        };
        let guard = Guard { _spans: spans_guard, _access: access_guard, _log: log_guard };
        Ok((Arc::new(Self { metrics, access, tracer }), guard))
    }

    /// Creates telemetry that only counts: no log, no access records, no traces.
    pub fn counting() -> Arc<Self> {
        let metrics = Arc::new(metrics::Metrics::new());
        Arc::new(Self { metrics, access: None, tracer: None })
    }
}

/// Time for which an access record may wait for others to share a system call. Without it, each
/// record of a server that is not saturated wakes the writing thread.
const ACCESS_LINGER: Duration = Duration::from_millis(20);
