//! The floor plan of `host/src`: imports go down, and ARCHITECTURE.md names each type that a
//! request meets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::tools::root;

/// The floors of `host/src`, from the roof to the ground. A part imports lower parts only, so no
/// cycle can cross a folder.
const FLOORS: [&str; 25] = [
    "main",
    "cli",
    "demo",
    "server",
    "admin",
    "listen",
    "proxy",
    "state",
    "route",
    "upstream",
    "plugins",
    "telemetry",
    "control",
    "message",
    "tls",
    "geoip",
    "handoff",
    "net",
    "task",
    "config",
    "oci",
    "files",
    "builtin",
    "status",
    "lib",
];

/// The folders and files that a request passes, from the socket to the origin.
const PATH: [&str; 7] = ["listen", "message", "proxy", "route", "state", "upstream", "plugins"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files of a part of `host/src`, by their paths below it, without tests.
fn code(part: &str) -> Vec<(String, String)> {
    let src = root().join("host/src");
    let path = src.join(part);
    let files = if path.is_dir() { sources(&path) } else { vec![path] };
    let is_test = |path: &str| {
        path.ends_with("tests.rs") || path.ends_with("testing.rs") || path.contains("/tests/")
    };
    files
        .into_iter()
        .map(|file| (file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), file))
        .filter(|(name, _)| !is_test(name))
        .map(|(name, file)| (name, without_tests(&fs::read_to_string(file).unwrap())))
        .collect()
}

/// The text of a file up to its tests, without comments.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// The parts of the crate that a text imports or names.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') || text[..at].ends_with("in ") {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name = name.trim_start();
            let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            found.push(name[..end.unwrap_or(name.len())].to_owned());
        }
    }
    found
}

#[test]
fn imports_go_down_the_floors() {
    let mut against = Vec::new();
    let (mut seen, mut edges) = (BTreeMap::new(), 0);
    for (file, text) in code("") {
        let part = file.split(['/', '.']).next().unwrap().to_owned();
        let floor = FLOORS.iter().position(|floor| *floor == part);
        let floor = floor.unwrap_or_else(|| panic!("{file}: {part} has no floor in this test"));
        seen.insert(part.clone(), ());
        for import in imports(&text).into_iter().filter(|import| *import != part) {
            let below = FLOORS.iter().position(|floor| *floor == import);
            let below = below.unwrap_or_else(|| panic!("{file}: {import} has no floor"));
            edges += 1;
            if below <= floor {
                against.push(format!("{file} imports {import}"));
            }
        }
    }
    assert!(edges > 300, "only {edges} imports found");
    assert_eq!(seen.len(), FLOORS.len(), "a floor has no file: {seen:?}");
    assert!(against.is_empty(), "imports that go up:\n{}", against.join("\n"));
}

/// A type and the first sentence of its documentation.
struct Named {
    name: String,
    file: String,
    meaning: String,
}

fn types(part: &str) -> Vec<Named> {
    let src = root().join("host/src");
    let mut found = Vec::new();
    for (file, _) in code(part) {
        let text = fs::read_to_string(src.join(&file)).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let mut comment = String::new();
        for line in text.lines() {
            if let Some(words) = line.strip_prefix("///") {
                comment.push_str(words);
                comment.push_str(if words.is_empty() { "\n" } else { "" });
            } else if !line.starts_with("#[") && !line.starts_with([')', ' ']) {
                let name = declared(line);
                if let Some(name) = name {
                    let meaning = sentence(&comment);
                    found.push(Named { name, file: file.clone(), meaning });
                }
                comment.clear();
            }
        }
    }
    found
}

/// The name that a line declares, of a type or a trait.
fn declared(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let mut word = words.next()?;
    if word == "in" || word.ends_with(')') {
        word = words.find(|word| ["struct", "enum", "trait"].contains(word))?;
    }
    if !["struct", "enum", "trait"].contains(&word) {
        return None;
    }
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
    Some(name[..end].to_owned())
}

/// The first sentence of a comment, without links.
fn sentence(comment: &str) -> String {
    let first = comment.trim().split('\n').next().unwrap_or_default();
    let end = first.find(". ").map_or(first.len(), |at| at + 1);
    let text = first[..end].trim_end_matches('.');
    text.replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

/// The lexicon of ARCHITECTURE.md is made from the code. `UPDATE_GOLDEN=1` writes it.
#[test]
fn the_lexicon_has_each_type_on_the_request_path() {
    let mut lexicon = String::new();
    let mut count = 0;
    for part in PATH {
        let title = part.trim_end_matches(".rs");
        lexicon.push_str(&format!("\n**`{title}`**\n\n| type | file | meaning |\n|---|---|---|\n"));
        for Named { name, file, meaning } in types(part) {
            assert!(!meaning.is_empty(), "{file}: {name} has no documentation");
            let file = file.strip_prefix(&format!("{title}/")).unwrap_or(&file);
            lexicon.push_str(&format!("| `{name}` | {file} | {meaning} |\n"));
            count += 1;
        }
    }
    assert!(count > 150, "only {count} types found");
    let path = root().join("ARCHITECTURE.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the lexicon begins");
    let (_, after) = rest.split_once(END).expect("the lexicon ends");
    let wanted = format!("{before}{BEGIN}\n{lexicon}\n{END}{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        return fs::write(&path, wanted).unwrap();
    }
    assert!(page == wanted, "out of date; run this test with UPDATE_GOLDEN=1");
}

const BEGIN: &str = "<!-- types: made by tests/it/structure.rs -->";
const END: &str = "<!-- end of types -->";
