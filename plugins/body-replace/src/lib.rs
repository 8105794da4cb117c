//! Body replace: replaces text in bodies as they stream.
//!
//! The filter changes only bodies of the listed types without a content coding. It finds a match
//! across the border of two pieces: it holds back bytes that can begin a match until the next
//! piece. If several texts match at one place, the longest wins.

mod replace;

use replace::Replacer;
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    BodyDecision, BodyFilter, Changes, Filter, FilterNeeds, Input, Piece, Refused, Request,
    RequestDecision, Response, ResponseDecision, ResponseInput,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The texts to replace.
    #[schemars(length(min = 1, max = 64))]
    replace: Vec<Pair>,
    /// The media types of the bodies to search. `text/*` covers every type that begins with
    /// `text/`.
    #[serde(default = "types")]
    types: Vec<String>,
    /// Whether bodies of responses are searched.
    #[serde(default = "yes")]
    responses: bool,
    /// Whether bodies of requests are searched.
    #[serde(default)]
    requests: bool,
    /// Whether `accept-encoding` is removed from requests, so that origins answer without a content
    /// coding.
    #[serde(default = "yes")]
    identity: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pair {
    /// The text to look for.
    #[schemars(length(min = 1, max = 1024))]
    from: String,
    /// The replacement.
    #[serde(default)]
    to: String,
}

#[derive(Debug)]
struct BodyReplace {
    replacer: Replacer,
    types: Vec<String>,
    identity: bool,
    /// Content type and coding of requests, if their bodies are searched.
    request: Option<(Input, Input)>,
    response: Option<OfResponse>,
}

/// The inputs of a response.
#[derive(Debug, Clone, Copy)]
struct OfResponse {
    content_type: ResponseInput,
    coding: ResponseInput,
    etag: ResponseInput,
    /// The client's `If-None-Match`, from the request.
    known: ResponseInput,
}

#[weir_sdk::body_filter]
impl BodyFilter for BodyReplace {
    fn on_request_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        self.pass(piece)
    }

    fn on_response_body(&mut self, piece: &Piece<'_>) -> BodyDecision {
        self.pass(piece)
    }
}

impl Filter for BodyReplace {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let pairs = config.replace.into_iter().map(|pair| (pair.from, pair.to));
        let replacer = Replacer::new(pairs)?;
        let request = config
            .requests
            .then(|| (needs.header("content-type"), needs.header("content-encoding")));
        let response = config.responses.then(|| OfResponse {
            content_type: needs.response_header("content-type"),
            coding: needs.response_header("content-encoding"),
            etag: needs.response_header("etag"),
            known: needs.response_input("request-header:if-none-match"),
        });
        let identity = config.identity && response.is_some();
        if identity {
            needs.on_request();
        }
        let types = config.types.iter().map(|name| name.to_ascii_lowercase()).collect();
        Ok(BodyReplace { replacer, types, identity, request, response })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        let mut changes = Changes::new();
        if self.identity {
            changes = changes.remove("accept-encoding");
        }
        if let Some((content_type, coding)) = self.request
            && self.is_looked_at(request.text(content_type), request.text(coding))
        {
            changes = changes.body();
        }
        if changes.edits.is_empty() { RequestDecision::Next } else { changes.into() }
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        let Some(OfResponse { content_type, coding, etag, known }) = self.response else {
            return ResponseDecision::Next;
        };
        let (content_type, etag) = (response.text(content_type), response.text(etag));
        // The offsets of a partial response do not fit the changed whole (RFC 9110 §15.3.7).
        let is_part = response.status == 206;
        // A 304 usually has no type. If the client knows this ETag as weak, this filter changed the
        // whole response.
        let is_known = response.status == 304
            && content_type.is_none()
            && is_known_as_weak(response.text(known), etag);
        if is_part || !(is_known || self.is_looked_at(content_type, response.text(coding))) {
            return ResponseDecision::Next;
        }
        let mut changes = Changes::new().body();
        for name in OF_THE_BYTES {
            changes = changes.remove(name);
        }
        // The bytes change and the meaning does not (RFC 9110 §8.8.1).
        if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/")) {
            changes = changes.set("etag", format!("W/{etag}"));
        }
        changes.into()
    }
}

impl BodyReplace {
    fn pass(&self, piece: &Piece<'_>) -> BodyDecision {
        let (data, held) = self.replacer.pass(piece.context, piece.data, piece.end);
        if held.is_empty() && piece.context.is_empty() && data == piece.data {
            return BodyDecision::Keep;
        }
        Piece::replace(data, held)
    }

