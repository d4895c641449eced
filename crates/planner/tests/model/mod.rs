//! Hosts and etcd's membership as they are, written from etcd's and systemd's own rules and not
//! from what the planner predicts: processes run what their start file says, data directories hold
//! logs, a majority of a cluster's own list elects and acknowledges. It knows nothing of rules or
//! stages; it carries out steps, and tells when a cluster was lost.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod given_up;
pub(crate) mod machine;
pub(crate) mod runs;
mod start;
mod steps;
mod trust;
mod versions;

use etcdup_core::membership::{ClusterId, MemberId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcdup_core::host::HostId;
use etcdup_core::observation::{
    DataDir, DataIdentity, Listener, LogDir, MemberView, Observation, Query, Served,
};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::topology::{Member, Topology};
use etcdup_planner::Planner;
use jiff::SignedDuration;

pub(crate) use self::machine::Machine;
pub(crate) use self::trust::Authorities;
use crate::worlds;

/// All machines of a cluster, and what was promised to its clients.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) machines: Vec<Machine>,
    pub(super) base: Observation,
    /// The CAs, and what is of which.
    pub(crate) authorities: Authorities,
    /// Seconds; two pass between any two things that happen.
    pub(super) clock: i64,
    /// How many writes were acknowledged, by cluster.
    pub(super) acknowledged: BTreeMap<ClusterId, usize>,
    pub(super) leader: Option<MemberId>,
    pub(super) issued: usize,
    /// How many members were ever added.
    pub(super) added: usize,
    /// How often a cluster went on without a quorum.
    pub(super) branches: usize,
    /// The minor that each cluster is of.
    pub(super) minors: BTreeMap<ClusterId, u64>,
    /// The minor that is being downgraded to.
    pub(super) downgrade: Option<u64>,
    /// The scheme by which clients are to be served at every moment.
    pub(crate) clients: Option<&'static str>,
    /// What must never happen and did.
    pub(crate) lost: Vec<String>,
}

impl Model {
    /// Bare machines.
    pub(crate) fn new(planner: &Planner) -> Self {
        let machine = |member: &Member| Machine {
            member: member.clone(),
            up: true,
            files: BTreeMap::new(),
            certificates: BTreeMap::new(),
            users: Vec::new(),
            record: None,
            has_directory: false,
            data_at: member.layout.data.clone(),
            log_at: None,
            data: None,
            aside: Vec::new(),
            loaded: None,
            enabled: false,
            wanted: false,
            process: None,
            pids: 0,
            refuses: None,
        };
        Self {
            machines: planner.topology().members.iter().map(machine).collect(),
            base: worlds::bare(planner),
            authorities: Authorities::default(),
            clock: 0,
            acknowledged: BTreeMap::new(),
            leader: None,
            issued: 0,
            added: 0,
            branches: 0,
            minors: BTreeMap::new(),
            downgrade: None,
            clients: None,
            lost: Vec::new(),
        }
    }

    /// What an observer finds who knows the file: its hosts, then those that their records lead
    /// to. The planner is for the leg that follows from it.
    pub(crate) fn observe(&self, planner: &Planner) -> (Planner, Observation) {
        let mut planner = planner.clone();
        let mut seen = self.answer_all(&planner);
        for _ in 0..2 {
            planner = planner.next_leg(&seen).unwrap();
            seen = self.answer_all(&planner);
        }
        let planner = planner.next_leg(&seen).unwrap();
        (planner, seen)
    }

    /// What a planner's questions are answered with.
    fn answer_all(&self, planner: &Planner) -> Observation {
        let mut seen = self.observe_hosts(planner.topology());
        for (host, view) in &mut seen.hosts {
            let Some(view) = view.known_mut() else {
                continue;
            };
            let queries = planner.queries(host, &[], false);
            for query in &queries {
                let Query::Data { path, logs } = query else {
                    continue;
                };
                let machine = self.machine(host);
                let is_here =
                    |log: &HostPath| machine.data.is_some() && *log == machine.holds_log();
                for log in logs {
                    let state = match is_here(log) {
                        true => LogDir::Log,
                        false => LogDir::Absent,
                    };
                    view.logs.insert(log.clone(), state);
                }
                let data = view.data.entry(path.clone()).or_insert(DataDir::Absent);
                if matches!(data, DataDir::Member(_)) && !logs.iter().any(is_here) {
                    *data = DataDir::Foreign;
                }
            }
            view.asked = Query::paths(&queries);
        }
        seen
    }

