//! What the steps of a stage do to machines.

use std::collections::BTreeMap;

use etcdup_core::host::HostId;
use etcdup_core::membership::MemberId;
use etcdup_core::observation::{FileKind, FileView, ListedMember, RecordedFile, RecordedMember};
use etcdup_core::path::Mode;
use etcdup_core::stage::{
    Artifact, ClusterStep, Content, Held, HostStep, OperatorStep, Part, Rule, Stage, Work,
};
use etcdup_planner::Planner;

use super::Model;
use super::machine::{file, id_of};

impl Model {
    /// Carries out a stage. On each host it may be cut after some of its steps.
    pub(crate) fn carry_out(
        &mut self,
        planner: &Planner,
        stage: &Stage,
        cut: &BTreeMap<HostId, usize>,
    ) {
        match &stage.work {
            Work::Operator(steps) => {
                for step in steps {
                    match step {
                        OperatorStep::CreateCa => self.authorities.make(),
                        OperatorStep::IssueClient(request) => {
                            self.authorities.issue_client(request);
                        }
                    }
                }
            }
            Work::Cluster(ClusterStep::MoveLeader { to, .. }) => {
                let to = &planner.topology().member(to).unwrap().host;
                self.leader = self.machine(to).data.as_ref().map(|data| data.id);
            }
            Work::Cluster(ClusterStep::AddLearner { peer_url, .. }) => {
                self.add(&peer_url.to_string(), true);
            }
            Work::Cluster(ClusterStep::Promote { id, .. }) => {
                let newest = self
                    .machines
                    .iter()
                    .filter_map(|machine| machine.data.as_ref());
                let newest = newest.map(|data| data.log).max().unwrap_or(0);
                let ready = self.machines.iter().any(|machine| {
                    let runs = machine.up && machine.process.is_some();
                    let data = machine.data.as_ref();
                    runs && data.is_some_and(|data| data.id == *id && 10 * data.log >= 9 * newest)
                });
                if ready {
                    self.change_list(false, |list| {
                        let learner = list.iter_mut().find(|listed| listed.id == *id);
                        learner
                            .into_iter()
                            .for_each(|learner| learner.learner = false);
                    });
                }
            }
            Work::Cluster(ClusterStep::MovePeer { id, peer_url, .. }) => {
                // Before 3.5.31 and 3.6.12 that makes a voter of it.
                if self.lists_learner(*id) {
                    self.lost.push(format!("{id} is moved, and has no vote"));
                }
                self.change_list(false, |list| {
                    let moved = list.iter_mut().find(|listed| listed.id == *id);
                    moved
                        .into_iter()
                        .for_each(|moved| moved.peer_urls = vec![peer_url.to_string()]);
                });
            }
            Work::Cluster(ClusterStep::Remove { id, .. }) => self.remove(*id),
            Work::Cluster(ClusterStep::RaftSnapshot { .. }) => self.take_raft_snapshots(),
            Work::Cluster(ClusterStep::EnableDowngrade { minor }) => {
                self.begin_downgrade(super::versions::minor_of(minor));
            }
            Work::Cluster(ClusterStep::CancelDowngrade) => self.downgrade = None,
            Work::Cluster(
                ClusterStep::Compact { .. }
                | ClusterStep::Defragment { .. }
                | ClusterStep::Disarm { .. },
            ) => panic!("no part of an apply"),
            Work::Hosts(tasks) => {
                for index in 0..self.machines.len() {
                    let host = self.machines[index].member.host.clone();
                    let Some(steps) = tasks.get(&host).filter(|_| self.machines[index].up) else {
                        continue;
                    };
                    let until = cut.get(&host).copied().unwrap_or(usize::MAX);
                    let (done, cut) = steps.split_at(until.min(steps.len()));
                    // Data that is restored is there before the record says that it is.
                    let first = !cut.iter().any(|step| matches!(step, HostStep::Restore(_)));
                    if !done.is_empty() {
                        self.record_what_is_missing(index, cut);
                    }
                    self.host_steps(planner, index, done, stage.key.rule, first);
                }
            }
        }
        self.settle();
    }

    /// Nobody of etcdup was ever there.
    pub(crate) fn forget_records(&mut self) {
        for machine in &mut self.machines {
            machine.record = None;
            if let Some(data) = &mut machine.data {
                data.mark = None;
            }
        }
    }

    /// Adds a member to the list, as its leader does.
    fn add(&mut self, url: &str, learner: bool) {
        self.added += 1;
        let added = ListedMember {
            // Of the URL and the time in etcd: never the same twice.
            id: id_of(url, &format!("at {}", self.added)),
            name: String::new(),
            peer_urls: vec![url.to_owned()],
            client_urls: Vec::new(),
            learner,
        };
        self.change_list(true, |list| list.push(added.clone()));
    }

