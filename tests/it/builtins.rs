//! Every built-in filter: its cases hold in the real runtime, and its page lists its keys.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use weir::plugins::rules::ProxyRules;
use weir_runtime::Limits;
use weir_sdk_testing::{Component, cases};

use crate::support::tools::{builtin, root};
use crate::support::weir::WEIR;

macro_rules! filters {
    ($($name:ident: $folder:literal,)*) => {
        $(mod $name {
            #[test]
            fn cases_hold() {
                super::cases_hold($folder);
            }

            #[test]
            fn the_page_is_up_to_date() {
                super::page_is_up_to_date($folder);
            }
        })*

        #[test]
        fn every_filter_is_listed() {
            let listed = [$($folder),*];
            assert_eq!(listed.as_slice(), weir::builtin::FILTERS);
            let pages = fs::read_to_string(root().join("docs/filters.md")).unwrap();
            for name in listed {
                let link = format!("[{name}](../plugins/{name}/README.md)");
                assert!(pages.contains(&link), "docs/filters.md has no {link}");
            }
        }
    };
}

filters! {
    api_key: "api-key",
    basic_auth: "basic-auth",
    body_replace: "body-replace",
    cors: "cors",
    forward_auth: "forward-auth",
    geo: "geo",
    headers: "headers",
    ip_allow: "ip-allow",
    jwt: "jwt",
    maintenance: "maintenance",
    mirror_tag: "mirror-tag",
    rate_limit: "rate-limit",
    redirect: "redirect",
    request_id: "request-id",
    rewrite: "rewrite",
    security_headers: "security-headers",
    split: "split",
    waf: "waf",
}

fn cases_hold(name: &str) {
    let wasm = fs::read(builtin(name)).unwrap();
    let folder = root().join("plugins").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| is_cases(path))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no cases");
    for file in files {
        // A slow hash is no fault here.
        let limits = Limits { time: Duration::from_secs(10), ..Limits::default() };
        let component = Component::load(&wasm, limits).unwrap().under(Arc::new(ProxyRules));
        let outcomes =
            cases::run(&component, &fs::read_to_string(&file).unwrap(), &folder).unwrap();
        let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.fault.is_some()).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", file.display());
        assert!(!outcomes.is_empty(), "{} has no cases", file.display());
    }
}

fn is_cases(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("cases") && name.ends_with(".yaml")
}

/// Checks the text between the marks of a page against the schema; `UPDATE_GOLDEN=1` rewrites it.
fn page_is_up_to_date(name: &str) {
    const MARKS: [&str; 2] = ["<!-- configuration -->\n", "<!-- /configuration -->\n"];
    let component = builtin(name);
    let output = Command::new(WEIR)
        .args(["plugin", "inspect", "--reference"])
        .arg(&component)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys = String::from_utf8(output.stdout).unwrap();
    let path = root().join("plugins").join(name).join("README.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(MARKS[0]).expect("a mark where the keys begin");
    let (_, after) = rest.split_once(MARKS[1]).expect("a mark where the keys end");
    let wanted = format!("{before}{}{keys}{}{after}", MARKS[0], MARKS[1]);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, &wanted).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(written == wanted, "out of date; run this test with UPDATE_GOLDEN=1");
}
