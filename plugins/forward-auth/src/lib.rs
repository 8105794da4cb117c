//! Forward auth: another service decides whether a request may pass.
//!
//! The service gets a GET with the client's credentials and `X-Forwarded-Method`, `-Host`, `-Uri`,
//! `-Proto` and `-For`. With a 2xx the request goes on, with the fields in `copy` from the answer.
//! Any other answer goes to the client.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::field_name;
use weir_sdk::{
    Changes, Fetch, Filter, FilterNeeds, Input, Refused, Reply, Request, RequestDecision, host,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The upstream of the service, named in `allow.upstreams`.
    upstream: String,
    /// The path and query of the request to the service.
    #[serde(default = "root")]
    #[schemars(regex(pattern = "^/"))]
    path: String,
    /// Header fields of the request that the service sees.
    #[serde(default = "credentials")]
    #[schemars(length(max = 32))]
    send: Vec<String>,
    /// Header fields of the answer that the request carries on. Fields of these names from clients
    /// are removed.
    #[serde(default)]
    #[schemars(length(max = 32))]
    copy: Vec<String>,
    /// Milliseconds to wait for the answer.
    #[serde(default = "two_seconds")]
    #[schemars(range(min = 1, max = 60_000))]
    timeout_ms: u32,
    /// The treatment of requests while the service does not answer: `deny` (503) or `allow`.
    #[serde(default)]
    on_error: OnError,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// They get 503.
    #[default]
    Deny,
    /// They pass.
    Allow,
}

#[derive(Debug)]
struct ForwardAuth {
    config: Config,
    send: Vec<(String, Input)>,
    /// Fields that describe the request to the service.
    about: [(&'static str, Input); 5],
}

#[weir_sdk::filter]
impl Filter for ForwardAuth {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        if !config.path.starts_with('/') {
            return Err(format!("path: {:?} does not begin with a slash", config.path).into());
        }
        for (key, names) in [("send", &config.send), ("copy", &config.copy)] {
            if let Some(name) = names.iter().find(|name| !is_name(name)) {
                return Err(format!("{key}: {name:?} is not the name of a header field").into());
            }
        }
        let send = config.send.iter();
        let send = send.map(|name| (name.to_ascii_lowercase(), needs.header(name))).collect();
        let about = [
            ("x-forwarded-method", needs.method()),
            ("x-forwarded-host", needs.authority()),
            ("x-forwarded-uri", needs.path()),
            ("x-forwarded-proto", needs.input(":scheme")),
            ("x-forwarded-for", needs.client_address()),
        ];
        Ok(ForwardAuth { config, send, about })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let timeout = Duration::from_millis(self.config.timeout_ms.into());
        let mut fetch =
            Fetch::get(self.config.upstream.as_str(), self.config.path.as_str()).timeout(timeout);
        let about = self.about.iter().map(|(name, input)| (*name, *input));
        let send = self.send.iter().map(|(name, input)| (name.as_str(), *input));
        for (name, input) in about.chain(send) {
            if let Some(value) = request.bytes(input) {
                fetch = fetch.header(name, value);
            }
        }
        fetch.into()
    }

    fn on_fetch(&mut self, _context: &[u8], answer: Result<Reply, String>) -> RequestDecision {
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if self.config.on_error == OnError::Allow => {
                host::count("unanswered_allowed", 1);
                return self.pass(&[]).into();
            }
            Err(reason) => {
                host::log(
                    host::Level::Warn,
                    &format!("no answer from {}: {reason}", self.config.upstream),
                );
                host::count("unanswered_denied", 1);
                return Reply::new(503)
                    .header("retry-after", "1")
                    .body("authorization is unavailable\n")
                    .into();
            }
        };
        if (200..300).contains(&answer.status) {
            return self.pass(&answer.headers).into();
        }
        host::count("denied", 1);
        let mut reply = Reply::new(answer.status.max(300)).body(answer.body);
        for header in answer.headers {
            if is_name(&header.name) {
                reply = reply.header(header.name, header.value);
            }
        }
        reply.into()
    }
}

impl ForwardAuth {
    /// Lets the request go on with the fields in `copy` from the answer, and without these
    /// fields from the client.
    fn pass(&self, headers: &[weir_sdk::Header]) -> Changes {
        let mut changes = Changes::new();
        for name in &self.config.copy {
            changes = changes.remove(name.as_str());
            for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
                changes = changes.append(name.as_str(), header.value.as_slice());
            }
        }
        changes
    }
}

fn is_name(name: &str) -> bool {
    field_name(name).is_ok() && !name.eq_ignore_ascii_case("via")
}

