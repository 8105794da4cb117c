//! The runtime with real components: the built-in balancers, and guests that misbehave.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, and what it calls, a panic is how it fails"
)]

mod builtins;
mod guests;
mod support;
