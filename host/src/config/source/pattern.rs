//! The names of included files: paths, and patterns with `*` and `?` in the last segment.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::config::text::Kind;

/// A path or a pattern of files to include.
pub(in crate::config) struct Include;

/// The form of a path or pattern after parsing.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) enum Pattern {
    /// One file.
    Path(PathBuf),
    /// The files of a folder whose names match.
    Glob {
        /// The folder, as it is written. Empty for the folder of the configuration.
        folder: PathBuf,
        /// The pattern of the name.
        name: String,
    },
}

impl Kind for Include {
    type Value = Pattern;
    const FORMAT: &'static str = "include";
    const MEANING: &'static str = "a path relative to the configuration. In its last segment `*` stands for any characters and `?` \
         for one; names that begin with a dot do not match";
    const PATTERN: &'static str = r"^([^*?]*/)?[^/]+$";
    const EXAMPLES: &'static [&'static str] = &["sites/*.yaml", "upstreams.yaml"];

    fn parse(text: &str) -> Result<Pattern, String> {
        let at = text.rfind('/').map_or(0, |at| at + 1);
        let (folder, name) = text.split_at_checked(at).unwrap_or(("", text));
        if text.is_empty() {
            return Err("\"\" names no file".to_owned());
        }
        if name.is_empty() {
            return Err(format!("\"{text}\" is a folder; write \"{text}*.yaml\""));
        }
        if folder.contains(WILD) {
            return Err(format!(
                "\"{text}\" has \"*\" or \"?\" in a folder; they may be in the last segment only, as \
                 in \"sites/*.yaml\""
            ));
        }
        Ok(if name.contains(WILD) {
            Pattern::Glob { folder: folder.into(), name: name.to_owned() }
        } else {
            Pattern::Path(text.into())
        })
    }

    fn print(value: &Pattern) -> String {
        match value {
            Pattern::Path(path) => path.display().to_string(),
            Pattern::Glob { folder, name } => folder.join(name).display().to_string(),
        }
    }
}

/// Returns the names in `folder` that match, sorted, but at most `most` and one more. A folder that
/// does not exist has none.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn matches(folder: &Path, pattern: &str, most: usize) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 cannot be shown in an error, and matches nothing.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if is_match(pattern, &name) {
            found.push(name);
        }
        if found.len() > most {
            break;
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether `name` matches `pattern`. The time is at most the product of their lengths.
fn is_match(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') {
        return false;
    }
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // The rest of both behind the last `*`, which takes one more character after each failure.
    let mut retry = None;
    loop {
        let before = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                name = before;
                retry = Some((pattern.clone(), name.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(_), None) => return false,
            (_, Some(_)) => {
                let Some((behind, mut from)) = retry.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (behind.clone(), from.clone());
                retry = Some((behind, from));
            }
        }
    }
}

/// The characters of a pattern.
const WILD: [char; 2] = ['*', '?'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by definition, without regard to time.
    fn plain(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], name) => (0..=name.len()).any(|at| plain(rest, &name[at..])),
            (['?', rest @ ..], [_, name @ ..]) => plain(rest, name),
            ([wanted, rest @ ..], [found, name @ ..]) => wanted == found && plain(rest, name),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, cases: 2000, ..ProptestConfig::default()
        })]

        #[test]
        fn a_pattern_matches_as_its_definition_says(pattern in "[abé*?]{0,8}", name in "[abé]{0,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(is_match(&pattern, &name), plain(&chars(&pattern), &chars(&name)));
        }
    }

    #[test]
    fn a_pattern_takes_whole_names_that_are_not_hidden() {
        assert!(is_match("*.yaml", "a.b.yaml"));
        assert!(!is_match("*.yaml", "a.yaml~") && !is_match("*.yaml", "a.yml"));
        assert!(!is_match("*", ".a.yaml.swp") && !is_match("?a", ".a"));
        assert!(!is_match("a*a*a*a*a*a*a*b", &"a".repeat(255)));
    }

    #[test]
    fn a_pattern_that_names_no_file_is_refused() {
        for text in ["", "sites/", "*/a.yaml", "a?/b", "**/x.yaml"] {
            assert!(Include::parse(text).is_err(), "{text}");
        }
        let glob = Pattern::Glob { folder: "/a/b/".into(), name: "*".to_owned() };
        assert_eq!(Include::parse("/a/b/*"), Ok(glob));
        assert_eq!(Include::parse("../[x].yaml"), Ok(Pattern::Path("../[x].yaml".into())));
    }
}
