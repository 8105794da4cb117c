//! Events as they happen: server-sent events, as the HTML standard has them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::admin::model::{EventMessage, seconds};
use crate::admin::operation::{EVENTS, Outcome};
use crate::admin::refusal::Refusal;
use crate::admin::{Admin, Call};
use crate::control::Answer;
use crate::telemetry::events::{Events, Next, Subscription};

pub(in crate::admin) async fn follow(admin: &Admin, call: Call) -> Outcome {
    let permit = Arc::clone(&admin.streams).try_acquire_owned().map_err(|_| {
        let reason = format!("{STREAMS} clients follow the events already");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    let last = call.headers().get("last-event-id");
    // A value that is no text is no id.
    let last = last.map(|id| id.to_str().unwrap_or_default());
    let events = admin.reach.events.clone();
    let follower = Follower { subscription: events.subscribe(last), events, _permit: permit };
    let mut response = Response::new(follower.answer());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A client that follows the events.
struct Follower {
    events: Events,
    subscription: Subscription,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    fn answer(self) -> Answer {
        // The first line shows the client that the stream has begun.
        let pieces = stream::unfold((self, Some(OPENING)), |(mut follower, opening)| async move {
            let text = match opening {
                Some(opening) => opening.to_owned(),
                None => follower.message().await,
            };
            let frame = Frame::data(Bytes::from(text));
            Some((Ok::<_, Infallible>(frame), (follower, None)))
        });
        Answer::Stream(Box::pin(StreamBody::new(pieces)))
    }

    /// Returns the next message, or a comment that shows that the stream lives.
    async fn message(&mut self) -> String {
        match timeout(BEAT, self.subscription.next()).await {
            Err(_) => ":\n\n".to_owned(),
            Ok(Next::Lost(count)) => {
                format!("event: overflow\ndata: {}\n\n", json!({ "lost": count }))
            }
            Ok(Next::Event(emitted)) => {
                let id = self.events.id(emitted.number);
                let event = &emitted.event;
                let message = EventMessage { at: seconds(emitted.at), data: event.data.clone() };
                let message = serde_json::to_string(&message).unwrap_or_default();
                format!("id: {id}\nevent: {}\ndata: {message}\n\n", event.kind)
            }
        }
    }
}

/// Streams at once. Each takes a connection of the listener, and commands need the rest.
pub(in crate::admin) const STREAMS: usize = 16;

/// The time between two signs of life. Many proxies close a connection that is quiet for 30 s.
const BEAT: Duration = Duration::from_secs(15);

/// A comment, and the time after which a browser connects again.
const OPENING: &str = ": events of weir\nretry: 2000\n\n";
