//! Guests that misbehave. Each failure has its kind, ends in time and does not harm the host's
//! memory, and the next instance works.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_runtime::{
    BalancerInstance, Environment, Limits, Line, MemoryState, Outcome, Pick, Plugin, PluginError,
    Services,
};

use crate::support::{MEMORY, endpoints, engine, guest};

/// An instance with endpoints 0 and 1 that does `act` in the call `call`.
fn instance(act: &str, call: &str) -> BalancerInstance {
    let balancer = guest("misbehave").unwrap();
    let mut instance = balancer.balancer(&config(act, call)).unwrap();
    instance.update(&endpoints(&[1, 1])).unwrap();
    instance
}

fn config(act: &str, call: &str) -> String {
    format!(r#"{{"do": "{act}", "in": "{call}"}}"#)
}

fn pick(instance: &mut BalancerInstance) -> Result<Option<u32>, PluginError> {
    instance.pick(Pick { sequence: 0, attempt: 0, inputs: &[], loads: &[] })
}

/// Returns the error of the call, after a check that a fresh instance of the same plugin works.
fn failure(act: &str, call: &str) -> PluginError {
    let balancer = guest("misbehave").unwrap();
    let error = fail(&balancer, act, call);
    let mut fresh = balancer.balancer("null").unwrap();
    fresh.update(&endpoints(&[1])).unwrap();
    assert_eq!(pick(&mut fresh).unwrap(), Some(0));
    error
}

fn fail(balancer: &Plugin, act: &str, call: &str) -> PluginError {
    let mut instance = match balancer.balancer(&config(act, call)) {
        Ok(instance) => instance,
        Err(error) => return error,
    };
    let outcome = Outcome { endpoint: 0, status: 200, duration_us: 1 };
    let result = match call {
        "update" => instance.update(&endpoints(&[1, 1])),
        "pick" => pick(&mut instance).map(|_| ()),
        _ => instance.observe(&[outcome]),
    };
    result.unwrap_err()
}

#[test]
fn a_spinning_call_times_out_soon() {
    for call in ["update", "pick", "observe"] {
        let start = Instant::now();
        let error = failure("spin", call);
        assert_eq!(error.kind(), "timeout");
        assert!(error.to_string().contains(call), "{error}");
        // The limit is 5 ms; the rest is for compiling on a busy machine.
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_spinning_configure_times_out_later() {
    let balancer = guest("misbehave").unwrap();
    let start = Instant::now();
    let error = fail(&balancer, "spin", "configure");
    assert_eq!(error.kind(), "timeout");
    assert!(start.elapsed() >= Limits::SETUP, "an interpreter needs time to start");
}

#[test]
fn a_timeout_is_near_its_limit_of_cpu_time() {
    let mut instance = instance("spin", "pick");
    let before = cpu_time();
    assert_eq!(pick(&mut instance).unwrap_err().kind(), "timeout");
    let took = cpu_time() - before;
    let range = Duration::from_millis(5)..Duration::from_millis(15);
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn a_trap_is_a_trap_in_every_call() {
    for call in ["configure", "update", "pick", "observe"] {
        let error = failure("trap", call);
        assert_eq!(error.kind(), "trap");
        assert!(error.to_string().contains("unreachable"), "{error}");
    }
}

#[test]
fn recursion_without_end_is_a_trap() {
    let error = failure("recurse", "pick");
    assert_eq!(error.kind(), "trap");
    assert!(error.to_string().contains("stack"), "{error}");
}

#[test]
fn a_read_outside_its_memory_is_a_trap() {
    assert_eq!(failure("wander", "pick").kind(), "trap");
}

#[test]
fn allocating_without_end_is_refused_in_every_call() {
    for call in ["configure", "update", "pick", "observe"] {
        let kind = failure("allocate", call).kind();
        // On a busy machine the time may end before the memory is full.
        assert!(kind == "memory" || kind == "timeout", "{call}: {kind}");
    }
}

#[test]
fn a_leak_ends_at_the_limit_and_the_host_gets_its_memory_back() {
    let balancer = guest("misbehave").unwrap();
    let leak = || {
        let mut instance = balancer.balancer(&config("leak", "pick")).unwrap();
        let error = loop {
            if let Err(error) = pick(&mut instance) {
                break error;
            }
            assert!(instance.memory() <= MEMORY);
        };
        assert_eq!(error.kind(), "memory");
        assert!(instance.memory() > MEMORY / 2, "it had {} bytes", instance.memory());
    };
    leak();
    let before = resident();
    for _ in 0..100 {
        leak();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 * MEMORY, "a hundred instances left {grown} bytes behind");
}

#[test]
fn an_id_that_no_endpoint_has_is_handed_on_for_the_host_to_refuse() {
    assert_eq!(pick(&mut instance("unknown-id", "pick")).unwrap(), Some(u32::MAX));
}

#[test]
fn none_is_an_answer() {
    let mut instance = instance("none", "pick");
    assert!((0..10).all(|_| pick(&mut instance).unwrap().is_none()));
}

#[test]
fn a_refusal_has_the_plugin_s_reason_cut_short() {
    let PluginError::Refused { message, plugin } = failure("refuse", "configure") else {
        panic!("not refused");
    };
    assert!(message.starts_with("no no no") && message.len() == 4096);
    assert_eq!(&*plugin, "misbehave");
}

#[test]
fn a_configuration_that_is_no_json_is_refused() {
    let error = guest("misbehave").unwrap().balancer("{").err().unwrap();
    assert_eq!(error.kind(), "refused");
}

#[test]
fn needs_beyond_the_bounds_are_invalid() {
    let error = failure("greedy", "");
    assert_eq!(error.kind(), "invalid");
    assert!(error.to_string().contains("more than 64 inputs"), "{error}");
}

#[test]
fn a_result_that_aliases_its_memory_is_not_copied_again_and_again() {
    let balancer = guest("misbehave").unwrap();
    let before = resident();
    assert_eq!(fail(&balancer, "alias", "").kind(), "trap");
    // Copied out, it would be 10 GB.
    assert!(peak() < before + (256 << 20));
}

#[test]
fn logging_without_end_fails_nothing() {
    assert_eq!(pick(&mut instance("log", "pick")).unwrap_or(None).unwrap_or(0), 0);
}

#[test]
fn the_lines_of_a_log_are_bounded_over_all_instances() {
    struct Lines(AtomicUsize);
    impl Services for Lines {
        fn log(&self, _line: Line<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let lines = Arc::new(Lines(AtomicUsize::new(0)));
    let state = Arc::new(MemoryState::new(1 << 20));
    let environment = Environment::new(Arc::clone(&lines) as Arc<_>, state, "n", &[]);
    let naughty = guest("naughty").unwrap().with_environment(environment);
    let start = Instant::now();
    for _ in 0..20 {
        naughty.filter(r#"{"do": "log", "count": 100}"#).unwrap().on_request(&[]).unwrap();
    }
    let windows = start.elapsed().as_secs() as usize + 2;
    let written = lines.0.load(Ordering::Relaxed);
    assert!((20..=20 * windows).contains(&written), "{written}");
}

#[test]
fn spaces_are_walls_but_where_every_space_is_there() {
    let naughty = guest("naughty").unwrap();
    let reach = |plugin: &Plugin| {
        let config = r#"{"do": "space", "value": "sessions"}"#;
        plugin.filter(config).unwrap().on_request(&[]).map(drop)
    };
    assert_eq!(reach(&naughty).unwrap_err().kind(), "trap");
    let open = Environment::default().with_every_space();
    reach(&naughty.with_environment(open)).unwrap();
}

#[test]
fn bodies_that_a_filter_returns_are_bounded_as_its_interface_says() {
    let naughty = guest("naughty").unwrap();
    let filter = |act: &str, count: usize| {
        naughty.filter(&format!(r#"{{"do": "{act}", "count": {count}}}"#)).unwrap()
    };
    let reply = |count| filter("reply-long", count).on_request(&[]).map(drop);
    let piece = |count| filter("body-long", count).on_request_body(b"1", b"x", true).map(drop);
    reply(256 << 10).unwrap();
    piece(512 << 10).unwrap();
    for error in [reply((256 << 10) + 1).unwrap_err(), piece((512 << 10) + 1).unwrap_err()] {
        assert_eq!(error.kind(), "invalid", "{error}");
    }
}

#[test]
fn a_boastful_description_is_invalid() {
    let error = guest("boast").err().unwrap();
    assert_eq!(error.kind(), "invalid");
    assert!(error.to_string().contains("summary has more than 1024 bytes"), "{error}");
}

#[test]
fn what_is_no_balancer_is_invalid() {
    let load = |wasm| {
        let error = Plugin::load(engine(), "p", wasm, Limits::default(), &Environment::default())
            .err()
            .unwrap();
        assert_eq!(error.kind(), "invalid");
        error.to_string()
    };
    for garbage in [&b""[..], b"\0as", b"garbage"] {
        assert_eq!(load(garbage), "plugin p: this is not a WebAssembly component");
    }
    assert!(load(b"\0asm\x01\0\0\0").contains("core module"));
    // A component without content.
    assert!(load(b"\0asm\x0d\0\x01\0").contains("none of weir:plugin's worlds"));
}

#[test]
fn a_component_that_is_cut_short_is_invalid_wherever_it_is_cut() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist/round-robin.wasm");
    let wasm = fs::read(path).expect("build it with `cargo run -p weir-sdk-build -- plugins`");
    for length in (0..wasm.len()).step_by(wasm.len() / 40) {
        let error = Plugin::load(
            engine(),
            "p",
            &wasm[..length],
            Limits::default(),
            &Environment::default(),
        )
        .err()
        .unwrap();
        assert_eq!(error.kind(), "invalid", "cut at {length}");
    }
}

#[test]
fn hundreds_of_instances_live_at_once() {
    let balancer = guest("misbehave").unwrap();
    let mut instances: Vec<_> = (0..500).map(|_| balancer.balancer("null").unwrap()).collect();
    for instance in &mut instances {
        instance.update(&endpoints(&[1])).unwrap();
        assert_eq!(pick(instance).unwrap(), Some(0));
    }
}

#[test]
fn an_instance_outlives_the_engine_and_the_plugin_it_came_from() {
    let engine = weir_runtime::Engine::new().unwrap();
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guests/target/dist/misbehave.wasm");
    let wasm = fs::read(path).expect("build it with `cargo run -p weir-sdk-build -- guests`");
    let balancer =
        Plugin::load(&engine, "p", &wasm, Limits::default(), &Environment::default()).unwrap();
    let mut instance = balancer.balancer(&config("spin", "pick")).unwrap();
    drop((engine, balancer));
    assert_eq!(pick(&mut instance).unwrap_err().kind(), "timeout");
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes of this process in memory.
fn resident() -> usize {
    status("VmRSS:")
}

/// The most memory that this process ever had.
fn peak() -> usize {
    status("VmHWM:")
}

fn status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
