//! What is predicted of calls to the cluster: its list, its leader.

use std::collections::BTreeSet;

use etcdup_core::membership::MemberId;
use etcdup_core::observation::{DataDir, HostView, ListedMember, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::recover::RecoverRecord;
use etcdup_core::stage::ClusterStep;
use etcdup_core::topology::Member;

use crate::generation::member_id;
use crate::target::Target;

pub(super) fn cluster_step(target: &Target, world: &mut Observation, step: &ClusterStep) {
    match step {
        ClusterStep::MoveLeader { to, .. } => {
            let id = world.member(to).map(|member| member.id);
            for member in world.members.values_mut().filter_map(Observed::known_mut) {
                member.leader = id;
            }
        }
        ClusterStep::AddLearner { member, peer_url } => {
            let Some(member) = target.topology.member(member) else {
                return;
            };
            let added = ListedMember {
                id: new_id(target, world, member),
                name: String::new(),
                peer_urls: vec![peer_url.to_string()],
                client_urls: Vec::new(),
                learner: true,
            };
            relist(world, |listed| listed.push(added.clone()));
        }
        ClusterStep::Promote { id, .. } => relist(world, |listed| {
            let learner = listed.iter_mut().find(|listed| listed.id == *id);
            if let Some(learner) = learner {
                learner.learner = false;
            }
        }),
        ClusterStep::MovePeer { id, peer_url, .. } => relist(world, |listed| {
            let moved = listed.iter_mut().find(|listed| listed.id == *id);
            if let Some(moved) = moved {
                moved.peer_urls = vec![peer_url.to_string()];
            }
        }),
        ClusterStep::RaftSnapshot { .. } => {
            let taken = world.at.as_second();
            for host in world.hosts.values_mut().filter_map(Observed::known_mut) {
                // Later than the start of whoever runs there, whose clock may be ahead.
                let since = host.processes.values().filter_map(|process| process.since);
                let taken = since.chain([taken]).max().unwrap_or(taken);
                let data = host.data.keys().cloned();
                host.raft_snapshots = data.map(|path| (path, taken)).collect();
            }
        }
        ClusterStep::EnableDowngrade { minor } => {
            for view in world.members.values_mut().filter_map(Observed::known_mut) {
                view.downgrade = Some(minor.clone());
                view.storage_version.clone_from(minor);
            }
        }
        ClusterStep::CancelDowngrade => {
            for view in world.members.values_mut().filter_map(Observed::known_mut) {
                view.downgrade = None;
            }
        }
        ClusterStep::Compact { .. } => {
            // As much as can come of it: what is not worth writing again then is left out.
            for view in world.members.values_mut().filter_map(Observed::known_mut) {
                view.db_in_use = 0;
            }
        }
        ClusterStep::Defragment { member } => {
            let view = world.members.get_mut(member).and_then(Observed::known_mut);
            if let Some(view) = view {
                view.db_size = view.db_in_use;
            }
        }
        ClusterStep::Disarm { alarm, .. } => {
            for view in world.members.values_mut().filter_map(Observed::known_mut) {
                let left = |error: &String| !error.contains(alarm.as_str());
                view.errors.retain(left);
            }
        }
        ClusterStep::Remove { member, id, .. } => {
            relist(world, |listed| listed.retain(|listed| listed.id != *id));
            // Its etcd ends by itself once it hears of it.
            if let Some(member) = target.topology.member(member) {
                if let Some(Observed::Known(host)) = world.hosts.get_mut(&member.host) {
                    host.processes.remove(&member.name);
                    host.listeners.remove(&member.ports.peer);
                }
                let removed = Observed::unknown("it was removed");
                world.members.insert(member.name.clone(), removed);
            }
        }
    }
}

/// An ID that no member ever had: the cluster makes it of the peer URL and the time.
fn new_id(target: &Target, world: &Observation, member: &Member) -> MemberId {
    let hosts = || world.hosts.values().filter_map(Observed::known);
    let recorded = hosts().filter_map(HostView::record).flat_map(|record| {
        let before = record.recover.iter().flat_map(RecoverRecord::left_behind);
        let known = record.members.values().map(|known| known.id);
        let known = known.chain(before);
        known.chain(record.roster.iter().filter_map(|one| one.id))
    });
    let on_disk = hosts()
        .flat_map(|host| host.data.values())
        .filter_map(|data| match data {
            DataDir::Member(data) => Some(data.member),
            DataDir::Absent | DataDir::Empty | DataDir::Foreign => None,
        });
    let views = world.known_members();
    let listed = views.flat_map(|view| view.listed.iter().map(|listed| listed.id));
    let used: BTreeSet<MemberId> = recorded.chain(on_disk).chain(listed).collect();
    let mut id = member_id(&target.topology, member, &target.topology.token);
    while used.contains(&id) {
        id = MemberId::new(id.get().wrapping_add(1));
    }
    id
}

/// Changes the list that every member gives.
fn relist(world: &mut Observation, change: impl Fn(&mut Vec<ListedMember>)) {
    for view in world.members.values_mut().filter_map(Observed::known_mut) {
        // A learner gives none.
        if !view.listed.is_empty() {
            change(&mut view.listed);
        }
    }
}
