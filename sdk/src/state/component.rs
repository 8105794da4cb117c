//! The host's state, in a component.

pub(super) use crate::bindings::state::{add, get, remove, replace, set};
