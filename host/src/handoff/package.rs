//! The contents of the messages between two processes.
//!
//! Later versions may add fields, so unknown ones are ignored, and new ones have defaults. A change
//! that an older version would misunderstand gets a new [`super::PROTOCOL`].

use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A message between two processes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "body", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Message {
    /// The older process offers all that it has. The descriptors follow in the order of the
    /// listeners: TCP, UDP, relays.
    Offer(Box<Package>),
    /// The newer process is ready to serve the sockets.
    Ready,
    /// The newer process ends, for this reason.
    Failed {
        /// The reason, for the log of the older process.
        reason: String,
    },
    /// The older process has stopped reading its UDP sockets.
    Commit(Commit),
    /// The newer process serves the sockets.
    Serving,
}

impl Message {
    /// Returns the name of the kind, for error messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => "offer",
            Self::Ready => "ready",
            Self::Failed { .. } => "failed",
            Self::Commit(_) => "commit",
            Self::Serving => "serving",
        }
    }
}

/// All that a process hands to the one that replaces it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Package {
    /// The version of Weir that sends the package, for logs.
    pub weir_version: String,
    /// The text of the configuration that is in use.
    pub configuration: String,
    /// The folder that relative paths of the configuration start from.
    pub base: String,
    /// The origin of the configuration, such as the path of its file.
    pub origin: String,
    /// The versions of the configuration's files that were read last, in a form that their owner
    /// knows. The configuration need not be that of the files.
    pub files: Value,
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<ListenerPackage>,
    /// The keys that both processes need.
    pub keys: KeysPackage,
    /// The plugins that were swapped in, in a form that their owner knows.
    pub plugins: Vec<Value>,
    /// Further state by the name of its owner, such as health and discovered endpoints, in a form
    /// that the owner knows.
    pub state: serde_json::Map<String, Value>,
}

impl Package {
    /// Returns the number of descriptors that belong to the package.
    pub fn descriptors(&self) -> usize {
        let counts = self.listeners.iter().map(ListenerPackage::descriptors);
        counts.fold(0, usize::saturating_add)
    }
}

/// A listener and its sockets.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListenerPackage {
    /// The bound address.
    pub address: SocketAddr,
    /// The name in the configuration, if it has one.
    #[serde(default)]
    pub name: String,
    /// Number of listening sockets of TCP.
    pub tcp: usize,
    /// Number of sockets of UDP, in the order in which they were bound.
    pub udp: usize,
    /// The secret of QUIC connection ids.
    pub steering: SteeringPackage,
    /// The generation of the process that sends the package.
    pub generation: u8,
    /// The generations that still have connections, oldest first. The sender is the last. The
    /// package has a relay to each. Empty without UDP.
    pub relays: Vec<u8>,
}

impl ListenerPackage {
    /// Returns the number of descriptors that belong to the listener.
    pub fn descriptors(&self) -> usize {
        self.tcp.saturating_add(self.udp).saturating_add(self.relays.len())
    }
}

/// The secret of a listener's connection ids.
#[derive(Debug, Serialize, Deserialize)]
pub struct SteeringPackage {
    /// The secret, in a form that `listen` knows.
    pub secret: Hidden,
}

/// The keys that both processes need, so that a client may return to either.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeysPackage {
    /// The keys of TLS session tickets.
    pub tickets: Hidden,
    /// The key of QUIC address validation tokens.
    pub retry: Hidden,
    /// The key of QUIC stateless resets.
    pub reset: Hidden,
}

/// The part of the state that is known only after the older process has stopped reading.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// For each listener of the offer, the handshakes that were begun.
    pub begun: Vec<Vec<Begun>>,
    /// The state that plugins share, in a form that its owner knows.
    pub shared: Value,
}

/// The handshakes that one process has begun lately.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begun {
    /// The generation of the process.
    pub generation: u8,
    /// The connection ids that clients chose, in base64.
    pub ids: Vec<String>,
}

/// Secret bytes. They are base64 in a message, and do not show in logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub Vec<u8>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({} bytes)", self.0.len())
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| D::Error::custom("the bytes are no base64"))
    }
}
