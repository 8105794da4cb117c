//! [`Split`]: the choice among upstreams that share the requests of a route.

use http::header::{self, HeaderMap, HeaderValue};

use crate::config::{self, UpstreamId};

/// Upstreams with their shares, and the cookie that keeps a client at one of them.
#[derive(Debug)]
pub struct Split {
    shares: Vec<Share>,
    total: u64,
    /// The name of the cookie.
    cookie: Option<String>,
}

/// An upstream with its weight.
#[derive(Debug)]
pub struct Share {
    upstream: UpstreamId,
    name: String,
    weight: u64,
    /// The value of Set-Cookie that keeps a client here. Without `Secure`.
    cookie: Option<String>,
}

/// The choice for one request.
#[derive(Debug)]
pub struct Chosen<'a> {
    /// The upstream.
    pub upstream: UpstreamId,
    /// Set if the response is to keep the client there. [`Share::cookie`] does it.
    pub keep: Option<&'a Share>,
}

impl Share {
    /// Returns the value of Set-Cookie that keeps a client here. `is_encrypted` tells whether the
    /// client uses TLS.
    pub fn cookie(&self, is_encrypted: bool) -> Option<HeaderValue> {
        let secure = if is_encrypted { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{}{secure}", self.cookie.as_ref()?)).ok()
    }
}

impl Split {
    pub(super) fn new(split: &config::Split) -> Self {
        let cookie = |name: &str| {
            let sticky = split.sticky.as_ref()?;
            let age = sticky.max_age.map(|age| format!("; Max-Age={}", age.as_secs()));
            let (cookie, age) = (&sticky.cookie, age.unwrap_or_default());
            Some(format!("{cookie}={name}; Path=/; HttpOnly; SameSite=Lax{age}"))
        };
        let share = |(upstream, name, weight): &(UpstreamId, String, u32)| Share {
            upstream: *upstream,
            name: name.clone(),
            weight: u64::from(*weight),
            cookie: cookie(name),
        };
        Self {
            shares: split.shares.iter().map(share).collect(),
            total: split.shares.iter().map(|(_, _, weight)| u64::from(*weight)).sum(),
            cookie: split.sticky.as_ref().map(|sticky| sticky.cookie.clone()),
        }
    }

    /// Chooses by the client's cookie, or else by `roll`, which is a random number.
    pub fn choose(&self, fields: &HeaderMap, roll: u64) -> Option<Chosen<'_>> {
        if let Some(share) = self.kept(fields) {
            return Some(Chosen { upstream: share.upstream, keep: None });
        }
        // The upper half of the product is even over the shares.
        let mut place = ((u128::from(roll) * u128::from(self.total)) >> 64) as u64;
        let share = self.shares.iter().find(|share| {
            let is_here = place < share.weight;
            place = place.saturating_sub(share.weight);
            is_here
        })?;
        let keep = share.cookie.is_some().then_some(share);
        Some(Chosen { upstream: share.upstream, keep })
    }

    /// Returns the share that the client's cookie names.
    fn kept(&self, fields: &HeaderMap) -> Option<&Share> {
        let name = self.cookie.as_deref()?;
        let lines = fields.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';'));
        pairs.find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            self.shares.iter().find(|share| key == name && share.name == value)
        })
    }

    /// Returns the upstreams with their weights.
    pub fn shares(&self) -> impl Iterator<Item = (&str, u64)> {
        self.shares.iter().map(|share| (share.name.as_str(), share.weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sticky;
    use std::time::Duration;

    fn split(weights: &[u32], sticky: Option<Sticky>) -> Split {
        let share = |(at, weight): (usize, &u32)| (UpstreamId::new(at), format!("u{at}"), *weight);
        let shares = weights.iter().enumerate().map(share).collect();
        Split::new(&config::Split { shares, sticky })
    }

    fn sticky(max_age: Option<u64>) -> Option<Sticky> {
        let max_age = max_age.map(Duration::from_secs);
        Some(Sticky { cookie: "at".into(), max_age })
    }

    fn cookies(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (header::COOKIE, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn requests_are_shared_by_weight() {
        let split = split(&[9, 0, 1], None);
        let mut counts = [0; 3];
        for step in 0..1000 {
            let roll = u64::MAX / 1000 * step;
            let chosen = split.choose(&HeaderMap::new(), roll).unwrap();
            counts[chosen.upstream.position()] += 1;
            assert!(chosen.keep.is_none());
        }
        assert_eq!(counts[1], 0);
        assert!((895..=905).contains(&counts[0]), "{counts:?}");
        assert!(split.choose(&HeaderMap::new(), u64::MAX).is_some());
    }

    #[test]
    fn a_cookie_keeps_a_client_even_at_weight_zero() {
        let split = split(&[1, 0], sticky(None));
        for line in ["at=u1", "a=b; at=u1", "at=gone; at=u1", "x=at=u0;at=u1"] {
            let chosen = split.choose(&cookies(&[line]), 0).unwrap();
            assert_eq!(chosen.upstream.position(), 1, "{line}");
            assert!(chosen.keep.is_none(), "{line}");
        }
        for line in ["", "at", "at=", "at=u2", "AT=u1", "other=u1", "at=u1x"] {
            let chosen = split.choose(&cookies(&["a=b", line]), 0).unwrap();
            assert_eq!(chosen.upstream.position(), 0, "{line}");
            assert!(chosen.keep.is_some(), "{line}");
        }
    }

    #[test]
    fn the_cookie_is_for_the_whole_site_and_secure_over_tls() {
        let text = |split: &Split, is_encrypted| {
            let chosen = split.choose(&HeaderMap::new(), 0).unwrap();
            let cookie = chosen.keep.unwrap().cookie(is_encrypted).unwrap();
            cookie.to_str().unwrap().to_owned()
        };
        let session = split(&[1], sticky(None));
        assert_eq!(text(&session, true), "at=u0; Path=/; HttpOnly; SameSite=Lax; Secure");
        let day = split(&[1], sticky(Some(86_400)));
        assert_eq!(text(&day, false), "at=u0; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400");
    }
}
