//! An operation that runs: it goes on though nobody holds it, and its events can be read from any
//! place by anyone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use etcdup_core::event::{Body, Event};
use etcdup_core::finding::Finding;
use etcdup_core::operation::{OperationId, OperationState};
use etcdup_core::plain::chain;
use tokio::sync::{mpsc, watch};

use crate::error::DeployError;
use crate::events::{BytesMoved, RecordedEvent};
use crate::settings::Cancel;
use crate::store::{Journal, Store, StoreError};
use crate::tasks::blocking;

/// How an operation ended.
pub type Outcome = Arc<Result<(), DeployError>>;

/// An operation of this process. It runs whether or not anyone holds this handle; clones are
/// handles of the same operation.
#[derive(Clone)]
pub struct Operation {
    id: OperationId,
    cancel: Cancel,
    /// It is left to another process instead of ended.
    left: Arc<AtomicBool>,
    history: Arc<History>,
    bytes: watch::Receiver<BytesMoved>,
    ended: watch::Receiver<Option<Outcome>>,
}

/// What happened so far. Kept here beside the file, so that a full disk hides nothing from whoever
/// watches.
struct History {
    events: Mutex<Vec<Arc<RecordedEvent>>>,
    /// How many events there are, and whether none will follow.
    count: watch::Sender<(usize, bool)>,
}

/// Events of an operation, from any place on, as they happen. It owns what it needs, so it may
/// outlive every handle.
pub struct EventStream {
    source: Source,
    next: u64,
    /// Read already, and not given yet.
    found: VecDeque<Arc<RecordedEvent>>,
}

enum Source {
    /// An operation of this process.
    Live {
        history: Arc<History>,
        count: watch::Receiver<(usize, bool)>,
    },
    /// One that another process carried out, or carries out now.
    Stored { store: Store, id: OperationId },
}

/// How often the file of another process's operation is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// Events come in bursts, one a host: so long after one, those that came meanwhile are given
/// together. A thousand followers are woken once for them, and nobody's eye sees the difference.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

impl Operation {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &OperationId {
        &self.id
    }

    /// Stops it between two stages, or while it waits: hosts are left whole, and the next operation
    /// goes on from there.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Stops it in the same way, and leaves it to be gone on with; one that was cancelled ends.
    pub(crate) fn leave(&self) {
        if !self.cancel.is_cancelled() {
            self.left.store(true, Ordering::Release);
            self.cancel.cancel();
        }
    }

    /// The events from this number on, the first being 0.
    #[must_use]
    pub fn events(&self, since: u64) -> EventStream {
        EventStream {
            source: Source::Live {
                history: Arc::clone(&self.history),
                count: self.history.count.subscribe(),
            },
            next: since,
            found: VecDeque::new(),
        }
    }

