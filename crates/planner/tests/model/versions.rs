//! What etcd's releases demand of one another, from its upgrade and downgrade guides: one minor at
//! a time, nothing older than the cluster, and no log of 3.5 for 3.7.

use etcdup_core::membership::ClusterId;

use super::Model;
use super::machine::Data;

/// The first minor that keeps what it wrote readable for the one before, and that says so.
const DOWNGRADABLE: u64 = 6;
/// The first minor that panics at entries of 3.5's.
const WITHOUT_V2: u64 = 7;

/// The release in the first line of a start file that names one.
pub(super) fn version_in(text: &str) -> String {
    let after = |mark: &str| {
        let (_, rest) = text.split_once(mark)?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        Some(rest[..end.unwrap_or(rest.len())].to_owned())
    };
    after("/opt/etcd/v")
        .or_else(|| after("/etcd:"))
        .unwrap_or_default()
}

/// The middle number.
pub(super) fn minor_of(version: &str) -> u64 {
    let mut parts = version.split('.');
    parts
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or_default()
}

impl Model {
    /// Whether this release starts on this data, and what it costs where it must never be tried.
    pub(super) fn starts_with(&mut self, version: &str, data: &Data) -> bool {
        let minor = minor_of(version);
        let of_cluster = self.minors.get(&data.cluster).copied().unwrap_or(minor);
        if minor < of_cluster && self.downgrade != Some(minor) {
            // One that was removed meanwhile hears of that first, and ends.
            let datas = self.machines.iter();
            let datas = datas.filter_map(|machine| machine.data.as_ref());
            let alike = datas.filter(|other| other.cluster == data.cluster);
            let newest = alike.max_by_key(|other| other.log);
            if newest.is_some_and(|newest| newest.list.iter().all(|one| one.id != data.id)) {
                return false;
            }
            self.lost
                .push(format!("{version} starts in a cluster of 3.{of_cluster}"));
            return false;
        }
        if minor > of_cluster + 1 {
            self.lost
                .push(format!("{version} skips what follows 3.{of_cluster}"));
            return false;
        }
        if minor >= WITHOUT_V2 && data.old_entries {
            self.lost
                .push(format!("{version} panics at entries of 3.5"));
            return false;
        }
        true
    }

    /// The cluster's own version: the lowest of its members, once all run.
    pub(super) fn follow_versions(&mut self, cluster: ClusterId) {
        let running: Vec<u64> = self
            .running(cluster)
            .into_iter()
            .filter_map(|index| self.machines[index].process.as_ref())
            .map(|process| minor_of(&process.version))
            .collect();
        let Some(lowest) = running.iter().min().copied() else {
            return;
        };
        let all = running.len() == self.voters();
        let minor = self.minors.entry(cluster).or_insert(lowest);
        if all && lowest > *minor && self.downgrade.is_none() {
            *minor = lowest;
        }
        if self
            .downgrade
            .is_some_and(|to| all && running.iter().all(|minor| *minor == to))
        {
            self.downgrade = None;
        }
        // Before 3.6 entries are such that 3.7 cannot read them.
        for index in self.running(cluster) {
            let machine = &mut self.machines[index];
            let process = machine.process.as_ref().unwrap();
            if minor_of(&process.version) < DOWNGRADABLE {
                machine.data.as_mut().unwrap().old_entries = true;
            }
        }
    }

    /// What runs, each release once.
    pub(crate) fn versions(&self) -> Vec<String> {
        let running = self
            .machines
            .iter()
            .filter_map(|machine| machine.process.as_ref());
        let mut versions: Vec<String> = running.map(|process| process.version.clone()).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// Every member that runs takes a raft snapshot.
    pub(super) fn take_raft_snapshots(&mut self) {
        let at = self.tick();
        for machine in &mut self.machines {
            let Some(process) = machine.process.as_ref().filter(|_| machine.up) else {
                continue;
            };
            if let Some(data) = &mut machine.data {
                data.old_entries &= minor_of(&process.version) < DOWNGRADABLE;
                data.snapshot = Some(at);
            }
        }
    }

    /// A downgrade is begun, where etcd has it.
    pub(super) fn begin_downgrade(&mut self, minor: u64) {
        let from = self.minors.values().copied().max().unwrap_or_default();
        if from < DOWNGRADABLE || minor + 1 != from {
            self.lost
                .push(format!("a downgrade of 3.{from} to 3.{minor} is refused"));
            return;
        }
        self.downgrade = Some(minor);
        self.minors.values_mut().for_each(|own| *own = minor);
    }
}
