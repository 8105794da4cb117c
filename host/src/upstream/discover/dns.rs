//! The records of one DNS name as endpoints.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::Look;
use super::lookup::{Known, LIMIT, Lookups, least};
use super::pace::Pace;
use super::report::Trouble;
use crate::config::{self, DnsRecords, Endpoint, MAX_ENDPOINTS};

/// The source of endpoints that are records of one DNS name.
pub(super) struct Dns {
    config: config::Dns,
    pace: Pace,
    known: Known,
    limit: Duration,
}

/// The endpoints of one look.
struct Found {
    endpoints: Vec<Endpoint>,
    ttl: Option<Duration>,
    troubles: Vec<Trouble>,
}

impl Dns {
    pub(super) fn new(config: config::Dns) -> Self {
        let pace = Pace::new(config.min_ttl, config.max_ttl);
        Self { config, pace, known: Known::default(), limit: LIMIT }
    }

    pub(super) async fn look(&mut self) -> Look {
        let lookups = Lookups::new(&self.config.resolvers, self.limit);
        let found = match self.config.records {
            DnsRecords::Addresses { port, weight } => self.addresses(&lookups, port, weight).await,
            DnsRecords::Services => self.services(&lookups).await,
        };
        match found {
            Ok(found) => self.found(found),
            Err(trouble) => {
                let next = Some(self.pace.after_fault(None));
                Look { found: None, troubles: vec![trouble], next }
            }
        }
    }

    fn found(&mut self, found: Found) -> Look {
        let Found { mut endpoints, ttl, mut troubles } = found;
        let next = match ttl {
            Some(ttl) if troubles.is_empty() => self.pace.after(ttl),
            ttl => self.pace.after_fault(ttl),
        };
        // Servers rotate the records of an answer.
        endpoints.sort_by_key(|endpoint| (endpoint.address, Reverse(endpoint.weight)));
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        if endpoints.len() > MAX_ENDPOINTS {
            endpoints.truncate(MAX_ENDPOINTS);
            troubles.push(Trouble::TooMany);
        }
        Look { found: Some(endpoints), troubles, next: Some(next) }
    }

    async fn addresses(
        &mut self,
        lookups: &Lookups,
        port: u16,
        weight: u32,
    ) -> Result<Found, Trouble> {
        let name = &self.config.name;
        let found = self.known.merge(name, lookups.addresses(name).await)?;
        let ips = found.families.into_iter().flatten();
        let endpoints = ips.map(|ip| self.endpoint(ip, port, weight)).collect();
        Ok(Found { endpoints, ttl: found.ttl, troubles: found.trouble.into_iter().collect() })
    }

    async fn services(&mut self, lookups: &Lookups) -> Result<Found, Trouble> {
        let name = self.config.name.clone();
        let answer = lookups.records(&name, RecordType::SRV).await;
        let answer = answer.map_err(|miss| miss.of(&name))?;
        let services = preferred(answer.records);
        let targets: BTreeMap<String, Vec<&SRV>> =
            services.iter().fold(BTreeMap::new(), |mut targets, service| {
                targets.entry(service.target.to_ascii()).or_default().push(service);
                targets
            });
        let mut found =
            Found { endpoints: Vec::new(), ttl: Some(answer.ttl), troubles: Vec::new() };
        for (target, families) in lookups.each(targets.keys().cloned()).await {
            let addresses = match self.known.merge(&target, families) {
                Ok(addresses) => addresses,
                Err(trouble) => {
                    found.troubles.push(trouble);
                    continue;
                }
            };
            found.ttl = least(found.ttl, addresses.ttl);
            found.troubles.extend(addresses.trouble);
            for service in targets.get(&target).into_iter().flatten() {
                let ips = one_family(&addresses.families).iter();
                found.endpoints.extend(
                    ips.map(|ip| self.endpoint(*ip, service.port, u32::from(service.weight))),
                );
            }
        }
        self.known.retain(|name| targets.contains_key(name));
        if found.endpoints.is_empty() {
            return Err(found.troubles.into_iter().next().unwrap_or(Trouble::Empty(name)));
        }
        Ok(found)
    }

    fn endpoint(&self, ip: IpAddr, port: u16, weight: u32) -> Endpoint {
        Endpoint {
            weight,
            zone: self.config.zone.clone(),
            labels: self.config.labels.clone(),
            ..Endpoint::at(SocketAddr::new(ip, port))
        }
    }
}

/// Returns the records of the lowest priority. The target `.` means that the service is not there
/// (RFC 2782). If every weight is 0, each becomes 1: there is then no weighting.
fn preferred(records: Vec<RData>) -> Vec<SRV> {
    let services = records.into_iter().filter_map(|record| match record {
        RData::SRV(service) if !service.target.is_root() && service.port != 0 => Some(service),
        _ => None,
    });
    let mut services: Vec<SRV> = services.collect();
    let lowest = services.iter().map(|service| service.priority).min();
    services.retain(|service| Some(service.priority) == lowest);
    services.truncate(MAX_ENDPOINTS + 1);
    if services.iter().all(|service| service.weight == 0) {
        services.iter_mut().for_each(|service| service.weight = 1);
    }
    services
}

/// Returns the IPv4 addresses if there are any. A target is one server: with both of its addresses
/// it would get twice its share.
fn one_family([v4, v6]: &[Vec<IpAddr>; 2]) -> &[IpAddr] {
    if v4.is_empty() { v6 } else { v4 }
}

#[cfg(test)]
mod tests;
