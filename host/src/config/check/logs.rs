//! The files that log lines and access records are written to.

use std::fs;
use std::path::{Path, PathBuf};

use super::Check;
use crate::config::document::below;
use crate::config::{Log, LogFile};

impl Check<'_> {
    /// Resolves the paths, and checks that both files can be made and are two files.
    pub(super) fn log_files(&mut self, log: &mut Log) {
        let file = self.log_file(FILE, log.file.as_mut());
        let access = self.log_file(ACCESS_FILE, log.access_file.as_mut());
        if access.is_some() && file == access {
            let path = below(ACCESS_FILE, "path");
            self.problem(&path, format!("{path}: is the file of the log too; name another file"));
        }
        if log.access_file.is_some() && !log.access {
            let message = "no record reaches access_file, because access is false".to_owned();
            self.warn(ACCESS_FILE, message);
        }
    }

    /// Returns the one true name of the file. Returns `None` if there is no file, or no good one.
    fn log_file(&mut self, path: &str, file: Option<&mut LogFile>) -> Option<PathBuf> {
        let file = file?;
        if file.rotate.size > file.rotate.keep {
            let at = below(&below(path, "rotate"), "size");
            self.problem(&at, format!("{at}: is larger than keep, which bounds it"));
        }
        file.path = self.base.join(&file.path);
        match destination(&file.path) {
            Ok(name) => Some(name),
            Err(message) => {
                let at = below(path, "path");
                self.problem(&at, format!("{at}: {message}"));
                None
            }
        }
    }
}

/// Returns the true name of a file that exists or can be made.
fn destination(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            return fs::canonicalize(path)
                .map_err(|error| format!("cannot use \"{shown}\": {error}"));
        }
        Ok(found) if found.is_dir() => return Err(format!("\"{shown}\" is a folder")),
        Ok(_) => {
            return Err(format!(
                "\"{shown}\" is no regular file; leave the key out for standard output or error"
            ));
        }
        Err(_) => {}
    }
    let Some(name) = path.file_name() else { return Err(format!("\"{shown}\" is a folder")) };
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    match fs::canonicalize(folder) {
        Ok(found) if found.is_dir() => Ok(found.join(name)),
        Ok(_) => Err(format!("\"{}\" is no folder", folder.display())),
        Err(error) => Err(format!("cannot use the folder \"{}\": {error}", folder.display())),
    }
}

const FILE: &str = "telemetry.log.file";

const ACCESS_FILE: &str = "telemetry.log.access_file";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::config::{Config, ConfigErrors, Overrides, from_text};

    fn load(base: &Path, log: &str) -> Result<Config, ConfigErrors> {
        let text = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\n\
             routes: [{{ respond: {{}} }}]\n\
             telemetry:\n  log:\n{log}"
        );
        from_text("weir.yaml", &text, base, &Overrides::default())
    }

    fn fault(base: &Path, log: &str) -> String {
        load(base, log).unwrap_err().to_string().replace(&base.display().to_string(), "BASE")
    }

    #[test]
    fn a_log_file_is_below_the_configuration_and_has_default_bounds() {
        let base = tempfile::tempdir().unwrap();
        let log = "    file: { path: weir.log }\n    \
                   access_file: { path: a.log, rotate: { size: 2MiB, age: 24h, keep: 2MiB } }";
        let log = load(base.path(), log).unwrap().telemetry.log;
        let (file, access) = (log.file.unwrap(), log.access_file.unwrap());
        assert_eq!(file.path, base.path().join("weir.log"));
        assert_eq!(file.rotate, crate::config::Rotation::default());
        assert_eq!((access.rotate.size, access.rotate.keep), (2 << 20, 2 << 20));
        assert_eq!(access.rotate.age.unwrap().as_secs(), 24 * 3600);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_refused_with_its_place() {
        let base = tempfile::tempdir().unwrap();
        let fault = fault(base.path(), "    file: { path: logs/weir.log }");
        let expected = "weir.yaml:5:19: telemetry.log.file.path: cannot use the folder \
                        \"BASE/logs\": No such file or directory (os error 2)";
        assert_eq!(fault, expected);
    }

    #[test]
    fn a_folder_or_a_device_is_no_log_file() {
        let base = tempfile::tempdir().unwrap();
        for (path, part) in [
            (".", "is a folder"),
            ("''", "is a folder"),
            ("new/..", "is a folder"),
            ("/dev/null", "is no regular file"),
            ("b.log/c.log", "is no folder"),
        ] {
            fs::write(base.path().join("b.log"), "").unwrap();
            let fault = fault(base.path(), &format!("    access_file: {{ path: {path} }}"));
            assert!(fault.contains("5:26: telemetry.log.access_file.path: "), "{fault}");
            assert!(fault.contains(part), "{path}: {fault}");
        }
    }

    #[test]
    fn two_outputs_need_two_files_whatever_their_names_are() {
        let base = tempfile::tempdir().unwrap();
        let same = |one: &str, two: &str| {
            let log = format!("    file: {{ path: {one} }}\n    access_file: {{ path: {two} }}");
            load(base.path(), &log).err().map(|error| error.to_string())
        };
        let fault = same("a.log", "./a.log").unwrap();
        assert!(fault.starts_with("weir.yaml:6:26: telemetry.log.access_file.path: is the file"));
        fs::write(base.path().join("real.log"), "").unwrap();
        std::os::unix::fs::symlink("real.log", base.path().join("link.log")).unwrap();
        assert!(same("real.log", "link.log").is_some());
        assert_eq!(same("a.log", "b.log"), None);
    }

    #[test]
    fn one_file_fits_into_the_bytes_that_are_kept() {
        let base = tempfile::tempdir().unwrap();
        let fault = fault(base.path(), "    file: { path: a.log, rotate: { keep: 50MiB } }");
        assert!(
            fault.ends_with("telemetry.log.file.rotate.size: is larger than keep, which bounds it")
        );
    }

    #[test]
    fn a_file_for_records_that_nobody_writes_is_a_warning() {
        let base = tempfile::tempdir().unwrap();
        let log = "    access: false\n    access_file: { path: a.log }";
        let warnings = load(base.path(), log).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].message().contains("access is false"), "{warnings:?}");
    }
}
