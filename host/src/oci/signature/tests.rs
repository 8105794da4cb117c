use ring::signature::KeyPair as _;

use super::*;

/// `openssl genpkey -algorithm ed25519`, and `openssl pkey -pubout` of it.
const ED25519_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAU7n4rH7+xrttKoax7c19PyG10xgkRTw2H2By8UqU+D";
const ED25519_PUBLIC: &str = "MCowBQYDK2VwAyEA34sDgmJw90JnJkYdRDPMy/vkJS5Zj5Sy15Q122+Or+w=";

/// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and `openssl pkey -pubout` of
/// it.
const P256_KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgClOUepP/QTrWIJpAaLj0BIjXoBxPpKyBRMsR2qBQy+OhRANCAARMDwz44NIU6OUqC15XkovBGo1PVXOQ21g2vlSu56vypZtQPum9NweTGGH+uhuTYbxrSz7VQ5R3ycihP52RPFfw";
const P256_PUBLIC: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETA8M+ODSFOjlKgteV5KLwRqNT1VzkNtYNr5Uruer8qWbUD7pvTcHkxhh/robk2G8a0s+1UOUd8nIoT+dkTxX8A==";

/// A signature over [`PAYLOAD`] by `openssl dgst -sha256 -sign`, with the P-256 key.
const OPENSSL: &str = "MEYCIQDy7UetFJWdjxTaCCPT5Un0ZMRj8cekjVir0XMrj35giQIhAKpE9q5Y9hEiiUTpkn/muOgxwqWMYw0+4HuP9oeF42MU";
const PAYLOAD: &str = "{\"critical\":{\"identity\":{\"docker-reference\":\"registry.example/team/canary\"},\"image\":{\"docker-manifest-digest\":\"sha256:05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f\"},\"type\":\"cosign container image signature\"},\"optional\":null}";

fn reference() -> Reference {
    Reference::parse("registry.example/team/canary:1").unwrap()
}

fn digest() -> Digest {
    Digest::of(b"manifest")
}

fn public(key: &str) -> PublicKey {
    PublicKey::from_pem(&pem("PUBLIC KEY", key)).unwrap()
}

fn private(key: &str) -> PrivateKey {
    PrivateKey::from_pem(&pem("PRIVATE KEY", key)).unwrap()
}

fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

fn policy(keys: &[&str]) -> Policy {
    let keys = keys.iter().map(|key| public(key)).collect();
    Policy { keys, required: true }
}

fn signed(key: &str) -> Signed {
    private(key).sign(&reference(), digest()).unwrap()
}

/// Signs a payload of any text.
fn signed_text(text: &str) -> Signed {
    let Pair::Ed25519(pair) = private(ED25519_KEY).0 else { panic!() };
    Signed::new(text.as_bytes(), BASE64_STANDARD.encode(pair.sign(text.as_bytes())))
}

fn check(keys: &[&str], signed: &[Signed]) -> Result<(), SignatureError> {
    policy(keys).check(signed, &reference(), digest())
}

#[test]
fn a_signature_of_either_kind_of_key_holds() {
    assert_eq!(check(&[ED25519_PUBLIC], &[signed(ED25519_KEY)]), Ok(()));
    assert_eq!(check(&[P256_PUBLIC], &[signed(P256_KEY)]), Ok(()));
    let both = [signed(P256_KEY), signed(ED25519_KEY)];
    for keys in [&[ED25519_PUBLIC][..], &[P256_PUBLIC], &[P256_PUBLIC, ED25519_PUBLIC]] {
        assert_eq!(check(keys, &both), Ok(()));
    }
}

#[test]
fn a_signature_that_another_program_made_holds() {
    let signed = Signed::new(PAYLOAD.as_bytes(), OPENSSL.to_owned());
    assert_eq!(check(&[P256_PUBLIC], &[signed]), Ok(()));
}

#[test]
fn no_signature_and_one_of_another_key_are_told_apart() {
    assert!(matches!(check(&[P256_PUBLIC], &[]), Err(SignatureError::Missing { .. })));
    let error = check(&[P256_PUBLIC], &[signed(ED25519_KEY)]).unwrap_err();
    assert!(matches!(error, SignatureError::Unknown { count: 1, .. }), "{error}");
}

#[test]
fn a_payload_or_a_signature_that_was_changed_does_not_hold() {
    let good = signed(ED25519_KEY);
    let payload = String::from_utf8(good.payload().unwrap()).unwrap();
    let other = Digest::of(b"another manifest").to_string();
    let tampered = payload.replace(&digest().to_string(), &other);
    let mut bytes = BASE64_STANDARD.decode(good.signature()).unwrap();
    bytes[10] ^= 1;
    for bad in [
        Signed::new(tampered.as_bytes(), good.signature().to_owned()),
        Signed::new(payload.as_bytes(), BASE64_STANDARD.encode(&bytes)),
        Signed::new(payload.as_bytes(), "no base64!".to_owned()),
        Signed::new(payload.as_bytes(), String::new()),
    ] {
        let error = check(&[ED25519_PUBLIC], &[bad]).unwrap_err();
        assert!(matches!(error, SignatureError::Unknown { .. }), "{error}");
    }
}

#[test]
fn a_right_signature_for_something_else_does_not_hold() {
    let good = String::from_utf8(payload(&reference().name(), digest())).unwrap();
    assert_eq!(check(&[ED25519_PUBLIC], &[signed_text(&good)]), Ok(()));
    let other = Digest::of(b"another manifest").to_string();
    for (text, said) in [
        (good.replace(&digest().to_string(), &other), "the manifest \"sha256:"),
        (good.replace("team/canary", "team/other"), "the package \"registry.example/team/other\""),
        (good.replace("team/canary", "team/canary-two"), "the package"),
        (good.replace(TYPE, "atomic container signature"), "its type is"),
        (good.replace("docker-reference", "name"), "is missing"),
        ("nothing".to_owned(), "not JSON"),
    ] {
        let error = check(&[ED25519_PUBLIC], &[signed_text(&text)]).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let tagged = good.replace("team/canary", "team/canary:1");
    assert_eq!(check(&[ED25519_PUBLIC], &[signed_text(&tagged)]), Ok(()));
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let (short, key) = (pem("PUBLIC KEY", "AAAA"), pem("PRIVATE KEY", ED25519_KEY));
    for text in ["", &short, &key, &pem("PUBLIC KEY", ED25519_KEY)] {
        assert!(PublicKey::from_pem(text).is_err(), "{text}");
    }
    let (short, key) = (pem("PRIVATE KEY", "AAAA"), pem("PUBLIC KEY", P256_PUBLIC));
    for text in ["", &short, &key, &pem("PRIVATE KEY", P256_PUBLIC)] {
        assert!(PrivateKey::from_pem(text).is_err(), "{text}");
    }
    let key = private(ED25519_KEY);
    let Pair::Ed25519(pair) = &key.0 else { panic!("{key:?}") };
    assert_eq!(pair.public_key().as_ref(), public(ED25519_PUBLIC).bytes);
}
