//! Discovery: the endpoints of an upstream that change while Weir runs. It has one loop for each
//! upstream, on the control thread.
//!
//! A loop looks at the source of the endpoints: names, the records of one name, or a file. A look
//! that fails or finds nothing takes no endpoint away, because old endpoints are more likely to
//! serve than none.

mod dns;
mod file;
mod lookup;
mod names;
mod pace;
mod report;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::{sleep, timeout};

pub use self::report::{DiscoveryStatus, SharedStatus};

use self::dns::Dns;
use self::file::File;
use self::lookup::{LIMIT, Lookups};
use self::names::Names;
use self::report::{Report, Trouble};
use crate::config::{self, Discovery, Endpoint};

/// Looks once at the source of each upstream that has no endpoints of its own. Without this, the
/// first requests after the start would find no endpoint. It takes at most 5 s.
pub async fn begin(upstreams: impl Iterator<Item = &mut config::Upstream>) {
    join_all(upstreams.map(begin_one)).await;
}

/// A family of addresses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Looks up the addresses of a name once. No search list applies to a name with several labels.
///
/// # Errors
/// The reason why there are none.
pub(super) async fn addresses(name: &str, family: Family) -> Result<Vec<IpAddr>, String> {
    let kind = match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    };
    let whole = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
    match Lookups::new(&[], LIMIT).records(&whole, kind).await {
        Ok(answer) => Ok(answer.records.iter().filter_map(RData::ip_addr).collect()),
        Err(miss) => Err(miss.of(name).to_string()),
    }
}

async fn begin_one(upstream: &mut config::Upstream) {
    let Some(mut source) = Source::of(upstream) else { return };
    if matches!(source, Source::Names(_)) {
        return;
    }
    let look = timeout(BEGIN, source.look()).await.ok();
    if let Some(endpoints) = look.and_then(|look| look.found) {
        upstream.endpoints = endpoints;
    }
    if upstream.endpoints.is_empty() {
        let name = &*upstream.name;
        tracing::warn!(upstream = name, "no endpoint is known yet: requests are answered with 503");
    }
}

/// Follows the endpoints of an upstream until it is dropped, and keeps `status` up to date. It
/// calls `apply` with the whole new list after each change; the list is never empty. The list
/// before the first call is `upstream.endpoints`. For an upstream whose endpoints never change it
/// returns at once.
pub async fn follow(
    upstream: &config::Upstream,
    status: &SharedStatus,
    mut apply: impl FnMut(Vec<Endpoint>),
) {
    let Some(mut source) = Source::of(upstream) else { return };
    let mut report = Report::new(&upstream.name, status);
    let mut present = upstream.endpoints.clone();
    let mut is_first = true;
    loop {
        let Look { mut found, troubles, next } = source.look().await;
        if let Some(found) = found.as_mut().filter(|_| is_first && !troubles.is_empty()) {
            // A source that begins does not know the results of lookups that fail now.
            let is_lost = |one: &&Endpoint| !found.iter().any(|it| it.address == one.address);
            let lost: Vec<_> = present.iter().filter(is_lost).cloned().collect();
            found.extend(lost);
        }
        is_first = false;
        let found = found.filter(|found| !found.is_empty() && *found != present);
        if let Some(found) = found {
            tracing::info!(
                upstream = &*upstream.name,
                endpoints = found.len(),
                "endpoints changed"
            );
            present.clone_from(&found);
            apply(found);
        }
        report.note(troubles, present.len(), next);
        source.wait(next).await;
    }
}

/// The source of an upstream's endpoints, with all that it remembers from look to look.
enum Source {
    Names(Names),
    Dns(Dns),
    File(File),
}

/// The result of one look at a source.
struct Look {
    /// The whole list of endpoints, in an order that depends on nothing but the endpoints. If
    /// absent, the last list stays.
    found: Option<Vec<Endpoint>>,
    /// The reasons why the list may be out of date.
    troubles: Vec<Trouble>,
    /// The time until the next look, if it is due before the source changes.
    next: Option<Duration>,
}

impl Source {
    fn of(upstream: &config::Upstream) -> Option<Self> {
        match &upstream.discovery {
            Discovery::Static => None,
            Discovery::Names(written) => {
                Some(Self::Names(Names::new(written.clone(), &upstream.endpoints)))
            }
            Discovery::Dns(dns) => Some(Self::Dns(Dns::new(dns.clone()))),
            Discovery::File(path) => Some(Self::File(File::new(path.clone()))),
        }
    }

    async fn look(&mut self) -> Look {
        match self {
            Self::Names(names) => names.look().await,
            Self::Dns(dns) => dns.look().await,
            Self::File(file) => file.look().await,
        }
    }

    /// Waits until the next look is due.
    async fn wait(&self, next: Option<Duration>) {
        let due = async {
            match next {
                Some(next) => sleep(next).await,
                None => std::future::pending().await,
            }
        };
        match self {
            Self::Names(_) | Self::Dns(_) => due.await,
            Self::File(file) => tokio::select! {
                () = file.changed() => {}
                () = due => {}
            },
        }
    }
}

/// The longest delay of the start. It is the time of one lookup that fails.
const BEGIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
