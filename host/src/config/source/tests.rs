use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::document::read;
use crate::config::error::Place;
use crate::config::{Config, ConfigErrors, Overrides, admin, from_text, load, load_stamped};

/// A folder with a configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        load(&self.path("weir.yaml"), &Overrides::default())
    }

    /// The faults, without the folder.
    fn faults(&self) -> Vec<String> {
        let errors = self.load().unwrap_err();
        let shown = errors.problems().iter().map(ToString::to_string);
        let prefix = format!("{}/", self.0.path().display());
        shown.map(|line| line.replace(&prefix, "")).collect()
    }
}

const MAIN: &str = "include: ['sites/*.yaml', more.yaml]
listeners: [{ address: '127.0.0.1:0' }]
routes: [{ name: first, respond: {} }]
";

fn site(name: &str) -> String {
    format!(
        "upstreams: [{{ name: {name}, endpoints: [{{ address: '127.0.0.1:1' }}] }}]
routes:
  - {{ name: {name}, match: {{ host: {name}.test }}, upstream: {name} }}
"
    )
}

#[test]
fn the_lists_of_all_files_are_joined_in_the_order_of_include_and_of_names() {
    let folder = Folder::new(&[
        ("weir.yaml", MAIN),
        ("sites/b.yaml", &site("b")),
        ("sites/a.yaml", &site("a")),
        ("sites/.hidden.yaml", "broken: ["),
        ("sites/c.yaml~", "broken: ["),
        ("more.yaml", &site("more")),
    ]);
    let config = folder.load().unwrap();
    let names: Vec<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["first", "a", "b", "more"]);
    let upstreams: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(upstreams, ["a", "b", "more"]);
    let files = ["weir.yaml", "sites/a.yaml", "sites/b.yaml", "more.yaml"];
    assert_eq!(config.files, files.map(|name| folder.path(name)));
    assert_eq!(config.globs, [folder.path("sites")]);
    let never = |at: usize| format!("routes[{at}] never matches");
    assert!(
        config
            .warnings
            .iter()
            .all(|warning| (1..4).any(|at| warning.message().starts_with(&never(at))))
    );
    let first = format!("routes[0] ({}:3)", folder.path("weir.yaml").display());
    assert!(config.warnings[0].message().contains(&first), "{:?}", config.warnings[0]);
    assert_eq!(config.value["routes"][3]["name"], "more");
    assert!(config.value.get("include").is_none());
    assert_eq!(config.tag.len(), 16);
}

#[test]
fn every_fault_has_its_own_file_line_and_column() {
    let folder = Folder::new(&[
        ("weir.yaml", MAIN),
        (
            "sites/a.yaml",
            "routes:\n  - name: first\n    upstream: gone\nupstreams:\n  - name: a\n    endpoint: []\n",
        ),
        ("more.yaml", "plugins:\n- { name: p, source: 'file:none.wasm' }\n"),
    ]);
    assert_eq!(
        folder.faults(),
        [
            "more.yaml:2:22: plugins[0].source: cannot read \"none.wasm\": No such file or directory (os error 2)",
            "sites/a.yaml:2:11: duplicate route \"first\"; the first is in weir.yaml:3",
            "sites/a.yaml:3:15: unknown upstream \"gone\"; expected a",
            "sites/a.yaml:6:5: unknown key \"endpoint\" in upstreams[0]; did you mean \"endpoints\"?",
        ]
    );
}

#[test]
fn an_included_file_has_lists_only() {
    let folder = Folder::new(&[
        ("weir.yaml", MAIN),
        ("sites/a.yaml", "telemetry: {}\ninclude: [x]\nroute: []\nroutes: 1\nplugins:\n"),
        ("sites/b.yaml", "- a list"),
        ("sites/c.yaml", "a: ["),
        ("more.yaml", "# nothing"),
    ]);
    let faults = folder.faults();
    assert_eq!(
        faults[..7],
        [
            "more.yaml: is empty",
            "sites/a.yaml:1:1: \"telemetry\" belongs in weir.yaml; an included file has only lists",
            "sites/a.yaml:2:1: an included file cannot include others; list them in weir.yaml",
            "sites/a.yaml:3:1: unknown key \"route\" in an included file; did you mean \"routes\"?",
            "sites/a.yaml:4:9: routes: expected a list",
            "sites/a.yaml:5:8: plugins: has no value; give it one or leave the key out",
            "sites/b.yaml:1:1: expected a mapping",
        ]
    );
    assert!(faults[7].starts_with("sites/c.yaml:") && faults[7].contains("not YAML"), "{faults:?}");
}

