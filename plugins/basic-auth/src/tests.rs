//! Tests of decisions, with hashes from other implementations: bcrypt, passlib, argon2-cffi and
//! hashlib of Python. All are of the password `open sesame`.

use serde_json::{Value, json};
use weir_sdk::{Config as _, Edit};

use super::*;
use crate::hash::Hash;

fn hashes() -> Value {
    serde_json::from_str(include_str!("../vectors/hashes.json")).unwrap()
}

fn hash(kind: &str) -> String {
    hashes()[kind].as_str().unwrap().to_owned()
}

fn new(config: &Value) -> Result<BasicAuth, String> {
    Ok(BasicAuth::new(Config::parse(&config.to_string())?, &mut FilterNeeds::default())?)
}

fn auth(more: &Value) -> BasicAuth {
    let mut config = json!({ "users": { "ann": hash("2y"), "bob": hash("5") } });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    new(&config).unwrap()
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", Base64::encode_string(credentials.as_bytes()))
}

/// Inputs: `authorization`, the client's address.
fn ask_from(
    auth: &mut BasicAuth,
    address: &str,
    value: Option<&str>,
) -> Result<Vec<String>, Reply> {
    let inputs = [value, Some(address)].map(|input| input.map(|text| text.as_bytes().to_vec()));
    match auth.on_request(&Request { inputs: &inputs }) {
        RequestDecision::Edit(changes) => Ok(changes.edits.iter().map(shown).collect()),
        RequestDecision::Reply(reply) => Err(reply),
        other => panic!("{other:?}"),
    }
}

fn ask(auth: &mut BasicAuth, credentials: &str) -> Result<Vec<String>, u16> {
    ask_from(auth, "192.0.2.1", Some(&basic(credentials))).map_err(|reply| reply.status)
}

