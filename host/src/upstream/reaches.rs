//! [`Reaches`]: one worker's way to every upstream of a configuration.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Reach, Upstream};
use crate::config::UpstreamId;

/// One worker's share of each upstream, by its id and by its name.
pub struct Reaches {
    all: Vec<Reach>,
    by_name: HashMap<Arc<str>, UpstreamId>,
}

impl Reaches {
    /// Makes one worker's share of each upstream. An upstream that was in `before` keeps its
    /// connections and instances.
    pub fn new(upstreams: &[Arc<Upstream>], before: Option<&Reaches>) -> Self {
        let ids = upstreams.iter().enumerate();
        let reach = |upstream: &Arc<Upstream>| {
            let before = before.and_then(|before| before.named(&upstream.name));
            Reach::new(Arc::clone(upstream), before)
        };
        Self {
            by_name: ids.map(|(at, u)| (Arc::clone(&u.name), UpstreamId::new(at))).collect(),
            all: upstreams.iter().map(reach).collect(),
        }
    }

    /// Returns the upstream with this id; `None` only if the id is of another configuration.
    pub fn get(&self, id: UpstreamId) -> Option<&Reach> {
        id.of(&self.all)
    }

    /// Returns the upstream of a name.
    pub fn named(&self, name: &str) -> Option<&Reach> {
        self.by_name.get(name).and_then(|id| self.get(*id))
    }

    /// Returns all of them.
    pub fn iter(&self) -> impl Iterator<Item = &Reach> {
        self.all.iter()
    }
}