#[test]
fn a_file_that_cannot_be_included_is_an_error_at_its_place() {
    let folder = Folder::new(&[
        (
            "weir.yaml",
            "include:\n- gone.yaml\n- sites\n- sites/a.yaml\n- sites/*\n- loop\n- weir.yaml\n- none/*\n",
        ),
        ("sites/a.yaml", "routes: []"),
    ]);
    symlink("loop", folder.path("loop")).unwrap();
    symlink("a.yaml", folder.path("sites/b.yaml")).unwrap();
    assert_eq!(
        folder.faults(),
        [
            "weir.yaml:2:3: include[0]: cannot read \"gone.yaml\": No such file or directory (os error 2)",
            "weir.yaml:3:3: include[1]: \"sites\" is not a file",
            "weir.yaml:5:3: include[3]: \"sites/a.yaml\" is included twice",
            "weir.yaml:5:3: include[3]: \"sites/b.yaml\" is included twice",
            "weir.yaml:6:3: include[4]: cannot read \"loop\": Too many levels of symbolic links (os error 40)",
            "weir.yaml:7:3: include[5]: \"weir.yaml\" is included twice",
        ]
    );
}

#[test]
fn a_pattern_without_a_match_is_a_warning_and_a_wrong_one_an_error() {
    let folder = Folder::new(&[("weir.yaml", &MAIN.replace(", more.yaml", ""))]);
    let config = folder.load().unwrap();
    assert_eq!(config.warnings[0].message(), "include[0]: no file matches \"sites/*.yaml\"");
    assert_eq!(config.globs, [folder.path("sites")]);
    folder.write("weir.yaml", &MAIN.replace("sites/*.yaml', more.yaml", "*/x', 3, ''"));
    let faults = folder.faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.starts_with("weir.yaml:1:")), "{faults:?}");
}

#[test]
fn all_files_together_have_a_limit() {
    let folder = Folder::new(&[("weir.yaml", MAIN), ("more.yaml", "# more")]);
    let half = format!("routes: []\n# {}", "x".repeat(600 << 10));
    folder.write("sites/a.yaml", &half);
    folder.write("sites/b.yaml", &half);
    let faults = folder.faults();
    assert!(
        faults[0].ends_with("with \"sites/b.yaml\" the files are larger than 1024 KiB"),
        "{faults:?}"
    );
    let folder = Folder::new(&[("weir.yaml", MAIN), ("more.yaml", "routes: []")]);
    for at in 0..1000 {
        folder.write(&format!("sites/{at}.yaml"), "routes: []");
    }
    let fault = "weir.yaml:1:27: include[1]: more than 1000 files are included";
    assert_eq!(folder.faults(), [fault]);
}

#[test]
fn aliases_of_many_files_do_not_multiply() {
    let bomb = format!("routes:\n- &a {}\n- [{}]\n", "x".repeat(1 << 10), "*a, ".repeat(8000));
    let folder = Folder::new(&[("weir.yaml", MAIN), ("sites/a.yaml", &bomb), ("more.yaml", "{}")]);
    assert!(folder.faults()[0].contains("expected a mapping"), "one alone is read");
    folder.write("sites/b.yaml", &bomb);
    folder.write("sites/c.yaml", &bomb);
    let expected =
        "with this file the configuration has more than 16 MiB of text, aliases expanded";
    assert_eq!(folder.faults(), [format!("sites/c.yaml: {expected}")]);
}

#[test]
fn stamps_are_those_of_every_file_and_folder_also_after_a_fault() {
    let folder = Folder::new(&[("weir.yaml", MAIN), ("sites/a.yaml", &site("a"))]);
    let (stamps, config) = load_stamped(&folder.path("weir.yaml"), &Overrides::default());
    assert!(config.is_err(), "more.yaml does not exist");
    let files = ["weir.yaml", "sites", "sites/a.yaml", "more.yaml"].map(|name| folder.path(name));
    assert_eq!(stamps.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), files);
    for (path, stamp) in &stamps {
        assert_eq!(*stamp, Stamp::of(path));
    }
    folder.write("more.yaml", &site("more"));
    assert_ne!(stamps[3].1, Stamp::of(&stamps[3].0));
}

#[test]
fn the_admin_api_of_a_file_is_found_without_its_includes() {
    let folder = Folder::new(&[("weir.yaml", &format!("{MAIN}admin: {{ token: t }}\n"))]);
    assert_eq!(admin(&folder.path("weir.yaml")).unwrap().unwrap().tokens[0].token, "t");
}

