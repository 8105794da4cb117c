//! A case of a balancer: the ends of earlier requests, and the endpoints that it chooses.

use std::collections::BTreeMap;

use weir_runtime::with_causes;

use super::{Case, Ended, Member, Runner, compare_counts, duration};
use crate::{Balancer, Request};

/// Tells a balancer how earlier requests ended.
pub(super) fn observe(
    balancer: &mut Balancer,
    case: &Case,
    members: &[Member],
) -> Result<(), String> {
    if case.outcomes.is_empty() {
        return Ok(());
    }
    let outcome = |ended: &Ended| {
        let known = members.iter().position(|member| member.address == ended.endpoint);
        let id = known.and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| format!("outcomes: {} is no endpoint", ended.endpoint))?;
        let after = duration(&ended.after)
            .ok_or_else(|| format!("outcomes: {:?} is no duration", ended.after))?;
        let duration_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Ok(weir_runtime::Outcome { endpoint: id, status: ended.status, duration_us })
    };
    let outcomes: Vec<_> = case.outcomes.iter().map(outcome).collect::<Result<_, String>>()?;
    if !balancer.instance().needs().outcomes {
        return Err("outcomes: the balancer does not ask for them".to_owned());
    }
    balancer.instance().observe(&outcomes).map_err(|error| with_causes(&error))
}

/// Has a balancer choose endpoints, and compares them.
pub(super) fn run(
    runner: &Runner<'_>,
    balancer: &mut Balancer,
    case: &Case,
    members: &[Member],
) -> Result<(), String> {
    let address = |id: Option<u32>| {
        let member = id.and_then(|id| members.get(id as usize));
        match (id, member) {
            (None, _) => Ok("none".to_owned()),
            (Some(_), Some(member)) => Ok(member.address.clone()),
            (Some(id), None) => Err(format!("it picked {id}, which is no endpoint")),
        }
    };
    let mut pick = |request: &Request| {
        let picked = balancer.pick(request, case.attempt, &case.loads);
        address(picked.map_err(|error| with_causes(&error))?)
    };
    if case.replay.is_some() {
        let mut counts = BTreeMap::new();
        for request in runner.recorded(case.replay.as_deref().unwrap_or_default())? {
            *counts.entry(pick(&request)?).or_default() += 1;
        }
        return compare_counts(case, &counts);
    }
    if let Some(expected) = &case.picks {
        let picks: Vec<String> =
            expected.iter().map(|_| pick(&case.request)).collect::<Result<_, _>>()?;
        if picks != *expected {
            return Err(format!(
                "picks: expected {}, got {}",
                expected.join(", "),
                picks.join(", ")
            ));
        }
    }
    if let Some(shares) = &case.shares {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..case.repeat {
            *counts.entry(pick(&case.request)?).or_default() += 1;
        }
        for (address, (least, most)) in shares {
            let count = counts.get(address).copied().unwrap_or(0);
            if !(least..=most).contains(&&count) {
                return Err(format!("shares: {address} got {count}, expected {least} to {most}"));
            }
        }
    }
    Ok(())
}
