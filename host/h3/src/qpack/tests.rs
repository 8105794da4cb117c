//! Encoder and decoder together, and the examples of the RFC.

mod model;
mod properties;
mod rfc;
pub(super) mod support;
