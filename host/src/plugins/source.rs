//! The sources of plugins: the binary itself, a file, or a registry.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::config::{Plugin, Source};
use crate::oci::cache::Cache;
use crate::oci::{self, Access, OciError, Reference};

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
        Source::Builtin(name) => Cow::Borrowed(builtin(name).ok_or(SourceError::Unknown)?),
        Source::File(path) => Cow::Owned(file(path)?),
        Source::Oci(reference) => {
            let package = oci::pull(reference, &access(reference, registries), cache)
                .map_err(|error| SourceError::Package(Box::new(error)))?;
            reference.digest = Some(package.digest);
            Cow::Owned(package.wasm)
        }
    };
    if let Some(expected) = plugin.sha256 {
        let found: [u8; 32] = Sha256::digest(&wasm).into();
        if found != expected {
            return Err(SourceError::Digest { expected: hex(&expected), found: hex(&found) });
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

/// Returns the embedded component with this name.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    BUILTIN.iter().find(|(builtin, _)| *builtin == name).map(|(_, wasm)| *wasm)
}

/// All embedded components, by name.
pub const BUILTIN: [(&str, &[u8]); 23] = [
    ("round-robin", include_bytes!("../../../plugins/dist/round-robin.wasm")),
    ("least-connections", include_bytes!("../../../plugins/dist/least-connections.wasm")),
    ("weighted", include_bytes!("../../../plugins/dist/weighted.wasm")),
    ("random-two-choices", include_bytes!("../../../plugins/dist/random-two-choices.wasm")),
    ("consistent-hash", include_bytes!("../../../plugins/dist/consistent-hash.wasm")),
    ("api-key", include_bytes!("../../../plugins/dist/api-key.wasm")),
    ("basic-auth", include_bytes!("../../../plugins/dist/basic-auth.wasm")),
    ("body-replace", include_bytes!("../../../plugins/dist/body-replace.wasm")),
    ("cors", include_bytes!("../../../plugins/dist/cors.wasm")),
    ("forward-auth", include_bytes!("../../../plugins/dist/forward-auth.wasm")),
    ("geo", include_bytes!("../../../plugins/dist/geo.wasm")),
    ("headers", include_bytes!("../../../plugins/dist/headers.wasm")),
    ("ip-allow", include_bytes!("../../../plugins/dist/ip-allow.wasm")),
    ("jwt", include_bytes!("../../../plugins/dist/jwt.wasm")),
    ("maintenance", include_bytes!("../../../plugins/dist/maintenance.wasm")),
    ("mirror-tag", include_bytes!("../../../plugins/dist/mirror-tag.wasm")),
    ("rate-limit", include_bytes!("../../../plugins/dist/rate-limit.wasm")),
    ("redirect", include_bytes!("../../../plugins/dist/redirect.wasm")),
    ("request-id", include_bytes!("../../../plugins/dist/request-id.wasm")),
    ("rewrite", include_bytes!("../../../plugins/dist/rewrite.wasm")),
    ("security-headers", include_bytes!("../../../plugins/dist/security-headers.wasm")),
    ("split", include_bytes!("../../../plugins/dist/split.wasm")),
    ("waf", include_bytes!("../../../plugins/dist/waf.wasm")),
];

/// Maximum number of bytes of a component, the limit of the runtime. A component of a scripting
/// language with its interpreter has 20 MiB.
pub const MAX_BYTES: u64 = weir_runtime::MAX_COMPONENT as u64;

/// Returns a component's SHA-256 in hexadecimal.
pub fn digest(wasm: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(wasm).into();
    hex(&digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
