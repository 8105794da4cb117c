//! Keys of an upstream. Each thread has its own state, so each test begins with an empty one.

use super::*;

const SECONDS: u64 = 1000;

fn remote() -> Value {
    let jwks = json!({ "upstream": "idp", "path": "/keys", "authority": "idp.example" });
    with(&json!({ "keys": [], "jwks": jwks }))
}

fn answer(document: &str) -> Result<Reply, String> {
    Ok(Reply::new(200).body(vectors()[document].to_string()))
}

/// Sends one request and answers its fetch. Returns the decision, and whether there was a fetch.
fn ask(
    jwt: &mut Jwt,
    now: u64,
    name: &str,
    answer: Result<Reply, String>,
) -> (Result<Vec<String>, Refusal>, bool) {
    let text = token(name);
    let verdict = told(jwt, &text, now);
    let remote = jwt.remote.as_mut().unwrap();
    let is_wanted = match &verdict {
        Ok(_) => remote.is_due(now) && remote.claim(),
        Err(Refusal::UnknownKey) => remote.claim(),
        Err(Refusal::NoKeys) => remote.may_begin(),
        Err(_) => false,
    };
    if !is_wanted {
        return (verdict, false);
    }
    if remote.answered(answer, now) {
        jwt.recent.clear();
    }
    (told(jwt, &text, now), true)
}

fn down() -> Result<Reply, String> {
    Err("connect".to_owned())
}

#[test]
fn the_first_request_fetches_and_the_others_have_the_keys() {
    let mut jwt = new(&remote()).unwrap();
    let inputs = [Some(format!("Bearer {}", token("rs256")).into_bytes())];
    let request = Request { inputs: &inputs };
    let RequestDecision::Fetch(fetch) = jwt.on_request(&request) else { panic!("it has no keys") };
    assert_eq!((fetch.upstream.as_str(), fetch.path.as_str()), ("idp", "/keys"));
    assert_eq!((fetch.authority.as_str(), fetch.timeout_ms), ("idp.example", 2000));
    let decision = jwt.on_fetch(&fetch.context, answer("jwks"));
    let RequestDecision::Edit(changes) = decision else { panic!("{decision:?}") };
    assert_eq!(changes.edits.len(), 1, "the token goes on");
    assert!(matches!(jwt.on_request(&request), RequestDecision::Edit(_)));
    // Another worker.
    let mut other = new(&remote()).unwrap();
    assert!(matches!(other.on_request(&request), RequestDecision::Edit(_)));
}

#[test]
fn an_unknown_key_is_fetched_once_in_a_time_over_all_workers() {
    let now = milliseconds();
    let (mut one, mut two) = (new(&remote()).unwrap(), new(&remote()).unwrap());
    assert_eq!(ask(&mut one, now, "rs256", answer("jwks")), (Ok(vec![]), true));
    assert_eq!(
        ask(&mut two, now, "rs256_rotated", answer("jwks")),
        (Err(Refusal::UnknownKey), true)
    );
    for jwt in [&mut one, &mut two] {
        let later = now + 2 * SECONDS;
        assert_eq!(
            ask(jwt, later, "rs256_rotated", answer("rotated")),
            (Err(Refusal::UnknownKey), false)
        );
    }
    state::remove("", &asked(&one));
    let later = now + 31 * SECONDS;
    assert_eq!(ask(&mut one, later, "rs256_rotated", answer("rotated")), (Ok(vec![]), true));
    // The other worker sees the new keys without a fetch. Neither has the old key.
    let later = now + 33 * SECONDS;
    assert_eq!(ask(&mut two, later, "rs256_rotated", down()), (Ok(vec![]), false));
    for jwt in [&mut one, &mut two] {
        assert_eq!(ask(jwt, later, "rs256", down()), (Err(Refusal::UnknownKey), false));
    }
}

#[test]
fn a_key_that_is_withdrawn_is_withdrawn_from_what_is_remembered() {
    let now = milliseconds();
    let mut jwt = new(&remote()).unwrap();
    assert_eq!(ask(&mut jwt, now, "rs256", answer("jwks")).0, Ok(vec![]));
    let later = now + 601 * SECONDS;
    assert_eq!(ask(&mut jwt, later, "rs256", answer("rotated")), (Err(Refusal::UnknownKey), true));
}

