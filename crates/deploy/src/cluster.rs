//! A cluster: a topology and the engine that reaches its hosts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use etcdup_core::digest::sha256;
use etcdup_core::file::Document;
use etcdup_core::finding::Verdict;
use etcdup_core::observation::Observation;
use etcdup_core::operation::{
    OPERATION_FORMAT, OperationId, OperationRecord, OperationState, RequestDigest, Verb, Who,
};
use etcdup_core::plain::chain;
use etcdup_core::stage::Goal;
use etcdup_planner::{Ending, Planner};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use crate::alive::Alive;
use crate::documents::PlanDocument;
use crate::error::DeployError;
use crate::events::Events;
use crate::operation::{Operation, Running};
use crate::plan::{Plan, Report};
use crate::process::Process;
use crate::run::approved::Approved;
use crate::session::{LastLook, Session};
use crate::settings::Cancel;
use crate::snapshots::{PlaceError, SnapshotStore};
use crate::store::{Journal, Store};
use crate::tasks::blocking;
use crate::topology_file::directory_of;
use crate::vault::Vault;

/// A topology with the engine that reaches its hosts. Clones are handles of the same cluster;
/// making one does no I/O.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    process: Arc<Process>,
    document: Document,
    base: PathBuf,
    /// Opened by the first who needs it: a `key-command` may ask for a passphrase.
    vault: OnceCell<Arc<Mutex<Vault>>>,
    last_look: Arc<LastLook>,
}

/// What an operation is begun with.
pub struct Begin {
    /// What was planned just now.
    pub plan: Plan,
    /// What was approved, where that is not this very plan: a plan that was written into a file and
    /// read by a person. A stage beyond it is not carried out.
    pub approved: Option<PlanDocument>,
    /// What the operation is for.
    pub verb: Verb,
    /// Who approved it.
    pub who: Who,
    /// The ID of the token that it is begun with, where it is begun over HTTP.
    pub token: Option<String>,
    /// What asked for it, where that may ask again.
    pub request: Option<RequestDigest>,
}

impl Cluster {
    pub(crate) fn new(
        process: Arc<Process>,
        document: Document,
        path: &Path,
    ) -> Result<Self, DeployError> {
        let mut errors = etcdup_core::lint::lint(&document.spec);
        errors.retain(|finding| finding.verdict == Verdict::Error);
        if !errors.is_empty() {
            return Err(DeployError::Blocked(errors));
        }
        let base = directory_of(path).to_owned();
        Ok(Self {
            inner: Arc::new(Inner {
                process,
                document,
                base,
                vault: OnceCell::new(),
                last_look: Arc::default(),
            }),
        })
    }

