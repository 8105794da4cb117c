//! The log: `tracing` events as lines on standard error.
//!
//! Weir does not use the formatter of tracing-subscriber. Its JSON omits the causes of an error,
//! and its text lets a value break the line.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, registry};
use weir_runtime::with_causes;

use crate::config::{self, LogFormat};
use crate::telemetry::TelemetryError;
use crate::telemetry::clock::Timestamp;
use crate::telemetry::line::Line;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::writer::{Writer, WriterGuard};

/// The environment variable with directives that replace the configuration's `log.level`.
pub const LEVEL_VARIABLE: &str = "WEIR_LOG";

/// Installs the subscriber of this process. A process has one log: an existing subscriber stays,
/// and the function returns `None`.
///
/// # Errors
///
/// The directives are malformed, or the writing thread cannot be started.
pub(crate) fn install(
    config: &config::Log,
    metrics: &Metrics,
) -> Result<Option<WriterGuard>, TelemetryError> {
    let filter = match std::env::var(LEVEL_VARIABLE) {
        Ok(text) if !text.is_empty() => serving(&text)?,
        _ => serving(&config.level)?,
    };
    if tracing::dispatcher::has_been_set() {
        return Ok(None);
    }
    let (writer, guard) =
        Writer::start("weir-log", io::stderr(), Duration::ZERO, metrics.log_dropped.clone())
            .map_err(TelemetryError::Thread)?;
    let subscriber = registry().with(filter).with(Log { writer, format: config.format });
    // Another thread may have installed a subscriber since the check.
    Ok(tracing::subscriber::set_global_default(subscriber).is_ok().then_some(guard))
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
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::new(self.format);
        let (time, metadata) = (Timestamp(SystemTime::now()), event.metadata());
        let mut message = Message::default();
        event.record(&mut message);
        match self.format {
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

    fn written(format: LogFormat) -> String {
        let paper = Paper::default();
        let dropped = Metrics::new().log_dropped;
        let (writer, guard) =
            Writer::start("test", paper.clone(), Duration::ZERO, dropped).unwrap();
        let subscriber = registry().with(directives("info").unwrap()).with(Log { writer, format });
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
            let log = Log { writer, format: LogFormat::Text };
            let subscriber = registry().with(serving(text).unwrap()).with(log);
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(target: "h2::proto::streams::streams", "reset streams reached limit");
                tracing::warn!(target: "weir::test", "another");
            });
            drop(guard);
            assert_eq!(paper.read().lines().count(), lines, "{text}");
        }
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
