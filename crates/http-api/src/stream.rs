//! Events as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use etcdup_core::event::Event;
use etcdup_deploy::Cancel;
use futures_util::Stream;
use http_body::Frame;
use tokio::time::Instant;

use crate::call::Streamed;

/// A comment after so much silence tells both sides that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream ends after so long, and its client comes again behind the last event that it has: no
/// stream outlives a token for long.
const LONGEST: Duration = Duration::from_secs(3600);
/// How soon a client comes again.
const RETRY: &str = "retry: 1000\n\n";

enum Place {
    Begins,
    Goes,
    Ended,
}

/// What is sent to a client.
pub(crate) fn server_sent(
    streamed: Streamed,
    stopping: Cancel,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    let until = Instant::now() + LONGEST;
    let start = (streamed, stopping, Place::Begins);
    futures_util::stream::unfold(start, move |(mut streamed, stopping, place)| async move {
        let (text, place) = match place {
            Place::Ended => return None,
            Place::Begins => (RETRY.to_owned(), Place::Goes),
            Place::Goes => tokio::select! {
                event = streamed.events.next() => (line(&event?), Place::Goes),
                () = tokio::time::sleep(HEARTBEAT) => (":\n\n".to_owned(), Place::Goes),
                () = stopping.cancelled() => (RETRY.to_owned(), Place::Ended),
                () = tokio::time::sleep_until(until) => (RETRY.to_owned(), Place::Ended),
            },
        };
        Some((
            Ok(Frame::data(Bytes::from(text))),
            (streamed, stopping, place),
        ))
    })
}

fn line(event: &Event) -> String {
    // JSON has no line breaks of its own, so one `data` line holds it.
    let data = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\ndata: {data}\n\n", event.seq)
}
