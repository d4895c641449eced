//! What is given up: a cluster for a snapshot of it, and members that left no quorum.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::membership::MemberId;
use etcdup_core::observation::RaftLog;
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::restore::RestoredMember;

use super::Model;
use super::machine::{Data, Machine, bootstrap};

/// How many entries a snapshot makes.
const SNAPSHOT: usize = 1;

impl Model {
    /// etcd's tool makes a member's data of a snapshot, as of a new cluster. From then on nothing
    /// else may serve, and what was written before is given up.
    pub(super) fn restore(&mut self, index: usize, made: &RestoredMember) {
        let machine = &mut self.machines[index];
        if machine.process.is_some() {
            let lost = format!("{} is restored under its etcd", made.member);
            self.lost.push(lost);
        }
        if machine.data.is_some() {
            let lost = format!("{} is restored over data", made.member);
            self.lost.push(lost);
            return;
        }
        let data = Data {
            log: SNAPSHOT,
            ..bootstrap(&made.initial_cluster, &made.peer_url, &made.token)
        };
        if !self.acknowledged.contains_key(&data.cluster) {
            self.acknowledged = BTreeMap::from([(data.cluster, SNAPSHOT)]);
        }
        machine.data_at = made.data.clone();
        machine.log_at.clone_from(&made.log);
        machine.data = Some(data);
        machine.has_directory = true;
    }

    /// A member's data names it as the only one, and knows of no other's writes.
    pub(super) fn force_new(&mut self, index: usize) {
        let machine = &self.machines[index];
        if machine.process.is_some() {
            let lost = format!("{} is forced under its etcd", machine.member.name);
            self.lost.push(lost);
        }
        let Some(data) = &machine.data else {
            let lost = format!("{} is forced without data", machine.member.name);
            self.lost.push(lost);
            return;
        };
        let mut others = self.machines.iter().filter(|other| other.up);
        let knows_more = |other: &Machine| {
            let other = other.data.as_ref();
            other.is_some_and(|other| {
                (other.cluster, other.branch) == (data.cluster, data.branch) && other.log > data.log
            })
        };
        if let Some(other) = others.find(|other| knows_more(other)) {
            let names = (&machine.member.name, &other.member.name);
            let lost = format!("{} is forced, and {} knows more", names.0, names.1);
            self.lost.push(lost);
        }
        self.branches += 1;
        let branch = self.branches;
        let data = self.machines[index].data.as_mut();
        if let Some(data) = data {
            data.branch = branch;
            data.list.retain(|listed| listed.id == data.id);
            self.acknowledged.insert(data.cluster, data.log);
        }
    }

    /// Whether its cluster went on without it.
    pub(super) fn is_left_behind(&self, data: &Data) -> bool {
        let datas = self.machines.iter();
        let mut datas = datas.filter_map(|machine| machine.data.as_ref());
        datas.any(|other| other.cluster == data.cluster && other.branch > data.branch)
    }

    /// Members that were left behind must never be enough to go on by themselves.
    pub(super) fn check_left_behind(&mut self) {
        let runs = self.machines.iter();
        let runs = runs.filter(|machine| machine.up && machine.process.is_some());
        let behind: Vec<&Data> = runs
            .filter_map(|machine| machine.data.as_ref())
            .filter(|data| self.is_left_behind(data))
            .collect();
        let ids: BTreeSet<MemberId> = behind.iter().map(|data| data.id).collect();
        let has_quorum = |data: &&&Data| {
            let voters = data.list.iter().filter(|listed| !listed.learner);
            let running = voters.clone().filter(|listed| ids.contains(&listed.id));
            2 * running.count() > voters.count()
        };
        if behind.iter().any(|data| has_quorum(&data)) {
            let lost = "members that were left behind serve by themselves";
            self.lost.push(lost.to_owned());
        }
    }
}

impl Machine {
    /// How far its log goes: all of it is committed.
    pub(super) fn raft_log(&self) -> BTreeMap<HostPath, Observed<RaftLog>> {
        let log = |data: &Data| RaftLog {
            term: 2,
            committed: data.log as u64,
            last: data.log as u64,
            revision: None,
            written: Some(1_700_000_000),
            damaged: false,
        };
        let log = self.data.iter().map(log);
        log.map(|log| (self.data_at.clone(), Observed::Known(log)))
            .collect()
    }
}
