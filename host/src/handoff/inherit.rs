//! The side of the newer process: finds the older one and connects to it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, geteuid, getppid};

use super::SOCKET_VARIABLE;

/// The call of an older process to take its place.
#[derive(Debug)]
pub struct Invitation {
    parent: Pid,
    name: String,
}

impl Invitation {
    /// Returns the invitation in the environment. There is none if this process was started in any
    /// other way than by an older one, also if it has inherited the variable of another process.
    pub fn from_env() -> Option<Self> {
        Self::parse(&std::env::var(SOCKET_VARIABLE).ok()?, getppid()?)
    }

    fn parse(variable: &str, parent: Pid) -> Option<Self> {
        let (id, name) = variable.split_once(':')?;
        let is_parent = id.parse() == Ok(parent.as_raw_nonzero().get());
        (is_parent && !name.is_empty()).then(|| Self { parent, name: name.to_owned() })
    }

    /// Connects to the older process. [`super::Channel::new`] makes a channel of the connection.
    ///
    /// # Errors
    /// The older process has given up, or the peer is another process.
    pub fn connect(&self) -> Result<UnixStream, InheritError> {
        let address = SocketAddr::from_abstract_name(&self.name).map_err(InheritError::Connect)?;
        let stream = UnixStream::connect_addr(&address).map_err(InheritError::Connect)?;
        let peer = socket_peercred(&stream).map_err(|error| InheritError::Connect(error.into()))?;
        let is_parent = peer.pid == self.parent && peer.uid == geteuid();
        if is_parent { Ok(stream) } else { Err(InheritError::Stranger) }
    }
}

/// The reason why the older process cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// Nothing answers.
    #[error("connect to the process that is to be replaced")]
    Connect(#[source] io::Error),
    /// Another process answers.
    #[error("the process that is to be replaced has lost its socket to another process")]
    Stranger,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parent_invites() {
        let parent = Pid::from_raw(17).unwrap();
        assert_eq!(Invitation::parse("17:name", parent).unwrap().name, "name");
        for other in ["18:name", "17:", "17", ":name", "", "x:name"] {
            assert!(Invitation::parse(other, parent).is_none(), "{other}");
        }
    }

    #[test]
    fn a_parent_that_has_given_up_is_told() {
        let invitation =
            Invitation { parent: getppid().unwrap(), name: format!("{}", rand::random::<u128>()) };
        assert!(matches!(invitation.connect(), Err(InheritError::Connect(_))));
    }
}
