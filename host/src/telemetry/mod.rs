//! Telemetry for operators: metrics, the log, access records, traces.
//!
//! [`Telemetry::start`] starts the parts that the configuration enables. A [`record::Record`]
//! follows one request and reports to all of them. Telemetry never delays traffic: output that
//! cannot be delivered in time is dropped and counted.

pub mod events;
pub mod log;
pub mod metrics;
pub mod record;
pub mod trace;

mod access;
pub(crate) mod clock;
mod file;
mod line;
mod otlp;
mod process;
mod serve;
mod switches;
#[cfg(test)]
mod testing;
mod traceparent;
mod writer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, LogFile, LogFormat};
use file::{FileSink, Reopen};
use switches::Switches;

pub(crate) use serve::serve_metrics;

/// All telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    /// All metrics.
    pub metrics: Arc<metrics::Metrics>,
    /// The changes inside the process, the same as those of `metrics`.
    pub events: events::Events,
    access: Option<access::AccessLog>,
    tracer: Option<trace::Tracer>,
    level: log::Level,
    switches: Arc<Switches>,
    files: Reopen,
}

/// Delivers the remaining output when dropped: spans for at most 2 s, then access records and the
/// log for at most 1 s each.
#[derive(Debug)]
#[must_use = "dropping it ends the delivery"]
pub struct Guard {
    // The fields are dropped in this order: delivering spans may write to the log.
    _spans: Option<otlp::ExportGuard>,
    _access: writer::WriterGuard,
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
    /// A log file cannot be used.
    #[error("open the log file \"{path}\"")]
    File {
        /// The configured path, below the folder of the configuration.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("start a telemetry thread")]
    Thread(#[source] io::Error),
}

impl Telemetry {
    /// Starts the telemetry of `config` except serving metrics, which `serve_metrics` does.
    ///
    /// # Errors
    ///
    /// Log directives or the collector's address are malformed, or a log file or a thread is not
    /// available.
    pub fn start(config: &config::Telemetry) -> Result<(Arc<Self>, Guard), TelemetryError> {
        let mut telemetry = Self::quiet(&config.log);
        let (metrics, files) = (Arc::clone(&telemetry.metrics), telemetry.files.clone());
        let stderr = || output(config.log.file.as_ref(), io::stderr(), &files, true);
        let log_guard;
        (telemetry.level, log_guard) =
            log::install(&config.log, stderr, &telemetry.switches, &metrics)?;
        // The thread is there even if access records are off: they may be switched on.
        let file = config.log.access_file.as_ref();
        let stdout = output(file, io::stdout(), &files, config.log.access)?;
        let dropped = metrics.access_dropped.clone();
        let (writer, access_guard) =
            writer::Writer::start("weir-access", stdout, ACCESS_LINGER, dropped)
                .map_err(TelemetryError::Thread)?;
        telemetry.access = Some(access::AccessLog::new(writer, Arc::clone(&telemetry.switches)));
        let mut spans_guard = None;
        if let Some(tracing) = &config.tracing {
            let (tracer, guard) = trace::Tracer::start(tracing, &metrics)?;
            (telemetry.tracer, spans_guard) = (Some(tracer), Some(guard));
        }
        let guard = Guard { _spans: spans_guard, _access: access_guard, _log: log_guard };
        Ok((Arc::new(telemetry), guard))
    }

    /// Creates telemetry that only counts: no log, no access records, no traces.
    pub fn counting() -> Arc<Self> {
        Arc::new(Self::quiet(&config::Log::default()))
    }

    /// Follows another configuration of the log: its level, its format, and whether there are
    /// access records. A level that cannot be parsed changes nothing.
    pub fn follow(&self, log: &config::Log) {
        if let Err(error) = self.set_level(&log.level) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the level of the log stays as it was");
        }
        self.set_format(log.format);
        self.set_access(log.access);
    }

    /// Has each log file opened anew before its next line, for a program that has moved it.
    pub fn reopen_logs(&self) {
        self.files.ask();
    }

    /// Changes the level of the log. The environment variable [`log::LEVEL_VARIABLE`] still
    /// replaces it.
    ///
    /// # Errors
    ///
    /// The directives are malformed. The level stays as it is.
    pub fn set_level(&self, directives: &str) -> Result<(), TelemetryError> {
        self.level.set(directives)
    }

    /// Changes the form of later log lines and access records.
    pub fn set_format(&self, format: LogFormat) {
        self.switches.set_format(format);
    }

    /// Switches access records on or off. A request that began without one has none.
    pub fn set_access(&self, is_on: bool) {
        self.switches.set_access(is_on);
    }

    /// Returns the output of access records if they are wanted now.
    fn access(&self) -> Option<&access::AccessLog> {
        self.access.as_ref().filter(|access| access.is_on())
    }

    fn quiet(config: &config::Log) -> Self {
        let metrics = Arc::new(metrics::Metrics::new());
        Self {
            events: metrics.events.clone(),
            metrics,
            access: None,
            tracer: None,
            level: log::Level::default(),
            switches: Arc::new(Switches::new(config)),
            files: Reopen::default(),
        }
    }
}

/// Returns `file`, or `stream` if there is no file. A file that `is_used` is opened at once, so
/// that a fault shows at the start.
fn output(
    file: Option<&LogFile>,
    stream: impl Write + Send + 'static,
    files: &Reopen,
    is_used: bool,
) -> Result<Box<dyn Write + Send>, TelemetryError> {
    let Some(file) = file else { return Ok(Box::new(stream)) };
    let mut sink = FileSink::new(file, files);
    if is_used {
        let path = &file.path;
        sink.open().map_err(|source| TelemetryError::File { path: path.clone(), source })?;
    }
    Ok(Box::new(sink))
}

/// Time for which an access record may wait for others to share a system call. Without it, each
/// record of a server that is not saturated wakes the writing thread.
const ACCESS_LINGER: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_use_is_opened_at_the_start_and_another_with_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| LogFile {
            path: folder.path().join(name),
            rotate: config::Rotation::default(),
        };
        let output = |file: &LogFile, is_used| {
            output(Some(file), io::sink(), &Reopen::default(), is_used).map_err(|e| e.to_string())
        };
        let (used, unused) = (file("used.log"), file("unused.log"));
        drop(output(&used, true).unwrap());
        assert!(used.path.exists());
        let mut sink = output(&unused, false).unwrap();
        assert!(!unused.path.exists());
        sink.write_all(b"line\n").unwrap();
        assert_eq!(std::fs::read_to_string(&unused.path).unwrap(), "line\n");
        let missing = file("missing/a.log");
        let error = output(&missing, true).err().unwrap();
        assert_eq!(error, format!("open the log file \"{}\"", missing.path.display()));
    }
}
