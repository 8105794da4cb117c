//! [`LocalMembers`]: the endpoints of an upstream as one worker uses them.

use std::rc::Rc;
use std::sync::Arc;

use super::connect::Connector;
use super::members::{Member, Members};
use super::pool::Pool;
use super::{Endpoint, Upstream};

/// The endpoints of an upstream at one moment, with the worker's connections to each.
pub(super) struct LocalMembers {
    /// The membership number that this list has.
    pub(super) membership: u64,
    members: Arc<Members>,
    /// The connections to each endpoint, in the order of the endpoints.
    pools: Vec<Rc<Pool>>,
    /// Positions of the endpoints that may get requests.
    candidates: Vec<usize>,
}

impl LocalMembers {
    /// Returns the endpoints now. It keeps the connections of `before`.
    pub(super) fn new(upstream: &Upstream, before: Option<&LocalMembers>) -> Self {
        // The number is read first: a change during the loop is noticed by the next request.
        let membership = upstream.membership();
        let (members, connector) = (upstream.members(), upstream.connector());
        let kept = |(position, member): (usize, &Member)| {
            before.and_then(|before| before.pool_of(position, &member.endpoint, &connector))
        };
        let pool = |(position, member): (usize, &Member)| match kept((position, member)) {
            Some(pool) => {
                pool.adjust(upstream.number(), &upstream.limits, upstream.timeouts.connect);
                Rc::clone(pool)
            }
            None => {
                let (limits, connect) = (upstream.limits.clone(), upstream.timeouts.connect);
                let to = (Arc::clone(&member.endpoint), Arc::clone(&connector));
                Rc::new(Pool::new(to, limits, connect))
            }
        };
        let pools = members.iter().enumerate().map(pool).collect();
        let available = members.iter().enumerate().filter(|(_, m)| m.endpoint.is_available());
        let candidates = available.map(|(position, _)| position).collect();
        Self { membership, members, pools, candidates }
    }

    /// Returns the connections to an endpoint. Most endpoints stay at their position.
    fn pool_of(
        &self,
        position: usize,
        endpoint: &Arc<Endpoint>,
        connector: &Arc<Connector>,
    ) -> Option<&Rc<Pool>> {
        let is_it = |pool: &&Rc<Pool>| pool.is_of(endpoint, connector);
        self.pools.get(position).filter(is_it).or_else(|| self.pools.iter().find(is_it))
    }

    /// Returns the endpoints that may get requests.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Member> {
        self.candidates.iter().filter_map(|position| self.members.get(*position))
    }

    /// Whether no endpoint may get requests.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Returns the endpoint of an id, with the connections to it, if it may get requests.
    pub(super) fn find(&self, id: u32) -> Option<(&Arc<Endpoint>, &Rc<Pool>)> {
        let is_it = |position: &&usize| {
            self.members.get(**position).is_some_and(|member| member.endpoint.id == id)
        };
        let position = *self.candidates.iter().find(is_it)?;
        Some((&self.members.get(position)?.endpoint, self.pools.get(position)?))
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self) {
        self.pools.iter().for_each(|pool| pool.sweep());
    }
}
