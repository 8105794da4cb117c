//! Streams a body through a filter and compares it with the expectation of a case.

use weir_runtime::filter::{Changes, Edit};
use weir_runtime::with_causes;

use super::Streamed;
use super::decision::{compare, reply_value};
use crate::Filter;

/// Streams a body after the decision on its message, with the changes `changes`. A filter that did
/// not ask for the body there (the edit `body`) does not see it, as in a running Weir.
pub(super) fn check(
    filter: &mut Filter,
    of_request: bool,
    changes: &Changes,
    body: &Streamed,
) -> Result<(), String> {
    let pieces: Vec<&[u8]> = body.pieces.iter().map(String::as_bytes).collect();
    let is_asked_for = changes.edits.contains(&Edit::Body);
    let output = if is_asked_for {
        let output = filter.body(of_request, &changes.context, &pieces);
        output.map_err(|error| with_causes(&error))?
    } else {
        Ok(pieces.concat())
    };
    if let Some(expected) = &body.reply {
        let reply = output.err().and_then(|stopped| stopped.reply);
        let reply = reply.ok_or("the filter does not reply to this body")?;
        return compare(expected, &reply_value(&reply), "reply");
    }
    let became = output.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if became == body.becomes {
        return Ok(());
    }
    let shown = |body: &Option<String>| match body {
        Some(body) => format!("{body:?}"),
        None => "a body that is stopped".to_owned(),
    };
    let hint = match is_asked_for {
        true => "",
        false => {
            "; the filter did not see it: its decision on the message does not ask for the body (the edit `body`)"
        }
    };
    Err(format!("the body became {}, expected {}{hint}", shown(&became), shown(&body.becomes)))
}
