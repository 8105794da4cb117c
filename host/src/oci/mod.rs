//! Plugins as packages in OCI registries: pulled, kept on disk, checked against their signatures,
//! and pushed.
//!
//! A [`Reference`] names a package. An [`Access`] describes the access to its registry and the keys
//! of accepted signatures. [`pull()`] and [`push()`] move components. A package is an OCI artifact
//! of the WebAssembly layout: one manifest, one configuration and one layer `application/wasm`.
//! `registry` speaks the distribution protocol. `manifest` reads and writes the stored form.
//! [`cache`] keeps pulled packages. [`signature`] handles cosign's signatures. No module here knows
//! a configuration file or runs a component. No data of a registry is trusted without its digest.
//!
//! The client is our own, on reqwest. The oci-client crate reads manifests, tokens and errors of
//! any size into memory and takes a failed login for an anonymous one.

pub mod access;
pub mod cache;
mod challenge;
mod client;
mod error;
mod manifest;
mod progress;
mod pull;
mod push;
mod reference;
mod registry;
pub mod signature;

use std::future::Future;
use std::time::Duration;

pub use access::{Access, Credentials};
pub use error::OciError;
pub use pull::{Package, pull};
pub use push::{About, Pushed, push};
pub use reference::{Digest, Reference, registry_host};

/// Runs a pull or a push to its end, for callers without a runtime. It runs on a thread of its own,
/// and a caller with a runtime may block too.
///
/// # Errors
/// As `work`, or if it takes longer than `TIME`, or if no runtime is available.
fn run<T: Send>(
    name: &str,
    work: impl Future<Output = Result<T, OciError>> + Send,
) -> Result<T, OciError> {
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let on_thread = move || {
        let _log = tracing::dispatcher::set_default(&dispatch);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(OciError::Runtime)?.block_on(async {
            let late = |_| OciError::Late { name: name.to_owned(), seconds: TIME.as_secs() };
            tokio::time::timeout(TIME, work).await.map_err(late)?
        })
    };
    std::thread::scope(|scope| {
        let died = |_| OciError::Runtime(std::io::Error::other("its thread panicked"));
        scope.spawn(on_thread).join().map_err(died)?
    })
}

/// The bound for one package: 64 MiB at half a MiB a second.
const TIME: Duration = Duration::from_secs(120);
