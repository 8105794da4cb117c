//! Positions within one configuration, each with a type of its own.
//!
//! A name identifies a part of a configuration for as long as the process lives. A position is
//! shorter and is valid only within the configuration that it comes from: nothing may keep one
//! longer than that. The id of a listener is the exception: connections outlive configurations.

/// Names a listener for as long as the process lives, over all configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(usize);

/// The position of a plugin in [`Config::plugins`](super::Config::plugins).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PluginId(usize);

/// The position of an upstream in [`Config::upstreams`](super::Config::upstreams).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(usize);

macro_rules! position {
    ($($id:ident),*) => {$(
        impl $id {
            /// Returns the id of the part at this position.
            pub const fn new(position: usize) -> Self {
                Self(position)
            }

            /// Returns the position, from 0.
            pub const fn position(self) -> usize {
                self.0
            }

            /// Returns the part with this id out of all parts of its kind.
            pub fn of<T>(self, all: &[T]) -> Option<&T> {
                all.get(self.0)
            }
        }
    )*};
}

position!(ListenerId, PluginId, UpstreamId);
