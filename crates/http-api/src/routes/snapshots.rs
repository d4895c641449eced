//! Snapshots: what is kept, how old it is, whether it can be restored, and another one.

use std::sync::Arc;
use std::time::Duration;

use etcdup_core::file::Every;
use etcdup_core::plain::chain;
use etcdup_deploy::snapshots::{Drilled, KeptSnapshot, SnapshotDocument};
use etcdup_deploy::{Cluster, DeployError};
use http::StatusCode;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::{Answer, Call};
use crate::open::open;
use crate::problem::Problem;

/// How long a place may take to list what is there.
const LISTS: Duration = Duration::from_secs(30);

/// A cluster's snapshots.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SnapshotList {
    /// How often one is taken, where the file says so.
    pub every: Option<Every>,
    /// Each, the newest first.
    pub snapshots: Vec<SnapshotEntry>,
}

/// A snapshot that is kept.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SnapshotEntry {
    /// Its name.
    pub name: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// Its size where it lies, in bytes.
    pub size: u64,
    /// Whether a command encrypted it.
    pub encrypted: bool,
    /// What is known of it; none where there is no document that can be read. It was verified when
    /// that was written.
    pub document: Option<SnapshotDocument>,
}

/// What reading a snapshot to its end found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SnapshotChecked {
    /// The snapshot.
    pub name: String,
    /// Whether it is whole, and the one that its document means.
    pub whole: bool,
    /// Why not.
    pub why: Option<String>,
}

/// What restoring a snapshot into a member that is thrown away found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SnapshotDrilled {
    /// The snapshot.
    pub name: String,
    /// What was read back; none where it could not be restored.
    pub restored: Option<Drilled>,
    /// Why not.
    pub why: Option<String>,
}

pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let cluster = open(&call.state, call.part("cluster")).await?;
    let _look = call.state.look().await?;
    let store = cluster.snapshots().map_err(unusable)?;
    // A disk that is gone hangs whoever looks at it.
    let found = tokio::time::timeout(LISTS, store.list()).await;
    let late = |_| Problem::internal("the snapshots cannot be listed in time");
    let found = found.map_err(late)?.map_err(unusable)?;
    let entry = |kept: KeptSnapshot| SnapshotEntry {
        taken: kept.taken,
        size: kept.size,
        encrypted: kept.is_encrypted(),
        name: kept.name,
        document: kept.document,
    };
    Answer::json(&SnapshotList {
        every: cluster.document().spec.snapshots.every,
        snapshots: found.into_iter().rev().map(entry).collect(),
    })
}

/// Takes one. It goes on when the client hangs up: what is half taken is of no use.
pub(crate) async fn take(call: Call) -> Result<Answer, Problem> {
    let who = call.recorded_as()?;
    let taken = working(
        &call,
        |cluster| async move { cluster.take_snapshot(who).await },
    );
    Answer::with(StatusCode::CREATED, &taken.await??)
}

pub(crate) async fn verify(call: Call) -> Result<Answer, Problem> {
    let name = call.text("snapshot")?;
    let checked = working(&call, |cluster| async move {
        let kept = cluster.snapshot(&name).await?;
        let why = match kept.verify().await {
            Ok(_) => None,
            Err(why) if why.is_damage() => Some(chain(&why)),
            // Of what could not be read nothing is known.
            Err(why) => return Err(why.into()),
        };
        Ok::<_, DeployError>(SnapshotChecked {
            name: kept.name,
            whole: why.is_none(),
            why,
        })
    });
    Answer::json(&checked.await??)
}

pub(crate) async fn drill(call: Call) -> Result<Answer, Problem> {
    let name = call.text("snapshot")?;
    let on = call.query.get("on").cloned();
    let drilled = working(&call, |cluster| async move {
        let kept = cluster.snapshot(&name).await?;
        let session = cluster.session().await;
        let topology = session.resolved().await?;
        let on = match on.as_deref().map(|on| topology.host(on).ok_or(on)) {
            Some(Err(unknown)) => {
                let why = format!("the cluster has no host `{unknown}`");
                return Ok(Err(Problem::not_found(why)));
            }
            Some(Ok(host)) => Some(host),
            None => None,
        };
        let (restored, why) = match session.drill(&topology, &kept, on).await {
            Ok(restored) => (Some(restored), None),
            Err(why) if why.is_of_snapshot() => (None, Some(chain(&why))),
            // Of what could not be tried nothing is known.
            Err(why) => {
                let what = format!("drill {}", kept.name);
                let why = chain(&why);
                return Err(DeployError::Cluster { what, why });
            }
        };
        Ok::<_, DeployError>(Ok(SnapshotDrilled {
            name: kept.name,
            restored,
            why,
        }))
    });
    Answer::json(&drilled.await???)
}

/// Work on snapshots that goes on when the client hangs up, a few at a time: each reads or writes a
/// whole store.
async fn working<T, F>(
    call: &Call,
    work: impl FnOnce(Cluster) -> F,
) -> Result<Result<T, DeployError>, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, DeployError>> + Send + 'static,
{
    let cluster = open(&call.state, call.part("cluster")).await?;
    let work = work(cluster);
    let state = Arc::clone(&call.state);
    let done = call.state.tasks.spawn(async move {
        let _turn = state.copy().await?;
        tokio::select! {
            done = work => Ok(done),
            () = state.stopping.cancelled() => Err(Problem::internal("the server stops")),
        }
    });
    let lost = |error| Problem::internal(format!("work on a snapshot died: {error}"));
    done.await.map_err(lost)?
}

fn unusable(error: etcdup_deploy::snapshots::PlaceError) -> Problem {
    DeployError::from(etcdup_deploy::snapshots::FlowError::from(error)).into()
}
