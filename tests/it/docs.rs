//! The prose of the project is plain. The pages in docs/write quote the repository, and their links
//! lead somewhere.

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
    assert_eq!(pages.len(), 9, "a page a language, and one for any other: {pages:?}");
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

/// Folders that hold no prose of the project.
const APART: [&str; 8] =
    ["target", ".git", ".venv", "node_modules", "corpus", "seeds", "dist", "artifacts"];

fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !APART.contains(&name) {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// A line of prose, and whether it may be longer than 100 columns: tables and links.
struct Line {
    place: String,
    words: String,
    columns: usize,
    is_exempt: bool,
}

/// The lines of a page outside code blocks, or the comments of a source.
fn prose(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let is_page = path.extension().is_some_and(|end| end == "md");
    let (mut lines, mut is_fenced) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        let words = if is_page {
            is_fenced ^= trimmed.starts_with("```");
            (!is_fenced && !trimmed.starts_with("```")).then_some(trimmed)
        } else {
            ["//!", "///", "//", "# "].iter().find_map(|mark| trimmed.strip_prefix(mark))
        };
        let Some(words) = words else { continue };
        let words = words.trim_start();
        let is_code = words.starts_with("- `") && words.ends_with('`');
        let is_mark = words.starts_with('|') || words.starts_with("<!--");
        let is_exempt = is_mark || is_code || words.contains("](") || words.contains("://");
        let place = format!("{}:{number}", path.strip_prefix(root()).unwrap().display());
        let columns = line.chars().count();
        lines.push(Line { place, words: words.to_owned(), columns, is_exempt });
    }
    lines
}

/// Counts the words of a line, and those of them that make a clause a subject or an object.
fn count(text: &str) -> (usize, usize) {
    let plain: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" x ");
    let words: Vec<String> = plain
        .split(|c: char| !(c.is_alphabetic() || c == '\'' || c == '-'))
        .filter(|word| word.starts_with(char::is_alphabetic))
        .map(str::to_lowercase)
        .collect();
    let clauses = ["what", "whatever", "who", "whoever", "whom", "whose"];
    let found = words.iter().filter(|word| clauses.contains(&word.as_str())).count();
    (words.len(), found)
}

#[test]
fn clauses_and_columns_are_counted() {
    assert_eq!(count("Tells what `what` is, to whoever asks."), (7, 2));
    assert_eq!(count("Every error names file, line and column."), (7, 0));
}

/// Sentences begin with nouns: at most 3 words in 1,000 are pronouns that make a clause a subject
/// or an object. Lines end at 100 columns.
#[test]
fn the_prose_is_plain() {
    let groups: [(&str, &[&str]); 10] = [
        ("README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md", &[".md"]),
        ("docs", &[".md"]),
        ("plugins", &[".md"]),
        ("examples", &[".md"]),
        ("host/src", &[".rs"]),
        ("host/h3 host/runtime", &[".rs"]),
        ("sdk", &[".rs"]),
        ("tests", &[".rs"]),
        ("plugins examples", &[".rs", ".yaml", ".toml"]),
        ("wit configs", &[".wit", ".yaml"]),
    ];
    let mut faults = Vec::new();
    for (places, endings) in groups {
        let mut paths = Vec::new();
        for place in places.split(' ').map(|place| root().join(place)) {
            if place.is_dir() {
                files(&place, endings, &mut paths);
            } else {
                paths.push(place);
            }
        }
        // A generator indents the comments of wit/ there.
        paths.retain(|path| !path.starts_with(root().join("sdk/src/bindings")));
        let lines: Vec<Line> = paths.iter().flat_map(|path| prose(path)).collect();
        let counts = lines.iter().map(|line| count(&line.words));
        let (words, clauses) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!(words > 500, "{places}: only {words} words");
        if clauses * 1000 > words * 3 {
            let hits = lines.iter().filter(|line| count(&line.words).1 > 0);
            faults.push(format!("{places}: {clauses} clauses in {words} words"));
            faults.extend(hits.map(|line| format!("  {} {}", line.place, line.words)));
        }
        let long = lines.iter().filter(|line| line.columns > 100 && !line.is_exempt);
        faults.extend(long.map(|line| format!("{}: {} columns", line.place, line.columns)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
