//! The settings of the output that may change while Weir serves.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{Log, LogFormat};

/// The form of lines, and whether there are access records. Reading costs one relaxed load.
#[derive(Debug)]
pub(crate) struct Switches {
    is_text: AtomicBool,
    has_access: AtomicBool,
}

impl Switches {
    pub(crate) fn new(config: &Log) -> Self {
        Self {
            is_text: AtomicBool::new(config.format == LogFormat::Text),
            has_access: AtomicBool::new(config.access),
        }
    }

    pub(crate) fn format(&self) -> LogFormat {
        if self.is_text.load(Ordering::Relaxed) { LogFormat::Text } else { LogFormat::Json }
    }

    pub(crate) fn set_format(&self, format: LogFormat) {
        self.is_text.store(format == LogFormat::Text, Ordering::Relaxed);
    }

    pub(crate) fn has_access(&self) -> bool {
        self.has_access.load(Ordering::Relaxed)
    }

    pub(crate) fn set_access(&self, is_on: bool) {
        self.has_access.store(is_on, Ordering::Relaxed);
    }
}
