//! The stream of events of one operation, and bytes on their way beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcdup_core::event::{Body, Event, HostState};
use etcdup_core::host::HostId;
use etcdup_core::operation::OperationId;
use tokio::sync::mpsc::UnboundedSender;

/// Bytes that are on their way to a host, or being downloaded: lossy, apart from events.
pub type Progress = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// Sends events of one operation; those of a session without one go nowhere.
#[derive(Clone, Default)]
pub(crate) struct Events {
    to: Option<Arc<Sending>>,
}

struct Sending {
    operation: OperationId,
    next: AtomicU64,
    sender: UnboundedSender<Event>,
}

impl Events {
    /// Events of this operation, the first with this number.
    pub(crate) fn new(operation: OperationId, first: u64, sender: UnboundedSender<Event>) -> Self {
        Self {
            to: Some(Arc::new(Sending {
                operation,
                next: AtomicU64::new(first),
                sender,
            })),
        }
    }

    /// The operation's id; empty for a session without one, which changes nothing on hosts.
    pub(crate) fn operation(&self) -> &str {
        self.to.as_ref().map_or("", |to| to.operation.as_str())
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
