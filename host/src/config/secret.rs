//! Secrets: where they are, and how they are read.

use std::env::{self, VarError};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::names::Secret;
use super::text::Kind as _;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum SecretSource {
    Environment(String),
    File(PathBuf),
    Plain(String),
}

impl SecretSource {
    /// Reads it; a file's last line end is no part of it. Relative paths are below `base`.
    pub(super) fn read(self, base: &Path) -> Result<String, String> {
        match self {
            Self::Plain(text) => Ok(text),
            Self::Environment(name) => env::var(&name).map_err(|error| match error {
                VarError::NotPresent => format!("the variable {name} is not set"),
                VarError::NotUnicode(_) => format!("the variable {name} is not text"),
            }),
            Self::File(file) => {
                let file = base.join(file);
                let failed = |error| format!("cannot read \"{}\": {error}", file.display());
                let mut text = String::new();
                let mut reader = fs::File::open(&file).map_err(failed)?.take(MAX_BYTES + 1);
                reader.read_to_string(&mut text).map_err(failed)?;
                if text.len() as u64 > MAX_BYTES {
                    return Err(format!("\"{}\" is larger than {MAX_BYTES} bytes", file.display()));
                }
                let end = text.strip_suffix('\n').unwrap_or(&text);
                Ok(end.strip_suffix('\r').unwrap_or(end).to_owned())
            }
        }
    }
}

/// Reads a secret as the configuration has them: `env:NAME`, `file:PATH` below `base`, or the text itself.
///
/// # Errors
/// Why it cannot be had.
pub fn secret(text: &str, base: &Path) -> Result<String, String> {
    Secret::parse(text)?.read(base)
}

/// Of a file; a set of keys or a list of users fits.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "two\nlines\r\n").unwrap();
        assert_eq!(secret("file:key", folder.path()), Ok("two\nlines".to_owned()));
        assert_eq!(secret("plain: text", folder.path()), Ok("plain: text".to_owned()));
        assert_eq!(secret("env:CARGO_PKG_NAME", folder.path()), Ok("weir".to_owned()));
    }

    #[test]
    fn a_secret_that_cannot_be_had_is_told_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &str| secret(text, folder.path()).unwrap_err();
        assert!(refused("env:WEIR_TEST_NOT_SET").contains("WEIR_TEST_NOT_SET is not set"));
        assert!(refused("file:none").contains("cannot read"));
        assert!(refused("").contains("empty"));
        fs::write(folder.path().join("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(refused("file:large").contains("larger than"));
        fs::write(folder.path().join("binary"), [0xff]).unwrap();
        assert!(refused("file:binary").contains("cannot read"));
    }
}
