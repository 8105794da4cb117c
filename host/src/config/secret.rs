//! Secrets: their locations, and how they are read.

use std::env::{self, VarError};
use std::path::{Path, PathBuf};

use super::names::Secret;
use super::text::Kind as _;
use crate::files;

/// The location of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum SecretSource {
    Environment(String),
    File(PathBuf),
    Plain(String),
}

impl SecretSource {
    /// Reads the secret. The last line end of a file is not part of it. A byte order mark at its
    /// beginning is not part of it either: a variable may have one from a file. Relative paths are
    /// below `base`.
    pub(super) fn read(self, base: &Path) -> Result<String, String> {
        match self {
            Self::Plain(text) => Ok(text),
            Self::Environment(name) => match env::var(&name) {
                Ok(text) => Ok(files::unmarked(&text).to_owned()),
                Err(VarError::NotPresent) => Err(format!("the variable {name} is not set")),
                Err(VarError::NotUnicode(_)) => Err(format!("the variable {name} is not text")),
            },
            Self::File(file) => {
                let file = base.join(file);
                let failed = |error| format!("cannot read \"{}\": {error}", file.display());
                let text = files::text(&file, MAX_BYTES).map_err(failed)?;
                let end = text.strip_suffix('\n').unwrap_or(&text);
                Ok(end.strip_suffix('\r').unwrap_or(end).to_owned())
            }
        }
    }
}

/// Reads a secret in the form of the configuration: `env:NAME`, `file:PATH` below `base`, or the
/// text itself.
///
/// # Errors
/// The reason why the secret cannot be read.
pub fn secret(text: &str, base: &Path) -> Result<String, String> {
    Secret::parse(text)?.read(base)
}

/// The most bytes of a file. A set of keys or a list of users fits.
const MAX_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "two\nlines\r\n").unwrap();
        assert_eq!(secret("file:key", folder.path()), Ok("two\nlines".to_owned()));
        assert_eq!(secret("plain: text", folder.path()), Ok("plain: text".to_owned()));
        assert_eq!(secret("env:CARGO_PKG_NAME", folder.path()), Ok("weir".to_owned()));
        fs::write(folder.path().join("marked"), "\u{feff}ann:hash\n").unwrap();
        assert_eq!(secret("file:marked", folder.path()), Ok("ann:hash".to_owned()));
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
