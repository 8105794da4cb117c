//! [`Rule`]: one checked rule, and [`Target`], the target that it changes.

use std::borrow::Cow;

use weir_filter_common::authority::is_authority;
use weir_filter_common::encode;
use weir_filter_common::matcher::{Found, Matcher, strip};
use weir_filter_common::path::{absolute, is_encoded, is_path};
use weir_filter_common::template::{Part, Template};

use crate::config;
use crate::query::Query;

/// The target of the request to the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) path: Cow<'a, str>,
    /// Without its question mark.
    pub(crate) query: Option<Cow<'a, str>>,
    /// The authority that a rule has set.
    pub(crate) authority: Option<&'a str>,
}

/// A checked rule.
#[derive(Debug)]
pub(crate) struct Rule {
    matcher: Matcher,
    path: Path,
    query: Query,
    authority: Option<String>,
    /// Whether the rules after it are tried too.
    pub(crate) goes_on: bool,
}

/// The change to a path.
#[derive(Debug)]
enum Path {
    Keep,
    Replace(Template),
    /// Both may be empty.
    Prefix {
        strip: String,
        add: String,
    },
}

impl Rule {
    /// Checks a rule.
    pub(crate) fn new(rule: config::Rule) -> Result<Rule, String> {
        let matcher = Matcher::new(rule.prefix, rule.path, rule.regex.as_deref())?;
        let path = match (rule.replace, rule.strip_prefix, rule.add_prefix) {
            (None, None, None) => Path::Keep,
            (Some(text), None, None) => Path::Replace(
                replacement(&text, &matcher).map_err(|error| format!("replace: {error}"))?,
            ),
            (None, strip, add) => Path::Prefix {
                strip: prefix("strip_prefix", strip)?,
                add: prefix("add_prefix", add)?,
            },
            _ => {
                let what = "makes the whole path, without strip_prefix and add_prefix";
                return Err(format!("replace: {what}"));
            }
        };
        let query = Query::new(rule.query, &matcher)?;
        if let Some(name) = rule.authority.as_deref().filter(|name| !is_authority(name)) {
            return Err(format!("authority: {name:?} is not a host with or without a port"));
        }
        Ok(Rule { matcher, path, query, authority: rule.authority, goes_on: rule.go_on })
    }

    /// Changes a target if the rule covers its path. Returns whether it does.
    pub(crate) fn apply<'a>(&'a self, target: &mut Target<'a>) -> bool {
        let Some(found) = self.matcher.find(&target.path) else { return false };
        let path = self.path.apply(&target.path, &found);
        if !self.query.is_empty() {
            target.query = self.query.apply(target.query.as_deref(), &found).map(Cow::Owned);
        }
        if let Some(path) = path {
            target.path = Cow::Owned(absolute(path));
        }
        target.authority = self.authority.as_deref().or(target.authority);
        true
    }
}

impl Path {
    /// Returns the new path, or `None` if the path stays.
    fn apply(&self, path: &str, found: &Found<'_>) -> Option<String> {
        match self {
            Path::Keep => None,
            Path::Replace(template) => Some(encode::text(template.fill_raw(found))),
            Path::Prefix { strip: prefix, add } => {
                let rest = match strip(path, prefix) {
                    Some(rest) => rest,
                    None if add.is_empty() => return None,
                    None => path,
                };
                let slash = if rest.starts_with('/') || rest.is_empty() { "" } else { "/" };
                Some([add, slash, rest].concat())
            }
        }
    }
}

/// Parses the template of a whole path. It must be absolute and percent-encoded.
fn replacement(text: &str, matcher: &Matcher) -> Result<Template, String> {
    let template = Template::parse(text, matcher, &[])?;
    let is_absolute = match template.parts().first() {
        Some(Part::Text(text)) => text.starts_with('/'),
        Some(_) => true,
        None => false,
    };
    if !is_absolute {
        return Err(format!("{text:?} must begin with a slash or a group"));
    }
    for part in template.parts() {
        if let Part::Text(text) = part {
            is_encoded(text)?;
        }
    }
    Ok(template)
}

/// Returns a prefix without its final slash.
fn prefix(key: &str, prefix: Option<String>) -> Result<String, String> {
    let Some(prefix) = prefix else { return Ok(String::new()) };
    is_path(&prefix).map_err(|error| format!("{key}: {error}"))?;
    Ok(prefix.strip_suffix('/').unwrap_or(&prefix).to_owned())
}
