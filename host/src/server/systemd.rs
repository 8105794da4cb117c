//! [`Systemd`]: the reports of the supervisor to systemd.

use std::sync::Arc;

use crate::net::systemd::{Notifier, State, watchdog};
use crate::task::Tasks;

/// Reports to systemd, if it listens.
pub(super) struct Systemd(Option<Arc<Notifier>>);

impl Systemd {
    /// Finds systemd, and reports to its watchdog from now on. The reports come from the control
    /// thread, so a control thread that is stuck is noticed.
    pub(super) fn start(tasks: &Tasks) -> Self {
        let found = Notifier::from_env().inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "systemd gets no reports");
        });
        let notifier = found.ok().flatten().map(Arc::new);
        if let (Some(notifier), Some(interval)) = (&notifier, watchdog()) {
            let notifier = Arc::clone(notifier);
            tasks.spawn(async move {
                let mut ticks = tokio::time::interval(interval);
                loop {
                    ticks.tick().await;
                    // A report that fails is followed by the next one.
                    let _ = notifier.notify(&[State::Watchdog]);
                }
            });
        }
        Self(notifier)
    }

    /// Reports states.
    pub(super) fn tell(&self, states: &[State<'_>]) {
        let Some(notifier) = &self.0 else { return };
        if let Err(error) = notifier.notify(states) {
            tracing::warn!(error = &error as &dyn std::error::Error, "report to systemd");
        }
    }
}
