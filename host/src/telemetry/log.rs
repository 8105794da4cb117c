//! The log: `tracing` events as lines on standard error or in a file.
//!
//! Weir does not use the formatter of tracing-subscriber. Its JSON omits the causes of an error,
//! and its text lets a value break the line.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry, registry, reload};
use weir_runtime::with_causes;

use crate::config::{self, LogFormat};
use crate::telemetry::TelemetryError;
use crate::telemetry::clock::Timestamp;
use crate::telemetry::line::Line;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::switches::Switches;
use crate::telemetry::writer::{Writer, WriterGuard};

/// The environment variable with directives that replace the configuration's `log.level`.
pub const LEVEL_VARIABLE: &str = "WEIR_LOG";

/// The level of the log, which may change at any time.
#[derive(Debug, Default)]
pub(crate) struct Level(Option<reload::Handle<EnvFilter, Registry>>);

impl Level {
    /// Sets the level, unless the environment sets it.
    ///
    /// # Errors
    ///
    /// The directives are malformed. The level stays as it is.
    pub(crate) fn set(&self, text: &str) -> Result<(), TelemetryError> {
        let filter = serving(text)?;
        if let Some(handle) = self.0.as_ref().filter(|_| from_environment().is_none()) {
            // It fails only if the subscriber is gone, and then there is no log.
            let _ = handle.reload(filter);
        }
        Ok(())
    }
}

/// Installs the subscriber of this process, which writes to `output`. A process has one log: an
/// existing subscriber stays, and there is no guard.
///
/// # Errors
///
/// The directives are malformed, or `output` or the writing thread is not available.
pub(crate) fn install(
    config: &config::Log,
    output: impl FnOnce() -> Result<Box<dyn io::Write + Send>, TelemetryError>,
    switches: &Arc<Switches>,
    metrics: &Metrics,
) -> Result<(Level, Option<WriterGuard>), TelemetryError> {
    let filter = serving(from_environment().as_ref().unwrap_or(&config.level))?;
    if tracing::dispatcher::has_been_set() {
        return Ok((Level::default(), None));
    }
    let dropped = metrics.log_dropped.clone();
    let (writer, guard) = Writer::start("weir-log", output()?, Duration::ZERO, dropped)
        .map_err(TelemetryError::Thread)?;
    let (subscriber, level) = subscriber(filter, writer, Arc::clone(switches));
    // Another thread may have installed a subscriber since the check.
    Ok(match tracing::subscriber::set_global_default(subscriber) {
        Ok(()) => (level, Some(guard)),
        Err(_) => (Level::default(), None),
    })
}

fn subscriber(
    filter: EnvFilter,
    writer: Writer,
    switches: Arc<Switches>,
) -> (impl Subscriber + Send + Sync, Level) {
    let (filter, handle) = reload::Layer::new(filter);
    (registry().with(filter).with(Log { writer, switches }), Level(Some(handle)))
}

/// Returns the directives that replace the configuration's.
fn from_environment() -> Option<String> {
    std::env::var(LEVEL_VARIABLE).ok().filter(|text| !text.is_empty())
}

/// Installs a subscriber for commands that do not serve. It writes the events that `directives`
/// allow to standard error at once, without time and target. An existing subscriber stays.
pub(crate) fn install_plain(directives: &str) {
    if let Ok(filter) = self::directives(directives) {
        let _ = tracing::subscriber::set_global_default(registry().with(filter).with(Plain));
    }
}

/// Parses the directives of a process that serves.
///
/// h2 warns of each connection that floods it, and an attacker can open any number of them.
/// Therefore h2 is silent unless the directives name it. `http_clients_cut_total` counts these
/// connections.
fn serving(text: &str) -> Result<EnvFilter, TelemetryError> {
    let filter = directives(text)?;
    match H2_IS_QUIET.parse() {
        Ok(quiet) if !text.contains("h2") => Ok(filter.add_directive(quiet)),
        _ => Ok(filter),
    }
}

/// Parses a level, or directives by target as in `info,weir::upstream=debug`.
///
/// # Errors
///
/// A directive is malformed.
pub fn directives(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(text)
        .map_err(|source| TelemetryError::Directives { text: text.to_owned(), source })
}

struct Log {
    writer: Writer,
    switches: Arc<Switches>,
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let format = self.switches.format();
        let mut line = Line::new(format);
        let (time, metadata) = (Timestamp(SystemTime::now()), event.metadata());
        let mut message = Message::default();
        event.record(&mut message);
        match format {
            LogFormat::Json => {
                line.shown("time", time);
                line.text("level", Some(metadata.level().as_str().to_ascii_lowercase().as_bytes()));
                line.text("target", Some(metadata.target().as_bytes()));
                line.text("message", Some(message.0.as_bytes()));
            }
            LogFormat::Text => {
                let (level, target) = (metadata.level().as_str(), metadata.target());
                line.bare(format!("{time} {level:>5} {target}: {}", message.0).as_bytes());
            }
        }
        event.record(&mut Fields(&mut line));
        self.writer.line(&line.finish());
    }
}

struct Plain;

impl<S: Subscriber> Layer<S> for Plain {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        let mut line = Line::new(LogFormat::Text);
        line.bare(message.0.as_bytes());
        event.record(&mut Fields(&mut line));
        // If standard error is closed, there is no other place to report that.
        let _ = io::Write::write_all(&mut io::stderr(), &line.finish());
    }
}