    /// Bytes on their way, the latest figures alone: they are in no record.
    #[must_use]
    pub fn bytes(&self) -> watch::Receiver<BytesMoved> {
        self.bytes.clone()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Outcome {
        let mut ended = self.ended.clone();
        loop {
            if let Some(outcome) = ended.borrow_and_update().as_ref() {
                return Arc::clone(outcome);
            }
            if ended.changed().await.is_err() {
                // Its task died without a word, which is an internal error of etcdup: the runtime
                // prints it.
                return Arc::new(Err(DeployError::Stopped(None)));
            }
        }
    }
}

impl EventStream {
    /// Events of an operation in a store, from this number on, until it ends or its process dies.
    #[must_use]
    pub fn stored(store: Store, id: OperationId, since: u64) -> Self {
        Self {
            source: Source::Stored { store, id },
            next: since,
            found: VecDeque::new(),
        }
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Arc<RecordedEvent>> {
        if self.found.is_empty() {
            self.found = match &mut self.source {
                Source::Live { history, count } => live(history, count, self.next).await,
                Source::Stored { store, id } => {
                    stored(store, id, self.next).await.unwrap_or_default()
                }
            };
        }
        self.ready()
    }

    /// The next event where it was read together with an earlier one: many are on their way at
    /// once after a pause, and whoever sends them on does so in one go.
    pub fn ready(&mut self) -> Option<Arc<RecordedEvent>> {
        let event = self.found.pop_front()?;
        self.next = event.seq + 1;
        Some(event)
    }
}

fn recorded(event: Event) -> Arc<RecordedEvent> {
    Arc::new(RecordedEvent::new(event))
}

/// The events from this number on, once there are any; none where none will follow.
async fn live(
    history: &History,
    count: &mut watch::Receiver<(usize, bool)>,
    next: u64,
) -> VecDeque<Arc<RecordedEvent>> {
    loop {
        let (_, over) = *count.borrow_and_update();
        let found: VecDeque<_> = {
            let events = history
                .events
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let found = events.partition_point(|event| event.seq < next);
            events.iter().skip(found).cloned().collect()
        };
        if !found.is_empty() || over || count.changed().await.is_err() {
            return found;
        }
    }
}

/// The events from this number on, once there are any; none where none will follow.
async fn stored(
    store: &Store,
    id: &OperationId,
    next: u64,
) -> Result<VecDeque<Arc<RecordedEvent>>, StoreError> {
    loop {
        // Asked before the events are read: what is written between the two is found by the next
        // look.
        let (store, asked) = (store.clone(), id.clone());
        let (state, found) = blocking(move || {
            let state = store.get(&asked)?;
            let found = store.events(&asked, next)?;
            Ok::<_, StoreError>((state, found))
        })
        .await?;
        let over = !state.runs();
        if over || !found.is_empty() {
            return Ok(found.into_iter().map(recorded).collect());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why an operation failed, in a line that says it without the events.
fn message_of(error: &DeployError) -> String {
    let DeployError::Blocked(findings) = error else {
        return chain(error);
    };
    let lines: Vec<String> = findings.iter().map(Finding::line).collect();
    format!("blocked: {}", lines.join("; "))
}

/// The running side of an operation: where its events go, and how its end is told.
pub(crate) struct Running {
    pub(crate) operation: Operation,
    sender: mpsc::UnboundedSender<Event>,
    bytes: watch::Sender<BytesMoved>,
    /// Why the record is not whole, where it is not.
    unrecorded: Arc<OnceLock<String>>,
    writer: tokio::task::JoinHandle<Journal>,
    ended: watch::Sender<Option<Outcome>>,
    history: Arc<History>,
}

impl Running {
    /// Starts to record events into a journal, on a thread that may wait for the disk.
    pub(crate) fn new(mut journal: Journal, earlier: Vec<Event>, cancel: Cancel) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Event>();
        let (count, _) = watch::channel((earlier.len(), false));
        let history = Arc::new(History {
            events: Mutex::new(earlier.into_iter().map(recorded).collect()),
            count,
        });
        let (ended, end) = watch::channel(None);
        let (bytes, moved) = watch::channel(BytesMoved::new());
        let left = Arc::new(AtomicBool::new(false));
        let (unrecorded, stop) = (Arc::new(OnceLock::new()), cancel.clone());
        let operation = Operation {
            id: journal.record.id.clone(),
            cancel,
            left: Arc::clone(&left),
            history: Arc::clone(&history),
            bytes: moved,
            ended: end,
        };
        let leaving = Arc::clone(&left);
        let (seen_by_all, lost) = (Arc::clone(&history), Arc::clone(&unrecorded));
        let (written, mut seen) = watch::channel(0);
        // Whoever follows is woken from a task: from the writer's thread, each of a thousand
        // followers would take the lock of the queue that all workers share.
        let waking = Arc::clone(&history);
        tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                let events = *seen.borrow_and_update();
                waking.count.send_modify(|count| count.0 = events);
                tokio::time::sleep(PAUSE).await;
            }
        });
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(event) = receiver.blocking_recv() {
                // An operation that is left has not ended, whatever its run says.
                if leaving.load(Ordering::Acquire) && matches!(event.body, Body::Stopped { .. }) {
                    continue;
                }
                let event = RecordedEvent::new(event);
                if let Err(error) = journal.append(&event) {
                    // What nobody can read later is not gone on with. The stage that runs comes to
                    // its end.
                    tracing::error!(error = chain(&error), "events cannot be recorded");
                    let _ = lost.set(chain(&error));
                    stop.cancel();
                }
                let mut events = seen_by_all
                    .events
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                events.push(Arc::new(event));
                written.send_replace(events.len());
            }
            journal
        });
        Self {
            operation,
            sender,
            bytes,
            unrecorded,
            writer,
            ended,
            history,
        }
    }

    /// Where events and figures go.
    pub(crate) fn listeners(&self) -> (mpsc::UnboundedSender<Event>, watch::Sender<BytesMoved>) {
        (self.sender.clone(), self.bytes.clone())
    }

    /// Records the end, once every event is written.
    pub(crate) async fn end(self, result: Result<(), DeployError>) {
        let Self {
            operation,
            sender,
            unrecorded,
            writer,
            ended,
            history,
            ..
        } = self;
        drop(sender);
        let result = match (result, unrecorded.get()) {
            // Nobody asked for the end: say why it came.
            (Err(DeployError::Stopped(_)), Some(why)) => Err(DeployError::Unrecorded(why.clone())),
            (result, _) => result,
        };
        let (state, message) = match &result {
            Ok(()) => (OperationState::Done, None),
            Err(error @ DeployError::Stopped(_)) => (OperationState::Stopped, Some(chain(error))),
            Err(error) => (OperationState::Failed, Some(message_of(error))),
        };
        let left = operation.left.load(Ordering::Acquire) && state == OperationState::Stopped;
        // The journal's lock is free once it is dropped: others see by it that its process is gone.
        if let Ok(mut journal) = writer.await
            && !left
        {
            blocking(move || journal.end(state, message)).await;
        }
        history.count.send_modify(|count| count.1 = true);
        ended.send_replace(Some(Arc::new(result)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::*;
    use crate::documents::PlanDocument;
    use crate::events::Events;
    use crate::store::running_record;

    #[tokio::test]
    async fn what_cannot_be_recorded_is_stopped_and_says_why() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::beside(place.path());
        let record = running_record(1);
        let mut journal = store.begin(&record, &PlanDocument::default()).unwrap();
        journal.fill_disk();
        let cancel = Cancel::new();
        let running = Running::new(journal, Vec::new(), cancel.clone());
        let operation = running.operation.clone();
        let events = Events::new(record.id.clone(), 0, running.listeners());
        events.send(Body::Waiting {
            holder: "bob".to_owned(),
        });
        // It is the run itself that stops, between two of its stages.
        cancel.cancelled().await;
        drop(events);
        running.end(Err(DeployError::Stopped(None))).await;
        let outcome = operation.ended().await;
        let Err(error @ DeployError::Unrecorded(_)) = &*outcome else {
            panic!("{outcome:?}");
        };
        assert!(chain(error).contains("No space left"), "{error}");
        let stored = store.get(&record.id).unwrap().record;
        assert_eq!(stored.state, OperationState::Failed);
        assert!(stored.message.unwrap().contains("No space left"));
        // Whoever watches sees what the disk did not take.
        assert!(operation.events(0).next().await.is_some());
    }
}
