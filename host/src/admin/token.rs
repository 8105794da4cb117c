//! The bearer token (RFC 6750 §2.1).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

/// The token that clients must present. Only its digest is kept. Digests are compared: the time of
/// a comparison tells nothing about the token.
pub(super) struct Token([u8; 32]);

impl Token {
    pub(super) fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares the token that a request presents.
    pub(super) fn presented(&self, fields: &HeaderMap) -> Presented {
        let mut values = fields.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Presented::None,
            (Some(value), None) if self.is(value) => Presented::Right,
            _ => Presented::Wrong,
        }
    }

    fn is(&self, value: &HeaderValue) -> bool {
        let Ok(value) = value.to_str() else { return false };
        let Some((scheme, token)) = value.split_once(' ') else { return false };
        let presented: [u8; 32] = Sha256::digest(token.trim()).into();
        scheme.eq_ignore_ascii_case("bearer") && presented == self.0
    }
}

/// The token of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Presented {
    /// The right token.
    Right,
    /// Another token, or a value that is not a single token.
    Wrong,
    /// No token. It does not count as a guess.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = Token::new("s3cret");
        let presented = |values: &[&str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(AUTHORIZATION, value.parse().unwrap());
            }
            token.presented(&fields)
        };
        assert_eq!(presented(&["Bearer s3cret"]), Presented::Right);
        assert_eq!(presented(&["bearer  s3cret"]), Presented::Right);
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret"]
        {
            assert_eq!(presented(&[wrong]), Presented::Wrong, "{wrong}");
        }
        assert_eq!(presented(&["Bearer s3cret", "Bearer s3cret"]), Presented::Wrong);
        assert_eq!(presented(&[]), Presented::None);
    }
}