/// Takes the message of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.0.push_str(value);
        }
    }
}

/// Writes all other values of an event.
struct Fields<'a>(&'a mut Line);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            self.0.text(field.name(), Some(format!("{value:?}").as_bytes()));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != MESSAGE {
            self.0.text(field.name(), Some(value.as_bytes()));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.number(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.number(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.0.number(field.name(), value);
        } else {
            self.0.nothing(field.name());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.claim(field.name(), value);
    }

    /// Writes the error and all its causes, the outermost first.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.text(field.name(), Some(with_causes(value).as_bytes()));
    }
}

/// Silences the warnings of h2, which its clients cause.
const H2_IS_QUIET: &str = "h2::proto=off";

/// The field name under which `tracing` passes the message.
const MESSAGE: &str = "message";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Paper;

    #[derive(Debug, thiserror::Error)]
    #[error("connect to 10.0.0.3:443")]
    struct Outer(#[source] io::Error);

    fn switches(format: LogFormat) -> Arc<Switches> {
        Arc::new(Switches::new(&config::Log { format, ..config::Log::default() }))
    }

    fn written(format: LogFormat) -> String {
        let paper = Paper::default();
        let dropped = Metrics::new().log_dropped;
        let (writer, guard) =
            Writer::start("test", paper.clone(), Duration::ZERO, dropped).unwrap();
        let (subscriber, _) = subscriber(directives("info").unwrap(), writer, switches(format));
        tracing::subscriber::with_default(subscriber, || {
            let error = Outer(io::Error::other("refused\nby \"host\""));
            let error = &error as &dyn Error;
            tracing::warn!(target: "weir::test", error, count = 3, ok = true, text = "a b", "it\nfailed");
            tracing::debug!(target: "weir::test", "not wanted");
        });
        drop(guard);
        paper.read()
    }

    #[test]
    fn json_has_every_field_and_the_whole_chain_of_causes() {
        let line = written(LogFormat::Json);
        assert_eq!(line.lines().count(), 1, "{line}");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["level"], "warn");
        assert_eq!(event["target"], "weir::test");
        assert_eq!(event["message"], "it\nfailed");
        assert_eq!(event["error"], "connect to 10.0.0.3:443: refused\nby \"host\"");
        assert_eq!((&event["count"], &event["ok"]), (&3.into(), &true.into()));
    }

    #[test]
    fn text_is_one_line_whatever_is_in_it() {
        let line = written(LogFormat::Text);
        assert_eq!(line.lines().count(), 1, "{line}");
        let (_, rest) = line.split_once(' ').unwrap();
        assert_eq!(
            rest,
            " WARN weir::test: it\\u000afailed \
             error=\"connect to 10.0.0.3:443: refused\\u000aby \\\"host\\\"\" count=3 ok=true text=\"a b\"\n"
        );
    }

    #[test]
    fn what_h2_says_of_clients_is_not_logged_unless_it_is_asked_for() {
        for (text, lines) in [("info", 1), ("debug", 1), ("h2=info,info", 2), ("off", 0)] {
            let paper = Paper::default();
            let dropped = Metrics::new().log_dropped;
            let (writer, guard) =
                Writer::start("test", paper.clone(), Duration::ZERO, dropped).unwrap();
            let switches = switches(LogFormat::Text);
            let (subscriber, _) = subscriber(serving(text).unwrap(), writer, switches);
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(target: "h2::proto::streams::streams", "reset streams reached limit");
                tracing::warn!(target: "weir::test", "another");
            });
            drop(guard);
            assert_eq!(paper.read().lines().count(), lines, "{text}");
        }
    }

    #[test]
    fn level_and_form_change_while_the_log_is_in_use() {
        let paper = Paper::default();
        let dropped = Metrics::new().log_dropped;
        let (writer, guard) =
            Writer::start("test", paper.clone(), Duration::ZERO, dropped).unwrap();
        let switches = switches(LogFormat::Text);
        let (subscriber, level) =
            subscriber(serving("warn").unwrap(), writer, Arc::clone(&switches));
        tracing::subscriber::with_default(subscriber, || {
            let all = || {
                tracing::debug!(target: "weir::test", "debug");
                tracing::warn!(target: "weir::test", "warn");
            };
            all();
            level.set("weir::test=debug").unwrap();
            all();
            level.set("weir::test=loud").unwrap_err();
            level.set("off").unwrap();
            all();
            level.set("warn").unwrap();
            switches.set_format(LogFormat::Json);
            all();
        });
        drop(guard);
        let text = paper.read();
        let found: Vec<&str> = text
            .lines()
            .map(|line| match line.split_once("weir::test: ") {
                Some((_, message)) => message,
                None => &line[..1],
            })
            .collect();
        assert_eq!(found, ["warn", "debug", "warn", "{"]);
    }

    #[test]
    fn levels_and_targets_are_directives() {
        for text in ["info", "off", "warn,weir::upstream=debug", "weir::listen=trace"] {
            assert!(directives(text).is_ok(), "{text}");
        }
        let error = directives("weir=loud").unwrap_err();
        assert_eq!(error.to_string(), "parse log level \"weir=loud\"");
    }
}
