use std::collections::BTreeMap;

use weir_sdk::bindings::filtering;
use weir_sdk::{Edit, Header};

use super::*;
use crate::config::{Headers, Mirror};

fn config(origins: &[&str]) -> Config {
    Config {
        origins: texts(origins),
        methods: texts(&["GET", "PUT"]),
        headers: Headers::Listed(texts(&["content-type", "x-a"])),
        expose: texts(&["x-total"]),
        credentials: false,
        max_age: "10m".to_owned(),
        private_network: false,
        passthrough: false,
        reject: false,
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

/// The filter with the names of its inputs.
struct Tested {
    cors: Cors,
    needs: filtering::FilterNeeds,
}

fn tested(config: Config) -> Tested {
    let mut needs = FilterNeeds::default();
    let cors = Cors::new(config, &mut needs).unwrap();
    Tested { cors, needs: needs.into() }
}

fn inputs(names: &[String], values: &[(&str, &str)]) -> Vec<Option<Vec<u8>>> {
    let value = |name: &String| values.iter().find(|(known, _)| known == name);
    names.iter().map(|name| value(name).map(|(_, value)| value.as_bytes().to_vec())).collect()
}

impl Tested {
    fn request(&mut self, values: &[(&str, &str)]) -> RequestDecision {
        let inputs = inputs(&self.needs.inputs, values);
        self.cors.on_request(&Request { inputs: &inputs })
    }

    fn preflight(&mut self, origin: &str, more: &[(&str, &str)]) -> RequestDecision {
        let preflight = [
            (":method", "OPTIONS"),
            ("header:origin", origin),
            ("header:access-control-request-method", "PUT"),
        ];
        self.request(&[&preflight[..], more].concat())
    }

    /// Returns the fields that are set on a response with these fields. `None` stands for a removed
    /// field.
    fn response(
        &mut self,
        decision: RequestDecision,
        said: &[(&str, &str)],
    ) -> BTreeMap<String, Option<String>> {
        let context = match decision {
            RequestDecision::Edit(changes) => changes.context,
            RequestDecision::Next => Vec::new(),
            other => panic!("{other:?}"),
        };
        let inputs = inputs(&self.needs.response_inputs, said);
        let response = Response { status: 200, inputs: &inputs, context: &context };
        match self.cors.on_response(&response) {
            ResponseDecision::Next => BTreeMap::new(),
            ResponseDecision::Edit(changes) => changes.edits.into_iter().map(edit).collect(),
            ResponseDecision::Reply(reply) => panic!("{reply:?}"),
        }
    }
}

fn edit(edit: Edit) -> (String, Option<String>) {
    match edit {
        Edit::Set(Header { name, value }) | Edit::Append(Header { name, value }) => {
            (name, Some(String::from_utf8(value).unwrap()))
        }
        Edit::Remove(name) => (name, None),
        other => panic!("{other:?}"),
    }
}

fn reply(decision: RequestDecision) -> Reply {
    let RequestDecision::Reply(reply) = decision else { panic!("{decision:?}") };
    reply
}

fn map(fields: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
}

const APP: &str = "https://app.test";
const GET: (&str, &str) = (":method", "GET");

#[test]
fn a_preflight_is_answered_here() {
    let reply = reply(tested(config(&[APP])).preflight(APP, &[]));
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!(reply.field("access-control-allow-origin"), Some(APP));
    assert_eq!(reply.field("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(reply.field("access-control-allow-headers"), Some("content-type, x-a"));
    assert_eq!(reply.field("access-control-max-age"), Some("600"));
    assert_eq!(reply.field("access-control-allow-credentials"), None);
    assert_eq!(reply.field("access-control-expose-headers"), None, "it says nothing there");
    assert_eq!(reply.field("access-control-allow-private-network"), None);
    assert_eq!(reply.field("vary"), Some("Access-Control-Request-Method, Origin"));
}

#[test]
fn a_preflight_of_a_stranger_gets_no_fields() {
    let reply = reply(tested(config(&[APP])).preflight("https://evil.test", &[]));
    assert_eq!(reply.status, 204);
    assert!(reply.headers.iter().all(|header| header.name == "vary"), "{reply:?}");
}

#[test]
fn options_without_the_asked_method_is_a_request_like_others() {
    let mut cors = tested(config(&[APP]));
    let decision = cors.request(&[(":method", "OPTIONS"), ("header:origin", APP)]);
    assert!(matches!(decision, RequestDecision::Edit(_)));
    let asked = ("header:access-control-request-method", "PUT");
    assert!(matches!(cors.request(&[(":method", "OPTIONS"), asked]), RequestDecision::Next));
    let decision = cors.request(&[GET, ("header:origin", APP), asked]);
    assert!(matches!(decision, RequestDecision::Edit(_)));
}

#[test]
fn what_is_asked_for_is_mirrored_if_it_is_a_list_of_names() {
    let mut cors = tested(Config { headers: Headers::Mirror(Mirror::Mirror), ..config(&[APP]) });
    let mut mirrored = |asked: &str| {
        let asked = ("header:access-control-request-headers", asked);
        let reply = reply(cors.preflight(APP, &[asked]));
        assert!(reply.field("vary").unwrap().contains("Access-Control-Request-Headers"));
        reply.field("access-control-allow-headers").map(str::to_owned)
    };
    assert_eq!(mirrored("content-type,x-b").as_deref(), Some("content-type,x-b"));
    assert_eq!(mirrored("x-a, x-b").as_deref(), Some("x-a, x-b"));
    for nonsense in ["", ",", "x a", "x-a:1", "x-\"a\"", &"a".repeat(5000)] {
        assert_eq!(mirrored(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn a_private_network_is_told_of_only_when_asked_and_allowed() {
    let asked = [("header:access-control-request-private-network", "true")];
    let field = "access-control-allow-private-network";
    let open = || Config { private_network: true, ..config(&[APP]) };
    let told = |config: Config, asked: &[(&str, &str)]| {
        reply(tested(config).preflight(APP, asked)).field(field).map(str::to_owned)
    };
    assert_eq!(told(open(), &asked).as_deref(), Some("true"));
    assert_eq!(told(open(), &[]), None);
    assert_eq!(told(open(), &[(asked[0].0, "false")]), None);
    assert_eq!(told(config(&[APP]), &asked), None);
}

#[test]
fn a_response_gets_the_fields_in_place_of_the_origin_server_s() {
    let mut cors = tested(Config { credentials: true, ..config(&[APP]) });
    let decision = cors.request(&[GET, ("header:origin", APP)]);
    let said = [
        ("header:access-control-allow-origin", "*"),
        ("header:access-control-allow-methods", "DELETE"),
        ("header:access-control-max-age", "86400"),
    ];
    let wanted = map(&[
        ("access-control-allow-origin", Some(APP)),
        ("access-control-allow-credentials", Some("true")),
        ("access-control-expose-headers", Some("x-total")),
        ("access-control-allow-methods", None),
        ("access-control-max-age", None),
        ("vary", Some("Origin")),
    ]);
    assert_eq!(cors.response(decision, &said), wanted);
}

#[test]
fn without_an_allowed_origin_nothing_is_allowed_and_the_answer_still_varies() {
    let said = [
        ("header:access-control-allow-origin", "https://evil.test"),
        ("header:access-control-allow-credentials", "true"),
    ];
    let removed = map(&[
        ("access-control-allow-origin", None),
        ("access-control-allow-credentials", None),
        ("vary", Some("Origin")),
    ]);
    let mut cors = tested(config(&[APP]));
    for request in [&[GET][..], &[GET, ("header:origin", "https://evil.test")]] {
        let decision = cors.request(request);
        assert!(matches!(decision, RequestDecision::Next));
        assert_eq!(cors.response(decision, &said), removed);
    }
}

#[test]
fn vary_is_not_said_twice() {
    let mut cors = tested(config(&[APP]));
    for (vary, again) in
        [("accept", true), ("accept, ORIGIN", false), ("*", false), ("x-origin", true), ("", true)]
    {
        let fields = cors.response(RequestDecision::Next, &[("header:vary", vary)]);
        assert_eq!(fields.contains_key("vary"), again, "{vary:?}");
    }
}

#[test]
fn everybody_is_told_so_whoever_asks() {
    let mut cors = tested(config(&["*"]));
    for request in [&[GET][..], &[GET, ("header:origin", "https://anyone.test")]] {
        let decision = cors.request(request);
        assert!(matches!(decision, RequestDecision::Next));
        let wanted = map(&[
            ("access-control-allow-origin", Some("*")),
            ("access-control-expose-headers", Some("x-total")),
        ]);
        assert_eq!(cors.response(decision, &[]), wanted);
    }
    let reply = reply(cors.preflight("https://anyone.test", &[]));
    assert_eq!(reply.field("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.field("vary"), Some("Access-Control-Request-Method"));
}

#[test]
fn a_preflight_that_passes_has_its_fields_set_on_the_response() {
    let mut cors = tested(Config { passthrough: true, ..config(&[APP]) });
    let decision = cors.preflight(APP, &[]);
    let said = [("header:access-control-allow-methods", "DELETE")];
    let wanted = map(&[
        ("access-control-allow-origin", Some(APP)),
        ("access-control-allow-methods", Some("GET, PUT")),
        ("access-control-allow-headers", Some("content-type, x-a")),
        ("access-control-max-age", Some("600")),
        ("vary", Some("Origin")),
    ]);
    assert_eq!(cors.response(decision, &said), wanted);
    let stranger = cors.preflight("https://evil.test", &[]);
    assert!(matches!(stranger, RequestDecision::Next));
    let mut any = tested(Config { passthrough: true, ..config(&["*"]) });
    let decision = any.preflight("null", &[]);
    let fields = any.response(decision, &[]);
    assert_eq!(fields["access-control-allow-origin"].as_deref(), Some("*"));
}

#[test]
fn an_origin_cannot_write_the_fields_of_a_response() {
    let mut cors = tested(config(&[APP]));
    for origin in ["paccess-control-allow-origin:*", "p", "o", "ohttps://app.test"] {
        let decision = cors.request(&[GET, ("header:origin", origin)]);
        assert!(matches!(decision, RequestDecision::Next), "{origin}");
    }
}

#[test]
fn strangers_are_refused_on_wish_and_own_pages_are_none() {
    let mut cors = tested(Config { reject: true, ..config(&[APP]) });
    let own = [(":scheme", "https"), (":authority", "Shop.test:443")];
    let mut from = |origin: &str| {
        cors.request(&[&own[..], &[(":method", "POST"), ("header:origin", origin)]].concat())
    };
    let refused = reply(from("https://evil.test"));
    assert_eq!((refused.status, refused.field("cache-control")), (403, Some("no-store")));
    assert_eq!(refused.field("vary"), Some("Origin"));
    assert_eq!(reply(from("null")).status, 403);
    assert_eq!(reply(from("http://shop.test")).status, 403);
    assert_eq!(reply(from("https://shop.test:8443")).status, 403);
    assert!(matches!(from("https://shop.test"), RequestDecision::Next));
    assert!(matches!(from(APP), RequestDecision::Edit(_)));
    assert_eq!(reply(cors.preflight("https://evil.test", &own)).status, 403);
    assert!(matches!(cors.request(&[(":method", "POST")]), RequestDecision::Next), "no origin");
}

#[test]
fn only_what_is_wanted_is_asked_for() {
    let plain = tested(config(&[APP])).needs;
    assert_eq!(plain.inputs, ["header:origin", ":method", "header:access-control-request-method"]);
    let all = Config {
        headers: Headers::Mirror(Mirror::Mirror),
        private_network: true,
        reject: true,
        ..config(&[APP])
    };
    assert_eq!(tested(all).needs.inputs.len(), 7);
}

#[test]
fn mistakes_are_named() {
    let allow = |headers: &[&str]| Headers::Listed(texts(headers));
    let wrong = [
        (Config { credentials: true, ..config(&["*"]) }, "credentials:"),
        (Config { credentials: true, ..config(&[APP, "null"]) }, "credentials:"),
        (Config { methods: texts(&["GET", "put"]), ..config(&[APP]) }, "methods[1]:"),
        (Config { methods: texts(&["GET", "*"]), ..config(&[APP]) }, "methods[1]: *"),
        (Config { headers: allow(&["a", "b c"]), ..config(&[APP]) }, "headers[1]:"),
        (Config { headers: allow(&[&"a".repeat(129)]), ..config(&[APP]) }, "headers[0]:"),
        (Config { headers: allow(&["a"; 129]), ..config(&[APP]) }, "headers: at most"),
        (Config { credentials: true, headers: allow(&["*"]), ..config(&[APP]) }, "headers[0]: *"),
        (Config { credentials: true, expose: texts(&["*"]), ..config(&[APP]) }, "expose[0]: *"),
        (Config { expose: texts(&[""]), ..config(&[APP]) }, "expose[0]:"),
    ];
    for (config, place) in wrong {
        let error = Cors::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with(place), "{place} {error:?}");
    }
    for max_age in ["", "m", "10", "25h", "1d", "-1s", "+1s", "10é", "99999h"] {
        let config = Config { max_age: max_age.to_owned(), ..config(&[APP]) };
        let error = Cors::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with("max_age:"), "{max_age} {error:?}");
    }
}