fn shown(edit: &Edit) -> String {
    match edit {
        Edit::Set(header) => format!("{}={}", header.name, String::from_utf8_lossy(&header.value)),
        Edit::Remove(name) => format!("-{name}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_right_password_passes_for_each_kind_of_hash() {
    let kinds = [
        "2a",
        "2b",
        "2y",
        "5",
        "6",
        "5_default",
        "6_default",
        "pbkdf2-sha256",
        "pbkdf2-sha512",
        "pbkdf2-sha256_passlib",
        "pbkdf2-sha512_passlib",
        "argon2id",
        "argon2id_p2",
    ];
    for kind in kinds {
        let hash = Hash::parse(&hash(kind)).unwrap_or_else(|reason| panic!("{kind}: {reason}"));
        assert!(hash.is_of(b"open sesame"), "{kind}");
        for wrong in [&b"open sesamf"[..], b"open sesame ", b"", b"Open sesame"] {
            assert!(!hash.is_of(wrong), "{kind}");
        }
    }
}

#[test]
fn bcrypt_looks_at_72_bytes() {
    let hash = Hash::parse(&hash("2y_long")).unwrap();
    assert!(hash.is_of(&[b'x'; 72]) && hash.is_of(&[b'x'; 100]));
    assert!(!hash.is_of(&[b'x'; 71]));
}

#[test]
fn the_origin_sees_the_name_in_place_of_the_password() {
    let mut auth = auth(&json!({}));
    assert_eq!(ask(&mut auth, "ann:open sesame").unwrap(), ["-authorization", "x-user=ann"]);
    assert_eq!(ask(&mut auth, "bob:open sesame").unwrap(), ["-authorization", "x-user=bob"]);
    let mut forwards = self::auth(&json!({ "forward": true, "user_header": "X-Login" }));
    let value = format!("authorization={}", basic("ann:open sesame"));
    assert_eq!(ask(&mut forwards, "ann:open sesame").unwrap(), [value, "x-login=ann".to_owned()]);
    let mut named = new(&json!({ "users": { "Zoë 50%": hash("2y") } })).unwrap();
    assert_eq!(ask(&mut named, "Zoë 50%:open sesame").unwrap()[1], "x-user=Zo%C3%AB%2050%25");
}

#[test]
fn what_is_wrong_is_challenged() {
    let mut auth = auth(&json!({ "realm": "shop", "failures": 1000 }));
    let challenge = "Basic realm=\"shop\", charset=\"UTF-8\"";
    let values = [
        None,
        Some("Bearer x".to_owned()),
        Some("Basic".to_owned()),
        Some("Basic %%%".to_owned()),
        Some(basic("ann")),
        Some(basic("ann:")),
        Some(basic("ann:open sesamf")),
        Some(basic("bob:open sesame\n")),
        Some(basic("nobody:open sesame")),
        Some(basic(":open sesame")),
        Some(basic("Ann:open sesame")),
        Some(basic(&format!("ann:{}", "x".repeat(129)))),
        Some(basic(&format!("{}:x", "x".repeat(256)))),
    ];
    for value in values {
        let reply = ask_from(&mut auth, "192.0.2.1", value.as_deref()).unwrap_err();
        assert_eq!(reply.status, 401, "{value:?}");
        assert_eq!(reply.field("www-authenticate"), Some(challenge));
        assert_eq!(reply.field("cache-control"), Some("no-store"));
    }
    for value in ["basic", "BASIC", "Basic "] {
        let value = basic("ann:open sesame").replace("Basic", value);
        assert!(ask_from(&mut auth, "192.0.2.1", Some(&value)).is_ok());
    }
}

#[test]
fn responses_vary_by_the_credentials() {
    let ResponseDecision::Edit(changes) = auth(&json!({})).on_response(&Response::default()) else {
        panic!()
    };
    assert!(
        matches!(&changes.edits[..], [Edit::Append(header)] if header.name == "vary" && header.value == b"authorization")
    );
}

#[test]
fn who_tries_too_many_is_refused_before_anything_is_computed() {
    let mut auth = auth(&json!({ "failures": 3, "remember": "0s" }));
    for name in ["ann", "nobody", "bob"] {
        assert_eq!(ask(&mut auth, &format!("{name}:wrong")), Err(401));
        // A right password does not count.
        if name == "ann" {
            assert!(ask(&mut auth, "ann:open sesame").is_ok());
        }
    }
    let right = basic("ann:open sesame");
    let reply = ask_from(&mut auth, "192.0.2.1", Some(&right)).unwrap_err();
    assert_eq!((reply.status, reply.field("retry-after")), (429, Some("60")));
    assert_eq!(reply.field("www-authenticate"), None);
    assert!(ask_from(&mut auth, "192.0.2.2", Some(&right)).is_ok());
    assert_eq!(state::get("", "failed:192.0.2.1"), Some(b"3".to_vec()));
}

#[test]
fn a_password_that_is_remembered_cannot_be_guessed_either() {
    let mut auth = auth(&json!({ "failures": 1 }));
    assert!(ask(&mut auth, "ann:open sesame").is_ok());
    assert_eq!(ask(&mut auth, "ann:wrong"), Err(401));
    assert_eq!(ask(&mut auth, "ann:open sesame"), Err(429));
}

#[test]
fn clients_of_ipv6_are_networks() {
    let mut auth = auth(&json!({ "failures": 1 }));
    let wrong = basic("ann:wrong");
    let status = |auth: &mut BasicAuth, address: &str| {
        ask_from(auth, address, Some(&wrong)).unwrap_err().status
    };
    assert_eq!(status(&mut auth, "2001:db8::1"), 401);
    assert_eq!(status(&mut auth, "2001:db8::ffff:2"), 429);
    assert_eq!(status(&mut auth, "2001:db8:0:1::1"), 401);
}

#[test]
fn what_was_right_is_remembered_for_this_hash_only() {
    let marks = |auth: &BasicAuth, name: &str, password: &str| {
        let (user, is_known) = auth.users.find(name);
        assert!(is_known);
        state::get("", &auth.mark(name, password, user)).is_some()
    };
    let mut auth = auth(&json!({}));
    assert!(!marks(&auth, "ann", "open sesame"));
    ask(&mut auth, "ann:open sesame").unwrap();
    assert!(marks(&auth, "ann", "open sesame"));
    assert!(!marks(&auth, "ann", "open sesamf") && !marks(&auth, "bob", "open sesame"));
    ask(&mut auth, "ann:wrong").unwrap_err();
    assert!(!marks(&auth, "ann", "wrong"));
    // Another worker sees the mark. Another hash of the user has no mark.
    assert!(marks(&self::auth(&json!({})), "ann", "open sesame"));
    let changed = self::auth(&json!({ "users": { "ann": hash("2a") } }));
    assert!(!marks(&changed, "ann", "open sesame"));
    // Without the key the mark has no value.
    state::remove("", KEY);
    assert!(!marks(&auth, "ann", "open sesame"));
}

#[test]
fn nothing_is_remembered_of_who_has_no_name_here() {
    let mut auth = auth(&json!({}));
    assert_eq!(ask(&mut auth, "nobody:open sesame"), Err(401));
    let (user, is_known) = auth.users.find("nobody");
    assert!(!is_known);
    assert!(state::get("", &auth.mark("nobody", "open sesame", user)).is_none());
    // The stand-in is always the same.
    for _ in 0..3 {
        assert_eq!(auth.users.find("nobody").0.text, user.text);
    }
}

#[test]
fn files_of_htpasswd_are_read() {
    let text = format!("# users\r\n\r\nann:{}\r\n  bob:{}\n", hash("2y"), hash("6"));
    let mut auth = new(&json!({ "htpasswd": text })).unwrap();
    assert!(ask(&mut auth, "ann:open sesame").is_ok());
    assert!(ask(&mut auth, "bob:open sesame").is_ok());
    let error = |text: &str| new(&json!({ "htpasswd": text })).unwrap_err();
    assert!(error("ann").starts_with("htpasswd: line 1: "));
    assert!(error("\nann:plain").starts_with("htpasswd: line 2: "));
    let twice = format!("ann:{0}\nann:{0}", hash("2y"));
    assert!(error(&twice).contains("line 2: there are two users"));
    assert!(error("# nobody").starts_with("users: "));
}

#[test]
fn weak_hashes_are_refused_and_not_shown() {
    let all = [
        "plain".to_owned(),
        hash("apr1"),
        "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=".to_owned(),
        "$1$abcdefgh$G//4keteveJp0qb8z2DxG/".to_owned(),
        "rqXexS6ZhobKA".to_owned(),
        "$y$j9T$x$x".to_owned(),
        "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    ];
    for text in all {
        let error = new(&json!({ "users": { "ann": text } })).unwrap_err();
        assert!(error.starts_with("users.ann: ") && error.contains("htpasswd -nbB"), "{error}");
        assert!(text == "plain" || !error.contains(&text), "{error}");
    }
}

#[test]
fn hashes_that_are_cut_or_changed_are_refused() {
    for kind in ["2y", "5", "6", "pbkdf2-sha256", "argon2id"] {
        let whole = hash(kind);
        assert!(Hash::parse(&whole).is_ok(), "{kind}");
        for cut in [
            &whole[..whole.len() - 30],
            &whole[1..],
            &[&whole, "x$"].concat(),
            &[&whole, "é"].concat(),
        ] {
            assert!(Hash::parse(cut).is_err(), "{cut}");
        }
    }
    let wrong = [
        "$2y$",
        "$2y$99$",
        "$2y$+5$",
        "$5$",
        "$6$rounds=1$a$b",
        "$argon2id$v=19$m=1$a$b",
        "$pbkdf2-sha256$i=1$a$b",
        "$",
        "",
    ];
    for text in wrong {
        assert!(Hash::parse(text).is_err(), "{text}");
    }
}

#[test]
fn hashes_that_take_too_long_are_refused_with_what_to_do() {
    let with = |kind: &str, more: Value| {
        let mut config = json!({ "users": { "ann": hash(kind) } });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        new(&config)
    };
    assert!(with("2y_10", json!({})).is_ok());
    let error = with("2y_11", json!({})).unwrap_err();
    assert!(error.starts_with("users.ann: ") && error.contains("limits.time"), "{error}");
    assert!(with("2y_11", json!({ "hash_time": "1s" })).is_ok());
    let slow = "$6$rounds=999999999$lIjlM7hqGrnTnfEt$nkKZj51XVXKVrX2BSGU8PX4NFKlWoyuZf9aATSzNlhG25Sbao9TBIFl4QSxkwFnoot//KGvX78h7vMa9MnuKF0";
    assert!(new(&json!({ "users": { "ann": slow } })).unwrap_err().contains("hash_time"));
    let error = with("argon2id_owasp", json!({ "hash_time": "1s" })).unwrap_err();
    assert!(error.contains("hash_memory to 19") && error.contains("23MiB"), "{error}");
    assert!(with("argon2id_owasp", json!({ "hash_time": "1s", "hash_memory": 19 })).is_ok());
}

#[test]
fn mistakes_are_named() {
    let all = [
        (json!({ "users": {} }), "users: "),
        (json!({ "users": { "": hash("2y") } }), "users.: "),
        (json!({ "users": { "a:b": hash("2y") } }), "users.a:b: "),
        (json!({ "users": { "a": hash("2y") }, "realm": "a\"" }), "realm: "),
        (json!({ "users": { "a": hash("2y") }, "user_header": "authorization" }), "user_header: "),
        (json!({ "users": { "a": hash("2y") }, "remember": "25h" }), "remember: "),
        (json!({ "users": { "a": hash("2y") }, "hash_time": "0s" }), "hash_time: "),
        (json!({ "user": {} }), "unknown field"),
    ];
    for (config, hint) in all {
        let error = new(&config).unwrap_err();
        assert!(error.starts_with(hint), "{error}");
    }
}