    /// The topology file.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.inner.document
    }

    /// Connects to the hosts, all at once, for several questions in a row. A host that cannot be
    /// reached is no error here: it is unseen, and planning says so together with all else.
    pub async fn session(&self) -> Session {
        let who = self.inner.process.settings.operator.clone();
        self.session_of(who).await
    }

    /// The same in the name of `who`, which goes into what is recorded.
    pub async fn session_of(&self, who: Who) -> Session {
        let cancel = self.inner.process.settings.cancel.child_token();
        self.session_for(Events::default(), cancel, who).await
    }

    /// Where the cluster's snapshots are kept.
    ///
    /// # Errors
    /// When the URL of an object store, or what it needs, is wrong.
    pub fn snapshots(&self) -> Result<SnapshotStore, PlaceError> {
        let spec = &self.inner.document.spec;
        SnapshotStore::of(&self.inner.base, &spec.snapshots, &spec.cluster)
    }

    pub(crate) fn operations_store(&self) -> Store {
        self.inner.process.store.clone()
    }

    async fn session_for(&self, events: Events, cancel: Cancel, who: Who) -> Session {
        let Inner {
            process,
            document,
            base,
            vault,
            last_look,
        } = &*self.inner;
        let open = || {
            let (spec, base) = (document.spec.clone(), base.clone());
            async {
                Arc::new(Mutex::new(
                    blocking(move || Vault::open(&spec, &base)).await,
                ))
            }
        };
        let (vault, links) = tokio::join!(
            vault.get_or_init(open),
            process.pool.links(&document.spec, base)
        );
        Session {
            document: document.clone(),
            base: base.clone(),
            settings: process.settings.clone(),
            cancel,
            who,
            events,
            pool: Arc::clone(&process.pool),
            links: Mutex::new(links),
            store: process.store.clone(),
            vault: Arc::clone(vault),
            last_look: Arc::clone(last_look),
        }
    }

    /// Observes, and says what is to come. Changes nothing and takes no lease.
    ///
    /// # Errors
    /// When the topology cannot be made concrete. What stands in the way is in the forecast's
    /// ending.
    pub async fn plan(&self, goal: Goal) -> Result<Plan, DeployError> {
        self.session().await.plan(goal).await
    }

    /// Observes hosts and members, and judges nothing.
    ///
    /// # Errors
    /// When the topology cannot be made concrete.
    pub async fn observe(&self) -> Result<(Planner, Observation), DeployError> {
        self.session().await.observe(Goal::CONVERGE).await
    }

    /// Observes, gathers evidence from every member, and judges.
    ///
    /// # Errors
    /// When the topology cannot be made concrete.
    pub async fn verify(&self) -> Result<Report, DeployError> {
        self.session().await.verify().await
    }

    /// Begins an operation and returns at once: it is recorded, and goes on by itself.
    ///
    /// # Errors
    /// When something stands in the way, when a stage of the plan goes beyond what was approved,
    /// when too many operations run, or when it cannot be recorded. Nothing was changed then.
    pub async fn begin(&self, begin: Begin) -> Result<Operation, DeployError> {
        let Begin {
            plan,
            approved,
            verb,
            who,
            token,
            request,
        } = begin;
        if let Some(findings) = plan.forecast.blockers() {
            return Err(DeployError::Blocked(findings.to_vec()));
        }
        if let Ending::Loop(key) = &plan.forecast.ending {
            return Err(DeployError::NoEffect(key.clone()));
        }
        let document = approved.unwrap_or_else(|| PlanDocument::new(&plan));
        let approved = Approved::new(&document, verb);
        approved.check(&plan)?;
        let record = OperationRecord {
            format: OPERATION_FORMAT.to_owned(),
            id: new_id(),
            cluster: self.inner.document.spec.cluster.clone(),
            verb,
            goal: plan.planner.goal().clone(),
            who,
            begun: Timestamp::now(),
            topology: Some(sha256(self.inner.document.text.as_bytes())),
            token,
            request,
            epoch: 1,
            state: OperationState::Running,
            ended: None,
            message: None,
        };
        let place = self.inner.process.place().ok_or(DeployError::Busy)?;
        let store = self.inner.process.store.clone();
        let journal = blocking(move || store.begin(&record, &document)).await?;
        Ok(self.start(journal, Vec::new(), place, approved, Some(plan)))
    }

    /// Goes on with an operation whose process died, within what was approved for it.
    ///
    /// # Errors
    /// When it is unknown, has ended, or another process carries it out.
    pub async fn resume(&self, id: &OperationId) -> Result<Operation, DeployError> {
        let place = self.inner.process.place().ok_or(DeployError::Busy)?;
        let (store, id) = (self.inner.process.store.clone(), id.clone());
        let (journal, earlier, document) = blocking(move || {
            let journal = store.take_over(&id)?;
            Ok::<_, DeployError>((journal, store.events(&id, 0)?, store.plan(&id)?))
        })
        .await?;
        let approved = Approved::new(&document, journal.record.verb);
        Ok(self.start(journal, earlier, place, approved, None))
    }

    /// Carries an operation out in a task of the engine's.
    fn start(
        &self,
        journal: Journal,
        earlier: Vec<etcdup_core::event::Event>,
        place: tokio::sync::OwnedSemaphorePermit,
        approved: Approved,
        plan: Option<Plan>,
    ) -> Operation {
        let process = Arc::clone(&self.inner.process);
        let cancel = process.settings.cancel.child_token();
        let (record, next) = (journal.record.clone(), journal.next);
        let running = Running::new(journal, earlier, cancel.clone());
        let operation = running.operation.clone();
        process.add(&operation);
        let events = Events::new(record.id.clone(), next, running.listeners());
        let (cluster, id) = (self.clone(), record.id.clone());
        let work = async move {
            let _place = place;
            // None where it was cancelled before its turn: it then ends at once, with an event that
            // says so.
            let _turn = cluster.inner.process.turn(&events, &cancel).await;
            let cache = cluster.inner.process.settings.cache.clone();
            let marked = id.clone();
            let alive = blocking(move || Alive::mark(&cache, marked.as_str())).await;
            let session = cluster
                .session_for(events, cancel, record.who.clone())
                .await;
            let result = session.carry_out(plan, &approved, &record).await;
            // Its sender of events goes with it, so that the journal sees their end.
            drop(session);
            drop(alive);
            running.end(result).await;
            // One that is left has not ended: whoever goes on with it needs the copy.
            if let Goal::Restore { order } = &record.goal
                && let Err(error) = cluster.forget_copy(order).await
            {
                tracing::error!(error = chain(&error), "the copy of a snapshot is left");
            }
            cluster.inner.process.remove(&id);
        };
        process.tasks.spawn(work);
        operation
    }
}

fn new_id() -> OperationId {
    let text = uuid::Uuid::now_v7().to_string();
    // A UUID is an id by its form.
    text.parse()
        .unwrap_or_else(|_| unreachable!("{text} is a UUID"))
}
