//! [`Before`]: the state that a process finds at its start: an older process that it replaces, and
//! sockets that systemd has bound.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;
use tokio::runtime::LocalRuntime;
use weir_runtime::with_causes;

use super::pages::InheritedPages;
use super::{ServerError, failed, local_runtime};
use crate::config::{Config, ConfigErrors, Loader, Stamps};
use crate::handoff::{
    Begun, Channel, ChannelError, InheritError, Invitation, KeysPackage, Message, Package,
};
use crate::listen::{AdoptError, Inherited, Keys};
use crate::net::systemd::{self, InheritedSocket};
use crate::plugins::Plugins;
use crate::state::State;
use crate::tls::TicketsError;

/// The state that a process finds at its start.
pub struct Before {
    /// The runtime of the control thread, which the connection to the older process belongs to.
    pub(super) runtime: LocalRuntime,
    older: Option<Older>,
    pub(super) sockets: Vec<Inherited>,
    pub(super) pages: InheritedPages,
}

/// The process that this one replaces.
struct Older {
    channel: Channel,
    configuration: String,
    files: Stamps,
    keys: KeysPackage,
    plugins: Vec<Value>,
    upstreams: serde_json::Map<String, Value>,
}

/// The reason why the start cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum BeforeError {
    /// The older process cannot be reached.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// The conversation with the older process failed.
    #[error("talk to the process that is to be replaced")]
    Channel(#[from] ChannelError),
    /// Its sockets cannot be used.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// Its keys cannot be used.
    #[error("take over the keys of the process that is to be replaced")]
    Keys(#[from] TicketsError),
    /// A plugin that was swapped in there is not usable here.
    #[error("take over the component of plugin {0}: {1}")]
    Plugin(String, String),
    /// The runtime does not accept the connection, or systemd's sockets are unusable.
    #[error("take over sockets")]
    Io(#[from] io::Error),
}

impl Before {
    /// Looks for an older process and for sockets of systemd. Must be the first call of the
    /// program: it changes the environment, which is not allowed while another thread runs.
    ///
    /// # Errors
    /// [`BeforeError`], or the control thread has no runtime.
    pub fn find() -> Result<Self, ServerError> {
        let activated = systemd::inherited().map_err(BeforeError::from)?;
        let runtime = local_runtime().map_err(failed("start the control thread"))?;
        let (older, pages) = (None, Vec::new());
        let mut before = Self { runtime, older, sockets: by_address(activated), pages };
        if let Some(invitation) = Invitation::from_env() {
            before.accept(&invitation)?;
        }
        Ok(before)
    }

    /// Finds nothing, for a process that is not to replace another one.
    ///
    /// # Errors
    /// The control thread has no runtime.
    pub fn nothing() -> Result<Self, ServerError> {
        let runtime = local_runtime().map_err(failed("start the control thread"))?;
        Ok(Self { runtime, older: None, sockets: Vec::new(), pages: Vec::new() })
    }

    fn accept(&mut self, invitation: &Invitation) -> Result<(), BeforeError> {
        let stream = invitation.connect()?;
        let (channel, (package, descriptors)) = self.runtime.block_on(async {
            let channel = Channel::new(stream)?;
            let offer = channel.receive_offer(OFFER).await?;
            Ok::<_, BeforeError>((channel, offer))
        })?;
        let Package { weir_version, configuration, files, listeners, keys, plugins, state, .. } =
            package;
        tracing::info!(version = weir_version, "taking over from an older process");
        let mut descriptors = descriptors.into_iter();
        for listener in listeners {
            let own: Vec<OwnedFd> = descriptors.by_ref().take(listener.descriptors()).collect();
            if listener.name.is_empty() {
                self.sockets.push(Inherited::from_package(listener, own)?);
            } else {
                self.pages.extend(own.into_iter().map(|socket| (listener.name.clone(), socket)));
            }
        }
        let files = Stamps::deserialize(files).unwrap_or_default();
        self.older = Some(Older { channel, configuration, files, keys, plugins, upstreams: state });
        Ok(())
    }

    /// Reads the configuration: the one in use in the older process, else that of the files.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn configuration(&self, loader: &Loader) -> (Stamps, Result<Config, ConfigErrors>) {
        let Some(older) = &self.older else { return loader.load() };
        // A file that the older process has not read in its present version is a reload.
        let files = older.files.clone();
        let stamps = if files.is_empty() { loader.load().0 } else { files };
        (stamps, loader.text(PRESENT, &older.configuration))
    }

    /// Returns the origin of the first configuration.
    pub(super) fn origin(&self) -> &'static str {
        if self.older.is_some() { "upgrade" } else { "start" }
    }

    /// Returns the keys of the older process, else new ones.
    pub(super) fn keys(&self) -> Result<Keys, ServerError> {
        let keys = match &self.older {
            Some(older) => Keys::import(&older.keys),
            None => Keys::new(),
        };
        Ok(keys.map_err(BeforeError::from)?)
    }

    /// Gives a state the facts of the older process: health and changes of endpoints, and
    /// components that were swapped in.
    pub(super) fn restore(&self, state: &State) -> Result<(), ServerError> {
        let Some(older) = &self.older else { return Ok(()) };
        for upstream in &state.upstreams {
            if let Some(facts) = older.upstreams.get(&*upstream.name) {
                upstream.import(facts);
            }
        }
        for plugin in &older.plugins {
            restore(&state.plugins, plugin)?;
        }
        Ok(())
    }

    /// Tells the older process that this one is ready, and waits until it has stopped reading its
    /// sockets. Returns the handshakes that it has begun, by listener, and the state of plugins.
    pub(super) async fn commit(&self) -> Result<Option<(Vec<Vec<Begun>>, Value)>, ServerError> {
        let Some(older) = &self.older else { return Ok(None) };
        let committed = async {
            older.channel.send(&Message::Ready, OFFER).await?;
            older.channel.receive("commit", OFFER).await
        };
        match committed.await.map_err(BeforeError::from)? {
            Message::Commit(commit) => Ok(Some((commit.begun, commit.shared))),
            // `receive` has compared the name.
            _ => Ok(None),
        }
    }

    /// Tells the older process that this one serves.
    pub(super) async fn serving(&self) -> Result<(), ServerError> {
        let Some(older) = &self.older else { return Ok(()) };
        Ok(older.channel.send(&Message::Serving, OFFER).await.map_err(BeforeError::from)?)
    }

    /// Tells the older process why this one cannot serve.
    pub fn fail(&self, error: &(dyn std::error::Error + 'static)) {
        let Some(older) = &self.older else { return };
        let message = Message::Failed { reason: with_causes(error) };
        // The older process sees the end of this one if the message does not arrive.
        let _ = self.runtime.block_on(older.channel.send(&message, OFFER));
    }
}

/// Puts a component that was swapped in into its slot.
fn restore(plugins: &Plugins, plugin: &Value) -> Result<(), ServerError> {
    let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default();
    let restored = plugins.restore(name, plugin);
    Ok(restored.map_err(|reason| BeforeError::Plugin(name.to_owned(), reason))?)
}

/// Puts the sockets of each address together.
fn by_address(activated: Vec<systemd::Inherited>) -> Vec<Inherited> {
    let mut all: HashMap<SocketAddr, (Vec<_>, Vec<_>)> = HashMap::new();
    for systemd::Inherited { address, socket, name } in activated {
        tracing::debug!(name, %address, "systemd passes a socket");
        let (tcp, udp) = all.entry(address).or_default();
        match socket {
            InheritedSocket::Tcp(socket) => tcp.push(socket),
            InheritedSocket::Udp(socket) => udp.push(socket),
        }
    }
    let listener = |(address, (tcp, udp))| Inherited::activated(address, tcp, udp);
    all.into_iter().map(listener).collect()
}

/// The name of the older process's configuration in errors.
const PRESENT: &str = "configuration of the running process";

/// The time for a message of the older process.
const OFFER: Duration = Duration::from_secs(30);