#[test]
fn old_keys_are_used_for_a_time_while_there_is_no_answer() {
    let now = milliseconds();
    let mut jwt = new(&remote()).unwrap();
    assert_eq!(ask(&mut jwt, now, "rs256", answer("jwks")).0, Ok(vec![]));
    let due = now + 600 * SECONDS;
    assert_eq!(ask(&mut jwt, due, "rs256", down()), (Ok(vec![]), true));
    assert_eq!(ask(&mut jwt, due + SECONDS, "rs256", down()), (Ok(vec![]), false));
    let last = now + 4199 * SECONDS;
    assert_eq!(ask(&mut jwt, last, "rs256", down()).0, Ok(vec![]));
    // After the bound nothing passes, remembered or not, in the state or not.
    state::remove("", &failed(&jwt));
    assert_eq!(ask(&mut jwt, last + 2 * SECONDS, "rs256", down()), (Err(Refusal::NoKeys), true));
    assert_eq!(ask(&mut jwt, last + 3 * SECONDS, "rs256", down()), (Err(Refusal::NoKeys), false));
    state::remove("", &failed(&jwt));
    assert_eq!(ask(&mut jwt, last + 6 * SECONDS, "rs256", answer("jwks")), (Ok(vec![]), true));
}

#[test]
fn without_any_keys_requests_are_answered_with_503_and_few_fetch() {
    let mut jwt = new(&remote()).unwrap();
    let inputs = [Some(format!("Bearer {}", token("rs256")).into_bytes())];
    let request = Request { inputs: &inputs };
    let fetches =
        (0..100).filter(|_| matches!(jwt.on_request(&request), RequestDecision::Fetch(_)));
    assert_eq!(fetches.count(), 32);
    let context = token("rs256");
    let RequestDecision::Reply(reply) = jwt.on_fetch(context.as_bytes(), down()) else { panic!() };
    assert_eq!((reply.status, reply.field("retry-after")), (503, Some("2")));
}

#[test]
fn answers_without_keys_do_not_take_the_place_of_keys() {
    let now = milliseconds();
    let mut jwt = new(&remote()).unwrap();
    assert_eq!(ask(&mut jwt, now, "rs256", answer("jwks")).0, Ok(vec![]));
    let answers = [
        Ok(Reply::new(200).body("no")),
        Ok(Reply::new(200).body("{\"keys\":[]}")),
        Ok(Reply::new(404).body(vectors()["rotated"].to_string())),
        Ok(Reply::new(200).body(" ".repeat(61 << 10))),
        Ok(Reply::new(200).body([0xff])),
        answer("oct"),
        down(),
    ];
    for answer in answers {
        state::remove("", &asked(&jwt));
        let later = now + 700 * SECONDS;
        assert_eq!(ask(&mut jwt, later, "rs256", answer), (Ok(vec![]), true));
    }
}

#[test]
fn malformed_and_foreign_tokens_have_nothing_fetched() {
    let now = milliseconds();
    let mut jwt = new(&remote()).unwrap();
    assert_eq!(ask(&mut jwt, now, "rs256", answer("jwks")).0, Ok(vec![]));
    for name in ["other_issuer", "other_aud", "none", "crit"] {
        let (verdict, is_fetched) = ask(&mut jwt, now, name, down());
        assert!(matches!(verdict, Err(Refusal::Invalid(_))), "{name}");
        assert!(!is_fetched, "{name}");
    }
}

#[test]
fn contexts_carry_what_is_to_be_done() {
    let edits = vec![
        Edit::Set(Header::new("cookie", "a=1; b = 2")),
        Edit::Remove("authorization".to_owned()),
        Edit::Path("/a?b=c".to_owned()),
    ];
    let context = pack("a.b.c", &edits).unwrap();
    let (token, back) = unpack(&context).unwrap();
    assert_eq!((token, shown(&back)), ("a.b.c", shown(&edits)));
    assert!(pack("a", &[Edit::Set(Header::new("cookie", "x".repeat(17 << 10)))]).is_none());
    assert!(unpack(b"a.b.c\nset").is_none());
}

fn asked(jwt: &Jwt) -> String {
    jwt.remote.as_ref().unwrap().asked()
}

fn failed(jwt: &Jwt) -> String {
    jwt.remote.as_ref().unwrap().failed()
}
