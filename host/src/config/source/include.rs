//! The files that a configuration includes: found, read and joined.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Sources;
use super::pattern::{Include, Pattern, matches};
use crate::config::document::{Document, INCLUDE, MAX_BYTES, item};
use crate::config::error::Problem;
use crate::config::text::Kind as _;
use crate::files;

impl Sources {
    /// Joins the files that `value` includes. Relative paths are below `base`, and `length` is that
    /// of the main file.
    ///
    /// # Errors
    /// A file cannot be read, or is no part of a configuration.
    pub(in crate::config) fn include(
        &mut self,
        document: &mut Document,
        value: Value,
        base: &Path,
        length: usize,
    ) -> Result<Value, Vec<Problem>> {
        // A value of another type is reported by `shape`, and a wrong pattern as well.
        let Some(included) = value.get(INCLUDE).and_then(Value::as_array) else {
            return Ok(value);
        };
        let mut reader = Reader {
            base,
            document: &*document,
            sources: self,
            seen: HashSet::new(),
            left: MAX_BYTES.saturating_sub(length),
            texts: Vec::new(),
            problems: Vec::new(),
        };
        reader
            .seen
            .extend(reader.sources.files.iter().filter_map(|file| fs::canonicalize(file).ok()));
        for (at, written) in included.iter().enumerate() {
            if let Some(Ok(pattern)) = written.as_str().map(Include::parse)
                && !reader.pattern(&item(INCLUDE, at), &pattern)
            {
                break;
            }
        }
        let (texts, mut problems) = (reader.texts, reader.problems);
        match document.join(texts) {
            Ok(joined) if problems.is_empty() => Ok(joined),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }
}

/// Reads the files of patterns, one after another.
struct Reader<'a> {
    base: &'a Path,
    document: &'a Document,
    sources: &'a mut Sources,
    /// The files that were read, without links.
    seen: HashSet<PathBuf>,
    /// The bytes that further files may have.
    left: usize,
    /// The names and texts of the files.
    texts: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Reads the files of the pattern at the place `at`. Returns whether more files may follow.
    fn pattern(&mut self, at: &str, pattern: &Pattern) -> bool {
        let (folder, name) = match pattern {
            Pattern::Path(path) => return self.file(at, &self.base.join(path)),
            Pattern::Glob { folder, name } => (self.base.join(folder), name),
        };
        let searched = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        if !self.sources.globs.iter().any(|known| known == searched) {
            self.sources.stamp(searched);
            self.sources.globs.push(searched.to_owned());
        }
        match matches(searched, name, MAX_FILES) {
            Ok(names) if names.is_empty() => {
                let message = format!("{at}: no file matches \"{}\"", Include::print(pattern));
                self.sources.warnings.push(Problem::new(self.document.value(at), message));
                true
            }
            Ok(names) => names.iter().all(|name| self.file(at, &folder.join(name))),
            Err(error) => {
                self.problem(at, &format!("cannot read \"{}\": {error}", folder.display()));
                true
            }
        }
    }

    fn file(&mut self, at: &str, path: &Path) -> bool {
        if self.texts.len() >= MAX_FILES {
            self.problem(at, &format!("more than {MAX_FILES} files are included"));
            return false;
        }
        self.sources.stamp(path);
        match self.read(path) {
            Ok(text) => {
                self.left = self.left.saturating_sub(text.len());
                self.sources.files.push(path.to_owned());
                self.texts.push((path.display().to_string(), text));
                true
            }
            Err(Fault { message, is_last }) => {
                self.problem(at, &message);
                !is_last
            }
        }
    }

    fn read(&mut self, path: &Path) -> Result<String, Fault> {
        let shown = path.display();
        let failed = |error| Fault::from(format!("cannot read \"{shown}\": {error}"));
        let real = fs::canonicalize(path).map_err(failed)?;
        // A device or a pipe could be read for ever.
        if !fs::metadata(&real).map_err(failed)?.is_file() {
            return Err(format!("\"{shown}\" is not a file").into());
        }
        if !self.seen.insert(real) {
            return Err(format!("\"{shown}\" is included twice").into());
        }
        files::text(path, self.left as u64).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => {
                let most = MAX_BYTES / 1024;
                let message = format!("with \"{shown}\" the files are larger than {most} KiB");
                Fault { message, is_last: true }
            }
            _ => failed(error),
        })
    }

    fn problem(&mut self, at: &str, message: &str) {
        let place = self.document.value(at);
        self.problems.push(Problem::new(place, format!("{at}: {message}")));
    }
}

/// The reason why a file cannot be included.
struct Fault {
    message: String,
    /// Whether each further file would have the same fault.
    is_last: bool,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self { message, is_last: false }
    }
}

/// One for each site of a large host. Each is read again at each reload.
const MAX_FILES: usize = 1000;
