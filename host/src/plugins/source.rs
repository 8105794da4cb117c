//! The sources of plugins: the binary itself, a file, or a registry.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::builtin;
use crate::config::{Plugin, Source};
use crate::oci::cache::Cache;
use crate::oci::{self, Access, Digest, OciError, Reference};

/// The reason why a component is not available.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No component of that name is embedded.
    #[error("there is no such built-in plugin")]
    Unknown,
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is larger than any reasonable component.
    #[error("{path} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: String,
    },
    /// The package is not available.
    #[error(transparent)]
    Package(Box<OciError>),
    /// The component differs from the one that the configuration pins.
    #[error("sha256 is {found}, not {expected} as configured")]
    Digest {
        /// The configured digest.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
}

/// A component after reading.
#[derive(Debug)]
pub struct Component {
    /// The bytes.
    pub wasm: Cow<'static, [u8]>,
    /// The source of the bytes. The source of a package includes its digest now.
    pub source: Source,
    /// The stamp of the file just before it was read.
    pub(super) stamp: Option<Stamp>,
}

impl Component {
    /// Returns the digest of the bytes.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.wasm)
    }
}

/// Distinguishes versions of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    /// Reads the stamp of a file. Follows links, so that a link with a new target is a change.
    /// Kubernetes updates volumes that way.
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok();
        Some(Self { modified, length: metadata.len(), inode: metadata.ino() })
    }
}

/// Reads a plugin's component, over the network if necessary, and checks its digest. A registry
/// without an entry in `registries` is reached by the rules of [`Access::to`].
///
/// # Errors
///
/// [`SourceError`] if the component is not available.
pub fn read(
    plugin: &Plugin,
    registries: &[Access],
    cache: Option<&Cache>,
) -> Result<Component, SourceError> {
    let mut source = plugin.source.clone();
    let stamp = match &source {
        Source::File(path) => Stamp::of(path),
        Source::Builtin(_) | Source::Oci(_) => None,
    };
    let wasm = match &mut source {
        Source::Builtin(name) => {
            Cow::Borrowed(builtin::component(name).ok_or(SourceError::Unknown)?)
        }
        Source::File(path) => Cow::Owned(file(path)?),
        Source::Oci(reference) => {
            let package = oci::pull(reference, &access(reference, registries), cache)
                .map_err(|error| SourceError::Package(Box::new(error)))?;
            reference.digest = Some(package.digest);
            Cow::Owned(package.wasm)
        }
    };
    if let Some(expected) = plugin.sha256 {
        let found = Digest::of(&wasm);
        if found != expected {
            return Err(SourceError::Digest { expected: expected.hex(), found: found.hex() });
        }
    }
    Ok(Component { wasm, source, stamp })
}

fn file(path: &Path) -> Result<Vec<u8>, SourceError> {
    let name = || path.display().to_string();
    let failed = |source| SourceError::Read { path: name(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(SourceError::TooLarge { path: name() });
    }
    std::fs::read(path).map_err(failed)
}

fn access(reference: &Reference, registries: &[Access]) -> Access {
    let configured = registries.iter().find(|access| access.host == reference.registry);
    configured.cloned().unwrap_or_else(|| Access::to(&reference.registry))
}

/// Maximum number of bytes of a component, the limit of the runtime. A component of a scripting
/// language with its interpreter has 20 MiB.
pub const MAX_BYTES: u64 = weir_runtime::MAX_COMPONENT as u64;
