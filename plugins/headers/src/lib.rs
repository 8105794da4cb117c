//! Headers: sets, appends and removes fields of requests and responses.
//!
//! Values are templates: `${client.address}`, `${request.id}`, `${path}`, `${method}`,
//! `${authority}`, `${route}`, `${header:NAME}` (of the request), `${cookie:NAME}` and
//! `${path:NAME}` (a part that the pattern of the route names). Responses also have
//! `${response.header:NAME}`. `$$` is a dollar sign. A variable without a value is empty. A field
//! is not set if its template has a variable and the result is empty.

mod rules;
mod template;

use rules::{Rules, Section};
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    Filter, FilterNeeds, Input, Refused, Request, RequestDecision, Response, ResponseDecision,
    ResponseInput,
};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The changes to requests.
    #[serde(default)]
    request: Section,
    /// The changes to responses.
    #[serde(default)]
    response: Section,
}

#[derive(Debug)]
struct Headers {
    request: Rules<Input>,
    response: Rules<ResponseInput>,
}

#[weir_sdk::filter]
impl Filter for Headers {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let request = Rules::new("request", config.request, |variable| {
            template::of_request(variable).map(|name| needs.input(name))
        })?;
        if !request.is_empty() {
            needs.on_request();
        }
        let response = Rules::new("response", config.response, |variable| {
            template::of_response(variable).map(|name| needs.response_input(name))
        })?;
        if !response.is_empty() {
            needs.on_response();
        }
        needs.pure();
        Ok(Headers { request, response })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        match self.request.apply(|input| request.bytes(input)) {
            Some(changes) => changes.into(),
            None => RequestDecision::Next,
        }
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        match self.response.apply(|input| response.bytes(input)) {
            Some(changes) => changes.into(),
            None => ResponseDecision::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_sdk::{Changes, Edit, Header};

    use super::*;

    fn section(set: &[(&str, &str)]) -> Section {
        let set = set.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Section { set: set.collect(), append: BTreeMap::new(), remove: Vec::new() }
    }

    fn headers(request: Section, response: Section) -> Result<Headers, String> {
        Ok(Headers::new(Config { request, response }, &mut FilterNeeds::default())?)
    }

    #[test]
    fn templates_are_filled_from_the_inputs() {
        let set = section(&[("x-who", "${client.address} via ${route}$$"), ("x-plain", "1")]);
        let mut headers = headers(set, Section::default()).unwrap();
        let inputs = [Some(b"192.0.2.7".to_vec()), Some(b"shop".to_vec())];
        let RequestDecision::Edit(Changes { edits, .. }) =
            headers.on_request(&Request { inputs: &inputs })
        else {
            panic!("nothing was edited")
        };
        let set = |edit: &Edit| match edit {
            Edit::Set(Header { name, value }) => (name.clone(), value.clone()),
            other => panic!("{other:?}"),
        };
        let edits: Vec<_> = edits.iter().map(set).collect();
        assert_eq!(edits[0], ("x-plain".to_owned(), b"1".to_vec()));
        assert_eq!(edits[1], ("x-who".to_owned(), b"192.0.2.7 via shop$".to_vec()));
    }

    #[test]
    fn a_field_without_its_value_is_not_set() {
        let mut headers =
            headers(section(&[("x-a", "${header:x-b}")]), Section::default()).unwrap();
        assert!(matches!(headers.on_request(&Request { inputs: &[None] }), RequestDecision::Next));
    }

    #[test]
    fn the_order_is_remove_set_append() {
        let rules = Section {
            set: BTreeMap::from([("x-s".into(), "s".into())]),
            append: BTreeMap::from([("x-a".into(), vec!["1".into(), "2".into()].into())]),
            remove: vec!["server".into()],
        };
        let mut headers = headers(Section::default(), rules).unwrap();
        let ResponseDecision::Edit(changes) = headers.on_response(&Response::default()) else {
            panic!("nothing was edited")
        };
        assert!(matches!(&changes.edits[0], Edit::Remove(name) if name == "server"));
        assert!(matches!(&changes.edits[1], Edit::Set(header) if header.name == "x-s"));
        assert!(matches!(&changes.edits[2], Edit::Append(header) if header.value == b"1"));
        assert_eq!(changes.edits.len(), 4);
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = [
            (section(&[("x a", "1")]), "request.set"),
            (section(&[("content-length", "1")]), "the proxy's own"),
            (section(&[("x-a", "${nothing}")]), "${nothing}"),
            (section(&[("x-a", "${path")]), "no end"),
            (section(&[("x-a", "$path")]), "$$"),
            (section(&[("x-a", "1\n2")]), "line end"),
            (section(&[("x-a", "${response.header:x}")]), "response.header"),
        ];
        for (section, hint) in wrong {
            let error = headers(section, Section::default()).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
