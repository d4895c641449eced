//! Keeps every cluster in view: its members are asked every few seconds through open links, its
//! hosts every few minutes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use etcdup_core::operation::OperationId;
use etcdup_core::plain::chain;
use etcdup_deploy::{Cluster, Look, StatusDocument, StoredOperation, read_sources};
use jiff::Timestamp;
use tokio::sync::{Notify, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::blocking::blocking;
use crate::call::State;
use crate::open::open;
use crate::problem::Problem;
use crate::watch::seen::{Seen, first_of};
use crate::watch::summary::Summary;
use crate::watch::{Read, Stamp, Watches};

/// How often files and operations are looked at: both may be another process's doing.
const FILES_EVERY: Duration = Duration::from_secs(2);
/// How often hosts are looked at, where nothing changed.
const HOSTS_EVERY: Duration = Duration::from_secs(300);
/// How long a host is left alone that refused to let us in: some lock out who tries often.
const REFUSED: Duration = Duration::from_secs(300);
/// How much later than it is due a look may come.
const LATE: Duration = Duration::from_secs(10);
/// The longest pause between two questions to a cluster of which nothing answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Reads the directory, and begins to watch what is new in it.
pub(crate) async fn read_files(state: &Arc<State>) -> Result<(), Problem> {
    let _one = state.watches.reading.lock().await;
    let (reading, known) = (Arc::clone(state), state.watches.files());
    let before = known.len();
    let read = blocking(move || {
        let mut names = BTreeSet::new();
        let mut new = Vec::new();
        let sources = read_sources(reading.topologies.directory()).unwrap_or_default();
        for (name, path) in reading.topologies.list()? {
            // Of two files with one name the first is shown; opening it is refused.
            let first = names.insert(name.clone());
            if first && !known.get(&name).is_some_and(|known| known.still(&path)) {
                new.push(Read::of(name, &path));
            }
        }
        Ok::<_, Problem>((names, new, sources.named()))
    });
    let (names, new, sources) = read.await??;
    state.watches.hide(sources);
    state.watches.keep_only(&names);
    let watch = |name: &str, look: &Arc<Notify>| {
        let watching = watch_one(Arc::clone(state), name.to_owned(), Arc::clone(look));
        AbortOnDropHandle::new(tokio::spawn(watching))
    };
    let changed = !new.is_empty() || names.len() != before;
    state.watches.add(new, &state.directories, watch);
    if changed {
        state.engine.keep_hosts(&state.watches.hosts()).await;
    }
    Ok(())
}

/// Reads files and operations until the server stops.
pub(crate) async fn watch_files(state: Arc<State>) {
    loop {
        if let Err(problem) = read_files(&state).await {
            tracing::error!(why = problem.document.detail, "topologies cannot be read");
        }
        match state.engine.operations().await {
            Ok(mut stored) => {
                stored.retain(StoredOperation::runs);
                let records: Vec<_> = stored.into_iter().map(|one| one.record).collect();
                state.watches.note_operations(&records);
            }
            Err(error) => tracing::error!(error = chain(&error), "operations cannot be read"),
        }
        tokio::select! {
            () = tokio::time::sleep(FILES_EVERY) => {}
            () = state.stopping.cancelled() => return,
        }
    }
}

/// Keeps one cluster in view, until its file changes.
async fn watch_one(state: Arc<State>, name: String, wanted: Arc<Notify>) {
    let mut view = View::default();
    loop {
        let pause = view.round(&state, &name, &wanted).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wanted.notified() => view.hosts_at = None,
            () = state.stopping.cancelled() => return,
        }
    }
}

/// What a watch holds between two rounds.
#[derive(Default)]
struct View {
    cluster: Option<Cluster>,
    /// What the files were like when the cluster was opened.
    files: Option<Stamp>,
    look: Option<Look>,
    /// What was carried out on it then, and whether it still was.
    operation: (Option<OperationId>, bool),
    /// When hosts were looked at; none where they are to be looked at in the next round.
    hosts_at: Option<Instant>,
    /// Rounds in which nothing answered.
    silent: u32,
}

