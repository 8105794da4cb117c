//! The hand-over from a process to the one that replaces it: a binary upgrade that loses no
//! connection.
//!
//! The older process starts the newer one (`spawn`). The newer one connects back to a Unix socket
//! whose name it has in a variable of its environment (`inherit`). Over this connection
//! (`channel`) the older one offers its configuration, its keys and its sockets (`package`). This
//! part knows sockets and processes, and no proxy.
//!
//! The order of the messages:
//!
//! | message | sender | meaning |
//! |---|---|---|
//! | `Offer` | older | the package and the descriptors |
//! | `Ready` | newer | everything is built, and only the sockets are not served yet |
//! | `Failed` | newer | the newer process cannot serve, and ends; the older one goes on |
//! | `Commit` | older | it reads no UDP socket any more; the ids of handshakes that it has begun |
//! | `Serving` | newer | it accepts and reads; the older one drains |
//!
//! Until `Serving` the older process can take everything back. An upgrade that fails at any step
//! therefore costs nothing but a pause of UDP, in which the kernel buffers the packets.

mod channel;
mod inherit;
mod package;
mod spawn;

pub use self::channel::{Channel, ChannelError, MAX_DESCRIPTORS, PROTOCOL};
pub use self::inherit::{InheritError, Invitation};
pub use self::package::{
    Begun, Commit, Hidden, KeysPackage, ListenerPackage, Message, Package, SteeringPackage,
};
pub use self::spawn::{SpawnError, Successor};

/// The variable of the environment that tells a new process where to connect: the process id of the
/// older process, a colon, and the name of its socket.
///
/// No process removes the variable from its own environment: another thread may read the
/// environment at the same time. It does no harm in processes that inherit it. They ignore it,
/// because its process id is not that of their parent, and the socket takes one connection only.
pub const SOCKET_VARIABLE: &str = "WEIR_UPGRADE_SOCKET";

#[cfg(test)]
mod tests;
