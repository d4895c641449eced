//! Giving up a restore that was begun, as long as enough members have their own data: nothing is
//! lost by that, and `apply` starts what was stopped.

use std::collections::BTreeMap;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::membership::{ClusterId, quorum_of};
use etcdup_core::observation::{DataIdentity, HostView, Observation};
use etcdup_core::restore::{RestorePhase, RestoreRecord};
use etcdup_core::stage::{HostStep, Impact, Next, Rule};
use etcdup_core::topology::Member;

use crate::generation::recorded_cluster;
use crate::identity::identity_of;
use crate::lists::on_hosts::stage;
use crate::lists::recover::{learners, voters};
use crate::lists::restore::{agree, under_way};
use crate::preflight::unseen_hosts;
use crate::recovering::{is_left_behind, is_refilled};
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[ABORT_TOO_LATE];

const ABORT_TOO_LATE: Check = Check {
    id: "abort-too-late",
    title: "too little of the cluster is left to give the restore up",
    about: "A restore is given up where enough members for a quorum still have the data that they had: the cluster goes on with that. \
            Here it was moved aside already, or there was none, and members may hold what was restored.",
    advice: "run `etcdup restore` with the same snapshot to go on, or with --again to begin with another one. `etcdup reset` leaves no \
             cluster: what was there lies beside each data directory, in .kept-*",
};

pub(crate) fn next(target: &Target, seen: &Observation, id: &str) -> Next {
    let topology = &target.topology;
    // Whoever is not asked may be further.
    let unseen = unseen_hosts(target, seen);
    if !unseen.is_empty() {
        return Next::Blocked(unseen);
    }
    // A later one was begun by whoever knew of this order, or after it: it is not meant.
    let open = under_way(topology, seen).filter(|(_, one)| one.id.as_str() < id);
    let open: Vec<(&HostId, &RestoreRecord)> = open.collect();
    let Some((_, last)) = open.iter().max_by_key(|(_, one)| one.generation) else {
        return agree(target, seen).unwrap_or(Next::Done);
    };
    let further = open
        .iter()
        .filter(|(_, one)| one.phase != RestorePhase::SettingAside);
    let mut findings: Vec<Finding> = further
        .map(|(host, one)| {
            let evidence = format!(
                "it is made of {}: what was there is set aside",
                one.snapshot
            );
            ABORT_TOO_LATE.error(*host, evidence)
        })
        .collect();
    // What an earlier restore made was never verified.
    let is_made = |cluster: ClusterId| open.iter().any(|(_, one)| one.makes(cluster));
    findings.extend(topology.everyone().filter_map(|member| {
        let data = identity_of(seen, member).map(|data| data.cluster);
        let serves = seen.member(&member.name).map(|view| view.cluster);
        let made = data
            .into_iter()
            .chain(serves)
            .find(|cluster| is_made(*cluster))?;
        let evidence =
            format!("it has data of cluster {made}, which a restore made that has not ended");
        Some(ABORT_TOO_LATE.error(&member.name, evidence))
    }));
    findings.extend(too_few(target, seen));
    if !findings.is_empty() {
        return Next::Blocked(findings);
    }
    let aborted = Box::new(RestoreRecord {
        id: id.to_owned(),
        ..last.at(RestorePhase::Aborted)
    });
    let hosts = topology.member_hosts();
    let tasks: BTreeMap<HostId, Vec<HostStep>> = hosts
        .map(|host| (host.clone(), vec![HostStep::NoteRestore(aborted.clone())]))
        .collect();
    let title = format!("give up restoring {}", last.snapshot);
    let why = vec![
        "enough members have their own data; `etcdup apply` starts what was stopped".to_owned(),
    ];
    stage(Rule::AbortRestore, title, why, Impact::None, tasks)
}

/// Whether fewer members have their own data than a quorum takes.
fn too_few(target: &Target, seen: &Observation) -> Option<Finding> {
    let topology = &target.topology;
    if topology.everyone().any(|member| seen.serves(&member.name)) {
        return None;
    }
    let data = |member: &Member| identity_of(seen, member);
    let first = || topology.everyone().find_map(data).map(|data| data.cluster);
    let cluster = recorded_cluster(topology, seen).or_else(first);
    let without_vote = learners(seen);
    // Neither does one vote that a recovery left behind, or whose data was filled in again.
    let own = topology.everyone().filter(|member| {
        let host = seen.host(&member.host);
        let refilled = host.is_some_and(|host| is_refilled(host, member));
        let counts = |data: DataIdentity| {
            Some(data.cluster) == cluster && !without_vote.contains(&data.member)
        };
        !refilled && !is_left_behind(target, seen, member) && data(member).is_some_and(counts)
    });
    // Those whose data was moved aside are voters, too: their hosts remember them still.
    let remembered = topology.everyone().filter(|member| {
        let record = seen.host(&member.host).and_then(HostView::record);
        record.is_some_and(|record| record.members.contains_key(&member.etcd_name))
    });
    let voters = voters(target, seen).max(remembered.count());
    let own = own.count();
    (own < quorum_of(voters)).then(|| {
        let evidence = format!("{own} of {voters} voters have their own data");
        ABORT_TOO_LATE.error(&topology.cluster, evidence)
    })
}
