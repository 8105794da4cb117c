//! Times, claims, fields and decisions.

use super::*;

/// Inputs: `authorization`.
fn ask(jwt: &mut Jwt, authorization: Option<&str>) -> RequestDecision {
    let inputs = [authorization.map(|value| value.as_bytes().to_vec())];
    jwt.on_request(&Request { inputs: &inputs })
}

fn reply(decision: RequestDecision) -> Reply {
    let RequestDecision::Reply(reply) = decision else { panic!("{decision:?}") };
    reply
}

fn edits(decision: &RequestDecision) -> Vec<String> {
    let RequestDecision::Edit(changes) = decision else { panic!("{decision:?}") };
    shown(&changes.edits)
}

#[test]
fn times_are_checked_with_leeway() {
    let strict = with(&json!({ "leeway": "0s" }));
    assert_eq!(check(&config(), &token("expired")), invalid("the token has expired"));
    for name in ["not_yet", "from_the_future"] {
        assert_eq!(check(&config(), &token(name)), invalid("the token is not valid yet"), "{name}");
        let lenient = with(&json!({ "leeway": "600s" }));
        assert_eq!(check(&lenient, &token(name)), Ok(vec![]), "{name}");
    }
    assert_eq!(check(&with(&json!({ "leeway": "2m" })), &token("expired")), Ok(vec![]));
    assert_eq!(check(&config(), &token("no_exp")), invalid("the token has no end"));
    assert_eq!(check(&with(&json!({ "expiry": "optional" })), &token("no_exp")), Ok(vec![]));
    let number = invalid("the token has a time that is not a number");
    assert_eq!(check(&config(), &token("exp_text")), number);
    // exp is NOW + 60.5 s. From that time on, the token is not valid.
    let mut jwt = new(&strict).unwrap();
    let token = token("exp_float");
    assert!(told(&mut jwt, &token, NOW + 60_499).is_ok());
    assert_eq!(told(&mut jwt, &token, NOW + 60_500), invalid("the token has expired"));
}

#[test]
fn a_remembered_token_still_expires() {
    let mut jwt = new(&config()).unwrap();
    let token = token("hs256");
    assert!(told(&mut jwt, &token, NOW).is_ok());
    assert!(jwt.recent.find(&Recent::fingerprint(&token)).is_some());
    assert_eq!(told(&mut jwt, &token, NOW + 200_000_000 * 1000), invalid("the token has expired"));
    assert!(told(&mut jwt, &token, NOW).is_ok());
    assert_eq!(told(&mut jwt, &token, NOW / 2), invalid("the token is not valid yet"));
}

#[test]
fn what_is_refused_is_not_remembered() {
    let mut jwt = new(&with(&json!({ "scopes": ["write"] }))).unwrap();
    for name in ["read_only", "es256_other_key", "expired"] {
        let token = token(name);
        assert!(told(&mut jwt, &token, NOW).is_err());
        assert!(jwt.recent.find(&Recent::fingerprint(&token)).is_none(), "{name}");
    }
}

#[test]
fn audiences_and_issuers_may_be_lists() {
    let lists =
        with(&json!({ "audience": ["web", "app"], "issuer": ["x", "https://idp.example"] }));
    for name in ["hs256", "aud_list"] {
        assert_eq!(check(&lists, &token(name)), Ok(vec![]), "{name}");
    }
    let any = with(&json!({ "audience": "*", "issuer": [] }));
    for name in ["other_aud", "no_aud", "other_issuer"] {
        assert_eq!(check(&any, &token(name)), Ok(vec![]), "{name}");
    }
}

#[test]
fn scopes_and_claims_that_are_missing_are_not_enough() {
    let scopes = with(&json!({ "scopes": ["read", "write"] }));
    let insufficient = |scopes: &str| Err(Refusal::Insufficient(scopes.to_owned()));
    for name in ["hs256", "scp_list"] {
        assert_eq!(check(&scopes, &token(name)), Ok(vec![]), "{name}");
    }
    assert_eq!(check(&scopes, &token("read_only")), insufficient("read write"));
    let claims = |claims: Value| check(&with(&json!({ "claims": claims })), &token("hs256"));
    assert_eq!(claims(json!({ "tier": ["silver", "gold"], "groups": "dev" })), Ok(vec![]));
    assert_eq!(claims(json!({ "level": "3", "admin": "true" })), Ok(vec![]));
    assert_eq!(claims(json!({ "address.city": "Köln" })), Ok(vec![]));
    for wrong in [
        json!({ "tier": "silver" }),
        json!({ "tier": "gol" }),
        json!({ "groups": "ops" }),
        json!({ "tier": "gold", "none": "x" }),
        json!({ "address": "Köln" }),
    ] {
        assert_eq!(claims(wrong.clone()), insufficient(""), "{wrong}");
    }
}

#[test]
fn the_origin_sees_claims_and_nothing_that_the_client_claims() {
    let fields = json!({
        "sub": "X-User", "groups": "x-groups", "address.city": "x-city", "admin": "x-admin", "nothing": "x-nothing",
    });
    let config = with(&json!({ "claims_to_headers": fields }));
    let mut edits = check(&config, &token("hs256")).unwrap();
    edits.sort();
    let expected =
        ["-x-nothing", "x-admin=true", "x-city=K%C3%B6ln", "x-groups=dev,a%2Cb", "x-user=ann"];
    assert_eq!(edits, expected);
}

