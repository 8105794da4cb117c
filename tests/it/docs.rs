//! The pages in docs/write: their quotations are the repository's text, and the targets of their
//! links exist.

use std::path::{Path, PathBuf};

use crate::support::tools::root;

fn pages() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("docs/write")).unwrap();
    let mut pages: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// Returns the fenced blocks of a page: the line above, the language, the text.
fn blocks(text: &str) -> Vec<(&str, &str, String)> {
    let (mut found, mut above) = (Vec::new(), "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<_> =
                lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            found.push((above, language, block.join("\n")));
        }
        above = line;
    }
    found
}

#[test]
fn code_is_quoted_from_files_of_the_repository() {
    let pages = pages();
    assert_eq!(pages.len(), 8, "a page a language: {pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut quotes = 0;
        for (above, language, block) in blocks(&text) {
            if ["", "yaml"].contains(&language) {
                continue;
            }
            let source = above.strip_prefix("<!-- from: ").and_then(|a| a.strip_suffix(" -->"));
            let source = source.unwrap_or_else(|| panic!("{}: {block}", page.display()));
            let quoted = std::fs::read_to_string(root().join(source)).unwrap();
            assert!(quoted.contains(&block), "{}: not in {source}:\n{block}", page.display());
            quotes += 1;
        }
        assert!(quotes >= 2, "{} quotes {quotes} times", page.display());
    }
}

#[test]
fn links_lead_somewhere() {
    let folder = root().join("docs/write");
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.starts_with("https://") {
                let path: &Path = Path::new(target);
                assert!(folder.join(path).exists(), "{}: {link}", page.display());
            }
        }
    }
}
