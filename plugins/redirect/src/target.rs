//! [`Target`]: the place to which a rule redirects clients.
//!
//! Client data never becomes the authority of a target, except the client's own host if a rule has
//! `${host}`. The result is ASCII without controls, spaces, quotes and backslashes, which browsers
//! read as slashes.

use weir_filter_common::authority::{is_authority, split_port};
use weir_filter_common::encode::{Place, encoded, is_whole};
use weir_filter_common::matcher::{Found, Matcher};
use weir_filter_common::path::{absolute, is_encoded};
use weir_filter_common::template::{Part, Template, Variable};

use crate::config::TrailingSlash;

/// The parts of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) scheme: &'a str,
    /// As sent, with its port.
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    /// Without its question mark.
    pub(crate) query: Option<&'a str>,
}

/// The place to which a rule redirects clients.
#[derive(Debug)]
pub(crate) enum Target {
    Reference(Box<Reference>),
    TrailingSlash(TrailingSlash),
}

/// A template in the parts of a URI reference (RFC 3986 §4.1).
#[derive(Debug)]
pub(crate) struct Reference {
    /// `None` for a path on the same server.
    origin: Option<Origin>,
    path: Template,
    query: Option<Template>,
    /// With its number sign.
    fragment: String,
}

#[derive(Debug)]
struct Origin {
    /// `None` for the scheme of the request.
    scheme: Option<&'static str>,
    authority: Template,
}

/// A target for one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Made<'a> {
    /// Scheme and authority.
    origin: Option<(&'a str, String)>,
    path: String,
    query: Option<String>,
    fragment: &'a str,
}

impl Asked<'_> {
    fn host(&self) -> &str {
        split_port(self.authority).0
    }

    fn value(&self, variable: Variable) -> &str {
        match variable {
            Variable::Scheme => self.scheme,
            Variable::Host => self.host(),
            Variable::Path => self.path,
            Variable::Query => self.query.unwrap_or_default(),
        }
    }
}

impl Target {
    /// Returns the target for a request, or `None` if there is nothing to change or if its host is
    /// not a valid authority.
    pub(crate) fn make<'a>(
        &'a self,
        asked: &Asked<'a>,
        found: &Found<'_>,
        keep_query: bool,
    ) -> Option<Made<'a>> {
        let mut made = match self {
            Target::Reference(reference) => reference.make(asked, found)?,
            Target::TrailingSlash(slash) => {
                let mut path = String::new();
                encoded(&mut path, slash.change(asked.path)?.as_bytes(), Place::Path);
                Made { path: absolute(path), ..Made::default() }
            }
        };
        let has_own = matches!(self, Target::Reference(reference) if reference.query.is_some());
        if let Some(query) = asked.query.filter(|_| keep_query && !has_own) {
            encoded(made.query.get_or_insert_default(), query.as_bytes(), Place::Query);
        }
        Some(made)
    }
}

impl TrailingSlash {
    /// Returns the path with or without the slash, or `None` if there is nothing to change.
    fn change(self, path: &str) -> Option<String> {
        match self {
            TrailingSlash::Add => {
                let last = path.rsplit('/').next().unwrap_or_default();
                (!last.is_empty() && !last.contains('.')).then(|| [path, "/"].concat())
            }
            TrailingSlash::Remove => {
                (path != "/" && path.ends_with('/')).then(|| path.trim_end_matches('/').to_owned())
            }
        }
    }
}

impl Reference {
    /// Parses a template. Its groups are the groups of `matcher`.
    pub(crate) fn parse(text: &str, matcher: &Matcher) -> Result<Reference, String> {
        let (text, fragment) = text.split_at_checked(text.find('#').unwrap_or(text.len())).unzip();
        let (text, fragment) = (text.unwrap_or_default(), fragment.unwrap_or_default());
        is_plain(fragment.trim_start_matches('#'))?;
        if fragment.contains('$') {
            return Err("a fragment cannot have groups or variables".to_owned());
        }
        let (text, query) = match text.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (text, None),
        };
        let (origin, path) = if text.starts_with('/') || text.starts_with(PATH) {
            (None, text)
        } else {
            Origin::parse(text).map(|(origin, path)| (Some(origin), path))?
        };
        if origin.is_none() && path.starts_with("//") {
            return Err("a target that begins with two slashes names a host: write its scheme too"
                .to_owned());
        }
        let in_path = [Variable::Scheme, Variable::Host, Variable::Path];
        let path = Template::parse(path, matcher, &in_path)?;
        texts(&path).try_for_each(is_encoded)?;
        let in_query = [Variable::Scheme, Variable::Host, Variable::Path, Variable::Query];
        let query = query.map(|query| Template::parse(query, matcher, &in_query)).transpose()?;
        query.iter().flat_map(texts).try_for_each(is_plain)?;
        Ok(Reference { origin, path, query, fragment: fragment.to_owned() })
    }

    fn make<'a>(&'a self, asked: &Asked<'a>, found: &Found<'_>) -> Option<Made<'a>> {
        let origin = match &self.origin {
            Some(origin) => Some(origin.make(asked, found)?),
            None => None,
        };
        let mut path = String::with_capacity(ROOM);
        self.path.fill(&mut path, found, Place::Path, |variable| asked.value(variable));
        // After an authority every path is valid. Without one, two slashes would begin an
        // authority.
        let path = if origin.is_some() && path.starts_with('/') { path } else { absolute(path) };
        let query = self.query.as_ref().map(|template| {
            let mut query = String::with_capacity(ROOM);
            template.fill(&mut query, found, Place::Parameter, |variable| asked.value(variable));
            query.truncate(query.trim_end_matches('&').len());
            query
        });
        let query = query.filter(|query| !query.is_empty());
        Some(Made { origin, path, query, fragment: &self.fragment })
    }
}