    /// What is seen of these hosts and the members on them.
    pub(crate) fn observe_hosts(&self, topology: &Topology) -> Observation {
        let mut seen = self.base.clone();
        seen.hosts
            .retain(|host, _| topology.hosts.contains_key(host));
        seen.members.clear();
        seen.at += SignedDuration::from_secs(self.clock);
        self.authorities.tell(&mut seen);
        for member in topology.everyone() {
            if !topology.hosts.contains_key(&member.host) {
                continue;
            }
            let machine = self.machine(&member.host);
            if !machine.up {
                let away = || Observed::unknown("no route");
                seen.hosts.insert(member.host.clone(), away());
                seen.members
                    .insert(member.name.clone(), Observed::unknown("no route"));
                continue;
            }
            let Some(Observed::Known(view)) = seen.hosts.get_mut(&member.host) else {
                continue;
            };
            view.files.clone_from(&machine.files);
            let known = machine.certificates.iter();
            view.certificates = known
                .map(|(path, facts)| (path.clone(), Observed::Known(facts.clone())))
                .collect();
            view.facts.users.clone_from(&machine.users);
            view.record = Observed::Known(machine.record.clone());
            let data = match &machine.data {
                Some(data) => DataDir::Member(DataIdentity {
                    member: data.id,
                    cluster: data.cluster,
                }),
                None if machine.has_directory => DataDir::Empty,
                None => DataDir::Absent,
            };
            view.data
                .insert(member.layout.data.clone(), DataDir::Absent);
            view.data.insert(machine.data_at.clone(), data);
            let mark = machine.data.as_ref().and_then(|data| data.mark.clone());
            view.marks = mark
                .map(|mark| (machine.data_at.clone(), mark))
                .into_iter()
                .collect();
            let taken = machine.data.as_ref().and_then(|data| data.snapshot);
            view.raft_snapshots = taken
                .map(|taken| (machine.data_at.clone(), taken))
                .into_iter()
                .collect();
            view.raft_logs = machine.raft_log();
            view.units
                .insert(member.layout.unit.clone(), machine.unit());
            let found = |_: &&_| machine.is_run_by(&member.layout);
            if let Some(process) = machine.process.as_ref().filter(found) {
                view.processes.insert(member.name.clone(), process.view());
                let listener = Listener {
                    pid: Some(process.pid),
                    program: "etcd".into(),
                    unit: None,
                };
                view.listeners.insert(process.peer_port(), listener);
            }
            let answer = self.answer(machine);
            seen.members.insert(member.name.clone(), answer);
        }
        seen
    }

    /// The machine that a host is.
    pub(crate) fn machine(&self, host: &HostId) -> &Machine {
        let mut machines = self.machines.iter();
        machines
            .find(|machine| machine.member.host == *host)
            .unwrap()
    }

    /// Time passes; what it is then.
    pub(super) fn tick(&mut self) -> i64 {
        self.clock += 2;
        self.base.at.as_second() + self.clock
    }

    /// What a member says of itself to who asks it.
    fn answer(&self, machine: &Machine) -> Observed<MemberView> {
        let ready = machine
            .process
            .as_ref()
            .is_some_and(|process| process.ready);
        let Some(data) = machine.data.as_ref().filter(|_| ready) else {
            return Observed::unknown("connection refused");
        };
        let place = self
            .machines
            .iter()
            .position(|one| std::ptr::eq(one, machine));
        let in_touch = place.is_some_and(|place| self.running(data.cluster).contains(&place));
        let serves = in_touch && self.quorum(data.cluster);
        let learner = data.is_learner();
        let served = if learner {
            Observed::unknown("etcdserver: rpc not supported for learner")
        } else if serves {
            Observed::Known(Served {
                took: Duration::ZERO,
                denied: false,
            })
        } else {
            Observed::unknown("no leader")
        };
        Observed::Known(MemberView {
            id: data.id,
            cluster: data.cluster,
            leader: self.leader.filter(|_| serves),
            version: machine.process.as_ref().unwrap().version.clone(),
            storage_version: String::new(),
            downgrade: self.downgrade.map(|minor| format!("3.{minor}")),
            term: 2,
            raft_index: data.log as u64,
            applied_index: data.log as u64,
            revision: 1,
            db_size: 0,
            db_in_use: 0,
            learner,
            errors: Vec::new(),
            // A learner answers no member list.
            listed: if learner {
                Vec::new()
            } else {
                data.list.clone()
            },
            served,
        })
    }

    /// The machines whose etcd runs on data of this cluster, and is in touch with the others.
    fn running(&self, cluster: ClusterId) -> Vec<usize> {
        let alike = self.running_alone(cluster);
        let in_touch = |index: &usize| self.is_in_touch(*index, &alike);
        alike.iter().copied().filter(in_touch).collect()
    }

