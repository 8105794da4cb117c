//! The bearer tokens (RFC 6750 §2.1).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::config::{AdminToken, Role};

/// The tokens that clients may present. Only their digests are kept. Digests are compared: the time
/// of a comparison tells nothing about a token.
#[derive(Debug)]
pub(super) struct Tokens(Vec<([u8; 32], Role)>);

impl Tokens {
    pub(super) fn new(tokens: &[AdminToken]) -> Self {
        let digest = |token: &AdminToken| (Sha256::digest(&token.token).into(), token.role);
        Self(tokens.iter().map(digest).collect())
    }

    /// Finds the token that a request presents.
    pub(super) fn presented(&self, fields: &HeaderMap) -> Presented {
        let mut values = fields.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Presented::None,
            (Some(value), None) => self.role(value).map_or(Presented::Wrong, Presented::Right),
            _ => Presented::Wrong,
        }
    }

    fn role(&self, value: &HeaderValue) -> Option<Role> {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let presented: [u8; 32] = Sha256::digest(token.trim()).into();
        let own = self.0.iter().filter(|(digest, _)| *digest == presented);
        let role = own.map(|(_, role)| *role).max();
        role.filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    }
}

/// The token of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Presented {
    /// A right token, with its role.
    Right(Role),
    /// Another token, or a value that is not a single token.
    Wrong,
    /// No token. It does not count as a guess.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_a_token_and_it_has_its_role() {
        let token = |token: &str, role| AdminToken { token: token.to_owned(), role };
        let tokens = Tokens::new(&[token("s3cret", Role::Write), token("l00k", Role::Read)]);
        let presented = |values: &[&str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(AUTHORIZATION, value.parse().unwrap());
            }
            tokens.presented(&fields)
        };
        assert_eq!(presented(&["Bearer s3cret"]), Presented::Right(Role::Write));
        assert_eq!(presented(&["bearer  s3cret"]), Presented::Right(Role::Write));
        assert_eq!(presented(&["Bearer l00k"]), Presented::Right(Role::Read));
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret"]
        {
            assert_eq!(presented(&[wrong]), Presented::Wrong, "{wrong}");
        }
        assert_eq!(presented(&["Bearer s3cret", "Bearer s3cret"]), Presented::Wrong);
        assert_eq!(presented(&["Bearer s3cret", "Bearer l00k"]), Presented::Wrong);
        assert_eq!(presented(&[]), Presented::None);
    }
}
