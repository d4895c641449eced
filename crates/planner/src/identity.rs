//! Whose data is on a host, and whether the cluster was bootstrapped: by members' answers, host
//! records and WAL heads.

use etcdup_core::file::RuntimeKind;
use etcdup_core::flag::{FlagSet, FlagSource};
use etcdup_core::membership::{ClusterId, ClusterView, bootstrap_quorum};
use etcdup_core::observation::{DataDir, DataIdentity, HostView, Observation};
use etcdup_core::topology::Member;

use crate::generation::{cluster_id, cluster_id_with, name, recorded_cluster};
use crate::target::Target;

/// Where a cluster stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bootstrap {
    /// No member has data, and nothing says that any ever had: it will be bootstrapped.
    Pending,
    /// A bootstrap has begun; members that never started may still start as new.
    InProgress,
    /// It was bootstrapped: no member of it is ever started as new.
    Complete,
}

pub(crate) fn data_of<'a>(seen: &'a Observation, member: &Member) -> Option<&'a DataDir> {
    seen.host(&member.host)?.data.get(&member.layout.data)
}

pub(crate) fn has_data(seen: &Observation, member: &Member) -> bool {
    matches!(data_of(seen, member), Some(DataDir::Member(_)))
}

/// Whose a member's data is, where it has some.
pub(crate) fn identity_of(seen: &Observation, member: &Member) -> Option<DataIdentity> {
    match data_of(seen, member)? {
        DataDir::Member(data) => Some(*data),
        DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
    }
}

/// Where the cluster stands, by what its members say, by the host records, and by what start files
/// still say.
pub(crate) fn bootstrap(target: &Target, seen: &Observation) -> Bootstrap {
    let topology = &target.topology;
    if let Some(view) = ClusterView::confirmed(seen) {
        // Named and never started: the bootstrap went on without it. One that was added has no
        // name, and a cluster whose ID is not the computed one was grown or adopted: neither is a
        // bootstrap that is under way.
        let missed = view
            .members()
            .any(|listed| !view.has_started(listed) && !listed.added());
        return if missed && view.cluster() == cluster_id(topology) {
            Bootstrap::InProgress
        } else {
            Bootstrap::Complete
        };
    }
    // The record outlives the data: all disks gone is not a first start.
    if recorded_cluster(topology, seen).is_some() {
        return Bootstrap::Complete;
    }
    // What is restored was never started by the files that are there: those may be older.
    let restores = target.restored_with().is_some();
    let settled = |member: &&Member| !restores && says_existing(target, seen, member);
    let still_new = |member: &&Member| {
        if restores {
            return true;
        }
        let path = &target.desired(member).settled.path;
        let sum = seen
            .host(&member.host)
            .and_then(|host| host.files.get(path))
            .and_then(|file| file.sha256.as_deref());
        sum.is_some_and(|sum| target.desired(member).says_forming(sum, path))
    };
    let born: Vec<&Member> = topology
        .everyone()
        .filter(|member| has_data(seen, member))
        .collect();
    // Whoever answers or goes was there before, though nothing else be known of it.
    let answers = seen.members.values().any(|view| view.known().is_some());
    let runs = |member: &Member| {
        let host = seen.host(&member.host);
        host.is_some_and(|host| host.processes.contains_key(&member.name))
    };
    let mut leaving = topology.leaving.iter();
    if answers || leaving.any(|leaving| runs(&leaving.member)) {
        return if born.iter().all(still_new) && !born.is_empty() {
            Bootstrap::InProgress
        } else {
            Bootstrap::Complete
        };
    }
    if born.is_empty() {
        return if topology.members.iter().any(|member| settled(&member)) {
            Bootstrap::Complete
        } else {
            Bootstrap::Pending
        };
    }
    if born.iter().all(still_new) {
        Bootstrap::InProgress
    } else {
        Bootstrap::Complete
    }
}

/// Whether a member's start file on its host says `existing`: it is written so only after the
/// bootstrap.
fn says_existing(target: &Target, seen: &Observation, member: &Member) -> bool {
    let wanted = target.desired(member);
    let path = &wanted.settled.path;
    let Some(file) = seen
        .host(&member.host)
        .and_then(|host| host.files.get(path))
    else {
        return false;
    };
    let sum = file.sha256.as_deref().unwrap_or_default();
    if wanted.is_fresh(sum) {
        return false;
    }
    let flags = file.text.as_deref().map(|text| read_flags(member, text));
    wanted.sum(path) == Some(sum)
        || flags.is_some_and(|flags| flags.get("initial-cluster-state") == Some("existing"))
}

