//! Events as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcdup_deploy::{BytesMoved, Cancel, EventStream, Operation};
use futures_util::Stream;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Sleep, sleep};

use crate::watch::{ClusterChange, Watches};

/// A comment after so much silence tells both sides that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream ends after so long, and its client comes again behind the last event that it has: no
/// stream outlives a token for long.
const LONGEST: Duration = Duration::from_secs(3600);
/// How often figures of bytes are sent, at most.
const BYTES_EVERY: Duration = Duration::from_millis(500);
/// How soon a client comes again.
const RETRY: &str = "retry: 1000\n\n";

/// A stream, and the place among all streams that it takes.
pub(crate) struct Streamed {
    pub(crate) source: Source,
    pub(crate) _place: OwnedSemaphorePermit,
}

/// What a stream is a cursor over.
pub(crate) enum Source {
    /// The events of an operation, and what is on its way where this process carries it out.
    Operation(EventStream, Option<Moved>),
    /// How clusters stand.
    Clusters(ClusterCursor),
}

/// A place among the changes of clusters. A client that is slow gets a cluster once, however
/// often it changed meanwhile.
pub(crate) struct ClusterCursor {
    watches: Arc<Watches>,
    /// The changes that were sent.
    version: u64,
    versions: watch::Receiver<u64>,
    waiting: VecDeque<(u64, ClusterChange)>,
}

impl ClusterCursor {
    /// Begins behind the change with this number, where this server made it: another's numbers say
    /// nothing here.
    pub(crate) fn behind(watches: &Arc<Watches>, id: Option<&str>) -> Self {
        let of_own = |id: &str| {
            let (boot, version) = id.split_once('-')?;
            let version = version.parse().ok()?;
            (boot == watches.boot).then_some(version)
        };
        Self {
            watches: Arc::clone(watches),
            version: id.and_then(of_own).unwrap_or_default(),
            versions: watches.versions(),
            waiting: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((version, change)) = self.waiting.pop_front() {
                self.version = version;
                let id = format!("{}-{version}", self.watches.boot);
                let data = serde_json::to_string(&change).unwrap_or_default();
                return Some(event_of(id, &data));
            }
            self.versions.mark_unchanged();
            self.waiting = self.watches.since(self.version).into();
            if self.waiting.is_empty() {
                self.versions.changed().await.ok()?;
            }
        }
    }
}

/// Figures of bytes on their way, not too often.
pub(crate) struct Moved {
    bytes: watch::Receiver<BytesMoved>,
    next: Instant,
}

impl Moved {
    pub(crate) fn of(operation: &Operation) -> Self {
        Self {
            bytes: operation.bytes(),
            next: Instant::now(),
        }
    }
}

/// The figures, once they changed; never where there are none.
async fn next_of(moved: &mut Option<Moved>) -> BytesMoved {
    let Some(moved) = moved else {
        return std::future::pending().await;
    };
    // A timer that is due costs as much as one that is not.
    if Instant::now() < moved.next {
        tokio::time::sleep_until(moved.next).await;
    }
    if moved.bytes.changed().await.is_err() {
        return std::future::pending().await;
    }
    moved.next = Instant::now() + BYTES_EVERY;
    moved.bytes.borrow_and_update().clone()
}

impl Source {
    async fn next(&mut self) -> Option<String> {
        match self {
            Source::Operation(events, moved) => tokio::select! {
                event = events.next() => {
                    let event = event?;
                    let mut text = event_of(event.seq, event.json());
                    while let Some(event) = events.ready() {
                        text.push_str(&event_of(event.seq, event.json()));
                    }
                    Some(text)
                }
                // Without an ID: nobody comes again behind it.
                bytes = next_of(moved) => {
                    let bytes = serde_json::json!({ "bytes": bytes });
                    Some(format!("data: {bytes}\n\n"))
                }
            },
            Source::Clusters(cursor) => cursor.next().await,
        }
    }
}

enum Place {
    Begins,
    Goes,
    Ended,
}

/// A stream on its way. What it waits for besides its source is kept from one event to the next:
/// to begin to wait costs a lock that all streams share.
struct Sending {
    streamed: Streamed,
    hidden: Option<Arc<Watches>>,
    place: Place,
    silence: Pin<Box<Sleep>>,
    longest: Pin<Box<Sleep>>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Sending {
    async fn next(&mut self) -> Option<String> {
        match self.place {
            Place::Ended => return None,
            Place::Begins => {
                self.place = Place::Goes;
                return Some(RETRY.to_owned());
            }
            Place::Goes => {}
        }
        let text = tokio::select! {
            text = self.streamed.source.next() => veiled(text?, self.hidden.as_deref()),
            () = &mut self.silence => ":\n\n".to_owned(),
            () = &mut self.stopping => {
                self.place = Place::Ended;
                RETRY.to_owned()
            }
            () = &mut self.longest => {
                self.place = Place::Ended;
                RETRY.to_owned()
            }
        };
        self.silence.as_mut().reset(Instant::now() + HEARTBEAT);
        Some(text)
    }
}

/// What is sent to a client.
pub(crate) fn server_sent(
    streamed: Streamed,
    stopping: Cancel,
    hidden: Option<Arc<Watches>>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    let sending = Sending {
        streamed,
        hidden,
        place: Place::Begins,
        silence: Box::pin(sleep(HEARTBEAT)),
        longest: Box::pin(sleep(LONGEST)),
        stopping: Box::pin(async move { stopping.cancelled().await }),
    };
    futures_util::stream::unfold(sending, |mut sending| async move {
        let text = sending.next().await?;
        Some((Ok(Frame::data(Bytes::from(text))), sending))
    })
}

/// Without what viewers are not shown, as that is now: a stream outlives many files.
fn veiled(text: String, hidden: Option<&Watches>) -> String {
    match hidden {
        None => text,
        Some(watches) => watches.veil().over(text),
    }
}

fn event_of(id: impl Display, data: &str) -> String {
    // JSON has no line breaks of its own, so one `data` line holds it.
    format!("id: {id}\ndata: {data}\n\n")
}
