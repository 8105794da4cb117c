//! A reload: another configuration takes the place of the present one, whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::supervisor::Supervisor;
use super::{ServerError, state};
use crate::config::{self, Change, Config, ConfigErrors, Discovery, ListenerId, Stamps};
use crate::net::systemd::State as Report;
use crate::plugins;
use crate::state::State;
use crate::state::orders::{Applied, OrderError};
use crate::task::Tasks;
use crate::telemetry::events::Event;
use crate::upstream::{Upstream, discover, health};

/// A way to read a configuration, away from the control thread.
pub(super) type Read = Box<dyn FnOnce() -> (Stamps, Result<Config, ConfigErrors>) + Send>;

/// The tasks of one configuration: health checks, trials, watched files. They end with it.
pub(super) struct StateTasks(CancellationToken);

impl StateTasks {
    /// Starts the tasks of a state.
    pub(super) fn start(state: &State, tasks: &Tasks) -> Self {
        let drain = tasks.drain_token();
        let own = tasks.part(drain.clone());
        for (upstream, config) in state.upstreams.iter().zip(&state.config.upstreams) {
            health::start(upstream, &own);
            follow(upstream, config, &own);
        }
        plugins::supervise(&state.plugins, &own);
        Self(drain)
    }
}

impl Drop for StateTasks {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Follows the endpoints of an upstream, if they may change.
fn follow(upstream: &Arc<Upstream>, config: &config::Upstream, tasks: &Tasks) {
    if config.discovery == Discovery::Static {
        return;
    }
    let config = config::Upstream { endpoints: upstream.configured(), ..config.clone() };
    let (upstream, owner) = (Arc::clone(upstream), tasks.clone());
    tasks.spawn(async move {
        let apply = |endpoints| upstream.discover(endpoints);
        tokio::select! {
            biased;
            () = owner.draining() => {}
            () = discover::follow(&config, &upstream.discovered, apply) => {}
        }
    });
}

impl Supervisor {
    /// Reads a configuration and serves by it. On failure nothing has changed, and the reason is
    /// kept for the status.
    pub(super) async fn reload(
        &mut self,
        read: Read,
        origin: &'static str,
    ) -> Result<Applied, OrderError> {
        self.systemd.tell(&[Report::Reloading]);
        let reloaded = self.read_and_apply(read, origin).await;
        self.systemd.tell(&[Report::Ready]);
        reloaded
    }