/// The flags in the text of a unit, a start file or a manifest.
pub(crate) fn read_flags(member: &Member, text: &str) -> FlagSet {
    let read = match member.layout.runtime {
        RuntimeKind::StaticPod => FlagSource::manifest(text).unwrap_or_default(),
        RuntimeKind::Systemd | RuntimeKind::Process => FlagSource::unit(text),
    };
    read.flags
}

/// The flags that a member runs with, or that its start file would give it. A file without any is
/// not one that starts etcd, and tells nothing of how it ran.
pub(crate) fn last_flags(target: &Target, member: &Member, host: &HostView) -> Option<FlagSet> {
    if let Some(process) = host.processes.get(&member.name) {
        return Some(process.flags.clone());
    }
    let file = host.files.get(&target.desired(member).settled.path)?;
    let flags = read_flags(member, file.text.as_deref()?);
    (!flags.is_empty()).then_some(flags)
}

/// How a member without data may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With `initial-cluster-state=new`.
    New,
    /// With `existing`.
    Existing,
    /// Not yet: members that have data must run first, since etcd itself then refuses one that was
    /// there before.
    Later,
}

/// How a member may start. As new only while nothing says that it ever started.
pub(crate) fn start_of(
    target: &Target,
    seen: &Observation,
    bootstrap: Bootstrap,
    member: &Member,
) -> Start {
    match bootstrap {
        // Who has no data needs a list that has it: until a member gives one, others start first.
        Bootstrap::Complete => {
            let waits = !has_data(seen, member) && ClusterView::any(seen).is_none();
            return if waits { Start::Later } else { Start::Existing };
        }
        Bootstrap::Pending => return Start::New,
        Bootstrap::InProgress => {}
    }
    if has_data(seen, member) {
        // etcd ignores the state once a WAL exists; the file may stay as it is.
        return Start::New;
    }
    // A quorum answers: who missed the bootstrap joins with `existing`, since `new` would found
    // another cluster if its peers were slow to answer. etcd lets in who has started before as well
    // (tried with 3.5.30), and such a member would have forgotten what it voted for: whom the list
    // knows as started is refused as lost before it comes to this.
    if ClusterView::confirmed(seen).is_some() {
        return Start::Existing;
    }
    let topology = &target.topology;
    let with_data: Vec<&Member> = topology
        .members
        .iter()
        .filter(|other| has_data(seen, other))
        .collect();
    // They are a quorum by themselves, and may have acknowledged writes: they serve first, and
    // their list decides.
    if with_data.len() >= bootstrap_quorum(topology) {
        return Start::Later;
    }
    // Fewer cannot have acknowledged anything that they alone have. They run first all the same, so
    // that etcd's own check finds them.
    let first = with_data.iter().all(|other| {
        let host = seen.host(&other.host);
        host.is_some_and(|host| {
            host.processes.contains_key(&other.name)
                && host.listeners.contains_key(&other.ports.peer)
        })
    });
    if first { Start::New } else { Start::Later }
}

/// The cluster that data must belong to: the one that serves, else the one that the host records
/// name, else the one that this file would make, where any data is of it, else the one of most data
/// on hosts whose record says that etcdup put it there.
pub(crate) fn expected_cluster_id(target: &Target, seen: &Observation) -> Option<ClusterId> {
    if let Some(view) = ClusterView::confirmed(seen) {
        return Some(view.cluster());
    }
    if let Some(cluster) = recorded_cluster(&target.topology, seen) {
        return Some(cluster);
    }
    let found: Vec<(ClusterId, bool)> = target
        .topology
        .members
        .iter()
        .filter_map(|member| {
            let host = seen.host(&member.host)?;
            match host.data.get(&member.layout.data)? {
                DataDir::Member(identity) => Some((identity.cluster, host.record().is_some())),
                DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
            }
        })
        .collect();
    let ours = cluster_id(&target.topology);
    if found.iter().any(|(cluster, _)| *cluster == ours) {
        return Some(ours);
    }
    let recorded = |id: ClusterId| {
        found
            .iter()
            .filter(|(cluster, ours)| *cluster == id && *ours)
            .count()
    };
    let majority = found
        .iter()
        .map(|(cluster, _)| *cluster)
        .find(|id| recorded(*id) >= bootstrap_quorum(&target.topology));
    majority.or(Some(ours))
}

/// Whether data can be this cluster's: of any generation of its token, or of the cluster that the
/// host's record names.
pub(crate) fn is_ours(target: &Target, host: &HostView, cluster: ClusterId) -> bool {
    let topology = &target.topology;
    let recorded = host.record().and_then(|record| record.cluster);
    let resets = host.record().map_or(0, |record| record.resets);
    let restored = host.record().and_then(|record| record.restore.as_ref());
    recorded == Some(cluster)
        || restored.is_some_and(|restored| restored.makes(cluster))
        || (0..=resets.max(9))
            .any(|generation| cluster_id_with(topology, &name(topology, generation)) == cluster)
}
