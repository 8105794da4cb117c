//! Code that several of the built-in filters share.
//!
//! Paths are compared and copied as sent, percent-encoded. Only [`query::is_named`] decodes, for a
//! comparison. All configuration errors are found when the configuration is read.

pub mod authority;
pub mod client;
pub mod encode;
pub mod hash;
pub mod matcher;
pub mod path;
pub mod query;
pub mod template;