#[test]
fn a_claim_chooses_the_upstream() {
    let route = json!({ "claim": "tier", "upstreams": { "gold": "gold-app" } });
    let config = with(&json!({ "route": route }));
    assert_eq!(check(&config, &token("hs256")).unwrap(), ["to gold-app"]);
    assert_eq!(check(&config, &token("silver")), Ok(vec![]));
    let route = json!({ "claim": "groups", "upstreams": { "a,b": "one" } });
    let config = with(&json!({ "route": route }));
    assert_eq!(check(&config, &token("hs256")).unwrap(), ["to one"]);
}

#[test]
fn requests_without_a_token_are_challenged_or_anonymous() {
    let mut jwt = new(&with(&json!({ "realm": "shop" }))).unwrap();
    for none in [None, Some("Basic YTpi"), Some("")] {
        let reply = reply(ask(&mut jwt, none));
        assert_eq!(
            (reply.status, reply.field("www-authenticate")),
            (401, Some("Bearer realm=\"shop\""))
        );
    }
    let changes = json!({ "optional": true, "claims_to_headers": { "sub": "x-user" } });
    let mut optional = new(&with(&changes)).unwrap();
    assert_eq!(edits(&ask(&mut optional, None)), ["-x-user"]);
    // Of two fields of the name, the origin sees the one that was checked.
    assert_eq!(edits(&ask(&mut optional, Some("Basic a"))), ["authorization=Basic a", "-x-user"]);
    assert_eq!(reply(ask(&mut optional, Some("Bearer a"))).status, 401);
    let mut plain = new(&with(&json!({ "optional": true }))).unwrap();
    assert!(matches!(ask(&mut plain, None), RequestDecision::Next));
}

#[test]
fn the_token_goes_on_or_not() {
    let bearer = format!("Bearer {}", token("hs256"));
    let mut forwards = new(&config()).unwrap();
    assert_eq!(edits(&ask(&mut forwards, Some(&bearer))), [format!("authorization={bearer}")]);
    let mut keeps = new(&with(&json!({ "forward": false }))).unwrap();
    assert_eq!(edits(&ask(&mut keeps, Some(&bearer))), ["-authorization"]);
    let mut cookie = new(&with(&json!({ "from": ["cookie:sid"], "forward": false }))).unwrap();
    let fields = format!("cookie: a=1; sid={}\n", token("hs256"));
    assert_eq!(edits(&ask(&mut cookie, Some(&fields))), ["cookie=a=1"]);
    assert_eq!(reply(ask(&mut cookie, Some("cookie: sid=a; sid=b\n"))).status, 400);
}

#[test]
fn responses_vary_by_where_the_token_is() {
    let vary = |from: Value| match new(&with(&json!({ "from": from })))
        .unwrap()
        .on_response(&Response::default())
    {
        ResponseDecision::Edit(changes) => match &changes.edits[..] {
            [Edit::Append(header)] if header.name == "vary" => {
                String::from_utf8(header.value.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        },
        _ => String::new(),
    };
    assert_eq!(vary(json!(["bearer"])), "authorization");
    assert_eq!(vary(json!(["cookie:a", "header:x-jwt", "query:t"])), "cookie, x-jwt");
    assert_eq!(vary(json!(["query:t"])), "");
}

#[test]
fn mistakes_are_named() {
    let all = [
        (json!({ "keys": [] }), "keys: "),
        (json!({ "from": [] }), "from: "),
        (json!({ "from": ["body"] }), "from[0]: "),
        (json!({ "leeway": "11m" }), "leeway: "),
        (json!({ "scopes": ["a b"] }), "scopes[0]: "),
        (json!({ "claims": { "a": [] } }), "claims.a: "),
        (json!({ "claims_to_headers": { "a": "x y" } }), "claims_to_headers.a: "),
        (json!({ "claims_to_headers": { "a": "Host" } }), "claims_to_headers.a: "),
        (json!({ "claims_to_headers": { "a": "authorization" } }), "claims_to_headers.a: "),
        (json!({ "claims_to_headers": { "a": "x-a", "b": "X-A" } }), "claims_to_headers: "),
        (json!({ "realm": "a\"b" }), "realm: "),
        (json!({ "route": { "claim": "", "upstreams": {} } }), "route.claim: "),
        (json!({ "jwks": { "upstream": "a", "refresh": "1s" } }), "jwks.refresh: "),
        (json!({ "jwks": { "upstream": "a", "stale": "1y" } }), "jwks.stale: "),
        (json!({ "jwks": { "upstream": "a", "timeout": "0s" } }), "jwks.timeout: "),
        (json!({ "jwks": { "upstream": "a", "path": "x" } }), "jwks.path: "),
        (json!({ "jwks": { "upstream": "a", "authority": "a/b" } }), "jwks.authority: "),
        (json!({ "unknown": 1 }), "unknown field"),
    ];
    for (changes, hint) in all {
        let error = new(&with(&changes)).unwrap_err();
        assert!(error.starts_with(hint), "{error}");
    }
}
