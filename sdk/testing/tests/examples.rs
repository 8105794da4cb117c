//! Tests the examples in every language. Each is built from source, as a copy outside the
//! repository. It must pass the shared cases, and it is called until a leak would show. A missing
//! toolchain fails its tests with the command that installs it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test, at the place where it does"
)]
#![allow(clippy::print_stdout, reason = "figures, shown beside a test's result")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weir_runtime::filter::{RequestDecision, ResponseDecision};
use weir_runtime::{Endpoint, Limits};
use weir_sdk_testing::{Component, Request, cases};

/// The number of calls of an instance, and its limits meanwhile.
struct Run {
    calls: u32,
    memory: usize,
    /// Bytes that it may grow by after the first tenth of the calls.
    growth: usize,
}

const RUN: Run = Run { calls: 100_000, memory: 64 << 20, growth: usize::MAX };

/// Without a collector, freed memory is reused at once: a leak of a few bytes per call shows.
const STEADY_RUN: Run = Run { growth: 64 << 10, ..RUN };

/// A bug of a collector that runs at a bad moment shows only after some of its cycles.
const LONG_RUN: Run = Run { calls: 400_000, memory: 256 << 20, growth: usize::MAX };

macro_rules! examples {
    ($($language:ident $run:ident),* $(,)?) => { $(
        mod $language {
            use super::*;

            #[test]
            fn a_balancer_does_as_the_others() {
                balancer(stringify!($language), &$run);
            }

            #[test]
            fn a_filter_does_as_the_others() {
                filter(stringify!($language), &$run);
            }
        }
    )* };
}

examples![
    rust STEADY_RUN, c STEADY_RUN, cpp STEADY_RUN, zig STEADY_RUN, go LONG_RUN, js RUN, ts RUN, python RUN,
];

fn balancer(language: &str, run: &Run) {
    let component = example(language, "balancer", run);
    let mut endpoints = endpoints(32);
    let mut balancer = component.balancer(r#"{ "by": "header:x-user" }"#, &endpoints).unwrap();
    let mut picked = [0_u32; 32];
    let mut early = 0;
    let start = Instant::now();
    for call in 0..run.calls {
        let request = Request::get("/").header("x-user", &(call % 1000).to_string());
        // Endpoints come and go; the number of loads follows the number of endpoints.
        if call % 10_000 == 9_999 {
            endpoints.rotate_left(1);
            balancer.update(&endpoints[..24 + (call / 10_000 % 9) as usize]).unwrap();
        }
        if let Some(id) = balancer.pick(&request, 0, &[]).unwrap() {
            picked[id as usize] += 1;
        }
        if call == run.calls / 10 {
            early = balancer.instance().memory();
        }
    }
    let memory = balancer.instance().memory();
    report(language, "pick", start, run.calls, memory);
    assert!(memory - early <= run.growth, "from {early} to {memory} bytes");
    assert_eq!(picked.iter().sum::<u32>(), run.calls);
    assert!(picked.iter().all(|count| *count > 0), "{picked:?}");
}

fn filter(language: &str, run: &Run) {
    let component = example(language, "filter", run);
    let config = r#"{ "tenants": {
        "acme": { "prefix": "/acme", "plan": "gold", "methods": ["GET"] },
        "plain": {},
        "closed": { "methods": [] }
    } }"#;
    let mut filter = component.filter(config).unwrap();
    let requests = ["acme", "plain", "closed", "other"]
        .map(|tenant| Request::get("/a/path?with=a&query").header("x-tenant", tenant));
    let long = Request::get("/").header("x-tenant", &"x".repeat(30_000));
    let refused = filter.on_request(&long).unwrap();
    assert!(
        matches!(&refused, RequestDecision::Reply(reply) if reply.status == 403),
        "{refused:?}"
    );
    let mut early = 0;
    let start = Instant::now();
    for call in 0..run.calls {
        if call == run.calls / 10 {
            early = filter.instance().memory();
        }
        let request = &requests[call as usize % 4];
        let decision = filter.on_request(request).unwrap();
        let context = match (call % 4, decision) {
            (0, RequestDecision::Edit(changes)) => changes.context,
            (1, RequestDecision::Next) => Vec::new(),
            (2, RequestDecision::Reply(reply)) if reply.status == 405 => continue,
            (3, RequestDecision::Reply(reply)) if reply.status == 403 => continue,
            (_, decision) => panic!("call {call}: {decision:?}"),
        };
        let response = filter.on_response(request, 200, &[], &context).unwrap();
        assert_eq!(matches!(response, ResponseDecision::Edit(_)), call % 4 == 0, "{response:?}");
    }
    let memory = filter.instance().memory();
    report(language, "on-request and half an on-response", start, run.calls, memory);
    assert!(memory - early <= run.growth, "from {early} to {memory} bytes");
}

/// Builds an example, loads it and runs its cases.
fn example(language: &str, kind: &str, run: &Run) -> Component {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let start = Instant::now();
    let wasm = built(&examples.join(language).join(kind));
    println!("{language} {kind}: {} bytes, built in {:.1?}", wasm.len(), start.elapsed());
    let start = Instant::now();
    // With this many calls, one meets a processor that its virtual machine has stopped, and that
    // time counts as the call's. These tests are not about the time limit.
    let limits = Limits { memory: run.memory, time: Duration::from_millis(100) };
    let component = Component::load(&wasm, limits).unwrap();
    println!("{language} {kind}: compiled in {:.1?}", start.elapsed());
    let cases = examples.join("cases");
    let text = fs::read_to_string(cases.join(kind).with_extension("yaml")).unwrap();
    let outcomes = cases::run(&component, &text, &cases).unwrap();
    let faults: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| Some(format!("{}: {}", outcome.name, outcome.fault.as_ref()?)))
        .collect();
    assert!(faults.is_empty() && outcomes.len() > 20, "{language} {kind}: {faults:#?}");
    component
}

/// Builds the component of an example. All but Rust's are first copied out of the repository;
/// Rust's refer to the SDK by a path in it.
fn built(example: &Path) -> Vec<u8> {
    let copy = tempfile::tempdir().unwrap();
    let folder = if example.join("Cargo.toml").exists() {
        example.to_owned()
    } else {
        copy_all(example, copy.path());
        copy.path().to_owned()
    };
    weir_sdk_build::build(&folder).unwrap_or_else(|error| panic!("{error:#}")).wasm
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap();
        match path.is_dir() {
            true if name == "build" => {}
            true => copy_all(&path, &to.join(name)),
            false => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

fn endpoints(count: u32) -> Vec<Endpoint> {
    let endpoint = |id: u32| Endpoint {
        id,
        address: format!("10.0.0.{id}:8080"),
        weight: 1 + id % 3,
        zone: String::new(),
        labels: Vec::new(),
    };
    (0..count).map(endpoint).collect()
}

fn report(language: &str, what: &str, start: Instant, calls: u32, memory: usize) {
    let each = start.elapsed() / calls;
    println!("{language}: {what} {each:.1?}, {} KiB after {calls} calls", memory >> 10);
}
