//! The name of a package: `REGISTRY/NAME:TAG`, `REGISTRY/NAME@sha256:…`, or both.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A package in a registry, by tag, by digest or by both. If there are both, the digest decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The host, with a port if one is given, in lower case.
    pub registry: String,
    /// The package's name in the registry.
    pub repository: String,
    /// A name that can be moved to another digest.
    pub tag: Option<String>,
    /// The SHA-256 of the package's manifest.
    pub digest: Option<Digest>,
}

/// A SHA-256, written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Reference {
    /// Reads a reference that has a tag, a digest or both.
    ///
    /// # Errors
    /// The fault of the text, and the text to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let Some((registry, path)) = name.split_once('/') else {
            return Err(format!("\"{text}\" names no registry, as in \"{EXAMPLE}\""));
        };
        let registry = registry_host(registry)?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(format!(
                "\"{repository}\" is not a package's name: lower-case letters, digits, and \"-\", \"_\", \".\" and \"/\" between them"
            ));
        }
        if let Some(tag) = tag.as_deref().filter(|tag| !is_tag(tag)) {
            return Err(format!(
                "\"{tag}\" is not a tag: up to 128 letters, digits, \"-\", \"_\" and \".\""
            ));
        }
        if tag.is_none() && digest.is_none() {
            return Err(format!(
                "\"{text}\" has neither a digest nor a tag; write \"{text}@sha256:…\" or \"{text}:TAG\""
            ));
        }
        Ok(Self { registry, repository: repository.to_owned(), tag, digest })
    }

    /// Returns registry and name, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the same package at a digest.
    pub fn at(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Returns a file name: the last part of the package's name.
    pub fn file_name(&self) -> String {
        let last = self.repository.rsplit('/').next().unwrap_or(&self.repository);
        format!("{last}.wasm")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl Digest {
    /// Returns the digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads `sha256:…`.
    ///
    /// # Errors
    /// The fault of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused =
            || format!("\"{text}\" is not a digest: \"sha256:\" and 64 hexadecimal digits");
        text.strip_prefix("sha256:").and_then(Self::from_hex).ok_or_else(refused)
    }

    /// Reads 64 hexadecimal digits; `None` for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }

    /// Returns the hexadecimal digits alone.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// Reads a registry's host and port: a name with a dot or a port, an address, or `localhost`.
///
/// # Errors
/// The fault of the text.
pub fn registry_host(text: &str) -> Result<String, String> {
    let host = text.to_ascii_lowercase();
    let parsed = host.parse::<http::uri::Authority>().ok();
    let is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    let port = |authority: &http::uri::Authority| {
        let rest = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        rest.is_empty() || authority.port_u16().is_some_and(|port| port > 0)
    };
    if !is_plain || !parsed.as_ref().is_some_and(|host| !host.host().is_empty() && port(host)) {
        return Err(format!(
            "\"{text}\" is not a registry's host, as in \"registry.example.com:5000\""
        ));
    }
    // All clients have this rule: the part before the first slash is a host only if it has a dot or
    // a port, or is `localhost`.
    if !host.contains(['.', ':']) && host != "localhost" {
        return Err(format!(
            "\"{text}\" is not a registry's host; did you mean \"docker.io/{text}\"?"
        ));
    }
    Ok(host)
}

/// Whether the text is a name by the distribution specification: parts of lower-case words, joined
/// by `.`, `_`, `__` or dashes.
fn is_repository(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_joint = |joint: &str| {
        matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
    };
    let is_part = |part: &str| {
        part.starts_with(is_word) && part.ends_with(is_word) && part.split(is_word).all(is_joint)
    };
    text.len() <= 255 && text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

const EXAMPLE: &str = "registry.example.com/plugins/canary:1.2";

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [
            "ghcr.io/team/plugins/canary:1.2",
            "localhost:5000/canary:latest",
            "localhost/a__b/c.d-e:V_1",
            "127.0.0.1:5000/canary:1",
            "[::1]:5000/canary:1",
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
            let pinned = format!("{text}@sha256:{HEX}");
            assert_eq!(Reference::parse(&pinned).unwrap().to_string(), pinned);
        }
        let digest = Reference::parse(&format!("Registry.Example.com/a@sha256:{HEX}")).unwrap();
        assert_eq!(digest.registry, "registry.example.com");
        assert_eq!((digest.tag, digest.digest), (None, Some(Digest::of(b""))));
    }

    #[test]
    fn what_is_no_reference_is_told_with_what_to_write() {
        for (text, said) in [
            ("canary", "names no registry"),
            ("team/canary:1", "docker.io/team"),
            ("ghcr.io/team/canary", "neither a digest nor a tag"),
            ("ghcr.io/Team/canary:1", "not a package's name"),
            ("ghcr.io/team//canary:1", "not a package's name"),
            ("ghcr.io/../canary:1", "not a package's name"),
            ("ghcr.io/:1", "not a package's name"),
            ("ghcr.io/canary:", "not a tag"),
            ("ghcr.io/canary:a:b", "not a tag"),
            ("ghcr.io/canary@sha256:12", "not a digest"),
            ("ghcr.io/canary@md5:12", "not a digest"),
            ("user@ghcr.io/canary:1", "not a digest"),
            ("ghcr.io:0/canary:1", "not a registry's host"),
            ("ghcr.io:x/canary:1", "not a registry's host"),
            ("/canary:1", "not a registry's host"),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
