//! The status of a slot for the admin API.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::Slot;
use crate::plugins::generation::Generation;
use crate::plugins::trial::{Mode, Trial, WHOLE};

impl Slot {
    /// Returns the status for the admin API.
    pub fn status(&self) -> Value {
        let lanes = self.lanes();
        let serving = &lanes.serving;
        let manifest = serving.plugin.manifest();
        let state = match &lanes.trial {
            _ if serving.health.is_quarantined() => "quarantined",
            Some(Trial { mode: Mode::Shadow, .. }) => "shadow",
            Some(_) => "canary",
            None => "serving",
        };
        let schema = serde_json::from_str(&manifest.config_schema).unwrap_or(Value::Null);
        json!({
            "name": &*self.name,
            "world": serving.plugin.kind().world(),
            "state": state,
            "source": self.source.to_string(),
            "generation": generation_status(serving),
            "trial": lanes.trial.as_ref().map(|trial| json!({
                "generation": generation_status(&trial.generation),
                "mode": match trial.mode { Mode::Share(_) => "share", Mode::Shadow => "shadow" },
                "share": match trial.mode {
                    Mode::Share(share) => Some(f64::from(share) / f64::from(WHOLE)),
                    Mode::Shadow => None,
                },
                "on_no_traffic": trial.on_no_traffic.word(),
                "seconds_left": trial.ends.saturating_duration_since(Instant::now()).as_secs_f64(),
                "calls": trial.generation.tally.trial_calls.load(Ordering::Relaxed),
            })),
            "previous": lanes.previous.as_deref().map(generation_status),
            "last_swap": lanes.last.as_ref().map(|last| json!({
                "generation": last.generation,
                "outcome": last.outcome.label(),
                "reason": last.reason,
                "at": seconds(last.at),
            })),
            "manifest": {
                "name": manifest.name,
                "version": manifest.version,
                "summary": manifest.summary,
                "config_schema": schema,
            },
            "limits": {
                "memory_bytes": serving.bounds.limits.memory,
                "time_seconds": serving.bounds.limits.time.as_secs_f64(),
            },
        })
    }
}

fn generation_status(generation: &Generation) -> Value {
    let manifest = generation.plugin.manifest();
    json!({
        "number": generation.number,
        "version": manifest.version,
        "source": generation.origin.to_string(),
        "sha256": generation.digest,
        "loaded": seconds(generation.loaded),
        "failures": generation.tally.failures.load(Ordering::Relaxed),
        "mean_call_seconds": generation.tally.mean().map(|mean| mean.as_secs_f64()),
        "quarantined": generation.health.is_quarantined(),
    })
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
