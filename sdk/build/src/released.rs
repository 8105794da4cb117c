//! The interface beside the copy of its last release: docs/interface.md states the rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wit_parser::{PackageName, Resolve, WorldItem};

use crate::reference::{members, signature};

/// The items of an interface, each with its form. Comments are no part of it.
type Items = BTreeMap<String, String>;

fn read(folder: &Path) -> (PackageName, Items) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).unwrap();
    let package = &resolve.packages[package];
    let mut items = Items::new();
    for (name, id) in &package.interfaces {
        let interface = &resolve.interfaces[*id];
        for (of, id) in &interface.types {
            let def = &resolve.types[*id];
            let all: Vec<String> =
                members(&resolve, def).into_iter().map(|(member, _)| member).collect();
            items
                .insert(format!("{name}.{of}"), format!("{} {}", def.kind.as_str(), all.join(" ")));
        }
        for function in interface.functions.values() {
            items.insert(format!("{name}.{}", function.name), signature(&resolve, function));
        }
    }
    for (name, id) in &package.worlds {
        let world = &resolve.worlds[*id];
        let mut exports: Vec<String> = world
            .exports
            .values()
            .filter_map(|item| match item {
                WorldItem::Function(function) => Some(signature(&resolve, function)),
                _ => None,
            })
            .collect();
        exports.sort();
        // A world with one more export would refuse the components of before.
        items.insert(format!("world {name}"), exports.join(" "));
        for key in world.imports.keys() {
            items.insert(
                format!("world {name} imports {}", resolve.name_world_key(key)),
                String::new(),
            );
        }
    }
    (package.name.clone(), items)
}

/// Compares an interface with a released one. Returns the items that break a rule.
fn broken(
    (name, items): &(PackageName, Items),
    (released_name, released): &(PackageName, Items),
) -> Vec<String> {
    let (version, before) = match (&name.version, &released_name.version) {
        (Some(version), Some(before)) => (version, before),
        _ => return vec!["it has no version".to_owned()],
    };
    if version < before {
        return vec![format!("{version} is older than {before}")];
    }
    let agree = match before.major {
        0 => version.major == 0 && version.minor == before.minor,
        major => version.major == major,
    };
    if !agree {
        return Vec::new();
    }
    let gone = released.iter().filter(|(item, form)| items.get(*item) != Some(form));
    let gone = gone.map(|(item, _)| format!("{item} has changed"));
    // From 1.0 on, the third number is for comments only.
    let is_same = match before.major {
        0 => version == before,
        _ => (version.major, version.minor) == (before.major, before.minor),
    };
    let new = items.keys().filter(|item| is_same && !released.contains_key(*item));
    gone.chain(new.map(|item| format!("{item} is new"))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn last_release() -> (PackageName, Items) {
    let folders = root().join("tests/golden/interface").read_dir().unwrap();
    let all = folders.map(|folder| read(&folder.unwrap().path()));
    all.max_by(|a, b| a.0.version.cmp(&b.0.version)).unwrap()
}

#[test]
fn a_change_of_the_interface_has_the_version_that_it_needs() {
    let broken = broken(&read(&root().join("wit")), &last_release());
    assert_eq!(broken, Vec::<String>::new(), "docs/interface.md has the rules for versions");
}

#[test]
fn a_change_without_its_version_is_found() {
    let wit = root().join("wit");
    let changed = |from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut has_changed = false;
        for file in wit.read_dir().unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            has_changed |= text.contains(from);
            let text = text.replace(from, to);
            std::fs::write(folder.path().join(path.file_name().unwrap()), text).unwrap();
        }
        assert!(has_changed, "{from}");
        broken(&read(folder.path()), &read(&wit))
    };
    let version = format!("@{};", read(&wit).0.version.unwrap());
    let one = "remove: func(space: string, key: string);";
    let two = format!("{one}\n    clear: func(space: string);");
    for (from, to, expected) in [
        ("Removes a key.", "Removes one key.", &[][..]),
        (one, "remove: func(space: string);", &["state.remove has changed"]),
        (one, &two, &["state.clear is new"]),
        ("        debug,", "        trace,\n        debug,", &["host.level has changed"]),
        ("duration-us: u64", "duration-ms: u64", &["balancing.outcome has changed"]),
        ("attempt: u32", "attempt: u64", &["world balancer has changed"]),
        (&version, "@9.0.0;", &[]),
        (&version, "@0.1.9;", &["0.1.9 is older than 0.2.0"]),
    ] {
        assert_eq!(changed(from, to), expected, "{from} to {to}");
    }
}
