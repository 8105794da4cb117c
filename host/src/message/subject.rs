//! The facts about a request and its client that stay the same in all filters, and the path for
//! interim responses.

use std::cell::OnceCell;
use std::net::IpAddr;

use http::{StatusCode, response};

use super::headers;
use super::interim::Interim;
use super::peer::Peer;
use super::peer::RequestId;
use crate::geoip::GeoIp;

/// The facts that do not change while a request passes its filters.
pub struct Subject<'a> {
    /// The client.
    pub peer: &'a Peer,
    /// The request's id.
    pub id: RequestId,
    /// The route's name.
    pub route: &'a str,
    captures: Captures,
    /// The path of interim responses. Absent for requests that are not the client's own.
    interim: Option<&'a Interim>,
    geoip: &'a GeoIp,
    client: OnceCell<String>,
    id_text: OnceCell<String>,
    asn: OnceCell<Option<String>>,
}

/// Parts of a request's path by the names that the pattern of its route gives them. The path itself
/// may change in filters; these stay. Most routes have none, which costs no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures(Option<Box<Parts>>);

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts(Vec<(String, String)>);

impl Captures {
    /// Adds a part, as it was sent.
    pub fn push(&mut self, name: &str, value: &str) {
        let parts = self.0.get_or_insert_default();
        parts.0.push((name.to_owned(), value.to_owned()));
    }

    /// Returns the names and values, in the order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let parts = self.0.iter().flat_map(|parts| &parts.0);
        parts.map(|(name, value)| (&**name, &**value))
    }
}

impl<'a> Subject<'a> {
    /// Creates the subject of a request of `peer` on `route`.
    pub fn new(peer: &'a Peer, id: RequestId, route: &'a str, geoip: &'a GeoIp) -> Self {
        let (client, id_text, asn) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let captures = Captures::default();
        Self { peer, id, route, captures, interim: None, geoip, client, id_text, asn }
    }

    /// Adds the parts of the path that the route names.
    pub fn captured(self, captures: Captures) -> Self {
        Self { captures, ..self }
    }

    /// Adds the path of interim responses to the client.
    pub fn informed_by(self, interim: &'a Interim) -> Self {
        Self { interim: Some(interim), ..self }
    }

    /// Passes an origin's interim response on to the client (RFC 9110 §15.2).
    ///
    /// 100 is not passed on: the proxy itself answers a client's expectation when it wants the
    /// body.
    pub fn inform(&self, mut head: response::Parts) {
        let Some(interim) = self.interim.filter(|interim| interim.is_wanted()) else { return };
        if head.status != StatusCode::CONTINUE {
            headers::interim_toward_client(&mut head);
            interim.send(head.status, &head.headers);
        }
    }

    /// Returns the client's IP address as text.
    pub(crate) fn client(&self) -> &str {
        self.client.get_or_init(|| self.address().to_string())
    }

    fn address(&self) -> IpAddr {
        self.peer.client.ip().to_canonical()
    }

    pub(crate) fn country(&self) -> Option<&str> {
        self.geoip.country(self.address())
    }

    /// Returns the number of the client's autonomous system as text, the form that plugins get.
    pub(crate) fn asn(&self) -> Option<&str> {
        let number = || self.geoip.asn(self.address()).map(|asn| asn.to_string());
        self.asn.get_or_init(number).as_deref()
    }

    /// Returns the part of the path that the route names so.
    pub(crate) fn capture(&self, name: &str) -> Option<&str> {
        self.captures.iter().find(|(of, _)| *of == name).map(|(_, value)| value)
    }

    pub(crate) fn id_text(&self) -> &str {
        self.id_text.get_or_init(|| self.id.to_string())
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.peer.tls { "https" } else { "http" }
    }
}
