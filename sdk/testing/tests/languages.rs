//! The two test plugins in every language, `ledger` and `turns`. Numbers of 64 bits cross to the
//! host and back unchanged, and a bug reports its message and its position.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test, at the place where it does"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_runtime::filter::RequestDecision;
use weir_runtime::{Endpoint, Level, Limits, Outcome, Pick, PluginError, with_causes};
use weir_sdk_testing::{Component, Filter, Logged, Request};

macro_rules! languages {
    ($($language:ident $source:literal $place:literal),* $(,)?) => { $(
        mod $language {
            use super::*;

            const LANGUAGE: &str = stringify!($language);

            #[test]
            fn numbers_of_a_filter_cross_as_they_are() {
                ledger(LANGUAGE);
            }

            #[test]
            fn numbers_of_a_balancer_arrive_as_they_are() {
                turns(LANGUAGE);
            }

            #[test]
            fn a_bug_tells_its_message_and_its_place() {
                bug(LANGUAGE, $source, $place);
            }
        }
    )* };
}

// The last text is the format of a position: the file, its line and the function.
languages![
    rust "src/lib.rs" "src/lib.rs:LINE:",
    c "src/plugin.c" "src/plugin.c: answer: LINE",
    cpp "src/plugin.cpp" "src/plugin.cpp: answer: LINE",
    zig "src/plugin.zig" "plugin.answer",
    go "plugin.go" "plugin.go:LINE",
    js "src/plugin.js" "src/plugin.js:LINE in answer",
    ts "src/plugin.ts" "src/plugin.ts:LINE in answer",
    python "src/plugin.py" "plugin.py:LINE in answer",
];

/// The largest number of 64 bits that crosses the boundary.
const MOST: u64 = (1 << 53) - 1;

/// One second more than 32 bits can count in milliseconds.
const LONG: u64 = (1 << 32) + 1000;

fn ledger(language: &str) {
    let component = component(language, "ledger");
    let mut filter = component.filter("{}").unwrap();
    let mut does = |command: &str| answer(&mut filter, command).unwrap();
    for number in [1, -1, 1 << 32, -(1 << 32) - 1, MOST.cast_signed(), -MOST.cast_signed()] {
        assert_eq!(does(&format!("add n{number} {number} 0")), number.to_string());
        // A sum stays at the end of the range.
        let beyond = if number.unsigned_abs() == MOST { number } else { number * 2 };
        assert_eq!(does(&format!("add n{number} {number} 0")), beyond.to_string());
        assert_eq!(does(&format!("get n{number}")), beyond.to_string());
        let back = (-number).to_string();
        assert_eq!(does(&format!("add n{number} {back} 0")), (beyond - number).to_string());
    }
    assert_eq!(does("set long v 4294968296") + &does("replace other - w 4294968296"), "donetrue");
    assert_eq!(does("add sum 7 4294968296"), "7");
    assert_eq!(does("replace long wrong w 0") + &does("get none"), "falsenone");
    // A duration cut to 32 bits would be over.
    component.world().advance(Duration::from_millis(LONG - 1));
    assert_eq!(does("get long") + &does("get other") + &does("get sum"), "vw7");
    component.world().advance(Duration::from_millis(1));
    assert_eq!(does("get long") + &does("get other") + &does("get sum"), "nonenonenone");
    assert_eq!(does(&format!("set forever v {MOST}")) + &does("get forever"), "donev");
    assert_eq!(does("remove forever") + &does("get forever"), "donenone");
    assert_eq!(does(&format!("count m {}", MOST - 1)) + &does("count m 1"), "donedone");
    assert_eq!(component.world().counters()["m"], MOST);
    let (one, other) = (does("random"), does("random"));
    assert!(one.len() == 32 && one != other, "{one} {other}");

    component.world().advance(Duration::from_micros(1));
    assert_eq!(does("now"), (1_767_225_600_000_000 + LONG * 1000 + 1).to_string());
    beyond(language, &component);
}

/// A number beyond the range is an error that says this, and has no effect.
fn beyond(language: &str, component: &Component) {
    let refuses = |command: &str| {
        let error = answer(&mut component.filter("{}").unwrap(), command).unwrap_err().to_string();
        assert!(
            error.contains("9007199254740991") || error.contains("2^53 - 1"),
            "{command}: {error}"
        );
    };
    let most = i64::MAX;
    for number in [MOST + 1, MOST + 2, most.unsigned_abs()] {
        refuses(&format!("add x {number} 0"));
        refuses(&format!("add x -{number} 0"));
        refuses(&format!("count x {number}"));
        // Go's `time.Duration` holds no such time.
        if language == "go" {
            continue;
        }
        refuses(&format!("add x 1 {number}"));
        refuses(&format!("set x v {number}"));
        refuses(&format!("replace x - v {number}"));
    }
    let mut filter = component.filter("{}").unwrap();
    assert_eq!(answer(&mut filter, "get x").unwrap(), "none");
    assert!(!component.world().counters().contains_key("x"));
}