    /// The machines whose etcd runs on data of this cluster.
    pub(super) fn running_alone(&self, cluster: ClusterId) -> Vec<usize> {
        let runs = |index: &usize| {
            let machine = &self.machines[*index];
            let data = machine.data.as_ref();
            machine.up
                && machine.process.is_some()
                && data.is_some_and(|data| data.cluster == cluster && !self.is_left_behind(data))
        };
        (0..self.machines.len()).filter(runs).collect()
    }

    /// Whether a majority of the cluster's own list runs.
    pub(super) fn quorum(&self, cluster: ClusterId) -> bool {
        let running = self.running(cluster);
        let datas = running
            .iter()
            .filter_map(|index| self.machines[*index].data.as_ref());
        let ids: BTreeSet<MemberId> = datas.clone().map(|data| data.id).collect();
        let Some(newest) = datas.max_by_key(|data| data.log) else {
            return false;
        };
        let voters = newest.list.iter().filter(|listed| !listed.learner);
        let running = voters
            .clone()
            .filter(|listed| ids.contains(&listed.id))
            .count();
        2 * running > voters.count()
    }

    /// How many vote, by the list of whoever knows most.
    pub(crate) fn voters(&self) -> usize {
        let datas = self
            .machines
            .iter()
            .filter_map(|machine| machine.data.as_ref());
        let newest = datas.max_by_key(|data| (data.branch, data.log));
        newest.map_or(0, |data| {
            data.list.iter().filter(|listed| !listed.learner).count()
        })
    }