fn root() -> String {
    "/".to_owned()
}

fn credentials() -> Vec<String> {
    vec!["authorization".to_owned(), "cookie".to_owned()]
}

fn two_seconds() -> u32 {
    2000
}

#[cfg(test)]
mod tests {
    use weir_sdk::{Edit, Header};

    use super::*;

    fn auth(on_error: OnError) -> ForwardAuth {
        let config = Config {
            upstream: "auth".to_owned(),
            path: "/check".to_owned(),
            send: credentials(),
            copy: vec!["X-User".to_owned()],
            timeout_ms: 500,
            on_error,
        };
        ForwardAuth::new(config, &mut FilterNeeds::default()).unwrap()
    }

    fn answer(status: u16, fields: &[(&str, &str)]) -> Reply {
        fields.iter().fold(Reply::new(status), |reply, (name, value)| reply.header(*name, *value))
    }

    #[test]
    fn the_service_is_told_what_is_asked() {
        let mut auth = auth(OnError::Deny);
        // Authorization and Cookie, then the fields that describe the request.
        let values = ["Bearer x", "", "POST", "shop.example", "/a?b", "https", "192.0.2.7"];
        let inputs: Vec<_> = values
            .iter()
            .map(|value| (!value.is_empty()).then(|| value.as_bytes().to_vec()))
            .collect();
        let RequestDecision::Fetch(fetch) = auth.on_request(&Request { inputs: &inputs }) else {
            panic!("nothing is fetched")
        };
        assert_eq!((fetch.upstream.as_str(), fetch.path.as_str()), ("auth", "/check"));
        assert_eq!(fetch.timeout_ms, 500);
        let field = |name: &str| {
            let found = fetch.headers.iter().find(|header| header.name == name);
            found.map(|header| String::from_utf8(header.value.clone()).unwrap())
        };
        assert_eq!(field("x-forwarded-method").as_deref(), Some("POST"));
        assert_eq!(field("x-forwarded-uri").as_deref(), Some("/a?b"));
        assert_eq!(field("authorization").as_deref(), Some("Bearer x"));
        assert_eq!(field("cookie"), None);
    }

    #[test]
    fn what_the_service_says_replaces_what_the_client_claims() {
        let mut auth = auth(OnError::Deny);
        let told = answer(204, &[("x-user", "ann"), ("x-other", "1")]);
        let RequestDecision::Edit(changes) = auth.on_fetch(&[], Ok(told)) else { panic!() };
        assert!(matches!(&changes.edits[0], Edit::Remove(name) if name == "X-User"));
        assert!(matches!(&changes.edits[1], Edit::Append(Header { value, .. }) if value == b"ann"));
        assert_eq!(changes.edits.len(), 2);
    }

    #[test]
    fn a_refusal_is_the_client_s_answer() {
        let mut auth = auth(OnError::Deny);
        let told = answer(401, &[("www-authenticate", "Bearer"), ("connection", "close")]);
        let RequestDecision::Reply(reply) = auth.on_fetch(&[], Ok(told)) else { panic!() };
        assert_eq!(reply.status, 401);
        assert_eq!(reply.field("www-authenticate"), Some("Bearer"));
        assert_eq!(reply.field("connection"), None);
    }

    #[test]
    fn without_an_answer_the_configuration_decides() {
        let failed = || Err("timeout".to_owned());
        let RequestDecision::Reply(reply) = auth(OnError::Deny).on_fetch(&[], failed()) else {
            panic!("it passed")
        };
        assert_eq!(reply.status, 503);
        let RequestDecision::Edit(changes) = auth(OnError::Allow).on_fetch(&[], failed()) else {
            panic!("it did not pass")
        };
        assert!(matches!(&changes.edits[..], [Edit::Remove(_)]), "forged fields go all the same");
    }

    #[test]
    fn fields_of_the_connection_are_refused_in_any_case() {
        for name in ["connection", "Connection", "TRANSFER-ENCODING", "Host", "x a", ""] {
            for (send, copy) in [(vec![name], vec![]), (vec![], vec![name])] {
                let texts = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
                let config = Config {
                    upstream: "auth".to_owned(),
                    path: root(),
                    send: texts(send),
                    copy: texts(copy),
                    timeout_ms: two_seconds(),
                    on_error: OnError::Deny,
                };
                let refused = ForwardAuth::new(config, &mut FilterNeeds::default());
                assert!(refused.is_err_and(|reason| reason.contains("not the name")), "{name}");
            }
        }
    }
}