    fn is_looked_at(&self, content_type: Option<&str>, coding: Option<&str>) -> bool {
        let is_plain = coding.is_none_or(|coding| coding.trim().eq_ignore_ascii_case("identity"));
        let Some(content_type) = content_type else { return false };
        let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        };
        is_plain && self.types.iter().any(fits)
    }
}

/// Whether `known`, the value of `If-None-Match`, has the strong `etag` as a weak one. A quoted
/// string has no inner quote (RFC 9110 §8.8.3), so a substring search finds only whole tags.
fn is_known_as_weak(known: Option<&str>, etag: Option<&str>) -> bool {
    let (Some(known), Some(etag)) = (known, etag) else { return false };
    etag.starts_with('"') && known.contains(&format!("W/{etag}"))
}

fn types() -> Vec<String> {
    ["text/*", "application/json", "application/javascript", "application/xml"]
        .map(str::to_owned)
        .to_vec()
}

fn yes() -> bool {
    true
}

/// Fields that describe the original bytes.
const OF_THE_BYTES: [&str; 4] = ["accept-ranges", "content-md5", "content-digest", "digest"];

#[cfg(test)]
mod tests {
    use weir_sdk::Edit;

    use super::*;

    fn filter() -> BodyReplace {
        let replace = vec![Pair { from: "a".to_owned(), to: "b".to_owned() }];
        let config =
            Config { replace, types: types(), responses: true, requests: false, identity: true };
        BodyReplace::new(config, &mut FilterNeeds::default()).unwrap()
    }

    fn respond(status: u16, [content_type, coding, etag]: [Option<&str>; 3]) -> ResponseDecision {
        respond_to(None, status, [content_type, coding, etag])
    }

    fn respond_to(
        known: Option<&str>,
        status: u16,
        [content_type, coding, etag]: [Option<&str>; 3],
    ) -> ResponseDecision {
        let fields = [content_type, coding, etag, known];
        let inputs = fields.map(|value| value.map(|value| value.as_bytes().to_vec()));
        filter().on_response(&Response { status, inputs: &inputs, context: b"" })
    }

    #[test]
    fn only_plain_bodies_of_the_types_are_handed_over() {
        let passes = [
            [Some("text/html; charset=utf-8"), None, None],
            [Some("Application/JSON"), Some("identity"), None],
        ];
        for fields in passes {
            assert!(matches!(respond(200, fields), ResponseDecision::Edit(_)), "{fields:?}");
        }
        let stays = [
            [Some("image/png"), None, None],
            [Some("text/html"), Some("gzip"), None],
            [None, None, None],
        ];
        for fields in stays {
            assert!(matches!(respond(200, fields), ResponseDecision::Next), "{fields:?}");
        }
        assert!(matches!(respond(206, passes[0]), ResponseDecision::Next));
    }

    #[test]
    fn a_304_says_of_the_etag_what_the_whole_response_said() {
        let fields = [None, None, Some("\"x\"")];
        for known in ["W/\"x\"", "\"y\", W/\"x\"", "W/\"y\",W/\"x\""] {
            let ResponseDecision::Edit(changes) = respond_to(Some(known), 304, fields) else {
                panic!("{known}: nothing was edited")
            };
            assert!(changes.edits.iter().any(|edit| matches!(edit, Edit::Body)), "{known}");
        }
        // The filter did not change this response, for example an image.
        for known in [None, Some("\"x\""), Some("W/\"xx\", \"x\""), Some("*")] {
            assert!(matches!(respond_to(known, 304, fields), ResponseDecision::Next), "{known:?}");
        }
        assert!(matches!(respond_to(Some("W/\"x\""), 200, fields), ResponseDecision::Next));
        assert!(matches!(respond_to(Some("W/"), 304, [None; 3]), ResponseDecision::Next));
    }

    #[test]
    fn a_strong_etag_becomes_weak() {
        let ResponseDecision::Edit(changes) =
            respond(200, [Some("text/html"), None, Some("\"x\"")])
        else {
            panic!("nothing was edited")
        };
        let is_weak =
            |edit: &Edit| matches!(edit, Edit::Set(h) if h.name == "etag" && h.value == b"W/\"x\"");
        assert!(changes.edits.iter().any(is_weak));
    }
}
