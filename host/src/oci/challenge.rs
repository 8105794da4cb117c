//! The demand of a registry in a 401: the header field `www-authenticate` (RFC 9110 §11.6.1).

/// The way to log in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With user and password in each request.
    Basic,
    /// With a token from `realm`.
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// The registry that the token is for.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads one challenge. Returns `None` if it is of another scheme or malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, parameters) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = parameters.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        Some(Self::Bearer { realm: realm?, service })
    }
}

/// Reads a token or a quoted string. Returns its value and the text after it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return text.split_at_checked(end).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return quoted.get(at + 1..).map(|rest| (value, rest)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        for (text, expected) in [
            ("Basic realm=\"a, b\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"r.example\",scope=\"repository:a:pull,push\"",
                bearer("https://auth.example/token", Some("r.example")),
            ),
            ("bearer service=r , realm=\"x\\\"y\"", bearer("x\"y", Some("r"))),
            ("Bearer realm=https://a", bearer("https://a", None)),
            ("Bearer service=\"r\"", None),
            ("Bearer realm=\"open", None),
            ("Bearer realm", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
    }
}
