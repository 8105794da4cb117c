//! The configuration: its values, its replacement, its history.

use http::header::IF_MATCH;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::admin::model::{Applied, Configuration, History, RevisionStatus};
use crate::admin::operation::Outcome;
use crate::admin::refusal::Refusal;
use crate::admin::{Admin, Call, reply};
use crate::state::orders::{Order, OrderError};

pub(in crate::admin) async fn show(admin: &Admin, call: Call) -> Outcome {
    let (revision, values) = admin.reach.live.serving();
    let values = match values {
        Value::Object(values) => Configuration(values),
        _ => Configuration(serde_json::Map::new()),
    };
    let response = match call.query("format") {
        None | Some("json") => reply::json(StatusCode::OK, &values),
        Some("yaml") => {
            let text = serde_yaml::to_string(&values).map_err(|error| {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            })?;
            reply::text_of(StatusCode::OK, reply::YAML, text)
        }
        Some(other) => {
            let reason = format!("format: {other:?} is neither json nor yaml");
            return Err(Refusal::bad_request(reason));
        }
    };
    Ok(reply::tagged(response, &revision.tag))
}

pub(in crate::admin) async fn put(admin: &Admin, call: Call) -> Outcome {
    let is_dry_run = call.flag("dry_run")?;
    let revision = admin.reach.live.revision();
    let if_match = required_tag(call.headers(), &revision.tag)?;
    let text = call.text().await?;
    applied(admin, Order::Put { text, if_match, is_dry_run }).await
}

pub(in crate::admin) async fn reload(admin: &Admin, _: Call) -> Outcome {
    applied(admin, Order::Reload).await
}

pub(in crate::admin) async fn rollback(admin: &Admin, call: Call) -> Outcome {
    let revision = call.query("revision").map(str::parse).transpose();
    let revision = revision.map_err(|error| Refusal::bad_request(format!("revision: {error}")))?;
    applied(admin, Order::Rollback { revision }).await
}

async fn applied(admin: &Admin, order: Order) -> Outcome {
    let applied = Applied::from(admin.order(order).await?);
    Ok(reply::tagged(reply::json(StatusCode::OK, &applied), &applied.tag))
}

pub(in crate::admin) async fn history(admin: &Admin, _: Call) -> Outcome {
    let revisions = admin.reach.live.revisions();
    let revisions = revisions.iter().rev().map(RevisionStatus::from).collect();
    Ok(reply::json(StatusCode::OK, &History { revisions }))
}

/// Returns the tag that the configuration must have when the order is carried out (RFC 9110
/// §13.1.1). The supervisor compares it once more, with no other change between.
fn required_tag(headers: &HeaderMap, present: &str) -> Result<Option<String>, Refusal> {
    let mut tags = Vec::new();
    for value in headers.get_all(IF_MATCH) {
        let value = value.to_str().map_err(|_| Refusal::bad_request("If-Match is not text"))?;
        tags.extend(value.split(',').map(str::trim));
    }
    if tags.is_empty() || tags.contains(&"*") {
        return Ok(None);
    }
    // A weak tag equals none (RFC 9110 §8.8.3.2).
    let is_present =
        |tag: &&str| tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(present);
    if tags.iter().any(is_present) {
        return Ok(Some(present.to_owned()));
    }
    Err(OrderError::Changed(present.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_required_if_the_client_names_one() {
        let required = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, value.parse().unwrap());
            }
            required_tag(&headers, "t1").map_err(|refusal| refusal.status.as_u16())
        };
        assert_eq!(required(&[]), Ok(None));
        assert_eq!(required(&["*"]), Ok(None));
        let own = Ok(Some("t1".to_owned()));
        assert_eq!(required(&["\"t1\""]), own);
        assert_eq!(required(&["\"t0\", \"t1\""]), own);
        assert_eq!(required(&["\"t0\"", "\"t1\""]), own);
        for other in ["\"t0\"", "W/\"t1\"", "t1", "\"t1", ""] {
            assert_eq!(required(&[other]), Err(412), "{other}");
        }
    }
}
