//! Pulls: from a reference to a component. Each part comes from disk if it is there, else from the
//! registry.

use super::cache::Cache;
use super::error::OciError;
use super::manifest::{Descriptor, Manifest};
use super::progress::Progress;
use super::registry::{MAX_MANIFEST, Registry};
use super::signature::{self, Policy, SignatureError, Signed};
use super::{Access, Digest, Reference};

/// A pulled component.
#[derive(Debug)]
pub struct Package {
    /// The component.
    pub wasm: Vec<u8>,
    /// The digest of its manifest. It can pin the package.
    pub digest: Digest,
}

/// Pulls a package. If the reference has a digest and `cache` has the package and its signatures,
/// no request is made. A tag is always resolved anew. If the registry is out of reach, the tag's
/// last known digest is used. Blocks for at most 120 s.
///
/// # Errors
/// [`OciError`].
pub fn pull(
    reference: &Reference,
    access: &Access,
    cache: Option<&Cache>,
) -> Result<Package, OciError> {
    let pull = Pull { reference, access, cache, name: reference.to_string(), registry: None };
    super::run(&reference.to_string(), pull.package())
}

/// Fetches the manifest that lists the signatures of a manifest, and those of cosign's form.
pub(super) async fn signatures(
    registry: &mut Registry,
    name: &str,
    digest: Digest,
) -> Result<(Option<Manifest>, Vec<Signed>), OciError> {
    let what = format!("pull the signature of {name}");
    let Some(bytes) = registry.manifest_if_any(&what, &signature::tag(digest)).await? else {
        return Ok((None, Vec::new()));
    };
    let manifest = Manifest::parse(&what, &bytes)?;
    let mut signed = Vec::new();
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING) {
        let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
        if signed.len() == MAX_SIGNATURES {
            break;
        }
        let payload = registry.blob(&what, layer.digest(&what)?, MAX_PAYLOAD, None).await?;
        signed.push(Signed::new(&payload, signature.clone()));
    }
    Ok((Some(manifest), signed))
}

struct Pull<'a> {
    reference: &'a Reference,
    access: &'a Access,
    cache: Option<&'a Cache>,
    name: String,
    /// The client, made when it is needed.
    registry: Option<Registry>,
}

impl Pull<'_> {
    async fn package(mut self) -> Result<Package, OciError> {
        let digest = match self.reference.digest {
            Some(digest) => digest,
            None => self.resolve().await?,
        };
        let manifest = self.manifest(digest).await?;
        let manifest = Manifest::parse(&self.name, &manifest)?;
        if let Some(policy) = &self.access.policy {
            self.signature(policy, digest).await?;
        }
        let wasm = self.component(manifest.component(&self.name)?).await?;
        Ok(Package { wasm, digest })
    }

    /// Returns the digest of a tag.
    async fn resolve(&mut self) -> Result<Digest, OciError> {
        let tag = self.reference.tag.as_deref().unwrap_or_default();
        let what = format!("resolve {}", self.name);
        let failed = match self.ask()?.manifest(&what, tag).await {
            Ok(bytes) => {
                let digest = Digest::of(&bytes);
                if let Some(cache) = self.cache {
                    cache.keep_blob(digest, &bytes);
                    cache.keep_tag(self.reference, digest);
                }
                return Ok(digest);
            }
            Err(error) if error.is_outage() => error,
            Err(error) => return Err(error),
        };
        let Some(digest) = self.cache.and_then(|cache| cache.tag(self.reference)) else {
            return Err(failed);
        };
        let (package, error) = (&self.name, &failed as &dyn std::error::Error);
        tracing::warn!(%package, %digest, error, "the registry is out of reach; the tag's last known digest is used");
        Ok(digest)
    }

    async fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, OciError> {
        if let Some(bytes) = self.cache.and_then(|cache| cache.blob(digest, MAX_MANIFEST)) {
            return Ok(bytes);
        }
        let what = format!("pull {}", self.name);
        let registry = self.ask()?;
        let bytes = registry.manifest(&what, &digest.to_string()).await?;
        registry.check(&what, digest, &bytes)?;
        if let Some(cache) = self.cache {
            cache.keep_blob(digest, &bytes);
        }
        Ok(bytes)
    }

    async fn component(&mut self, layer: &Descriptor) -> Result<Vec<u8>, OciError> {
        let digest = layer.digest(&self.name)?;
        let what = format!("pull {}", self.name);
        if layer.size > MAX_COMPONENT {
            return Err(OciError::TooLarge { what, limit: MAX_COMPONENT });
        }
        if let Some(wasm) = self.cache.and_then(|cache| cache.blob(digest, layer.size)) {
            return Ok(wasm);
        }
        let mut progress = Progress::new(self.name.clone(), layer.size);
        let wasm = self.ask()?.blob(&what, digest, layer.size, Some(&mut progress)).await?;
        if let Some(cache) = self.cache {
            cache.keep_blob(digest, &wasm);
        }
        Ok(wasm)
    }

    /// Refuses a package without the signature that `policy` demands.
    async fn signature(&mut self, policy: &Policy, digest: Digest) -> Result<(), OciError> {
        let cached =
            self.cache.and_then(|cache| cache.signatures(self.reference, digest, MAX_SIGNED));
        let cached: Option<Vec<Signed>> =
            cached.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(signed) = &cached
            && policy.check(signed, self.reference, digest).is_ok()
        {
            return Ok(());
        }
        let name = self.name.clone();
        let signed = match (signatures(self.ask()?, &name, digest).await, cached) {
            (Ok((_, signed)), _) => signed,
            (Err(error), Some(cached)) if error.is_outage() && !policy.required => cached,
            (Err(error), _) => return Err(error),
        };
        match policy.check(&signed, self.reference, digest) {
            Err(SignatureError::Missing { .. }) if !policy.required => {
                tracing::warn!(package = %name, "it has no signature, and none is required");
            }
            Err(source) => return Err(OciError::Signature { name, source }),
            Ok(()) => {}
        }
        if let (Some(cache), Ok(bytes)) = (self.cache, serde_json::to_vec(&signed)) {
            cache.keep_signatures(self.reference, digest, &bytes);
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<&mut Registry, OciError> {
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => Registry::new(self.reference, self.access, "pull")?,
        };
        Ok(self.registry.insert(registry))
    }
}

/// The media type of the payload that cosign signs.
pub(super) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of such a layer that holds its signature.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// The runtime takes no more.
const MAX_COMPONENT: u64 = weir_runtime::MAX_COMPONENT as u64;

/// A payload is 250 bytes, and more with annotations.
const MAX_PAYLOAD: u64 = 64 << 10;

/// The most signatures of one package. A publisher has one key, or two during a change of keys.
const MAX_SIGNATURES: usize = 16;

/// All signatures of a package on disk: base64 is longer by a third.
const MAX_SIGNED: u64 = MAX_SIGNATURES as u64 * MAX_PAYLOAD * 2;
