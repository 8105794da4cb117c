//! Turns a filter's decision into a value, and compares it with the expectation of a case.

use serde_json::{Map, Value, json};
use weir_runtime::filter::{
    Changes, Edit, Fetch, Header, Reply, RequestDecision, ResponseDecision,
};

/// Checks that `actual` contains everything in `expected`.
pub(super) fn compare(expected: &Value, actual: &Value, path: &str) -> Result<(), String> {
    if let (Value::Object(expected), Value::Object(actual)) = (expected, actual) {
        for (key, value) in expected {
            let at = format!("{path}.{key}");
            match actual.get(key) {
                Some(actual) => compare(value, actual, &at)?,
                None => {
                    return Err(format!(
                        "{at}: expected {value}, but there is only {}",
                        json!(actual)
                    ));
                }
            }
        }
        return Ok(());
    }
    // In YAML, `1` is a number; plugins produce text.
    let is_number = expected.is_number() && actual.as_str() == Some(&expected.to_string());
    let is_same = expected == actual || is_number;
    if is_same { Ok(()) } else { Err(format!("{path}: expected {expected}, got {actual}")) }
}

pub(super) fn request_value(decision: &RequestDecision) -> Value {
    match decision {
        RequestDecision::Next => json!("next"),
        RequestDecision::Edit(changes) => json!({ "edit": changes_value(changes) }),
        RequestDecision::Reply(reply) => json!({ "reply": reply_value(reply) }),
        RequestDecision::Fetch(fetch) => json!({ "fetch": fetch_value(fetch) }),
    }
}

pub(super) fn response_value(decision: &ResponseDecision) -> Value {
    match decision {
        ResponseDecision::Next => json!("next"),
        ResponseDecision::Edit(changes) => json!({ "edit": changes_value(changes) }),
        ResponseDecision::Reply(reply) => json!({ "reply": reply_value(reply) }),
    }
}

fn changes_value(changes: &Changes) -> Value {
    let (mut all, mut set, mut append) = (Map::new(), Map::new(), Map::new());
    let mut attributes = Map::new();
    let mut removed = Vec::new();
    for edit in &changes.edits {
        match edit {
            Edit::Set(header) => {
                set.insert(header.name.clone(), text(&header.value));
            }
            Edit::Append(header) => add(&mut append, header),
            Edit::Remove(name) => removed.push(json!(name)),
            Edit::Path(path) => drop(all.insert("path".to_owned(), json!(path))),
            Edit::Authority(name) => drop(all.insert("authority".to_owned(), json!(name))),
            Edit::Upstream(name) => drop(all.insert("upstream".to_owned(), json!(name))),
            Edit::Status(status) => drop(all.insert("status".to_owned(), json!(status))),
            Edit::Attribute(attribute) => {
                attributes.insert(attribute.name.clone(), json!(attribute.value));
            }
            Edit::Body => drop(all.insert("body".to_owned(), json!(true))),
        }
    }
    for (key, fields) in [("set", set), ("append", append), ("attributes", attributes)] {
        if !fields.is_empty() {
            all.insert(key.to_owned(), Value::Object(fields));
        }
    }
    if !removed.is_empty() {
        all.insert("remove".to_owned(), Value::Array(removed));
    }
    if !changes.context.is_empty() {
        all.insert("context".to_owned(), text(&changes.context));
    }
    Value::Object(all)
}

pub(super) fn reply_value(reply: &Reply) -> Value {
    json!({
        "status": reply.status,
        "headers": headers_value(&reply.headers),
        "body": text(&reply.body),
    })
}

pub(super) fn fetch_value(fetch: &Fetch) -> Value {
    json!({
        "upstream": fetch.upstream,
        "method": fetch.method,
        "path": fetch.path,
        "authority": fetch.authority,
        "headers": headers_value(&fetch.headers),
        "body": text(&fetch.body),
        "timeout_ms": fetch.timeout_ms,
    })
}

fn headers_value(headers: &[Header]) -> Value {
    let mut fields = Map::new();
    headers.iter().for_each(|header| add(&mut fields, header));
    Value::Object(fields)
}

/// Adds a field: one value as it is, several as a list.
fn add(fields: &mut Map<String, Value>, header: &Header) {
    let value = text(&header.value);
    match fields.get_mut(&header.name) {
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = json!([first.clone(), value]),
        None => drop(fields.insert(header.name.clone(), value)),
    }
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_must_be_there_and_the_rest_is_not_looked_at() {
        let actual = json!({ "reply": { "status": 403, "headers": { "a": "1" }, "body": "no" } });
        assert_eq!(compare(&json!({ "reply": { "status": 403 } }), &actual, "expect"), Ok(()));
        let error = compare(&json!({ "reply": { "status": 200 } }), &actual, "expect").unwrap_err();
        assert_eq!(error, "expect.reply.status: expected 200, got 403");
        assert!(compare(&json!({ "edit": {} }), &actual, "expect").is_err());
        assert!(compare(&json!("next"), &actual, "expect").is_err());
        let set = json!({ "set": { "x": "1" } });
        assert_eq!(compare(&json!({ "set": { "x": 1 } }), &set, "edit"), Ok(()));
    }
}