impl View {
    /// Looks once, and returns how long to wait for the next time.
    async fn round(&mut self, state: &Arc<State>, name: &str, wanted: &Arc<Notify>) -> Duration {
        let every = state.watches.every;
        if let Err(problem) = self.look(state, name).await {
            let document = problem.document;
            let findings = document.findings.iter().map(|placed| &placed.finding);
            let summary = Summary::unknown(first_of(findings).unwrap_or(document.detail));
            state.watches.seen_by(name, wanted, |watched| {
                watched.entry.summary = Some(summary);
                watched.seen = None;
            });
            self.hosts_at = None;
            return LONGEST_PAUSE;
        }
        let Some(look) = &self.look else {
            return LONGEST_PAUSE;
        };
        let seen = Seen {
            status: Arc::new(look.status()),
            certificates: Arc::new(look.certificates()),
            hosts: Arc::new(look.hosts()),
            drift: Arc::new(look.plan()),
            members_at: look.members_at(),
            hosts_at: look.hosts_at(),
        };
        let summary = Summary::of(&seen);
        let mut answers = seen.status.members.iter();
        let answered = answers.any(|member| member.answer.is_some());
        self.silent = if answered { 0 } else { self.silent + 1 };
        let longer = every.saturating_mul(2_u32.saturating_pow(self.silent.min(8)));
        let pause = match look.was_refused() {
            // Those that let us in are asked as the others are, if less often.
            true if answered => LONGEST_PAUSE.max(every),
            true => REFUSED.max(every),
            false => longer.min(LONGEST_PAUSE.max(every)),
        };
        state.watches.seen_by(name, wanted, |watched| {
            watched.series.add(seen.members_at, &seen.status);
            watched.entry.summary = Some(summary);
            watched.entry.members_seen = Some(seen.members_at);
            watched.entry.hosts_seen = Some(seen.hosts_at);
            watched.due = Timestamp::now() + pause + LATE;
            watched.seen = Some(seen);
        });
        pause
    }

    /// A turn among those who ask.
    async fn turn<'a>(&self, watches: &'a Watches) -> Option<SemaphorePermit<'a>> {
        let new = self.look.is_none();
        let turns = match self.silent > 0 || new {
            true => &watches.asking_silent,
            false => &watches.asking,
        };
        // Neither is ever closed.
        turns.acquire().await.ok()
    }

    async fn look(&mut self, state: &Arc<State>, name: &str) -> Result<(), Problem> {
        let due = self.hosts_at.is_none_or(|at| at.elapsed() >= HOSTS_EVERY);
        let turn = self.turn(&state.watches).await;
        if let (Some(cluster), Some(look), false) = (&self.cluster, &mut self.look, due) {
            let before = look.status();
            cluster.ask_again(look).await;
            if same_health(&before, &look.status()) {
                return Ok(());
            }
        }
        // One that is opened again has its CA read again, by a command perhaps. A watch of other
        // files follows this one soon, but what an operation made, a CA among it, is not looked at
        // with what was read before.
        // Where something is in the way, which may be that very command, it is tried again.
        let known = state.watches.files().remove(name);
        let files = blocking(move || known.map(|known| known.again())).await?;
        // An operation that ended may have made or replaced the CA, wherever that is kept.
        let operation = state.watches.operation(name);
        let same = files.is_some() && (&files, &operation) == (&self.files, &self.operation);
        let well = same && self.look.as_ref().is_some_and(Look::is_plannable);
        let cluster = match self.cluster.take().filter(|_| well) {
            Some(cluster) => cluster,
            None => open(state, name).await?,
        };
        let look = cluster.look().await?;
        drop(turn);
        (self.cluster, self.files, self.look) = (Some(cluster), files, Some(look));
        self.operation = operation;
        self.hosts_at = Some(Instant::now());
        Ok(())
    }
}

/// Whether the same members are healthy, and answer: where that changed, their hosts say why.
fn same_health(before: &StatusDocument, now: &StatusDocument) -> bool {
    let health = |document: &StatusDocument| -> Vec<_> {
        let members = document.members.iter();
        members
            .map(|member| (member.health, member.answer.is_some()))
            .collect()
    };
    health(before) == health(now)
}
