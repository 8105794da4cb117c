//! Pushes: from a component to a package in a registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, StatusCode};
use serde_json::json;

use super::error::OciError;
use super::manifest::{CONFIG, Descriptor, LAYER, MANIFEST, Manifest, WasmConfig};
use super::pull::{SIGNATURE, SIMPLE_SIGNING, signatures};
use super::registry::{Call, Registry};
use super::signature::{self, PrivateKey};
use super::{Access, Digest, Reference};

/// The description of a component in its package.
#[derive(Debug, Default)]
pub struct About {
    /// Names of its exports.
    pub exports: Vec<String>,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A stored package.
#[derive(Debug)]
pub struct Pushed {
    /// The digest of the manifest. It can pin the package.
    pub digest: Digest,
}

/// Stores a component under the reference's tag, and its signature if there is a key. The same
/// component and annotations always make the same package. Blocks for at most 120 s.
///
/// # Errors
/// [`OciError`]. The parts that are already stored stay.
pub fn push(
    reference: &Reference,
    access: &Access,
    wasm: Vec<u8>,
    about: &About,
    key: Option<&PrivateKey>,
) -> Result<Pushed, OciError> {
    super::run(&reference.to_string(), async move {
        let mut push = Push {
            what: format!("push {reference}"),
            reference,
            registry: Registry::new(reference, access, "pull,push")?,
        };
        let digest = push.package(wasm, about).await?;
        if let Some(key) = key {
            push.sign(digest, key).await?;
        }
        Ok(Pushed { digest })
    })
}

struct Push<'a> {
    what: String,
    reference: &'a Reference,
    registry: Registry,
}

impl Push<'_> {
    async fn package(&mut self, wasm: Vec<u8>, about: &About) -> Result<Digest, OciError> {
        let config = WasmConfig::new(Digest::of(&wasm), &about.exports, &about.imports);
        let config = serde_json::to_vec(&config).map_err(|error| self.request(&error))?;
        let config = self.blob(CONFIG, config).await?;
        let layer = self.blob(LAYER, wasm).await?;
        let manifest = Manifest::new(config, vec![layer], about.annotations.clone());
        let tag = self.reference.tag.clone().unwrap_or_default();
        self.manifest(&manifest, &tag).await
    }

    /// Adds a signature to those of the manifest.
    async fn sign(&mut self, digest: Digest, key: &PrivateKey) -> Result<(), OciError> {
        let signed = key
            .sign(self.reference, digest)
            .ok_or_else(|| self.request(&"no random numbers for the signature"))?;
        let name = self.reference.to_string();
        let (manifest, there) = signatures(&mut self.registry, &name, digest).await?;
        if there.contains(&signed) {
            return Ok(());
        }
        let mut layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
        let mut layer = self.blob(SIMPLE_SIGNING, signed.payload().unwrap_or_default()).await?;
        layer.annotations.insert(SIGNATURE.to_owned(), signed.signature().to_owned());
        layers.push(layer);
        let digests = layers.iter().map(|layer| layer.digest(&name).map(|d| d.to_string()));
        // The image configuration that cosign writes. It has no use.
        let config = json!({
            "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
            "rootfs": { "type": "layers", "diff_ids": digests.collect::<Result<Vec<_>, _>>()? },
        });
        let config = self.blob(IMAGE_CONFIG, config.to_string().into_bytes()).await?;
        let manifest = Manifest::new(config, layers, BTreeMap::new());
        self.manifest(&manifest, &signature::tag(digest)).await.map(drop)
    }

    /// Stores a blob if the registry does not have it.
    async fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Result<Descriptor, OciError> {
        let descriptor = Descriptor::of(media_type, &bytes);
        let digest = Digest::of(&bytes);
        let url = self.registry.url(&self.what, &format!("blobs/{digest}"))?;
        let mut call = Call::get(&self.what, url, 0);
        call.method = Method::HEAD;
        if self.registry.call(&call, None).await?.status == StatusCode::OK {
            return Ok(descriptor);
        }
        let begin = Call {
            method: Method::POST,
            url: self.registry.url(&self.what, "blobs/uploads/")?,
            content: Some((BLOB, Bytes::new())),
            limit: MAX_ANSWER,
            ..call
        };
        let answer = self.registry.call(&begin, None).await?;
        let answer = self.registry.expect(&self.what, answer, StatusCode::ACCEPTED)?;
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location
            .ok_or_else(|| self.request(&"the registry gives no location for the upload"))?;
        let mut url = self.registry.resolve(&self.what, location)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let content = Some((BLOB, bytes.into()));
        let upload = Call { method: Method::PUT, url, content, ..begin };
        let answer = self.registry.call(&upload, None).await?;
        self.registry.expect(&self.what, answer, StatusCode::CREATED)?;
        Ok(descriptor)
    }

    async fn manifest(&mut self, manifest: &Manifest, tag: &str) -> Result<Digest, OciError> {
        let bytes = manifest.to_bytes().map_err(|error| self.request(&error))?;
        let digest = Digest::of(&bytes);
        let call = Call {
            what: &self.what,
            method: Method::PUT,
            url: self.registry.url(&self.what, &format!("manifests/{tag}"))?,
            accept: None,
            content: Some((MANIFEST, bytes.into())),
            limit: MAX_ANSWER,
        };
        let answer = self.registry.call(&call, None).await?;
        self.registry.expect(&self.what, answer, StatusCode::CREATED)?;
        Ok(digest)
    }

    fn request(&self, reason: &dyn std::fmt::Display) -> OciError {
        OciError::Request { what: self.what.clone(), reason: reason.to_string() }
    }
}

/// The media type of an upload.
const BLOB: &str = "application/octet-stream";

/// The media type of an image's configuration.
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A registry's response to an upload is empty, or a few words.
const MAX_ANSWER: u64 = 64 << 10;
