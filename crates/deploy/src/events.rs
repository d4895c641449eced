//! The stream of events of one operation, and bytes on their way beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcdup_core::event::{Body, Event, HostState};
use etcdup_core::host::HostId;
use tokio::sync::mpsc::UnboundedSender;

/// Bytes that are on their way to a host, or being downloaded: lossy, apart from events.
pub type Progress = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// Sends events of one operation.
#[derive(Clone)]
pub struct Events {
    sender: Option<UnboundedSender<Event>>,
    next: Arc<AtomicU64>,
    operation: String,
}

impl Events {
    /// Events of this operation; nobody listens when there is no sender.
    #[must_use]
    pub fn new(operation: String, sender: Option<UnboundedSender<Event>>) -> Self {
        Self {
            sender,
            next: Arc::default(),
            operation,
        }
    }

    /// The operation's id.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    pub(crate) fn send(&self, body: Body) {
        let Some(sender) = &self.sender else { return };
        let event = Event {
            seq: self.next.fetch_add(1, Ordering::Relaxed),
            at: jiff::Timestamp::now().to_string(),
            operation: self.operation.clone(),
            body,
        };
        // A listener that has gone is no reason to stop.
        let _ = sender.send(event);
    }

    pub(crate) fn host(&self, host: &HostId, what: impl Into<String>, state: HostState) {
        self.send(Body::Host {
            host: host.clone(),
            what: what.into(),
            state,
        });
    }
}
