//! Refusals of RFC 6750 §3.

use weir_sdk::Reply;

/// The reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request has no token.
    Missing,
    /// The request has several tokens, or a value that is not text.
    Unclear,
    /// The token is not valid.
    Invalid(&'static str),
    /// The key of the token is unknown. It can become known.
    UnknownKey,
    /// The token is valid and not sufficient. The value lists the required scopes.
    Insufficient(String),
    /// There are no keys for the check.
    NoKeys,
}

impl Refusal {
    /// Returns the name of the metric.
    pub(crate) fn metric(&self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::Unclear => "unclear",
            Refusal::Invalid(_) => "invalid",
            Refusal::UnknownKey => "unknown_key",
            Refusal::Insufficient(_) => "insufficient",
            Refusal::NoKeys => "no_keys",
        }
    }

    /// Returns the answer. `realm` must fit in a quoted string.
    pub(crate) fn reply(&self, realm: Option<&str>) -> Reply {
        let (status, error, text) = match self {
            Refusal::Missing => (401, None, "a token is required"),
            Refusal::Unclear => (400, Some("invalid_request"), "there must be one token"),
            Refusal::Invalid(why) => (401, Some("invalid_token"), *why),
            Refusal::UnknownKey => {
                (401, Some("invalid_token"), "the token was signed with another key")
            }
            Refusal::Insufficient(_) => {
                (403, Some("insufficient_scope"), "the token does not allow this")
            }
            Refusal::NoKeys => (503, None, "tokens cannot be checked"),
        };
        let reply = Reply::new(status)
            .header("cache-control", "no-store")
            .header("content-type", "text/plain; charset=utf-8")
            .body(format!("{text}\n"));
        if *self == Refusal::NoKeys {
            return reply.header("retry-after", PAUSE_SECONDS.to_string());
        }
        let mut parameters: Vec<String> = Vec::new();
        parameters.extend(realm.map(|realm| format!("realm=\"{realm}\"")));
        if let Some(error) = error {
            parameters.push(format!("error=\"{error}\""));
            parameters.push(format!("error_description=\"{text}\""));
        }
        match self {
            Refusal::Insufficient(scopes) if !scopes.is_empty() => {
                parameters.push(format!("scope=\"{scopes}\""));
            }
            _ => {}
        }
        let challenge = ["Bearer".to_owned(), parameters.join(", ")].join(" ");
        reply.header("www-authenticate", challenge.trim_end())
    }
}

/// Seconds between two attempts to fetch the first keys.
pub(crate) const PAUSE_SECONDS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(refusal: &Refusal, realm: Option<&str>) -> String {
        refusal.reply(realm).field("www-authenticate").unwrap_or_default().to_owned()
    }

    #[test]
    fn challenges_say_no_more_than_they_should() {
        // Without credentials the challenge has no error (RFC 6750 §3).
        assert_eq!(challenge(&Refusal::Missing, None), "Bearer");
        assert_eq!(challenge(&Refusal::Missing, Some("shop")), "Bearer realm=\"shop\"");
        assert_eq!(
            challenge(&Refusal::Invalid("it is late"), Some("shop")),
            "Bearer realm=\"shop\", error=\"invalid_token\", error_description=\"it is late\""
        );
        let insufficient = challenge(&Refusal::Insufficient("a b".to_owned()), None);
        assert!(insufficient.ends_with(", scope=\"a b\""), "{insufficient}");
        assert!(!challenge(&Refusal::Insufficient(String::new()), None).contains("scope=\""));
    }

    #[test]
    fn statuses_and_caching() {
        let insufficient = Refusal::Insufficient(String::new());
        let all = [
            (Refusal::Missing, 401),
            (Refusal::Unclear, 400),
            (Refusal::Invalid(""), 401),
            (Refusal::UnknownKey, 401),
            (insufficient, 403),
            (Refusal::NoKeys, 503),
        ];
        for (refusal, status) in all {
            let reply = refusal.reply(None);
            assert_eq!(reply.status, status);
            assert_eq!(reply.field("cache-control"), Some("no-store"));
            assert_eq!(reply.field("retry-after").is_some(), refusal == Refusal::NoKeys);
        }
    }
}
