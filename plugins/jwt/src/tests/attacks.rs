//! The threats of RFC 8725 §2 and others.

use base64ct::{Base64UrlUnpadded, Encoding as _};

use super::*;

const MALFORMED: &str = token::MALFORMED;

/// A header and claims with a false signature.
fn unsigned(header: &str, claims: &str) -> String {
    let parts = [header, claims, "signature"];
    parts.map(|part| Base64UrlUnpadded::encode_string(part.as_bytes())).join(".")
}

#[test]
fn algorithms_are_those_of_keys() {
    let refused = "the token's algorithm is not accepted";
    for name in ["none", "rs384", "ps256", "hs512"] {
        assert_eq!(check(&config(), &token(name)), invalid(refused), "{name}");
    }
    for alg in ["None", "NONE", "nOnE", "", "hs256", "RS256 ", "HS256\u{0}"] {
        let forged = unsigned(&json!({ "alg": alg }).to_string(), "{}");
        assert_eq!(check(&config(), &forged), invalid(refused), "{alg:?}");
    }
    // RFC 7515 appendix A.5.
    let a5 = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
    assert_eq!(check(&config(), a5), invalid(refused));
    for alg in [json!(null), json!(5), json!(["HS256"])] {
        let forged = unsigned(&json!({ "alg": alg }).to_string(), "{}");
        assert_eq!(check(&config(), &forged), invalid(MALFORMED));
    }
}

#[test]
fn a_public_key_is_no_secret() {
    assert_eq!(check(&config(), &token("public_key_as_secret")), Err(Refusal::UnknownKey));
    let unnamed = json!({ "keys": [{ "pem": vectors()["pem"]["rs256"] }] });
    assert_eq!(
        check(&with(&unnamed), &token("public_key_as_secret")),
        Err(Refusal::UnknownKey),
        "an RSA key has no part in HS256"
    );
}

#[test]
fn keys_that_tokens_bring_along_are_not_used() {
    let wrong = invalid("the signature is not right");
    assert_eq!(check(&config(), &token("embedded_jwk")), wrong);
    assert_eq!(check(&config(), &token("jku")), Err(Refusal::UnknownKey));
    assert_eq!(check(&config(), &token("es256_other_key")), wrong);
}

#[test]
fn critical_extensions_are_refused() {
    for name in ["crit", "b64_false"] {
        let refused = invalid("the token has critical extensions");
        assert_eq!(check(&config(), &token(name)), refused, "{name}");
    }
    let forged = unsigned(r#"{"alg":"HS256","crit":null}"#, "{}");
    assert_eq!(check(&config(), &forged), invalid("the token has critical extensions"));
}

#[test]
fn signatures_of_another_form_are_refused() {
    let wrong = invalid("the signature is not right");
    for name in ["es256_zero", "es256_der"] {
        assert_eq!(check(&config(), &token(name)), wrong, "{name}");
    }
    for name in ["hs256", "rs256", "es256", "eddsa"] {
        let token = token(name);
        let (message, _) = token.rsplit_once('.').unwrap();
        for signature in ["", "AA", "AAAA"] {
            assert_eq!(check(&config(), &format!("{message}.{signature}")), wrong, "{name}");
        }
        // Every byte counts.
        let (first, rest) = token.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        let other = if payload.starts_with("eyJp") { "eyJq" } else { "eyJp" };
        let changed = format!("{first}.{other}{}.{signature}", &payload[4..]);
        assert!(check(&config(), &changed).is_err(), "{name}");
    }
}

#[test]
fn what_is_no_token_is_malformed_and_no_trap() {
    let hs256 = token("hs256");
    let parts: Vec<&str> = hs256.split('.').collect();
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "a.b.c".to_owned(),
        parts[..2].join("."),
        format!("{hs256}.{}", parts[2]),
        format!("{hs256}="),
        format!("{}.{}=.{}", parts[0], parts[1], parts[2]),
        format!("{}\n.{}.{}", parts[0], parts[1], parts[2]),
        unsigned("[]", "{}"),
        unsigned("{", "{}"),
        unsigned(r#"{"alg":"HS256"}"#, "[]"),
        unsigned(r#"{"alg":"HS256"}"#, "\"a\""),
        unsigned(r#"{"alg":"HS256","kid":5}"#, "{}"),
        unsigned(r#"{"alg":"HS256"}"#, &"[".repeat(4000)),
        unsigned(r#"{"alg":"HS256"}"#, &format!("{{\"a\":{}", "{\"a\":".repeat(1000))),
        unsigned(&json!({ "alg": "HS256", "kid": "x".repeat(300) }).to_string(), "{}"),
        token("claims_no_object"),
    ];
    for text in texts {
        assert_eq!(check(&config(), &text), invalid(MALFORMED), "{text}");
    }
    // Five parts are an encrypted token (RFC 7516).
    let nested = "eyJhbGciOiJkaXIifQ.a.b.c.d";
    assert!(matches!(check(&config(), nested), Err(Refusal::Invalid(_))));
}

#[test]
fn letters_and_lengths_are_bounded_before_anything_else() {
    for text in ["", "a b", "a\nb", "a=", "a+b/", "ä", &"a".repeat((8 << 10) + 1)] {
        assert!(!token::is_plausible(text));
    }
    assert!(token::is_plausible(&"a".repeat(8 << 10)));
    assert!(token::is_plausible(&token("es256")));
}

#[test]
fn tokens_of_others_and_for_others_are_refused() {
    let config = config();
    assert_eq!(check(&config, &token("other_issuer")), invalid("the token is of another issuer"));
    let other = invalid("the token is for another audience");
    assert_eq!(check(&config, &token("other_aud")), other);
    assert_eq!(check(&config, &token("no_aud")), other);
    // Without a configured audience, the service accepts no token with `aud`.
    let nobody = with(&json!({ "audience": [] }));
    assert_eq!(check(&nobody, &token("hs256")), other);
    assert_eq!(check(&nobody, &token("no_aud")), Ok(vec![]));
    let typed = with(&json!({ "typ": "application/at+JWT" }));
    assert_eq!(check(&typed, &token("hs256")), invalid("the token is of another type"));
    assert_eq!(check(&typed, &token("at_jwt")), Ok(vec![]));
}

#[test]
fn claims_cannot_write_other_fields() {
    let config = with(&json!({ "claims_to_headers": { "sub": "x-user" } }));
    let edits = check(&config, &token("line_end")).unwrap();
    assert_eq!(edits, ["x-user=ann%0D%0Ax-admin: 1"]);
}