#[test]
fn a_text_includes_files_below_its_base_and_arguments_come_last() {
    let folder = Folder::new(&[(
        "more.yaml",
        "plugins: [{ name: p, source: 'builtin:weighted', sha256: old }]",
    )]);
    let text = MAIN.replace("'sites/*.yaml', ", "");
    let plugins = [("p", "builtin:round-robin"), ("q", "builtin:weighted")];
    let plugins = plugins.map(|(name, from)| (name.to_owned(), from.to_owned())).into();
    let overrides = Overrides { plugins, ..Overrides::default() };
    let config = from_text("text", &text, folder.0.path(), &overrides).unwrap();
    let names: Vec<_> = config.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!((names, config.files), (vec!["p", "q"], vec![folder.path("more.yaml")]));
    assert_eq!(config.value["plugins"][0], json!({ "name": "p", "source": "builtin:round-robin" }));
}

#[test]
fn a_tag_is_that_of_the_values_and_not_of_their_form() {
    let tag = |text: &str| {
        from_text("weir.yaml", text, Path::new(""), &Overrides::default()).unwrap().tag
    };
    let one = tag("listeners: [{ address: '127.0.0.1:0' }]\nroutes: [{ name: a, respond: {} }]");
    let two = tag("routes:\n- respond: {}\n  name: a\nlisteners: [{ address: 127.0.0.1:0 }]");
    let other = tag("listeners: [{ address: '127.0.0.1:0' }]\nroutes: [{ name: b, respond: {} }]");
    assert!(one == two && one != other, "{one} {two} {other}");
    let mut text = String::new();
    canonical(&json!({ "b": [1, { "a\"": null }], "a": "x" }), &mut text);
    assert_eq!(text, r#"{"a":"x","b":[1,{"a\"":null}]}"#);
}

/// The text of a file with items of two lists, each on a line of its own, as a list or as an alias.
fn text(file: usize, lists: &[(&str, usize)], is_alias: bool) -> String {
    let mut text = "# a comment\n".repeat(file);
    for (key, count) in lists {
        let items: String = (0..*count).map(|at| format!("- {key}-{file}-{at}\n")).collect();
        match count {
            0 => continue,
            _ => text.push_str(&format!("{key}:\n{items}")),
        }
    }
    if is_alias && file == 0 {
        text.push_str("workers: &w\n- shared\nplugins: *w\n");
    }
    text + "upstreams: []\n"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn joined_values_and_their_places_never_disagree(
        counts in proptest::collection::vec((0..4_usize, 0..4_usize), 1..6),
        is_alias in any::<bool>(),
    ) {
        let texts = counts.iter().enumerate().map(|(file, (routes, listeners))| {
            text(file, &[("routes", *routes), ("listeners", *listeners)], is_alias)
        });
        let texts: Vec<String> = texts.collect();
        let (mut document, _) = read("0", &texts[0]).unwrap();
        let more = texts.iter().enumerate().skip(1);
        let value = document.join(more.map(|(at, text)| (at.to_string(), text.clone())).collect());
        let value = value.unwrap();
        for (key, count) in [
            ("routes", counts.iter().map(|(routes, _)| routes).sum::<usize>()),
            ("listeners", counts.iter().map(|(_, listeners)| listeners).sum()),
        ] {
            let items = value.get(key).map_or(&[][..], |items| items.as_array().unwrap());
            prop_assert_eq!(items.len(), count);
            for (at, item) in items.iter().enumerate() {
                let place = document.value(&format!("{key}[{at}]"));
                let Place::At(file, line, column) = place else { panic!("{place:?}") };
                let written = texts[file.parse::<usize>().unwrap()].lines().nth(line - 1).unwrap();
                prop_assert_eq!(&written[column - 1..], item.as_str().unwrap());
            }
        }
        if is_alias {
            let place = document.value("plugins[0]");
            let Place::At(file, line, _) = place else { panic!("{place:?}") };
            prop_assert_eq!(file, "0");
            prop_assert!(texts[0].lines().nth(line - 1).unwrap().starts_with("plugins: *w"));
        }
    }
}

#[test]
fn the_items_of_an_alias_stay_at_the_alias_when_lists_are_joined() {
    let (mut document, _) = read("main", "x: &a\n- one\n- two\nroutes: *a\n").unwrap();
    let value = document.join(vec![("more".to_owned(), "routes:\n- three\n".to_owned())]).unwrap();
    assert_eq!(value["routes"], json!(["one", "two", "three"]));
    let place = |path: &str| document.value(path).to_string();
    assert_eq!(place("routes[1]"), "main:4:9");
    assert_eq!(place("routes[2]"), "more:2:3");
    assert_eq!(place("routes"), "main:4:9");
}
