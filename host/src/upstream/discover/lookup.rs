//! Lookups in the DNS, each with a bound in time, and the addresses that are known from before.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::time::timeout;

use super::report::Trouble;

/// A resolver for one look. It has no cache, because the discovery itself keeps the times, and each
/// look meets the present `/etc/resolv.conf` and `/etc/hosts`.
pub(super) struct Lookups {
    resolver: Result<TokioResolver, NetError>,
    limit: Duration,
}

/// The records of a name, and the time for which they are valid.
pub(super) struct Answer {
    pub(super) records: Vec<RData>,
    pub(super) ttl: Duration,
}

/// The reason why there are no records.
pub(super) enum Miss {
    /// The DNS says that there are none.
    Empty,
    /// The DNS says nothing.
    Failed(String),
}

/// The answers for IPv4 and IPv6 addresses, in this order.
pub(super) type Families = [Result<Answer, Miss>; 2];

/// The addresses of names when they were last answered. One of the two types of addresses, or one
/// of the targets of an SRV record, can fail while the others are answered.
#[derive(Default)]
pub(super) struct Known(HashMap<String, [Vec<IpAddr>; 2]>);

/// The addresses of a name, IPv4 and IPv6, each sorted.
pub(super) struct Addresses {
    pub(super) families: [Vec<IpAddr>; 2],
    /// The time for which the answers are valid, if there were any.
    pub(super) ttl: Option<Duration>,
    /// The reason why some addresses may be out of date.
    pub(super) trouble: Option<Trouble>,
}

impl Lookups {
    /// Makes a resolver that asks these servers, or those of the system if there are none. A lookup
    /// takes `limit` at most.
    pub(super) fn new(servers: &[SocketAddr], limit: Duration) -> Self {
        let mut builder = if servers.is_empty() { of_system() } else { of_servers(servers) };
        let options = builder.options_mut();
        options.cache_size = 0;
        // A second try fits into the limit.
        options.timeout = options.timeout.min(limit.mul_f64(0.4));
        Self { resolver: builder.build(), limit }
    }

    /// Looks up the records of a type.
    pub(super) async fn records(&self, name: &str, kind: RecordType) -> Result<Answer, Miss> {
        let failed = |error: &dyn std::fmt::Display| Miss::Failed(error.to_string());
        let resolver = self.resolver.as_ref().map_err(|error| failed(error))?;
        let parsed = Name::from_ascii(name).map_err(|error| failed(&error))?;
        let lookup = timeout(self.limit, resolver.lookup(parsed, kind)).await;
        let lookup = match lookup {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) if error.is_no_records_found() => return Err(Miss::Empty),
            Ok(Err(NetError::NoConnections)) => return Err(failed(&"no DNS server is known")),
            Ok(Err(NetError::Timeout)) | Err(_) => return Err(failed(&"no answer in time")),
            Ok(Err(error)) => return Err(failed(&error)),
        };
        let answers = lookup.answers();
        // Aliases on the way to the records count: the chain is valid as long as all its parts.
        let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
        let of_kind = answers.iter().filter(|record| record.record_type() == kind);
        let records: Vec<RData> = of_kind.map(|record| record.data.clone()).collect();
        let ttl = Duration::from_secs(u64::from(ttl));
        if records.is_empty() { Err(Miss::Empty) } else { Ok(Answer { records, ttl }) }
    }

    /// Looks up the addresses of a name.
    pub(super) async fn addresses(&self, name: &str) -> Families {
        let (v4, v6) =
            tokio::join!(self.records(name, RecordType::A), self.records(name, RecordType::AAAA));
        [v4, v6]
    }

    /// Looks up the addresses of several names, some at a time.
    pub(super) async fn each(
        &self,
        names: impl IntoIterator<Item = String>,
    ) -> Vec<(String, Families)> {
        let each = names.into_iter().map(|name| async move {
            let families = self.addresses(&name).await;
            (name, families)
        });
        stream::iter(each).buffer_unordered(CONCURRENT).collect().await
    }
}

impl Miss {
    pub(super) fn of(self, name: &str) -> Trouble {
        let name = name.to_owned();
        match self {
            Self::Empty => Trouble::Empty(name),
            Self::Failed(why) => Trouble::Lookup { name, why },
        }
    }
}

impl Known {
    /// Notes the answers for a name. An answer that is missing is replaced by the last one.
    ///
    /// # Errors
    /// The name has no address. Those that were known before stay known.
    pub(super) fn merge(&mut self, name: &str, answers: Families) -> Result<Addresses, Trouble> {
        let mut known = self.0.get(name).cloned().unwrap_or_default();
        let (mut ttl, mut trouble) = (None, None);
        for (answer, known) in answers.into_iter().zip(&mut known) {
            match answer {
                Ok(answer) => {
                    ttl = least(ttl, Some(answer.ttl));
                    *known = answer.records.iter().filter_map(RData::ip_addr).collect();
                    known.sort_unstable();
                    known.dedup();
                }
                Err(Miss::Empty) => known.clear(),
                Err(failed @ Miss::Failed(_)) => trouble = Some(failed.of(name)),
            }
        }
        if known.iter().all(Vec::is_empty) {
            return Err(trouble.unwrap_or(Trouble::Empty(name.to_owned())));
        }
        self.0.insert(name.to_owned(), known.clone());
        Ok(Addresses { families: known, ttl, trouble })
    }

    /// Forgets all names but these.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| is_kept(name));
    }
}

/// Returns the shorter time.
pub(super) fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

fn of_servers(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    };
    let servers = servers.iter().map(server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder
}

/// Without a usable `/etc/resolv.conf` there still are the names in `/etc/hosts`.
fn of_system() -> ResolverBuilder<TokioRuntimeProvider> {
    let (config, options) = system().unwrap_or_default();
    let provider = TokioRuntimeProvider::default();
    TokioResolver::builder_with_config(config, provider).with_options(options)
}

/// The meaning of `/etc/resolv.conf`.
type System = (ResolverConfig, ResolverOpts);

/// Reads `/etc/resolv.conf`. It parses the text only if that has changed: each time hickory logs
/// the options that it does not know.
fn system() -> Option<System> {
    let text = fs::read(RESOLV_CONF).ok()?;
    let mut last = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if last.as_ref().is_none_or(|(read, _)| *read != text) {
        let parsed = parse_resolv_conf(&text).ok();
        *last = Some((text, parsed));
    }
    last.as_ref().and_then(|(_, parsed)| parsed.clone())
}

/// The last text of the file, and its meaning.
static SYSTEM: Mutex<Option<(Vec<u8>, Option<System>)>> = Mutex::new(None);

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The time of one lookup. It is that of the C library: a server that needs longer is as good as
/// down.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Lookups of addresses at a time, with two queries each. hickory-resolver opens at most 32 queries
/// on a connection.
const CONCURRENT: usize = 16;
