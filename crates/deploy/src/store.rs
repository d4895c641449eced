//! The record of operations in files: `.etcdup/operations/<id>/` beside the topology file holds
//! `operation.json`, the plan that was approved in `plan.json`, what happened in `events.jsonl`,
//! and `lock`, which its process holds while it lives.
//!
//! Nothing here decides anything: hosts and cluster are the truth. It tells who did what, lets
//! events be read again from any place, and lets another process go on with an operation whose own
//! has died.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use etcdup_core::event::{Body, Event};
use etcdup_core::operation::{OperationId, OperationRecord, OperationState};
use etcdup_core::plain::chain;
use jiff::Timestamp;

use crate::documents::PlanDocument;
use crate::events::RecordedEvent;

/// How many operations are kept; the oldest that have ended go first.
const KEPT: usize = 500;

const RECORD: &str = "operation.json";
const PLAN: &str = "plan.json";
const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
const CANCELLED: &str = "cancelled";

/// How long a lock is tried for, since whoever looks whether it is free holds it for a moment.
const LOOKED_AT: std::time::Duration = std::time::Duration::from_secs(1);

/// Why operations cannot be recorded or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory cannot be used.
    #[error("cannot use {path}")]
    File {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what etcdup writes there.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no operation with this ID.
    #[error("there is no operation {0}")]
    Unknown(OperationId),
    /// Another process carries the operation out.
    #[error("operation {0} is still being carried out by another process")]
    Runs(OperationId),
    /// The operation has ended.
    #[error("operation {0} has ended")]
    Ended(OperationId),
}

/// A directory of operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    directory: PathBuf,
}

/// An operation as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperation {
    /// Its record.
    pub record: OperationRecord,
    /// Whether its process died: it is recorded as running, and nobody holds its lock.
    pub interrupted: bool,
    /// Whether somebody asked for its end.
    pub cancelled: bool,
}

impl StoredOperation {
    /// Whether some process carries it out.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.record.state == OperationState::Running && !self.interrupted
    }
}

impl Store {
    /// Operations of topologies in this directory: they are kept in `.etcdup` below it.
    #[must_use]
    pub fn beside(directory: &Path) -> Self {
        Self {
            directory: directory.join(".etcdup"),
        }
    }

    fn operations(&self) -> PathBuf {
        self.directory.join("operations")
    }

    fn of(&self, id: &OperationId) -> PathBuf {
        self.operations().join(id.as_str())
    }

    /// All operations, the newest first. What is no operation, or is damaged, is left out.
    ///
    /// # Errors
    /// When the directory cannot be read. One that does not exist has no operations.
    pub fn list(&self) -> Result<Vec<StoredOperation>, StoreError> {
        let path = self.operations();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::File { path, source }),
        };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut found: Vec<StoredOperation> = ids.filter_map(|id| self.get(&id).ok()).collect();
        found.sort_by(|a, b| b.record.id.cmp(&a.record.id));
        Ok(found)
    }

    /// One operation.
    ///
    /// # Errors
    /// When there is none, or its record cannot be read.
    pub fn get(&self, id: &OperationId) -> Result<StoredOperation, StoreError> {
        let directory = self.of(id);
        if !directory.is_dir() {
            return Err(StoreError::Unknown(id.clone()));
        }
        let record: OperationRecord = read(&directory.join(RECORD))?;
        let runs = record.state == OperationState::Running;
        let interrupted = runs && is_free(&directory.join(LOCK));
        Ok(StoredOperation {
            record,
            interrupted,
            cancelled: directory.join(CANCELLED).exists(),
        })
    }

    /// The plan that was approved.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn plan(&self, id: &OperationId) -> Result<PlanDocument, StoreError> {
        read(&self.of(id).join(PLAN))
    }

    /// The events from this number on, as far as they are written. A last line that was cut off by
    /// a crash is left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events(&self, id: &OperationId, since: u64) -> Result<Vec<Event>, StoreError> {
        let path = self.of(id).join(EVENTS);
        let mut text = String::new();
        let read = File::open(&path).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|source| StoreError::File { path, source })?;
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let events = lines.filter_map(|line| serde_json::from_str::<Event>(line).ok());
        Ok(events.filter(|event| event.seq >= since).collect())
    }

    /// Notes that somebody asked for an operation's end, so that nobody goes on with it should its
    /// process die before that.
    ///
    /// # Errors
    /// When there is none, or it cannot be noted.
    pub fn note_cancelled(&self, id: &OperationId) -> Result<(), StoreError> {
        let path = self.of(id).join(CANCELLED);
        let noted = File::create(&path).and_then(|file| file.sync_all());
        noted.map_err(|source| StoreError::File { path, source })
    }

    /// Records a new operation and takes its lock.
    pub(crate) fn begin(
        &self,
        record: &OperationRecord,
        plan: &PlanDocument,
    ) -> Result<Journal, StoreError> {
        self.prepare()?;
        let directory = self.of(&record.id);
        std::fs::create_dir(&directory).map_err(|source| StoreError::File {
            path: directory.clone(),
            source,
        })?;
        write(&directory.join(PLAN), plan)?;
        let journal = Journal::open(directory, record.clone(), 0)?;
        journal.save()?;
        self.prune();
        Ok(journal)
    }

    /// Takes over an operation whose process died.
    pub(crate) fn take_over(&self, id: &OperationId) -> Result<Journal, StoreError> {
        let stored = self.get(id)?;
        if stored.record.state != OperationState::Running {
            return Err(StoreError::Ended(id.clone()));
        }
        let next = self.events(id, 0)?.last().map_or(0, |event| event.seq + 1);
        let mut record = stored.record;
        record.epoch += 1;
        let mut journal = Journal::open(self.of(id), record, next)?;
        journal.cut_torn_line()?;
        journal.save()?;
        Ok(journal)
    }

    /// Makes the directory of records, where it is not there yet: nobody else reads it, and it
    /// keeps itself out of git, since it names hosts and people. Returns it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self) -> Result<&Path, StoreError> {
        let operations = self.operations();
        let private = std::fs::Permissions::from_mode(0o700);
        let made = std::fs::create_dir_all(&operations)
            .and_then(|()| std::fs::set_permissions(&self.directory, private));
        made.map_err(|source| StoreError::File {
            path: operations,
            source,
        })?;
        let ignore = self.directory.join(".gitignore");
        if !ignore.exists() {
            let written = std::fs::write(&ignore, "# What etcdup did, on this machine.\n*\n");
            written.map_err(|source| StoreError::File {
                path: ignore,
                source,
            })?;
        }
        Ok(&self.directory)
    }

    /// Deletes the oldest operations that have ended, beyond what is kept. A failure only keeps
    /// more.
    fn prune(&self) {
        let listed = self.list().unwrap_or_default();
        let ended = listed.iter().skip(KEPT);
        let ended = ended.filter(|stored| stored.record.state != OperationState::Running);
        for stored in ended {
            let _ = std::fs::remove_dir_all(self.of(&stored.record.id));
        }
    }
}

