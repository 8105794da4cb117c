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

/// The range of a language's whole numbers.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    /// All of 64 bits.
    Whole,
    /// 53 bits and a sign, and an error beyond.
    Checked,
}

use Numbers::{Checked, Whole};

macro_rules! languages {
    ($($language:ident $numbers:ident $source:literal $place:literal),* $(,)?) => { $(
        mod $language {
            use super::*;

            const LANGUAGE: &str = stringify!($language);

            #[test]
            fn numbers_of_a_filter_cross_as_they_are() {
                ledger(LANGUAGE, $numbers);
            }

            #[test]
            fn numbers_of_a_balancer_arrive_as_they_are() {
                turns(LANGUAGE, $numbers);
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
    rust Whole "src/lib.rs" "src/lib.rs:LINE:",
    c Whole "src/plugin.c" "src/plugin.c: answer: LINE",
    cpp Whole "src/plugin.cpp" "src/plugin.cpp: answer: LINE",
    zig Whole "src/plugin.zig" "plugin.answer",
    go Whole "plugin.go" "plugin.go:LINE",
    js Checked "src/plugin.js" "src/plugin.js:LINE in answer",
    ts Checked "src/plugin.ts" "src/plugin.ts:LINE in answer",
    python Whole "src/plugin.py" "plugin.py:LINE in answer",
];

/// The largest number up to which JavaScript holds every whole number exactly.
const SAFE: u64 = (1 << 53) - 1;

/// One second more than 32 bits can count in milliseconds.
const LONG: u64 = (1 << 32) + 1000;

fn ledger(language: &str, numbers: Numbers) {
    let component = component(language, "ledger");
    let mut filter = component.filter("{}").unwrap();
    let mut does = |command: &str| answer(&mut filter, command).unwrap();
    for number in [1, -1, 1 << 32, -(1 << 32) - 1, SAFE.cast_signed(), -SAFE.cast_signed()] {
        assert_eq!(does(&format!("add n{number} {number} 0")), number.to_string());
        assert_eq!(does(&format!("add n{number} -{number} 0").replace("--", "")), "0");
    }
    assert_eq!(does("set long v 4294968296") + &does("replace other - w 4294968296"), "donetrue");
    assert_eq!(does("add sum 7 4294968296"), "7");
    assert_eq!(does("replace long wrong w 0") + &does("get none"), "falsenone");
    // A duration cut to 32 bits would be over.
    component.world().advance(Duration::from_millis(LONG - 1));
    assert_eq!(does("get long") + &does("get other") + &does("get sum"), "vw7");
    component.world().advance(Duration::from_millis(1));
    assert_eq!(does("get long") + &does("get other") + &does("get sum"), "nonenonenone");
    assert_eq!(does("count m 4294967297") + &does("count m 1"), "donedone");
    assert_eq!(component.world().counters()["m"], (1 << 32) + 2);

    component.world().advance(Duration::from_nanos(1));
    let expected = 1_767_225_600_000_000_000 + LONG * 1_000_000 + 1;
    let now: u64 = does("now").parse().unwrap();
    match numbers {
        Whole => {
            assert_eq!(now, expected);
            all_of_64_bits(&component, &mut does);
        }
        Checked => {
            assert!(now.abs_diff(expected) <= 128, "{now} is not {expected}");
            beyond_53_bits(&component);
        }
    }
}

fn all_of_64_bits(component: &Component, does: &mut impl FnMut(&str) -> String) {
    for number in [(1 << 53) + 1, i64::MAX, i64::MIN, i64::MIN + 1] {
        assert_eq!(does(&format!("add w{number} {number} 0")), number.to_string());
    }
    assert_eq!(does(&format!("count all {}", u64::MAX)), "done");
    assert_eq!(component.world().counters()["all"], u64::MAX);
    assert_eq!(does(&format!("set forever v {}", u64::MAX)), "done");
    assert_eq!(does("get forever"), "v");
}

/// A number that is too large is an error that says this, and has no other effect; only a sum is
/// added by then.
fn beyond_53_bits(component: &Component) {
    let refuses = |command: &str, what: &str| {
        let error = answer(&mut component.filter("{}").unwrap(), command).unwrap_err().to_string();
        assert!(error.contains(what), "{command}: {error}");
    };
    let does = |command: &str| answer(&mut component.filter("{}").unwrap(), command).unwrap();
    for number in [SAFE + 1, SAFE + 2, u64::MAX] {
        refuses(&format!("add x {number} 0"), "RangeError: add: by is beyond");
        refuses(&format!("add x -{number} 0"), "RangeError: add: by is beyond");
        refuses(&format!("add x 1 {number}"), "RangeError: add: ttlMs is beyond");
        refuses(&format!("set x v {number}"), "RangeError: set: ttlMs is beyond");
        refuses(&format!("replace x - v {number}"), "RangeError: replace: ttlMs is beyond");
        refuses(&format!("count x {number}"), "RangeError: count: by is beyond");
    }
    refuses("add x 1 -1", "RangeError: add: ttlMs must be from 0");
    refuses("add-numbers x 1.5 0", "TypeError: add: by must be a whole number");
    assert_eq!(does("get x"), "none");
    assert!(!component.world().counters().contains_key("x"));

    assert_eq!(does("add-numbers y 4294967297 60000"), "4294967297");
    for number in [SAFE.to_string(), format!("-{SAFE}")] {
        assert_eq!(does(&format!("add z{number} {number} 0")), number);
        let more = if number.starts_with('-') { "-2" } else { "2" };
        refuses(&format!("add z{number} {more} 0"), "RangeError: add: the sum is beyond");
        let sum = number.parse::<i64>().unwrap() + more.parse::<i64>().unwrap();
        assert_eq!(does(&format!("get z{number}")), sum.to_string());
    }
}

fn turns(language: &str, numbers: Numbers) {
    let component = component(language, "turns");
    let endpoint = |id: u32| Endpoint {
        id,
        address: format!("10.0.0.{id}:80"),
        weight: 1,
        zone: String::new(),
        labels: Vec::new(),
    };
    let mut balancer = component.balancer("{}", &[endpoint(0)]).unwrap();
    let mut told = vec![0, 1, (1 << 32) - 1, (1 << 32) + 1, SAFE];
    let beyond = [SAFE + 1, SAFE + 2, u64::MAX - 1, u64::MAX];
    if numbers == Whole {
        told.extend(beyond);
    }
    let inputs = [None];
    let pick = |sequence| Pick { sequence, attempt: 0, inputs: &inputs, loads: &[] };
    for &sequence in &told {
        assert_eq!(balancer.instance().pick(pick(sequence)).unwrap(), Some(0));
    }
    let outcome = |&duration_us: &u64| Outcome { endpoint: 0, status: 200, duration_us };
    let outcomes: Vec<_> = told.iter().map(outcome).collect();
    balancer.instance().observe(&outcomes).unwrap();
    let expected = told.iter().map(|sequence| format!("pick {sequence}"));
    let expected = expected.chain(told.iter().map(|duration| format!("observe {duration}")));
    let lines: Vec<String> = component.world().lines().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, expected.collect::<Vec<_>>());
    if numbers == Whole {
        return;
    }
    for number in beyond {
        let mut fresh = component.balancer("{}", &[endpoint(0)]).unwrap();
        let error = fresh.instance().pick(pick(number)).unwrap_err().to_string();
        assert!(error.contains("RangeError: the sequence is beyond"), "{error}");
        let mut fresh = component.balancer("{}", &[endpoint(0)]).unwrap();
        let error = fresh.instance().observe(&[outcome(&number)]).unwrap_err().to_string();
        assert!(error.contains("RangeError: the duration is beyond"), "{error}");
    }
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
    if language != "zig" {
        assert!(error.to_string().contains(&place), "{place} is not in {error}");
    }
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
        "c" => &[("abort", "!abort", "!exports_filter_on_request")],
        "cpp" => &[("terminate", "!std::terminate()", "Ledger::on_request")],
        "go" => &[("wait", "all goroutines are asleep - deadlock!", "plugin.go:")],
        "js" => &[("reply", "the status of a reply must be a whole number", "src/plugin.js:")],
        "ts" => &[("reply", "the status of a reply must be a whole number", "src/plugin.ts:")],
        "python" => &[
            ("decide", "this is no decision here: 'no decision'", "weir_export.py:"),
            ("set k v -1", "ttl_ms must be from 0 to 18446744073709551615", "plugin.py:"),
            ("add k 9223372036854775808 0", "by must be from -9223372036854775808", "plugin.py:"),
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