    /// Removes a member from the list, where etcd's own check lets it: those that stay and run are
    /// a quorum of those that stay.
    fn remove(&mut self, id: MemberId) {
        let voters = self.voters();
        let runs = self.machines.iter().filter(|machine| {
            let data = machine.data.as_ref();
            machine.up
                && machine.process.is_some()
                && data.is_some_and(|data| data.id != id && !data.is_learner())
        });
        if self.lists_learner(id) || 2 * runs.count() > voters.saturating_sub(1) {
            self.change_list(false, |list| list.retain(|listed| listed.id != id));
        }
    }

    /// Somebody removes the member on this host with etcdctl, or adds one of this URL where the
    /// list has none.
    pub(crate) fn by_etcdctl(&mut self, host: &HostId, url: &str, learner: bool) {
        let own = self.machine(host).data.as_ref().map(|data| data.id);
        let datas = self
            .machines
            .iter()
            .filter_map(|machine| machine.data.as_ref());
        let newest = datas
            .max_by_key(|data| data.log)
            .map(|data| data.list.clone());
        let list = newest.unwrap_or_default();
        let at_url = |listed: &ListedMember| listed.peer_urls.iter().any(|known| known == url);
        let healthy = self.healthy();
        if let Some(listed) = list.iter().find(|listed| Some(listed.id) == own) {
            let without = healthy.iter().filter(|one| *one != host).count();
            if 2 * without > list.len() - 1 {
                self.remove(listed.id);
            }
        } else if !list.iter().any(at_url) && (learner || 2 * healthy.len() > list.len() + 1) {
            // A second learner is refused.
            if !learner || !list.iter().any(|listed| listed.learner) {
                self.add(url, learner);
            }
        }
        self.settle();
    }

    /// The record is the first file that is put in its place, and has the digests of all files of
    /// its stage: of those that did not follow it, nothing on the host has that digest.
    fn record_what_is_missing(&mut self, index: usize, cut: &[HostStep]) {
        let record = self.machines[index].record.get_or_insert_default();
        for step in cut {
            if let HostStep::File(artifact) = step {
                let sha256 = "not written".to_owned();
                record
                    .files
                    .insert(artifact.path.clone(), RecordedFile { sha256 });
            }
        }
    }

    fn host_steps(
        &mut self,
        planner: &Planner,
        index: usize,
        steps: &[HostStep],
        rule: Rule,
        recorded: bool,
    ) {
        // The record is the first file of a stage that is put in its place.
        let record = self.machines[index].record.get_or_insert_default();
        if rule == Rule::Bootstrap && recorded {
            record.begun = Some(planner.target().leg().generation);
        }
        for step in steps {
            self.step(index, step);
        }
    }