/// The files of an operation that this process carries out. Its lock is free again when this is
/// dropped, however that comes.
pub(crate) struct Journal {
    directory: PathBuf,
    pub(crate) record: OperationRecord,
    /// The number of the next event.
    pub(crate) next: u64,
    events: File,
    /// How long the file of events is.
    length: u64,
    _lock: File,
}

impl Journal {
    fn open(directory: PathBuf, record: OperationRecord, next: u64) -> Result<Self, StoreError> {
        let path = directory.join(LOCK);
        let lock = File::create(&path).map_err(|source| StoreError::File {
            path: path.clone(),
            source,
        })?;
        let start = std::time::Instant::now();
        while let Err(error) = lock.try_lock() {
            match error {
                TryLockError::WouldBlock if start.elapsed() < LOOKED_AT => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                TryLockError::WouldBlock => return Err(StoreError::Runs(record.id.clone())),
                TryLockError::Error(source) => return Err(StoreError::File { path, source }),
            }
        }
        let path = directory.join(EVENTS);
        let opened = File::options().create(true).append(true).open(&path);
        let events = opened.map_err(|source| StoreError::File { path, source })?;
        let length = events.metadata().map_or(0, |data| data.len());
        Ok(Self {
            directory,
            record,
            next,
            events,
            length,
            _lock: lock,
        })
    }

    /// Appends an event.
    ///
    /// # Errors
    /// When the disk is full, say.
    pub(crate) fn append(&mut self, event: &RecordedEvent) -> Result<(), StoreError> {
        let line = format!("{}\n", event.json());
        let written = self.events.write_all(line.as_bytes());
        // What others go by must outlive a power cut: where stages stand, and that all is over.
        let weighs = event.body.is_end() || matches!(event.body, Body::StageDone { .. });
        let written = written.and_then(|()| {
            if weighs {
                self.events.sync_data()
            } else {
                Ok(())
            }
        });
        match written {
            Ok(()) => {
                self.length += line.len() as u64;
                Ok(())
            }
            Err(source) => {
                // Half a line would become one with the next event.
                let _ = self.events.set_len(self.length);
                let path = self.directory.join(EVENTS);
                Err(StoreError::File { path, source })
            }
        }
    }

    /// Records how the operation ended.
    pub(crate) fn end(&mut self, state: OperationState, message: Option<String>) {
        self.record.state = state;
        self.record.ended = Some(Timestamp::now());
        self.record.message = message;
        // How it ended is worth recording where its events are not whole.
        if let Err(error) = self.events.sync_data() {
            tracing::warn!(%error, "the events of the operation may not be on the disk");
        }
        if let Err(error) = self.save() {
            tracing::warn!(%error, "the end of the operation could not be recorded");
        }
    }

    /// Has every further event meet a full disk.
    #[cfg(test)]
    pub(crate) fn fill_disk(&mut self) {
        let full = File::options().write(true).open("/dev/full");
        self.events = full.unwrap_or_else(|error| unreachable!("/dev/full: {error}"));
    }

    fn save(&self) -> Result<(), StoreError> {
        write(&self.directory.join(RECORD), &self.record)
    }