    async fn read_and_apply(
        &mut self,
        read: Read,
        origin: &'static str,
    ) -> Result<Applied, OrderError> {
        let applied = match on_thread("config", read).await {
            Ok((stamps, config)) => {
                if !stamps.is_empty() {
                    self.stamps = stamps;
                }
                match config {
                    Ok(config) => self.apply(config, origin).await,
                    Err(errors) => Err(OrderError::Config(errors)),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &applied {
            self.current.refuse(error.to_string());
            self.telemetry.metrics.reloads.failed.inc();
            let data = json!({ "origin": origin, "result": "failed", "reason": error.to_string() });
            self.telemetry.events.emit(Event { kind: "reload", data });
            tracing::error!(
                origin,
                error = error as &dyn std::error::Error,
                "the configuration was refused; Weir serves as before"
            );
        }
        self.watch();
        applied
    }

    async fn apply(
        &mut self,
        mut config: Config,
        origin: &'static str,
    ) -> Result<Applied, OrderError> {
        let before = self.current.state();
        let is_new = |upstream: &&mut config::Upstream| {
            !before.upstream(&upstream.name).is_some_and(|known| known.has_source_of(upstream))
        };
        discover::begin(config.upstreams.iter_mut().filter(is_new)).await;
        let config = Arc::new(config);
        for _ in 0..ATTEMPTS {
            let plan = self.listeners.plan(&config.listeners);
            let state = self.build(&config, plan.ids(), &before).await?;
            let metrics = &self.telemetry.metrics;
            let prepared = self.listeners.prepare(plan, &config, metrics).map_err(refused)?;
            if !state.plugins.take_over() {
                // A trial of a plugin has ended meanwhile. What was built does not know of it.
                continue;
            }
            let state = Arc::new(state);
            for upstream in &state.upstreams {
                if let Some(known) = before.upstream(&upstream.name) {
                    upstream.succeed(known);
                }
            }
            let revision = self.current.publish(Arc::clone(&state), origin);
            for change in self.listeners.complete(prepared, &self.telemetry.metrics) {
                change.tell(&self.workers);
            }
            self.workers.order(|_| Some(super::worker::WorkerOrder::Follow));
            // The tasks of the state before end here.
            self.state_tasks = StateTasks::start(&state, &self.tasks);
            self.view.set_listeners(self.listeners.iter());
            self.pages.follow(&config);
            self.telemetry.metrics.reloads.ok.inc();
            let data = json!({ "origin": origin, "result": "ok", "revision": revision });
            self.telemetry.events.emit(Event { kind: "reload", data });
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(origin, revision, "the configuration was reloaded");
            self.telemetry.follow(&config.telemetry.log);
            let warnings = config.warnings.iter().map(ToString::to_string).collect();
            let needs_restart = config::needs_restart(&before.config, &config);
            if !needs_restart.is_empty() {
                let keys = needs_restart.join(", ");
                tracing::warn!(keys, "changed keys take effect after a restart");
            }
            let changes = differences(&before, &state);
            let tag = config.tag.clone();
            return Ok(Applied { revision, tag, changes, needs_restart, warnings });
        }
        Err(OrderError::Failed("the plugins change all the time; try again".to_owned()))
    }

    /// Serves by a text in place of the configuration's files, until these change.
    pub(super) async fn put(
        &mut self,
        text: String,
        if_match: Option<String>,
        is_dry_run: bool,
    ) -> Result<Applied, OrderError> {
        let before = self.current.state();
        let tag = &before.config.tag;
        if if_match.is_some_and(|wanted| wanted != "*" && wanted != *tag) {
            return Err(OrderError::Changed(tag.clone()));
        }
        let text = unmasked(text, &before.config)?;
        let loader = self.loader.clone();
        let read = move || loader.text(API, &text);
        if !is_dry_run {
            return self.reload(Box::new(move || (Stamps::new(), read())), "api").await;
        }
        let config = Arc::new(on_thread("config", read).await??);
        // Building shows faults that reading does not, such as a plugin that refuses its
        // configuration.
        let plan = self.listeners.plan(&config.listeners);
        let state = self.build(&config, plan.ids(), &before).await?;
        drop(self.listeners.prepare(plan, &config, &self.telemetry.metrics).map_err(refused)?);
        let (revision, _) = self.current.serving();
        Ok(Applied {
            revision: revision.number,
            tag: config.tag.clone(),
            changes: differences(&before, &state),
            needs_restart: config::needs_restart(&before.config, &config),
            warnings: config.warnings.iter().map(ToString::to_string).collect(),
        })
    }

    /// Returns to an earlier revision: the one before the present, or a given one.
    pub(super) async fn roll_back(&mut self, wanted: Option<u64>) -> Result<Applied, OrderError> {
        let mut revisions = self.current.revisions();
        let revision = match wanted {
            Some(number) => revisions.into_iter().find(|revision| revision.number == number),
            None => {
                let present = revisions.pop().map(|revision| revision.tag).unwrap_or_default();
                let before = revisions.into_iter().rev().find(|one| one.tag != present);
                Some(before.ok_or(OrderError::NothingBefore)?)
            }
        };
        let missing = || OrderError::NoRevision(wanted.unwrap_or_default());
        let config = (*revision.ok_or_else(missing)?.config).clone();
        self.reload(Box::new(move || (Stamps::new(), Ok(config))), "rollback").await
    }

    /// Builds the state of a configuration beside the present one. Compiling a plugin takes long,
    /// and the control thread answers meanwhile.
    async fn build(
        &self,
        config: &Arc<Config>,
        listeners: Vec<ListenerId>,
        before: &Arc<State>,
    ) -> Result<State, OrderError> {
        let (config, before) = (Arc::clone(config), Arc::clone(before));
        let telemetry = Arc::clone(&self.telemetry);
        let build = move || state(&config, &listeners, &telemetry.metrics, Some(&before));
        on_thread("reload", build).await?.map_err(refused)
    }
}

/// Puts the present secrets in place of masks, in a configuration that a client sends back.
fn unmasked(text: String, present: &Config) -> Result<String, OrderError> {
    if !text.contains(config::MASK) {
        return Ok(text);
    }
    let mut value = config::values(API, &text)?;
    config::unmask(&mut value, &present.value).map_err(|paths| {
        let paths = paths.join(", ");
        OrderError::Refused(format!("no present secret stands at these places: {paths}"))
    })?;
    Ok(value.to_string())
}

/// The name of a configuration from the admin API in errors.
const API: &str = "admin API";

/// Returns the differences of two configurations, with secrets masked.
fn differences(before: &State, after: &State) -> Vec<Change> {
    let secrets = |name: &str, config: &Value| {
        // A plugin may be in one of them only.
        let mut places = before.plugins.secrets(name, config);
        places.extend(after.plugins.secrets(name, config));
        places
    };
    config::masked_difference(&before.config.value, &after.config.value, &secrets)
}

fn refused(error: ServerError) -> OrderError {
    match error {
        ServerError::Config(errors) => OrderError::Config(errors),
        error => OrderError::Failed(weir_runtime::with_causes(&error)),
    }
}

/// Runs work that blocks on a thread of its own.
async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OrderError> {
    let (done, result) = oneshot::channel();
    // The send fails only if the process ends.
    let run = move || drop(done.send(work()));
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|error| OrderError::Failed(format!("start a thread: {error}")))?;
    let result = tokio::time::timeout(WORK, result).await;
    let late = |_| OrderError::Failed(format!("it takes longer than {WORK:?}"));
    result.map_err(late)?.map_err(|_| {
        OrderError::Failed("reading the configuration failed; see standard error".to_owned())
    })
}

/// The longest time of one piece of work. Many large plugins may be compiled without a cache.
const WORK: Duration = Duration::from_secs(600);

/// Attempts to build a state while trials of plugins end.
const ATTEMPTS: usize = 8;