impl Origin {
    /// Parses scheme and authority. The rest is the path.
    fn parse(text: &str) -> Result<(Origin, &str), String> {
        let schemes = [("https://", Some("https")), ("http://", Some("http")), (SCHEME, None)];
        let found = schemes
            .into_iter()
            .find_map(|(head, scheme)| text.strip_prefix(head).map(|rest| (scheme, rest)));
        let Some((scheme, rest)) = found else {
            return Err(format!(
                "{text:?} must begin with a slash, ${{path}}, http://, https:// or ${{scheme}}://"
            ));
        };
        let ends = [rest.find('/'), rest.find(PATH), Some(rest.len())];
        let end = ends.into_iter().flatten().min().unwrap_or_default();
        let (authority, path) = rest.split_at_checked(end).unwrap_or_default();
        // Allows no groups: a part of a path must never become a host.
        let template = Template::parse(authority, &Matcher::Any, &[Variable::Host])
            .map_err(|error| format!("before the path: {error}"))?;
        let origin = Origin { scheme, authority: template };
        let sample = Asked { scheme: "http", authority: "host", path: "/", query: None };
        match Matcher::Any.find("/").and_then(|found| origin.make(&sample, &found)) {
            Some(_) => Ok((origin, path)),
            None => Err(format!("{authority:?} is not a host with or without a port")),
        }
    }

    /// Returns scheme and authority, if the request's host gives a valid authority.
    fn make<'a>(&self, asked: &Asked<'a>, found: &Found<'_>) -> Option<(&'a str, String)> {
        let mut authority = String::with_capacity(ROOM);
        for part in self.authority.parts() {
            match part {
                Part::Text(text) => authority.push_str(text),
                Part::Variable(_) => authority.push_str(asked.host()),
                Part::Group(number) => debug_assert!(found.group(*number).is_empty()),
            }
        }
        is_authority(&authority).then(|| (self.scheme.unwrap_or(asked.scheme), authority))
    }
}

impl Made<'_> {
    /// Whether the target equals the request. A client would then loop forever.
    pub(crate) fn is(&self, asked: &Asked<'_>) -> bool {
        let (mut path, mut query) = (String::new(), String::new());
        encoded(&mut path, asked.path.as_bytes(), Place::Path);
        encoded(&mut query, asked.query.unwrap_or_default().as_bytes(), Place::Query);
        let is_same_origin = self.origin.as_ref().is_none_or(|(scheme, authority)| {
            *scheme == asked.scheme && is_same(scheme, authority, asked.authority)
        });
        is_same_origin && self.path == path && self.query.as_deref().unwrap_or_default() == query
    }

    /// Returns the value of Location.
    pub(crate) fn location(&self) -> String {
        let mut location = String::with_capacity(4 * ROOM);
        if let Some((scheme, authority)) = &self.origin {
            location.extend([*scheme, "://", authority.as_str()]);
        }
        location.push_str(&self.path);
        if let Some(query) = &self.query {
            location.push('?');
            location.push_str(query);
        }
        location.push_str(self.fragment);
        location
    }
}

/// Whether two authorities of a scheme are the same (RFC 3986 §6.2.2.1, §6.2.3).
fn is_same(scheme: &str, one: &str, other: &str) -> bool {
    let default = if scheme == "https" { "443" } else { "80" };
    let parts = |authority| {
        let (host, port) = split_port(authority);
        (host, port.filter(|port| !port.is_empty()).unwrap_or(default))
    };
    let ((host, port), (other_host, other_port)) = (parts(one), parts(other));
    host.eq_ignore_ascii_case(other_host) && port == other_port
}

fn texts(template: &Template) -> impl Iterator<Item = &str> {
    template.parts().iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// Returns an error if a query or a fragment of the configuration is not percent-encoded.
fn is_plain(text: &str) -> Result<(), String> {
    if !is_whole(text) {
        return Err("a percent sign without two hexadecimal digits is written %25".to_owned());
    }
    let mut made = String::new();
    encoded(&mut made, text.as_bytes(), Place::Query);
    if made == text { Ok(()) } else { Err(format!("{text:?} must be percent-encoded: {made}")) }
}

const PATH: &str = "${path}";
const SCHEME: &str = "${scheme}://";

/// Bytes that hold most parts.
const ROOM: usize = 64;
