//! The stream of events of one operation, and bytes on their way beside it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcdup_core::event::{Body, Event, HostState};
use etcdup_core::host::HostId;
use etcdup_core::operation::OperationId;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// Bytes that are on their way to a host, or being downloaded: lossy, apart from events.
pub type Progress = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// How many bytes are on their way, by what they are for: how many came, of how many. A host's name
/// stands for what is sent to it.
pub type BytesMoved = BTreeMap<String, (u64, u64)>;

/// An event as it is recorded: as a line of JSON, made once for the record and for everyone who
/// follows.
#[derive(Debug)]
pub struct RecordedEvent {
    event: Event,
    json: String,
}

impl RecordedEvent {
    pub(crate) fn new(event: Event) -> Self {
        let json = serde_json::to_string(&event).unwrap_or_default();
        Self { event, json }
    }

    /// The event as JSON, in one line.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

impl Deref for RecordedEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// Sends events of one operation; those of a session without one go nowhere.
#[derive(Clone, Default)]
pub(crate) struct Events {
    to: Option<Arc<Sending>>,
}

struct Sending {
    operation: OperationId,
    next: AtomicU64,
    sender: UnboundedSender<Event>,
    bytes: watch::Sender<BytesMoved>,
}

impl Events {
    /// Events of this operation, the first with this number.
    pub(crate) fn new(
        operation: OperationId,
        first: u64,
        (sender, bytes): (UnboundedSender<Event>, watch::Sender<BytesMoved>),
    ) -> Self {
        Self {
            to: Some(Arc::new(Sending {
                operation,
                next: AtomicU64::new(first),
                sender,
                bytes,
            })),
        }
    }

    /// The operation's id; empty for a session without one, which changes nothing on hosts.
    pub(crate) fn operation(&self) -> &str {
        self.to.as_ref().map_or("", |to| to.operation.as_str())
    }

    /// Tells of bytes on their way, those who watch the operation and this one, where there is
    /// anybody.
    pub(crate) fn progress(&self, also: Option<&Progress>) -> Option<Progress> {
        let (to, also) = (self.to.clone(), also.cloned());
        if to.is_none() && also.is_none() {
            return None;
        }
        Some(Arc::new(move |what: &str, so_far: u64, of: u64| {
            if let Some(also) = &also {
                also(what, so_far, of);
            }
            if let Some(to) = &to {
                to.bytes.send_modify(|bytes| {
                    bytes.insert(what.to_owned(), (so_far, of));
                });
            }
        }))
    }

    pub(crate) fn send(&self, body: Body) {
        let Some(to) = &self.to else { return };
        let event = Event {
            seq: to.next.fetch_add(1, Ordering::Relaxed),
            at: jiff::Timestamp::now(),
            operation: to.operation.clone(),
            body,
        };
        // A listener that has gone is no reason to stop.
        let _ = to.sender.send(event);
    }

    pub(crate) fn host(&self, host: &HostId, what: impl Into<String>, state: HostState) {
        self.send(Body::Host {
            host: host.clone(),
            what: what.into(),
            state,
        });
    }
}
