//! What several of the built-in filters do alike.
//!
//! Paths are compared and copied as they came, percent-encoded; nothing here decodes one but [`query::is_named`], which
//! compares. All that can be wrong is found when a configuration is read.

pub mod authority;
pub mod client;
pub mod encode;
pub mod hash;
pub mod matcher;
pub mod path;
pub mod query;
pub mod template;
