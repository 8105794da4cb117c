//! Keys and algorithms: the examples of the RFCs, and keys in each form.

use base64ct::{Base64UrlUnpadded, Encoding as _};

use super::*;

/// Whether a token in the compact form was signed with a key.
fn verifies(jwk: &str, token: &str) -> bool {
    let key = document(jwk, Origin::Own).unwrap().remove(0);
    let (message, signature) = token.rsplit_once('.').unwrap();
    key.verifies(message.as_bytes(), &Base64UrlUnpadded::decode_vec(signature).unwrap())
}

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// RFC 7515 appendix A.1.
const A1_KEY: &str = r#"{"kty":"oct",
    "k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const A1: [&str; 2] =
    ["eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"];

/// RFC 7515 appendix A.2.
const A2_KEY: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx"#,
    "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSH",
    "SXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8",
    r#"NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
);
const A2: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiJ9",
    concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1d",
        "nZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu",
        "sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
];

/// RFC 7515 appendix A.3.
const A3_KEY: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const A3: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiJ9",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
];

/// RFC 8037 appendix A.
const ED_KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const ED: &str = concat!(
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
);

#[test]
fn the_examples_of_the_rfcs_verify_with_their_keys_only() {
    let keys = [A1_KEY, A2_KEY, A3_KEY, ED_KEY];
    let join = |[header, signature]: [&str; 2]| [header, PAYLOAD, signature].join(".");
    let tokens = [join(A1), join(A2), join(A3), ED.to_owned()];
    for (at, token) in tokens.iter().enumerate() {
        for (other, key) in keys.iter().enumerate() {
            assert_eq!(verifies(key, token), at == other, "token {at}, key {other}");
        }
        let changed = token.replacen(".e", ".f", 1).replacen(".R", ".S", 1);
        assert!(!verifies(keys[at], &changed), "{changed}");
    }
}

#[test]
fn the_whole_example_passes_at_its_time() {
    let config = json!({ "keys": [{ "jwks": A1_KEY }], "issuer": "joe" });
    let mut jwt = new(&config).unwrap();
    let token = [A1[0], PAYLOAD, A1[1]].join(".");
    assert!(told(&mut jwt, &token, 1_300_819_300_000).is_ok());
    assert_eq!(told(&mut jwt, &token, NOW), invalid("the token has expired"));
}

#[test]
fn tokens_of_each_algorithm_pass_with_keys_in_each_form() {
    let vectors = vectors();
    let kinds = ["hs256", "rs256", "rs256_4096", "es256", "eddsa"];
    for kind in kinds {
        assert_eq!(check(&config(), &token(kind)), Ok(vec![]), "{kind}");
    }
    let forms = [
        ("rs256", json!([{ "pem": vectors["pem"]["rs256_pkcs1"] }])),
        ("rs256", json!([{ "jwks": vectors["rs256_jwk"].to_string() }])),
        ("es256", json!([{ "jwks": vectors["jwks"].to_string() }])),
        ("eddsa", json!([{ "jwks": vectors["jwks"].to_string() }])),
        ("hs256", json!([{ "jwks": vectors["oct"].to_string() }])),
        ("hs256", json!([{ "secret": vectors["secret"] }])),
    ];
    for (kind, keys) in forms {
        assert_eq!(check(&with(&json!({ "keys": keys })), &token(kind)), Ok(vec![]), "{keys}");
    }
}

#[test]
fn keys_without_a_name_are_tried_and_names_count() {
    let vectors = vectors();
    assert_eq!(check(&config(), &token("rs256_no_kid")), Ok(vec![]));
    let other = json!({ "keys": [{ "id": "r9", "pem": vectors["pem"]["rs256"] }] });
    assert_eq!(check(&with(&other), &token("rs256")), Err(Refusal::UnknownKey));
}

#[test]
fn a_document_s_useless_keys_are_left_out() {
    let vectors = vectors();
    let keys = document(&vectors["jwks"].to_string(), Origin::Own).unwrap();
    let names: Vec<_> = keys.iter().filter_map(|key| key.id.as_deref()).collect();
    assert_eq!(names, ["r1", "e1", "d1"], "no P-384, encryption, 1024 bits, PS256");
    let error = document(&vectors["oct"].to_string(), Origin::Fetched).unwrap_err();
    assert_eq!(error, "only secrets");
}

#[test]
fn keys_that_are_none_are_refused_with_the_reason() {
    let vectors = vectors();
    let secret = vectors["secret"].as_str().unwrap();
    let pem = |kind: &str| json!({ "pem": vectors["pem"][kind] });
    let twice = [vectors["pem"]["rs256"].as_str().unwrap(); 2].concat();
    let mut private = vectors["rs256_jwk"].clone();
    private["d"] = json!("AQAB");
    let all = [
        (json!({}), "one of"),
        (json!({ "secret": secret, "pem": "x" }), "one of"),
        (json!({ "secret": "short" }), "32 bytes"),
        (json!({ "secret": vectors["pem"]["rs256"] }), "another kind"),
        (json!({ "secret": vectors["rs256_jwk"].to_string() }), "another kind"),
        (json!({ "id": "", "secret": secret }), "id"),
        (json!({ "id": "a", "jwks": vectors["jwks"].to_string() }), "id"),
        (json!({ "pem": "no" }), "one PEM block"),
        (json!({ "pem": twice }), "one PEM block"),
        (json!({ "pem": "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----" }), "pkey"),
        (json!({ "pem": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----" }), "x509"),
        (
            json!({ "pem": "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----" }),
            "not a public",
        ),
        (pem("rs256_weak"), "2048 to 4096"),
        (pem("es384"), "not a public key"),
        (json!({ "jwks": "no" }), "not JSON"),
        (json!({ "jwks": "{\"keys\":[]}" }), "no keys"),
        (json!({ "jwks": "{\"keys\":3}" }), "not a list"),
        (json!({ "jwks": "{}" }), "kty"),
        (json!({ "jwks": private.to_string() }), "private"),
        (json!({ "jwks": r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"# }), "32 bytes"),
        // The neutral element, of order 1.
        (
            json!({ "jwks": r#"{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"# }),
            "low order",
        ),
    ];
    for (key, hint) in all {
        let error = new(&with(&json!({ "keys": [key] }))).unwrap_err();
        assert!(error.starts_with("keys[0]: ") && error.contains(hint), "{error}");
        assert!(!error.contains(secret), "{error}");
    }
}
