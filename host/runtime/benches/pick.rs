//! Measures one `pick` of each built-in balancer, with 32 endpoints and with 1,000. The project's
//! goal is a figure for 32.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot load its plugin has no result"
)]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use weir_runtime::{BalancerInstance, Endpoint, Engine, Environment, Limits, Pick, Plugin};

const BUILTINS: [&str; 5] =
    ["round-robin", "least-connections", "weighted", "random-two-choices", "consistent-hash"];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let engine = Engine::new().unwrap();
    let mut group = criterion.benchmark_group("pick");
    for name in BUILTINS {
        let balancer = load(&engine, name);
        for count in [32, 1000] {
            let mut instance = instance(&balancer, count);
            let loads: Vec<u32> = (0..count).map(|n| n * 7919 % 61).collect();
            let needs = instance.needs().clone();
            let loads = if needs.loads { loads.as_slice() } else { &[] };
            let inputs = vec![Some(b"192.0.2.117".as_slice()); needs.inputs.len()];
            let mut sequence = 0;
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    sequence += 1;
                    let pick = Pick { sequence, attempt: 0, inputs: &inputs, loads };
                    black_box(instance.pick(black_box(pick)).unwrap())
                });
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("update");
    for name in BUILTINS {
        let balancer = load(&engine, name);
        let endpoints: Vec<_> = (0..1000).map(endpoint).collect();
        let mut instance = instance(&balancer, 0);
        group.bench_function(BenchmarkId::new(name, 1000), |bencher| {
            bencher.iter(|| instance.update(&endpoints).unwrap());
        });
    }
    group.finish();
    criterion.bench_function("instantiate/round-robin", |bencher| {
        let balancer = load(&engine, "round-robin");
        bencher.iter(|| balancer.balancer("null").unwrap());
    });
    criterion.final_summary();
}

fn load(engine: &Engine, name: &str) -> Plugin {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist").join(name);
    let wasm = fs::read(path.with_extension("wasm")).unwrap();
    Plugin::load(engine, name, &wasm, Limits::default(), &Environment::default()).unwrap()
}

fn instance(balancer: &Plugin, count: u32) -> BalancerInstance {
    let mut instance = balancer.balancer("null").unwrap();
    instance.update(&(0..count).map(endpoint).collect::<Vec<_>>()).unwrap();
    instance
}

fn endpoint(id: u32) -> Endpoint {
    Endpoint {
        id,
        address: format!("10.0.{}.{}:8080", id / 250, id % 250),
        weight: 1 + id % 5,
        zone: "a".into(),
        labels: vec![("version".into(), "v2".into())],
    }
}