    fn step(&mut self, index: usize, step: &HostStep) {
        let at = self.tick();
        let ca = self.authorities.file();
        self.issued += 1;
        let issued = self.issued;
        let facts = match step {
            HostStep::File(Artifact {
                content: Content::Issued { request, part },
                path,
                ..
            }) => {
                let fresh = format!("k{issued}");
                match part {
                    Part::Certificate => Some(self.authorities.sign(request, &fresh)),
                    Part::Renewal(key) => {
                        let key = str::from_utf8(key).unwrap();
                        let mut facts = self.authorities.sign(request, key);
                        facts.fingerprint = fresh;
                        Some(facts)
                    }
                    // Written right after the certificate that it belongs to.
                    Part::Key => {
                        let certificate = path.as_str().replace(".key", ".crt");
                        let certificates = &self.machines[index].certificates;
                        certificates.get(&certificate.parse().unwrap()).cloned()
                    }
                }
            }
            _ => None,
        };
        let machine = &mut self.machines[index];

        match step {
            HostStep::User { name, .. } => machine.users.push(name.to_string()),
            HostStep::Directory { path, mode, owner } => {
                machine.has_directory |= *path == machine.data_at;
                let view = FileView {
                    kind: FileKind::Directory,
                    owner: owner.clone(),
                    ..file(*mode, None, at)
                };
                machine.files.insert(path.clone(), view);
            }
            HostStep::File(artifact) => machine.write(artifact, (&ca, facts), at),
            HostStep::Pod(artifact) => {
                if machine.process.as_ref().is_some_and(|process| !process.pod) {
                    self.lost.push("a pod beside a unit's etcd".to_owned());
                }
                machine.write(artifact, (&ca, facts), at);
                machine.process = None;
                machine.wanted = true;
            }
            HostStep::BouncePod { .. } => {
                machine.process = None;
                machine.wanted = true;
            }
            HostStep::Binaries {
                directory, links, ..
            } => {
                let etcd = directory.join("etcd").unwrap();
                machine.files.insert(etcd, file(Mode::PROGRAM, None, at));
                if links.is_some() {
                    machine.link(directory, at);
                }
            }
            HostStep::Links { directory, .. } => machine.link(directory, at),
            HostStep::Reload => {
                let unit = machine.unit_file();
                machine.loaded = unit.and_then(|file| file.text.clone());
            }
            HostStep::Enable(_) => machine.enabled = true,
            HostStep::Restart(_) => {
                if machine.manifest().is_some()
                    || machine.process.as_ref().is_some_and(|process| process.pod)
                {
                    self.lost.push("a unit beside a pod".to_owned());
                }
                machine.process = None;
                machine.wanted = true;
                if machine.loaded.is_none() {
                    machine.loaded = machine.unit_file().and_then(|file| file.text.clone());
                }
            }
            HostStep::Disable(_) => {
                machine.process = None;
                machine.wanted = false;
                machine.enabled = false;
            }
            HostStep::StopPod { manifest, .. } => {
                machine.files.remove(manifest);
                machine.process = None;
                machine.wanted = false;
            }
            HostStep::Note(noted) => {
                let mark = noted
                    .mark
                    .clone()
                    .unwrap_or_else(|| format!("mark {issued}"));
                if let Some(data) = &mut machine.data {
                    data.mark = Some(mark.clone());
                }
                let record = machine.record.get_or_insert_default();
                record.cluster = Some(noted.cluster);
                let member = RecordedMember {
                    id: noted.id,
                    mark,
                    version: noted.version.clone(),
                };
                record.members.insert(noted.member.clone(), member);
            }
            HostStep::Roster(roster) => {
                let record = machine.record.get_or_insert_default();
                record.roster.clone_from(roster);
            }
            HostStep::Place(known) => {
                let record = machine.record.get_or_insert_default();
                record.place((**known).clone());
            }
            HostStep::NoteFailed { member, failed } => {
                let record = machine.record.get_or_insert_default();
                record.failed.insert(member.clone(), failed.clone());
            }
            HostStep::ForgetMember(name) => {
                machine.record.get_or_insert_default().forget(name);
            }
            HostStep::MoveAside { path } => {
                if machine.log_at.as_ref() == Some(path) {
                    machine.log_at = None;
                    return;
                }
                assert_eq!(*path, machine.data_at);
                if machine.process.is_some() {
                    self.lost.push(format!("{path} moved away under its etcd"));
                }
                machine.aside.extend(machine.data.take());
                machine.has_directory = false;
                machine.files.remove(path);
            }
            HostStep::Remove(path) => {
                machine.files.remove(path);
                machine.certificates.remove(path);
            }
            HostStep::LoadImage { .. } | HostStep::TimeSync => {}
            HostStep::Forget => machine.record.get_or_insert_default().forget_cluster(),
            HostStep::CheckRoom { .. } => {}
            HostStep::NoteRestore(restore) => {
                machine.record.get_or_insert_default().note_restore(restore);
            }
            HostStep::NoteRecover(recover) => {
                machine.record.get_or_insert_default().note_recover(recover);
            }
            HostStep::Restore(made) => self.restore(index, made),
            HostStep::CheckForce(_) => {}
            HostStep::ForceNew(_) => self.force_new(index),
            HostStep::MoveData {
                held: Held::Log,
                from,
                to,
                owner,
            } => {
                if machine.process.is_some() {
                    self.lost
                        .push(format!("the log in {from} moved under its etcd"));
                }
                if machine.data.is_some() && machine.holds_log() == *from {
                    let inside = machine.data_at.join("member").unwrap();
                    machine.log_at = Some(to.clone()).filter(|to| *to != inside);
                    if from.file_name() != "member" {
                        machine.files.remove(from);
                    }
                    if *to != inside {
                        let view = FileView {
                            kind: FileKind::Directory,
                            owner: owner.clone(),
                            ..file(Mode::CLOSED, None, at)
                        };
                        machine.files.insert(to.clone(), view);
                    }
                }
            }
            HostStep::MoveData { from, to, .. } => {
                if machine.process.is_some() {
                    self.lost.push(format!("{from} moved under its etcd"));
                }
                if machine.data.is_some() && machine.data_at == *from {
                    machine.data_at = to.clone();
                    let moved = machine.files.remove(from);
                    machine.files.extend(moved.map(|view| (to.clone(), view)));
                }
            }
            HostStep::Spawn { .. } | HostStep::StopProcess { .. } => {
                panic!("{step:?} is not modelled")
            }
        }
    }
}