    /// What a crash left of a line would become one with the next event.
    fn cut_torn_line(&mut self) -> Result<(), StoreError> {
        let path = self.directory.join(EVENTS);
        let mut cut = || -> std::io::Result<()> {
            let text = std::fs::read(&path)?;
            let whole = text
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            self.length = whole as u64;
            self.events.set_len(self.length)
        };
        cut().map_err(|source| StoreError::File {
            path: path.clone(),
            source,
        })
    }
}

/// Whether nobody holds a lock: its process has died, since one that ends records that first. Asked
/// by a shared lock, so that those who look are not in one another's way.
fn is_free(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let text = std::fs::read_to_string(path).map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        why: chain(&error),
    })
}

/// Written beside its name and renamed, so that a reader never sees half of it.
fn write(path: &Path, value: &impl serde::Serialize) -> Result<(), StoreError> {
    let written = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|source| StoreError::File {
        path: path.to_owned(),
        source,
    })
}

/// A record of an operation that runs, whose ID ends so.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say what they expect")]
pub(crate) fn running_record(last: u32) -> OperationRecord {
    OperationRecord {
        format: etcdup_core::operation::OPERATION_FORMAT.to_owned(),
        id: format!("01931b2e-7c2a-7d11-8a54-{last:012x}")
            .parse()
            .unwrap(),
        cluster: "prod".parse().unwrap(),
        verb: etcdup_core::operation::Verb::Apply,
        goal: etcdup_core::stage::Goal::CONVERGE,
        who: etcdup_core::operation::Who::new("ann@laptop"),
        begun: Timestamp::UNIX_EPOCH,
        topology: None,
        token: None,
        request: None,
        epoch: 1,
        state: OperationState::Running,
        ended: None,
        message: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use super::running_record as record;
    use super::*;

    fn event(record: &OperationRecord, seq: u64) -> RecordedEvent {
        RecordedEvent::new(Event {
            seq,
            at: Timestamp::UNIX_EPOCH,
            operation: record.id.clone(),
            body: Body::Waiting {
                holder: format!("{seq}"),
            },
        })
    }

    #[test]
    fn an_operation_is_read_back_and_its_events_from_any_place() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::beside(place.path());
        assert_eq!(store.list().unwrap(), []);
        let record = record(1);
        let plan = PlanDocument::default();
        let mut journal = store.begin(&record, &plan).unwrap();
        for seq in 0..5 {
            journal.append(&event(&record, seq)).unwrap();
        }
        let stored = store.get(&record.id).unwrap();
        assert!(!stored.interrupted, "its lock is held");
        assert_eq!(stored.record, record);
        assert_eq!(store.plan(&record.id).unwrap(), plan);
        let seen = store.events(&record.id, 3).unwrap();
        assert_eq!(
            seen.iter().map(|event| event.seq).collect::<Vec<_>>(),
            [3, 4]
        );
        assert!(matches!(
            store.take_over(&record.id),
            Err(StoreError::Runs(_))
        ));
        journal.end(OperationState::Done, None);
        drop(journal);
        let ended = store.get(&record.id).unwrap();
        assert_eq!(
            (ended.record.state, ended.interrupted),
            (OperationState::Done, false)
        );
        assert!(matches!(
            store.take_over(&record.id),
            Err(StoreError::Ended(_))
        ));
        let ignored = std::fs::read_to_string(place.path().join(".etcdup/.gitignore")).unwrap();
        assert!(ignored.lines().any(|line| line == "*"));
    }

    #[test]
    fn an_operation_whose_process_died_is_taken_over_behind_its_last_whole_event() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::beside(place.path());
        let record = record(1);
        let mut journal = store.begin(&record, &PlanDocument::default()).unwrap();
        journal.append(&event(&record, 0)).unwrap();
        journal.events.write_all(b"{\"seq\":1,\"at\"").unwrap();
        drop(journal);
        assert!(store.get(&record.id).unwrap().interrupted);
        assert_eq!(store.events(&record.id, 0).unwrap().len(), 1);
        let mut journal = store.take_over(&record.id).unwrap();
        assert_eq!((journal.next, journal.record.epoch), (1, 2));
        journal.append(&event(&record, 1)).unwrap();
        let seen = store.events(&record.id, 0).unwrap();
        assert_eq!(
            seen.iter().map(|event| event.seq).collect::<Vec<_>>(),
            [0, 1]
        );
        assert!(!store.get(&record.id).unwrap().interrupted, "it runs again");
    }

    #[test]
    fn a_damaged_record_is_told_and_keeps_no_other_from_being_listed() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::beside(place.path());
        for last in 1..=3 {
            store
                .begin(&record(last), &PlanDocument::default())
                .unwrap();
        }
        let damaged = record(2).id;
        std::fs::write(store.of(&damaged).join(RECORD), "{").unwrap();
        assert!(matches!(
            store.get(&damaged),
            Err(StoreError::Damaged { .. })
        ));
        let listed: Vec<_> = store.list().unwrap();
        assert_eq!(listed.len(), 2);
        assert!(
            listed[0].record.id > listed[1].record.id,
            "the newest first"
        );
        assert!(matches!(
            store.get(&record(9).id),
            Err(StoreError::Unknown(_))
        ));
    }
}
