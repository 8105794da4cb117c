//! Reads Weir's access records back as requests.

use serde_json::Value;

use crate::Request;

/// Returns the requests of a text with one record per line. Lines of Weir's log are skipped: both
/// may be in one stream.
///
/// # Errors
/// The number and the problem of a line that is neither. A text without a record is also an error:
/// there would be nothing to replay.
pub(super) fn requests(text: &str) -> Result<Vec<Request>, (usize, String)> {
    let mut requests = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| (line, format!("it is no JSON (log: {{ format: json }}): {error}")))?;
        match request(&value) {
            Some(request) => requests.push(request),
            None if is_log(&value) => {}
            None => {
                let what = "it is no access record: a record has client, method, path and status";
                return Err((line, what.to_owned()));
            }
        }
    }
    if requests.is_empty() {
        Err((1, "there is no access record".to_owned()))
    } else {
        Ok(requests)
    }
}

/// Whether it is a line of the log.
fn is_log(line: &Value) -> bool {
    ["level", "target", "message"].iter().all(|key| line.get(key).is_some_and(Value::is_string))
}

/// Returns the request of an access record. The client's address has no port.
fn request(record: &Value) -> Option<Request> {
    record.get("status")?.as_u64()?;
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(str::to_owned);
    let ours = Request::default();
    let client = text("client")?;
    let client = match client.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            host.trim_start_matches('[').trim_end_matches(']').to_owned()
        }
        _ => client,
    };
    let headers = text("user_agent").map(|agent| ("user-agent".to_owned(), agent));
    Some(Request {
        method: text("method")?,
        path: text("path")?,
        authority: text("host").unwrap_or(ours.authority),
        scheme: text("scheme").unwrap_or(ours.scheme),
        client,
        country: None,
        asn: None,
        id: text("request_id").unwrap_or(ours.id),
        route: text("route").unwrap_or(ours.route),
        parts: ours.parts,
        headers: headers.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"client":"[2001:db8::1]:443","method":"POST","path":"/a?b","host":"shop","user_agent":"curl","status":200}"#;
    const LOG: &str = r#"{"time":"2026-01-02T03:04:05Z","level":"warn","target":"weir::plugins","message":"plugin failed","path":"/x","status":503}"#;

    #[test]
    fn an_access_record_is_a_request() {
        let all = requests(RECORD).unwrap();
        let [request] = &all[..] else { panic!("{all:?}") };
        assert_eq!(request.client, "2001:db8::1");
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/a?b"));
        assert_eq!(request.headers, [("user-agent".to_owned(), "curl".to_owned())]);
    }

    #[test]
    fn a_line_of_the_log_is_no_request() {
        let text = format!("{LOG}\n{RECORD}\n\n{LOG}\n{RECORD}\n");
        assert_eq!(requests(&text).unwrap().len(), 2);
        assert_eq!(requests(LOG).unwrap_err(), (1, "there is no access record".to_owned()));
        assert_eq!(requests("").unwrap_err(), (1, "there is no access record".to_owned()));
    }

    #[test]
    fn a_line_that_is_neither_is_told() {
        for line in ["{}", r#"{"time":"t","method":"GET"}"#, r#"{"level":"info"}"#, "[]", "7"] {
            let (at, what) = requests(&format!("{RECORD}\n{line}\n")).unwrap_err();
            assert!(at == 2 && what.contains("no access record"), "{line}: {what}");
        }
        let (at, what) = requests("time=2026 method=GET path=/").unwrap_err();
        assert!(at == 1 && what.contains("no JSON"), "{what}");
    }
}