fn turns(language: &str) {
    let component = component(language, "turns");
    let endpoint = |id: u32| Endpoint {
        id,
        address: format!("10.0.0.{id}:80"),
        weight: 1,
        zone: String::new(),
        labels: Vec::new(),
    };
    let mut balancer = component.balancer("{}", &[endpoint(0)]).unwrap();
    let told = [0, 1, (1 << 32) - 1, (1 << 32) + 1, MOST];
    let inputs = [None];
    let pick = |sequence| Pick { sequence, attempt: 0, inputs: &inputs, loads: &[] };
    for sequence in told {
        assert_eq!(balancer.instance().pick(pick(sequence)).unwrap(), Some(0));
    }
    let outcome = |duration_us: u64| Outcome { endpoint: 0, status: 200, duration_us };
    let outcomes: Vec<_> = told.into_iter().chain([u64::MAX]).map(outcome).collect();
    balancer.instance().observe(&outcomes).unwrap();
    let expected = told.iter().map(|sequence| format!("pick {sequence}"));
    // The host sends no larger number.
    let durations = told.iter().chain([&MOST]).map(|duration| format!("observe {duration}"));
    let lines: Vec<String> = component.world().lines().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, expected.chain(durations).collect::<Vec<_>>());
}

fn bug(language: &str, source: &str, place: &str) {
    let component = component(language, "ledger");
    let text = fs::read_to_string(folder(language, "ledger").join(source)).unwrap();
    let line = text.lines().position(|line| line.contains("\"broken on purpose\"")).unwrap() + 1;
    let place = place.replace("LINE", &line.to_string());
    let error = answer(&mut component.filter("{}").unwrap(), "break").unwrap_err();
    assert_eq!(error.kind(), "trap");
    let told = with_causes(&error);
    assert!(
        told.contains("broken on purpose") && told.contains(&place),
        "{place} is not in {told}"
    );
    assert!(error.to_string().contains(&place), "{place} is not in {error}");
    // Numbers of functions say nothing to the author.
    assert!(!told.contains("<wasm function"), "{told}");
    let lines = component.world().logged();
    let is_last_word = |line: &&Logged| line.message.contains("broken on purpose");
    let line = lines.iter().find(is_last_word).unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(line.request, Some(0xfeed));
    assert!(matches!(line.level, Level::Warn | Level::Error), "{line:?}");

    for (command, message, place) in others(language) {
        let error = answer(&mut component.filter("{}").unwrap(), command).unwrap_err();
        let told = with_causes(&error);
        assert!(told.contains(message) && told.contains(place), "{command}: {told}");
    }
    // Go's `println` writes to standard error, C's `printf` to standard output.
    let printed = match language {
        "go" => Level::Warn,
        "c" => Level::Info,
        _ => return,
    };
    assert_eq!(answer(&mut component.filter("{}").unwrap(), "print").unwrap(), "done");
    let line = component.world().logged().pop().unwrap();
    assert_eq!((line.request, line.level), (Some(0xfeed), printed));
    assert_eq!(line.message, "printed on purpose");
}

/// Returns other ends of an instance in a language: a command, its message and its position.
fn others(language: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match language {
        "c" => &[("abort", "in abort", "exports_filter_on_request")],
        "cpp" => &[("terminate", "std::terminate()", "Ledger::on_request")],
        "go" => &[("wait", "all goroutines are asleep - deadlock!", "plugin.go:")],
        "js" => &[("reply", "the status of a reply must be a whole number", "src/plugin.js:")],
        "ts" => &[("reply", "the status of a reply must be a whole number", "src/plugin.ts:")],
        "python" => &[
            ("decide", "this is no decision here: 'no decision'", "weir_export.py:"),
            ("set k v -1", "ttl_ms must be from 0 to 9007199254740991", "plugin.py:"),
            ("add k 9007199254740992 0", "by must be from -9007199254740991", "plugin.py:"),
        ],
        "zig" => &[("overflow", "integer does not fit in destination type", "plugin.answer")],
        _ => &[],
    }
}

/// Sends a command to a filter and returns the answer.
fn answer(filter: &mut Filter, command: &str) -> Result<String, PluginError> {
    let mut request = Request::get("/").header("x-do", command);
    request.id = "000000000000feed".to_owned();
    match filter.on_request(&request)? {
        RequestDecision::Reply(reply) => Ok(String::from_utf8(reply.body).unwrap()),
        other => panic!("{command}: {other:?}"),
    }
}

fn component(language: &str, name: &str) -> Component {
    let folder = folder(language, name);
    let wasm = if language == "rust" {
        let path = folder.join("../target/dist").join(name).with_extension("wasm");
        fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make guests`", path.display()))
    } else {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&folder, copy.path());
        weir_sdk_build::build(copy.path()).unwrap_or_else(|error| panic!("{error:#}")).wasm
    };
    // An interpreter's instance is large, and the time of a stopped virtual machine counts.
    let limits = Limits { memory: 64 << 20, time: Duration::from_millis(100) };
    Component::load(&wasm, limits).unwrap()
}

fn folder(language: &str, name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    match language {
        "rust" => tests.join("guests").join(name),
        _ => tests.join("languages").join(language).join(name),
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        match path.is_dir() {
            true if name == "build" => {}
            true => copy_all(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}
