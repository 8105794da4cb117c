//! The form of a package in a registry: a manifest that names a configuration and layers by their
//! digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, OciError};

/// A manifest (OCI image specification 1.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The description of a blob in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// The configuration of a component's package.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WasmConfig<'a> {
    /// A constant: the same component is always the same package.
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    component: Interfaces<'a>,
}

#[derive(Debug, Serialize)]
struct Interfaces<'a> {
    exports: &'a [String],
    imports: &'a [String],
}

impl Manifest {
    pub(super) fn new(
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let media_type = MANIFEST.to_owned();
        Self { schema_version: 2, media_type, config, layers, annotations }
    }

    /// Reads the manifest of the package `name`.
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let layout = |reason| OciError::Layout { name: name.to_owned(), reason };
        let value: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|error| layout(format!("its manifest is not JSON: {error}")))?;
        if value.get("manifests").is_some() {
            return Err(layout(
                "it is an index of several manifests; name one of them by its digest".to_owned(),
            ));
        }
        serde_json::from_value(value)
            .map_err(|error| layout(format!("its manifest has an unexpected form: {error}")))
    }

    /// Returns the one layer that is a component.
    pub(super) fn component(&self, name: &str) -> Result<&Descriptor, OciError> {
        let layout = |reason| OciError::Layout { name: name.to_owned(), reason };
        let is_wasm = |layer: &&Descriptor| [LAYER, OLD_LAYER].contains(&layer.media_type.as_str());
        let mut components = self.layers.iter().filter(is_wasm);
        match (components.next(), components.count()) {
            (Some(layer), 0) => Ok(layer),
            (None, _) => {
                let kinds: Vec<&str> = self.layers.iter().map(|l| l.media_type.as_str()).collect();
                let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
                Err(layout(format!("no layer is {LAYER}; it has {kinds}")))
            }
            (_, others) => Err(layout(format!("{} layers are {LAYER}, not one", others + 1))),
        }
    }

    /// Returns the stored form.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl Descriptor {
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the digest, if its algorithm is supported.
    pub(super) fn digest(&self, name: &str) -> Result<Digest, OciError> {
        Digest::parse(&self.digest)
            .map_err(|reason| OciError::Layout { name: name.to_owned(), reason })
    }
}

impl<'a> WasmConfig<'a> {
    pub(super) fn new(wasm: Digest, exports: &'a [String], imports: &'a [String]) -> Self {
        Self {
            created: "1970-01-01T00:00:00Z",
            architecture: "wasm",
            // The layout has this value for every component, with WASI or without.
            os: "wasip2",
            layer_digests: [wasm.to_string()],
            component: Interfaces { exports, imports },
        }
    }
}

/// The media type of manifests.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of a package's configuration.
pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// The media type of a component.
pub(super) const LAYER: &str = "application/wasm";

/// The media type of a component before there was a common layout.
const OLD_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: &[&str]) -> Manifest {
        let layers = layers.iter().map(|kind| Descriptor::of(kind, b"wasm")).collect();
        Manifest::new(Descriptor::of(CONFIG, b"{}"), layers, BTreeMap::new())
    }

    #[test]
    fn the_one_layer_that_is_a_component_is_taken() {
        for layers in [&[LAYER][..], &[OLD_LAYER], &["text/plain", LAYER]] {
            let bytes = manifest(layers).to_bytes().unwrap();
            let read = Manifest::parse("a", &bytes).unwrap();
            assert_eq!(read.component("a").unwrap().digest("a").unwrap(), Digest::of(b"wasm"));
        }
        for (layers, said) in [
            (&["application/vnd.oci.image.layer.v1.tar+gzip"][..], "it has application/vnd.oci"),
            (&[], "it has none"),
            (&[LAYER, LAYER], "2 layers"),
        ] {
            let error = manifest(layers).component("a").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, said) in [
            ("<html>", "not JSON"),
            ("{}", "unexpected form"),
            (r#"{"schemaVersion": 2, "manifests": []}"#, "an index"),
        ] {
            let error = Manifest::parse("a", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
