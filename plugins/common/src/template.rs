//! Texts with captures and variables.

use crate::encode::{Place, encoded, plain};
use crate::matcher::{Found, Matcher};

/// The variables of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `http` or `https`.
    Scheme,
    /// The host of the request, without its port.
    Host,
    /// The path of the request.
    Path,
    /// The query of the request, without its question mark.
    Query,
}

/// A text with captures and variables: `$1`, `${1}`, `${name}`. `$$` is a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// A group of the rule's expression.
    Group(usize),
    /// A variable.
    Variable(Variable),
}

impl Template {
    /// Parses a template. Its groups are the groups of `matcher`.
    ///
    /// # Errors
    /// Describes the fault.
    pub fn parse(text: &str, matcher: &Matcher, variables: &[Variable]) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("more than {LONGEST} bytes"));
        }
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let (name, after) = name(after)?;
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(part(name, matcher, variables)?);
            rest = after;
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Template(parts))
    }

    /// Returns the template with its plain texts encoded for a place.
    #[must_use]
    pub fn encoded(mut self, place: Place) -> Self {
        for part in &mut self.0 {
            if let Part::Text(text) = part {
                let mut made = String::new();
                plain(&mut made, text, place);
                *text = made;
            }
        }
        self
    }

    /// Returns the pieces of the template.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Whether the template has only text.
    pub fn is_text(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Fills in captures unchanged. Variables are empty.
    pub fn fill_raw(&self, found: &Found<'_>) -> Vec<u8> {
        let mut filled = Vec::with_capacity(ROOM);
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Part::Group(number) => filled.extend_from_slice(found.group(*number)),
                Part::Variable(_) => {}
            }
        }
        filled
    }

    /// Fills in captures and variables, and encodes the bytes that are not allowed at this place. A
    /// query inside a query keeps its separators.
    pub fn fill<'a>(
        &self,
        to: &mut String,
        found: &Found<'_>,
        place: Place,
        value: impl Fn(Variable) -> &'a str,
    ) {
        for part in &self.0 {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Group(number) => encoded(to, found.group(*number), place),
                Part::Variable(variable) => {
                    let is_query = *variable == Variable::Query;
                    let place = if is_query { Place::Query } else { place };
                    encoded(to, value(*variable).as_bytes(), place);
                }
            }
        }
    }
}

/// Splits the text after a dollar sign into the name and the rest.
fn name(text: &str) -> Result<(&str, &str), String> {
    if let Some(text) = text.strip_prefix('{') {
        return text.split_once('}').ok_or_else(|| "a ${ has no end".to_owned());
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((number, after)) if !number.is_empty() => Ok((number, after)),
        _ => Err("a dollar sign that does not begin $1 or ${name} is written $$".to_owned()),
    }
}

fn part(name: &str, matcher: &Matcher, variables: &[Variable]) -> Result<Part, String> {
    let variable = match name {
        "scheme" => Some(Variable::Scheme),
        "host" => Some(Variable::Host),
        "path" => Some(Variable::Path),
        "query" => Some(Variable::Query),
        _ => None,
    };
    match (variable.filter(|variable| variables.contains(variable)), matcher.group(name)) {
        (Some(_), Some(_)) => {
            Err(format!("${{{name}}} is a variable and a group: rename the group"))
        }
        (Some(variable), None) => Ok(Part::Variable(variable)),
        (None, Some(group)) => Ok(Part::Group(group)),
        (None, None) => Err(format!("${{{name}}} is not available here")),
    }
}

/// The longest template, in bytes.
const LONGEST: usize = 1024;

/// Bytes that hold most results.
const ROOM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher() -> Matcher {
        Matcher::new(None, None, Some("^/(?<first>[^/]*)/(.*)$")).unwrap()
    }

    #[test]
    fn groups_are_filled_in() {
        let matcher = matcher();
        let template = Template::parse("/$2/${first}0/$$1", &matcher, &[]).unwrap();
        let found = matcher.find("/a%20b/c/d").unwrap();
        assert_eq!(template.fill_raw(&found), b"/c/d/a%20b0/$1");
    }

    #[test]
    fn variables_are_encoded_for_their_place() {
        let matcher = matcher();
        let all = [Variable::Path, Variable::Query];
        let template = Template::parse("p=${path}&${query}&$1", &matcher, &all).unwrap();
        let (found, mut filled) = (matcher.find("/a&b/c").unwrap(), String::new());
        template.fill(&mut filled, &found, Place::Parameter, |variable| match variable {
            Variable::Path => "/a&b/c",
            _ => "x=1&y=\"",
        });
        assert_eq!(filled, "p=/a%26b/c&x=1&y=%22&a%26b");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = [
            ("$", "$$"),
            ("$name", "$$"),
            ("${1", "no end"),
            ("$3", "${3}"),
            ("$20", "${20}"),
            ("${path}", "${path}"),
            ("${}", "${}"),
        ];
        for (text, hint) in wrong {
            let error = Template::parse(text, &matcher(), &[]).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
        assert!(Template::parse("$1", &Matcher::Any, &[]).is_err());
        assert!(Template::parse(&"a".repeat(1025), &Matcher::Any, &[]).is_err());
        let named = Matcher::new(None, None, Some("(?<path>.)")).unwrap();
        assert!(Template::parse("${path}", &named, &[Variable::Path]).is_err());
    }
}
