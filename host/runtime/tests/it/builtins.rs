//! The built-in balancers as components. Native tests beside their sources check which endpoint
//! they choose and why. These tests check that they do the same in the runtime, within their
//! limits.

use weir_runtime::{BalancerInstance, Pick, TRIED};

use crate::support::{builtin, endpoints};

const BUILTINS: [&str; 5] =
    ["round-robin", "least-connections", "weighted", "random-two-choices", "consistent-hash"];

fn instance(name: &str, weights: &[u32]) -> BalancerInstance {
    let mut instance = builtin(name).balancer("null").unwrap();
    instance.update(&endpoints(weights)).unwrap();
    instance
}

fn pick(instance: &mut BalancerInstance, sequence: u64, loads: &[u32]) -> Option<u32> {
    instance.pick(Pick { sequence, attempt: 0, inputs: &[], loads }).unwrap()
}

#[test]
fn each_describes_itself_by_its_name_and_has_a_schema() {
    for name in BUILTINS {
        let balancer = builtin(name);
        let manifest = balancer.manifest();
        assert_eq!(manifest.name, name);
        assert!(!manifest.version.is_empty() && !manifest.summary.is_empty());
        assert!(manifest.config_schema.contains("\"additionalProperties\""), "{name}");
    }
}

#[test]
fn each_refuses_a_key_that_it_does_not_know_by_name() {
    for name in BUILTINS {
        let error = builtin(name).balancer(r#"{"shares": 3}"#).err().unwrap();
        assert_eq!(error.kind(), "refused");
        assert!(error.to_string().contains("unknown field `shares`"), "{error}");
    }
}

#[test]
fn each_answers_none_without_endpoints_and_before_any() {
    for name in BUILTINS {
        let mut instance = builtin(name).balancer("{}").unwrap();
        assert_eq!(pick(&mut instance, 1, &[]), None);
        instance.update(&[]).unwrap();
        assert_eq!(pick(&mut instance, 2, &[]), None);
    }
}

#[test]
fn each_copes_with_a_thousand_endpoints_within_its_limits() {
    let weights: Vec<u32> = (0..1000).map(|n| 1 + n * 37 % 300).collect();
    for name in BUILTINS {
        let mut instance = instance(name, &weights);
        for sequence in 0..1000 {
            assert!(pick(&mut instance, sequence, &[1; 1000]).is_some_and(|id| id < 1000));
        }
        instance.update(&endpoints(&[1])).unwrap();
        assert_eq!(pick(&mut instance, 5, &[0]), Some(0));
    }
}

#[test]
fn each_keeps_its_memory_however_long_it_runs() {
    for name in BUILTINS {
        let mut instance = instance(name, &[1; 32]);
        let long = [b'x'; 8000];
        let inputs = vec![Some(long.as_slice()); instance.needs().inputs.len()];
        let mut run = |count| {
            for sequence in 0..count {
                instance
                    .pick(Pick { sequence, attempt: 0, inputs: &inputs, loads: &[0; 32] })
                    .unwrap();
                if sequence % 100 == 0 {
                    instance.update(&endpoints(&[1; 32])).unwrap();
                }
            }
            instance.memory()
        };
        let before = run(1000);
        assert_eq!(run(50_000), before, "{name}");
        assert!(before <= 2 << 20, "{name}: {before}");
    }
}

#[test]
fn round_robin_is_exact_over_instances() {
    let balancer = builtin("round-robin");
    let mut workers: Vec<_> = (0..3).map(|_| balancer.balancer("null").unwrap()).collect();
    let mut counts = [0; 5];
    for worker in &mut workers {
        worker.update(&endpoints(&[1; 5])).unwrap();
    }
    for sequence in 0..500 {
        let worker = &mut workers[(sequence * sequence % 3) as usize];
        counts[pick(worker, sequence, &[]).unwrap() as usize] += 1;
    }
    assert_eq!(counts, [100; 5]);
}

#[test]
fn weighted_is_exact_over_instances() {
    let balancer = builtin("weighted");
    let mut workers: Vec<_> = (0..2).map(|_| balancer.balancer("null").unwrap()).collect();
    let mut counts = [0; 4];
    for worker in &mut workers {
        worker.update(&endpoints(&[5, 1, 0, 4])).unwrap();
    }
    for sequence in 0..1000 {
        let worker = &mut workers[(sequence / 3 % 2) as usize];
        counts[pick(worker, sequence, &[]).unwrap() as usize] += 1;
    }
    assert_eq!(counts, [500, 100, 0, 400]);
}

#[test]
fn least_connections_takes_the_least_loaded() {
    let mut instance = instance("least-connections", &[1, 1, 2]);
    assert!(instance.needs().loads && instance.needs().sequence);
    assert_eq!(pick(&mut instance, 0, &[4, 3, 7]), Some(1));
    assert_eq!(pick(&mut instance, 0, &[4, 3, 5]), Some(2));
    assert_eq!(pick(&mut instance, 0, &[4, TRIED, TRIED]), Some(0));
}

#[test]
fn random_two_choices_never_takes_the_most_loaded() {
    let mut instance = instance("random-two-choices", &[1; 8]);
    let loads = [1, 1, 1, 1, 1, 1, 1, 9];
    let picks: Vec<_> = (0..500).map(|_| pick(&mut instance, 0, &loads)).collect();
    assert!(!picks.contains(&Some(7)));
    assert!((0..7).all(|id| picks.contains(&Some(id))));
}

#[test]
fn random_two_choices_differs_from_instance_to_instance() {
    let balancer = builtin("random-two-choices");
    let picks = || {
        let mut instance = balancer.balancer("null").unwrap();
        instance.update(&endpoints(&[1; 100])).unwrap();
        (0..20).map(|_| pick(&mut instance, 0, &[0; 100])).collect::<Vec<_>>()
    };
    assert_ne!(picks(), picks());
}

#[test]
fn consistent_hash_keeps_users_where_they_were() {
    let balancer = builtin("consistent-hash");
    let mut instance = balancer.balancer(r#"{"key": "header:X-User"}"#).unwrap();
    assert_eq!(instance.needs().inputs, ["header:x-user"]);
    let homes = |instance: &mut BalancerInstance, left: &[usize]| {
        let mut members = endpoints(&[1; 10]);
        members.retain(|endpoint| !left.contains(&(endpoint.id as usize)));
        instance.update(&members).unwrap();
        let home = |user: u64| {
            let user = user.to_string();
            let inputs = [Some(user.as_bytes())];
            let pick = Pick { sequence: 0, attempt: 0, inputs: &inputs, loads: &[] };
            instance.pick(pick).unwrap().unwrap()
        };
        (0..2000).map(home).collect::<Vec<_>>()
    };
    let before = homes(&mut instance, &[]);
    let after = homes(&mut instance, &[3]);
    assert!(!after.contains(&3));
    let moved = before.iter().zip(&after).filter(|(old, new)| **old != 3 && old != new).count();
    assert!(moved < 100, "{moved} of 2000 users moved without need");
    assert_eq!(homes(&mut instance, &[]), before);
}