    /// Lets processes start that are wanted, members elect and clients write, until nothing changes
    /// any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..4 {
            for index in 0..self.machines.len() {
                self.start(index);
            }
            let datas = self
                .machines
                .iter()
                .filter_map(|machine| machine.data.as_ref());
            let clusters: BTreeSet<ClusterId> = datas.map(|data| data.cluster).collect();
            let serving: Vec<ClusterId> =
                clusters.into_iter().filter(|id| self.quorum(*id)).collect();
            if serving.len() > 1 {
                self.lost.push("two clusters serve side by side".into());
            }
            for cluster in serving {
                self.serve(cluster);
                self.follow_versions(cluster);
            }
        }
        self.check_left_behind();
        self.end_removed();
        self.check_trust();
        self.check_clients();
    }

    /// A member that was removed ends as soon as it hears of it, however often it is started.
    fn end_removed(&mut self) {
        let lists: Vec<(ClusterId, Vec<MemberId>)> = self
            .machines
            .iter()
            .filter(|machine| {
                machine
                    .process
                    .as_ref()
                    .is_some_and(|process| process.ready)
            })
            .filter_map(|machine| machine.data.as_ref())
            .filter(|data| self.quorum(data.cluster))
            .map(|data| {
                (
                    data.cluster,
                    data.list.iter().map(|listed| listed.id).collect(),
                )
            })
            .collect();
        for machine in &mut self.machines {
            let Some(data) = &machine.data else { continue };
            let mut lists = lists.iter().filter(|(cluster, _)| *cluster == data.cluster);
            if lists.any(|(_, ids)| !ids.contains(&data.id)) {
                machine.process = None;
            }
        }
    }

    /// Whether the list has this member as a learner, by whoever knows most of those that have it:
    /// the disk of a dead host has it as it was.
    pub(super) fn lists_learner(&self, id: MemberId) -> bool {
        let datas = self.machines.iter();
        let datas = datas.filter_map(|machine| machine.data.as_ref());
        let known = datas.filter_map(|data| {
            let mut list = data.list.iter();
            Some((data.log, list.find(|listed| listed.id == id)?))
        });
        let newest = known.max_by_key(|(log, _)| *log);
        newest.is_some_and(|(_, listed)| listed.learner)
    }

    /// An election that goes as badly as raft allows, then a write.
    fn serve(&mut self, cluster: ClusterId) {
        let running = self.running(cluster);
        let mut ids = BTreeSet::new();
        for index in &running {
            let data = self.machines[*index].data.as_ref().unwrap();
            if !ids.insert(data.id) {
                self.lost.push(format!("two members vote as {}", data.id));
            }
        }
        let log = |index: &usize| self.machines[*index].data.as_ref().unwrap().log;
        let newest = running.iter().max_by_key(|index| log(index)).unwrap();
        let list = self.machines[*newest].data.as_ref().unwrap().list.clone();
        let votes = |id: MemberId| list.iter().any(|listed| listed.id == id && !listed.learner);
        let needed = list.iter().filter(|listed| !listed.learner).count() / 2 + 1;
        let on_list = |index: &usize| {
            let id = self.machines[*index].data.as_ref().unwrap().id;
            list.iter().any(|listed| listed.id == id)
        };
        let everybody: Vec<usize> = running.iter().copied().filter(on_list).collect();
        let id = |index: &usize| self.machines[*index].data.as_ref().unwrap().id;
        let running: Vec<usize> = running
            .into_iter()
            .filter(|index| votes(id(index)))
            .collect();
        let mut logs: Vec<usize> = running.iter().map(&log).collect();
        logs.sort_unstable();
        // Whoever has at least what a majority has may win: of those, the one who knows least.
        let winning = logs[needed.min(logs.len()) - 1];
        let promised = self.acknowledged.get(&cluster).copied().unwrap_or(0);
        if winning < promised {
            self.lost.push(format!(
                "{} acknowledged writes are gone",
                promised - winning
            ));
        }
        if self.acknowledged.keys().any(|other| *other != cluster) {
            self.lost
                .push("another cluster took the place of one that had acknowledged writes".into());
        }
        let preferred = running.iter().find(|index| {
            let data = self.machines[**index].data.as_ref().unwrap();
            self.leader == Some(data.id) && data.log >= winning
        });
        let leader = preferred
            .or(running.iter().find(|index| log(index) >= winning))
            .unwrap();
        self.leader = Some(self.machines[*leader].data.as_ref().unwrap().id);
        let mut list = list;
        for index in &everybody {
            let machine = &self.machines[*index];
            let own = machine.data.as_ref().unwrap().id;
            if let Some(listed) = list.iter_mut().find(|listed| listed.id == own) {
                // A member publishes its name and client URLs once it has joined.
                let flags = &machine.process.as_ref().unwrap().flags;
                listed.name = flags.get("name").unwrap_or_default().to_owned();
                let urls = machine
                    .process
                    .as_ref()
                    .unwrap()
                    .flags
                    .get("advertise-client-urls");
                listed.client_urls = urls.map(str::to_owned).into_iter().collect();
            }
        }
        for index in &everybody {
            let machine = &mut self.machines[*index];
            let data = machine.data.as_mut().unwrap();
            data.log = winning + 1;
            data.list.clone_from(&list);
            machine.process.as_mut().unwrap().ready = true;
        }
        self.acknowledged.insert(cluster, winning + 1);
    }

    /// Changes the list as a leader does, which whoever is connected to it learns at once. `false`
    /// where the cluster does not serve, or not every member that runs is in touch with it.
    pub(super) fn change_list(
        &mut self,
        strict: bool,
        change: impl Fn(&mut Vec<etcdup_core::observation::ListedMember>),
    ) -> bool {
        let leads = |machine: &&Machine| {
            let data = machine.data.as_ref();
            machine
                .process
                .as_ref()
                .is_some_and(|process| process.ready)
                && data.is_some_and(|data| self.quorum(data.cluster))
        };
        let Some(data) = self
            .machines
            .iter()
            .find(leads)
            .and_then(|machine| machine.data.as_ref())
        else {
            return false;
        };
        let running = self.running(data.cluster);
        // etcd's own check before a member is added: all have been connected to one another.
        if strict && running.len() < data.list.len() {
            return false;
        }
        let mut list = data.list.clone();
        change(&mut list);
        for index in running {
            self.machines[index]
                .data
                .as_mut()
                .unwrap()
                .list
                .clone_from(&list);
        }
        true
    }

    /// A power loss: what ran is gone, what is on the disk stays.
    pub(crate) fn power_off(&mut self, index: usize) {
        self.machines[index].up = false;
        self.machines[index].process = None;
    }

    /// It comes back; what is enabled starts by itself.
    pub(crate) fn power_on(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.up = true;
        machine.wanted = machine.enabled || machine.manifest().is_some();
        machine.loaded = machine.unit_file().and_then(|file| file.text.clone());
        self.settle();
    }

    /// A member is stopped and disabled by hand.
    pub(crate) fn stop_by_hand(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.process = None;
        machine.wanted = false;
        machine.enabled = false;
        let is_manifest = |path: &HostPath| path.as_str().ends_with(".yaml");
        machine.files.retain(|path, _| !is_manifest(path));
    }

    /// A member is stopped and disabled by hand, and its disk replaced: by an empty one, or a copy
    /// of another one's.
    pub(crate) fn replace_disk(&mut self, from: Option<usize>, to: usize) {
        let data = from.and_then(|from| self.machines[from].data.clone());
        self.stop_by_hand(to);
        self.machines[to].data = data;
    }

    /// The hosts whose members serve clients now.
    pub(crate) fn healthy(&self) -> BTreeSet<HostId> {
        let serves = |machine: &&Machine| {
            self.answer(machine)
                .known()
                .is_some_and(|view| view.served.known().is_some())
        };
        let healthy = self.machines.iter().filter(serves);
        healthy.map(|machine| machine.member.host.clone()).collect()
    }
}
