//! Request id: every request gets an id, in a header field that the origin server and client see.
//!
//! An id from the client counts only if the client is trusted and the id is short and plain,
//! because the id ends up in logs. Otherwise the id is Weir's own, the one in its access records,
//! or a UUID (RFC 9562).

mod uuid;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::parse::field_name;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Request, RequestDecision, Response,
    ResponseDecision, host,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The name of the header field, at most 128 bytes.
    #[schemars(length(min = 1, max = 128))]
    header: String,
    /// Whether an id from the client is accepted, if it has only letters, digits and `-._~+=:@`.
    /// Only for routes with your own proxies as clients: other clients could copy the ids of other
    /// requests.
    trust: bool,
    /// The longest id from a client, in bytes. A longer id is replaced.
    #[schemars(range(min = 1, max = 256))]
    max_length: usize,
    /// The source of new ids.
    make: Make,
    /// Whether the response has the field too.
    response: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            header: "x-request-id".to_owned(),
            trust: false,
            max_length: 128,
            make: Make::Weir,
            response: true,
        }
    }
}

/// The source of new ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Make {
    /// Weir's own id of the request, as in its access records and error pages.
    #[serde(rename = "weir")]
    Weir,
    /// A UUID of random bits.
    #[serde(rename = "uuid-v4")]
    Uuid4,
    /// A UUID that begins with the time in milliseconds, so that ids sort by age.
    #[serde(rename = "uuid-v7")]
    Uuid7,
}

#[derive(Debug)]
struct RequestId {
    header: String,
    /// The id from the client, if clients are trusted.
    given: Option<Input>,
    max_length: usize,
    /// Weir's own id, if it is used.
    own: Option<Input>,
    is_timed: bool,
    response: bool,
}

#[weir_sdk::filter]
impl Filter for RequestId {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let header = field(&config.header).map_err(|error| format!("header: {error}"))?;
        if !(1..=256).contains(&config.max_length) {
            return Err("max_length: must be from 1 to 256".into());
        }
        needs.on_request();
        if config.response {
            needs.on_response();
        }
        Ok(RequestId {
            given: config.trust.then(|| needs.header(&header)),
            own: (config.make == Make::Weir).then(|| needs.request_id()),
            is_timed: config.make == Make::Uuid7,
            max_length: config.max_length,
            response: config.response,
            header,
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let given = self.given.and_then(|given| request.bytes(given));
        let id = match given.filter(|id| is_id(id, self.max_length)) {
            Some(given) => given.to_vec(),
            None => self.make(request),
        };
        // Sets the field even if the id stays the same: no second field of the name may remain.
        let changes = Changes::new().set(self.header.as_str(), id.as_slice());
        if self.response { changes.context(id).into() } else { changes.into() }
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        if response.context.is_empty() {
            return ResponseDecision::Next;
        }
        Changes::new().set(self.header.as_str(), response.context).into()
    }
}

impl RequestId {
    fn make(&self, request: &Request<'_>) -> Vec<u8> {
        if let Some(own) = self.own.and_then(|own| request.bytes(own)) {
            return own.to_vec();
        }
        // Comes from the host each time, so that nobody can predict the next id from earlier ones
        // (RFC 9562 §6.9).
        let random = [host::random(), host::random()];
        let uuid = match self.is_timed {
            true => uuid::v7(milliseconds(host::now()), random),
            false => uuid::v4(random),
        };
        uuid.into_bytes()
    }
}

/// Whether an id from outside is safe in logs and in fields of other systems.
fn is_id(id: &[u8], max_length: usize) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+=:@".contains(b);
    (1..=max_length).contains(&id.len()) && id.iter().all(is_plain)
}

/// Returns the name of a field in lower case, if a filter may set it.
fn field(name: &str) -> Result<String, String> {
    if name.len() > 128 {
        return Err("more than 128 bytes".to_owned());
    }
    field_name(name)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use weir_sdk::{Edit, Header};

    use super::*;

    fn filter(config: Config) -> RequestId {
        RequestId::new(config, &mut FilterNeeds::default()).unwrap()
    }

    /// Returns the id that is set on the request, and the context.
    fn set(filter: &mut RequestId, inputs: &[Option<&str>]) -> (String, String) {
        let inputs: Vec<_> =
            inputs.iter().map(|input| input.map(|value| value.as_bytes().to_vec())).collect();
        let decision = filter.on_request(&Request { inputs: &inputs });
        let RequestDecision::Edit(Changes { edits, context }) = decision else { panic!() };
        let [Edit::Set(Header { name, value })] = &edits[..] else { panic!("{edits:?}") };
        assert_eq!(name, &filter.header);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(value), text(&context))
    }

    #[test]
    fn the_id_is_that_of_the_access_record() {
        let mut filter = filter(Config::default());
        assert_eq!(filter.given, None, "what a client sends is not even asked for");
        assert_eq!(set(&mut filter, &[Some("17f")]), ("17f".to_owned(), "17f".to_owned()));
    }

    #[test]
    fn an_id_from_outside_is_taken_only_when_it_is_plain_and_short() {
        let mut filter = filter(Config { trust: true, max_length: 16, ..Config::default() });
        for id in ["a", "01-ab_C.d~e+f=", "req:7@eu", "0123456789abcdef"] {
            assert_eq!(set(&mut filter, &[Some(id), Some("own")]).0, id);
        }
        for id in [
            "",
            "0123456789abcdefg",
            "a b",
            "a\tb",
            "a,b",
            "<script>",
            "a\"b",
            "${jndi:x}",
            "../../x",
            "é",
        ] {
            assert_eq!(set(&mut filter, &[Some(id), Some("own")]).0, "own", "{id:?}");
        }
        assert_eq!(set(&mut filter, &[None, Some("own")]).0, "own");
    }

    #[test]
    fn uuids_differ() {
        for (make, version) in [(Make::Uuid4, '4'), (Make::Uuid7, '7')] {
            let mut filter = filter(Config { make, ..Config::default() });
            let (first, context) = set(&mut filter, &[]);
            let (second, _) = set(&mut filter, &[]);
            assert_ne!(first, second);
            assert_eq!(first, context);
            assert_eq!((first.len(), first.chars().nth(14)), (36, Some(version)));
        }
    }

    #[test]
    fn the_response_has_it_unless_told_otherwise() {
        let mut with = filter(Config::default());
        let response = Response { context: b"17f", ..Response::default() };
        let ResponseDecision::Edit(changes) = with.on_response(&response) else { panic!() };
        assert!(matches!(&changes.edits[..], [Edit::Set(Header { name, value })]
            if name == "x-request-id" && value == b"17f"));
        assert!(matches!(with.on_response(&Response::default()), ResponseDecision::Next));
        let mut without = filter(Config { response: false, ..Config::default() });
        assert_eq!(set(&mut without, &[Some("17f")]).1, "");
    }

    #[test]
    fn mistakes_are_named() {
        for name in ["", "x a", "Host", "content-length", &"a".repeat(129)] {
            let config = Config { header: name.to_owned(), ..Config::default() };
            let error = RequestId::new(config, &mut FilterNeeds::default()).unwrap_err();
            assert!(error.starts_with("header:"), "{error:?}");
        }
        for max_length in [0, 257] {
            let config = Config { max_length, ..Config::default() };
            let error = RequestId::new(config, &mut FilterNeeds::default()).unwrap_err();
            assert!(error.starts_with("max_length:"), "{error:?}");
        }
        assert_eq!(field("X-Trace").as_deref(), Ok("x-trace"));
    }
}
