//! Taking a snapshot of a cluster: of which member, and what is noted of it.

use etcdup_core::name::MemberName;
use etcdup_core::observation::{CORRUPT, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::topology::{Member, Topology};
use etcdup_planner::restore_under_way;
use jiff::Timestamp;

use super::error::{FlowError, TakeError};
use super::kept::{SNAPSHOT_FORMAT, SnapshotDocument};
use super::store::SnapshotStore;
use crate::session::Session;

/// What a snapshot is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be restored where the cluster is lost.
    Backup,
    /// A restore is about to replace what is in it.
    BeforeRestore,
}

impl Session {
    /// Takes a snapshot of this member, or of the one that serves clients least, and keeps it
    /// where the cluster's are. `progress` receives how many bytes came, and of how many.
    ///
    /// # Errors
    /// When no member can be asked, a restore is under way, or what it sends cannot be kept.
    pub async fn take_snapshot(
        &self,
        topology: &Topology,
        seen: &Observation,
        of: Option<&MemberName>,
        progress: impl FnMut(u64, u64) + Send,
    ) -> Result<(SnapshotStore, SnapshotDocument), TakeError> {
        if let Some(restore) = restore_under_way(topology, seen) {
            return Err(TakeError::Restoring(restore.snapshot.clone()));
        }
        let member = match of {
            Some(name) if is_corrupt(seen, name) => return Err(TakeError::Corrupt(name.clone())),
            Some(name) => topology.member(name).filter(|_| seen.serves(name)),
            None => least_busy(topology, seen, None),
        };
        let member = member.ok_or_else(|| match of {
            Some(name) => TakeError::Unhealthy {
                member: name.clone(),
                why: unseen(topology, seen, name),
            },
            None => {
                let mut members = topology.members.iter();
                let why = members.find_map(|member| unseen(topology, seen, &member.name));
                TakeError::Nobody { why }
            }
        })?;
        self.snapshot_of(topology, seen, member, Purpose::Backup, progress)
            .await
    }

    /// The same of a member that is known to serve.
    pub(crate) async fn snapshot_of(
        &self,
        topology: &Topology,
        seen: &Observation,
        member: &Member,
        purpose: Purpose,
        progress: impl FnMut(u64, u64) + Send,
    ) -> Result<(SnapshotStore, SnapshotDocument), TakeError> {
        let name = || member.name.clone();
        let unreachable = |why| TakeError::Unreachable {
            member: name(),
            why,
        };
        let client = self.client(topology, member, seen).await;
        let client = client.map_err(unreachable)?;
        // Just before it sends: what is saved is of this revision or a later one.
        let view = client.view().await;
        let view = view.map_err(|error| unreachable(etcdup_core::plain::chain(&error)))?;
        let store = SnapshotStore::of(&self.base, &topology.snapshots, &topology.cluster);
        let failed = |source: FlowError| TakeError::Save {
            member: name(),
            source,
        };
        let store = store.map_err(|error| failed(error.into()))?;
        let taken = Timestamp::now();
        let time = taken.strftime("%Y%m%dT%H%M%S.%3fZ");
        let stem = format!("{}-{time}-r{}", topology.cluster, view.revision);
        let saved = store.save(&client, &stem, progress).await.map_err(failed)?;
        let document = SnapshotDocument {
            format: SNAPSHOT_FORMAT.to_owned(),
            name: stem,
            cluster: topology.cluster.clone(),
            cluster_id: view.cluster,
            etcd: view.version,
            member: name(),
            revision: view.revision,
            taken,
            size: saved.size,
            sha256: saved.sha256,
            encrypted: saved.encrypted,
            replaced: purpose == Purpose::BeforeRestore,
            who: self.who.to_string(),
        };
        store.describe(&document).await.map_err(failed)?;
        Ok((store, document))
    }
}

/// Whether etcd says that a member's data differs from the others': what it sends is whole, and
/// wrong.
fn is_corrupt(seen: &Observation, name: &MemberName) -> bool {
    let corrupt = seen.alarms(CORRUPT);
    seen.member(name)
        .is_some_and(|view| corrupt.contains(&view.id))
}

/// Why it is not known how a member is, where it is not.
fn unseen(topology: &Topology, seen: &Observation, name: &MemberName) -> Option<String> {
    let host = &topology.member(name)?.host;
    if let Some(why) = seen.hosts.get(host).and_then(Observed::why) {
        return Some(format!("{host}: {why}"));
    }
    let why = seen.members.get(name).and_then(Observed::why)?;
    Some(format!("{name}: {why}"))
}

/// A member that serves and stays, a follower where there is one: a snapshot is read from its disk,
/// which the leader needs for everybody's writes.
pub(crate) fn least_busy<'t>(
    topology: &'t Topology,
    seen: &Observation,
    leaving: Option<&MemberName>,
) -> Option<&'t Member> {
    let stays = |member: &&Member| {
        seen.serves(&member.name)
            && !is_corrupt(seen, &member.name)
            && Some(&member.name) != leaving
    };
    let mut serving: Vec<&Member> = topology.members.iter().filter(stays).collect();
    serving.sort_by_key(|member| Some(&member.name) == seen.leader());
    serving.first().copied()
}
