//! A file that is edited again and again, over the model of hosts and etcd: members come, go, move
//! and are replaced, their hosts die, stages are cut, and the cluster serves throughout.
//!
//! `ETCDUP_WORLDS` says how many worlds each property looks at.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod model;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use etcdup_core::host::HostId;
use etcdup_core::stage::{Next, Rule};
use etcdup_planner::Planner;
use model::Model;
use model::runs::{cases, one_round, run};
use proptest::prelude::*;

/// How many hosts there are.
const HOSTS: usize = 7;

/// A `[[member]]` of the file.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: String,
    host: usize,
    port: u16,
    absent: &'static str,
}

/// What an operator does to the file.
#[derive(Debug, Clone, Copy)]
enum Edit {
    /// One more member.
    Add(usize),
    /// A `[[member]]` is deleted.
    Delete(usize),
    /// It says `absent = true`.
    Absent(usize),
    /// Its host dies for good, and the file says so.
    Gone(usize),
    /// The same name on another host.
    Rehost(usize, usize),
    /// The host dies for good, and the name goes on on another.
    Replace(usize, usize),
    /// Another peer port.
    Move(usize),
    /// Another flag for all.
    Flag,
    /// Another release, never an older minor: no member comes or goes on the way back.
    Release(usize),
    /// Members lie elsewhere on their hosts.
    Place(usize),
    /// Peers speak otherwise.
    Peers(usize),
    /// Another CA, which the one before is trusted beside.
    Ca,
}

impl Edit {
    /// Whether it is about who is a member, and where.
    fn is_of_members(self) -> bool {
        !matches!(
            self,
            Self::Flag | Self::Release(_) | Self::Place(_) | Self::Peers(_) | Self::Ca
        )
    }
}

/// What the file may say.
const RELEASES: [&str; 4] = ["3.5.33", "3.6.14", "3.6.16", "3.7.1"];
const PLACES: [&str; 4] = [
    "",
    "wal = \"/fast/kv\"",
    "data = \"/srv/kv\"",
    "data = \"/srv/other\"\nunit = \"kv\"",
];
const PEERS: [&str; 3] = ["mutual", "tls", "plain"];

fn edit() -> impl Strategy<Value = Edit> {
    let index = 0..8_usize;
    prop_oneof![
        3 => index.clone().prop_map(Edit::Add),
        2 => index.clone().prop_map(Edit::Delete),
        1 => index.clone().prop_map(Edit::Absent),
        1 => index.clone().prop_map(Edit::Gone),
        2 => (index.clone(), index.clone()).prop_map(|(a, b)| Edit::Rehost(a, b)),
        1 => (index.clone(), index.clone()).prop_map(|(a, b)| Edit::Replace(a, b)),
        1 => index.clone().prop_map(Edit::Move),
        1 => Just(Edit::Flag),
        2 => index.clone().prop_map(Edit::Release),
        1 => index.clone().prop_map(Edit::Place),
        1 => index.prop_map(Edit::Peers),
        1 => Just(Edit::Ca),
    ]
}

/// The file, and which hosts it has given up.
#[derive(Debug, Clone)]
struct File {
    entries: Vec<Entry>,
    dead: BTreeSet<usize>,
    flag: bool,
    release: usize,
    place: usize,
    peers: usize,
    /// How often the CA changed.
    cas: usize,
    /// Hosts that someone added with etcdctl, whether or not any record had them by then.
    by_hand: BTreeSet<usize>,
}

impl File {
    fn of(members: usize) -> Self {
        let entry = |host: usize| Entry {
            name: format!("m{host}"),
            host,
            port: 2380,
            absent: "",
        };
        Self {
            entries: (1..=members).map(entry).collect(),
            dead: BTreeSet::new(),
            flag: false,
            release: 0,
            place: 0,
            peers: 0,
            cas: 0,
            by_hand: BTreeSet::new(),
        }
    }

    fn present(&self) -> Vec<usize> {
        let all = 0..self.entries.len();
        all.filter(|index| self.entries[*index].absent.is_empty())
            .collect()
    }

    /// A present member, never the first: a file of which nothing is left is another cluster's.
    fn pick(&self, index: usize) -> Option<usize> {
        let present = self.present();
        let others = &present[1..];
        (!others.is_empty()).then(|| others[index % others.len()])
    }

    /// A host that is alive and runs no member of the file.
    fn free(&self, index: usize) -> Option<usize> {
        let present: Vec<usize> = self
            .present()
            .iter()
            .map(|index| self.entries[*index].host)
            .collect();
        let free: Vec<usize> = (1..=HOSTS)
            .filter(|host| !present.contains(host) && !self.dead.contains(host))
            .collect();
        (!free.is_empty()).then(|| free[index % free.len()])
    }

    fn put(&mut self, name: String, host: usize) {
        // A host that comes back into the file is no longer absent in it.
        self.entries.retain(|entry| entry.host != host);
        self.entries.push(Entry {
            name,
            host,
            port: 2380,
            absent: "",
        });
    }

    /// Edits it; hosts that die must leave a quorum, or the file could say what it liked.
    fn edit(&mut self, edit: Edit, model: &mut Model) {
        let may_die = |model: &Model, host: usize| {
            let healthy = model.healthy();
            let without = healthy.iter().filter(|one| **one != host_id(host)).count();
            2 * without > model.voters()
        };
        match edit {
            Edit::Add(index) => {
                if let Some(host) = self.free(index).filter(|_| self.present().len() < 6) {
                    self.put(format!("m{host}"), host);
                }
            }
            Edit::Delete(index) => {
                if let Some(index) = self.pick(index) {
                    // Nobody but the file knows whose a member is that no record has: deleted, it
                    // is refused as a stranger, and this is what the refusal asks for.
                    if self.by_hand.contains(&self.entries[index].host) {
                        self.entries[index].absent = "absent = true";
                    } else {
                        self.entries.remove(index);
                    }
                }
            }
            Edit::Absent(index) => {
                if let Some(index) = self.pick(index) {
                    self.entries[index].absent = "absent = true";
                }
            }
            Edit::Gone(index) => {
                if let Some(index) = self.pick(index)
                    && may_die(model, self.entries[index].host)
                {
                    let host = self.entries[index].host;
                    model.power_off(host - 1);
                    self.dead.insert(host);
                    self.entries[index].absent = "absent = \"gone\"";
                }
            }
            Edit::Rehost(index, to) => {
                if let (Some(index), Some(host)) = (self.pick(index), self.free(to)) {
                    let name = self.entries.remove(index).name;
                    self.put(name, host);
                }
            }
            Edit::Replace(index, to) => {
                if let (Some(index), Some(host)) = (self.pick(index), self.free(to))
                    && may_die(model, self.entries[index].host)
                {
                    let old = self.entries[index].host;
                    model.power_off(old - 1);
                    self.dead.insert(old);
                    self.entries[index].absent = "absent = \"gone\"";
                    let name = self.entries[index].name.clone();
                    self.put(name, host);
                }
            }
            Edit::Move(index) => {
                let present = self.present();
                let entry = &mut self.entries[present[index % present.len()]];
                entry.port = if entry.port == 2380 { 2480 } else { 2380 };
            }
            Edit::Flag => self.flag = !self.flag,
            Edit::Release(index) => {
                self.release = self.release.max(index % RELEASES.len());
            }
            Edit::Place(index) => self.place = index % PLACES.len(),
            Edit::Peers(index) => self.peers = index % PEERS.len(),
            Edit::Ca => {
                self.cas += 1;
                let both = ["ca", "new"];
                model.authorities.own = both[self.cas % 2];
                model.authorities.trusted = vec![(both[(self.cas + 1) % 2], true)];
            }
        }
        // Names that were left behind may be taken by another host's.
        let mut names = BTreeSet::new();
        for entry in &mut self.entries {
            if entry.absent.is_empty() && !names.insert(entry.name.clone()) {
                let mut free = (0..).map(|number| format!("n{}x{number}", entry.host));
                entry.name = free.find(|name| names.insert(name.clone())).unwrap();
            }
        }
    }

    /// One of its members is removed with etcdctl, or one that is still to join is added.
    fn by_etcdctl(&mut self, index: usize, learner: bool, model: &mut Model) {
        let present = self.present();
        let others = &present[1..];
        if !others.is_empty() {
            let entry = &self.entries[others[index % others.len()]];
            let scheme = if self.peers == 2 { "http" } else { "https" };
            let url = format!("{scheme}://10.0.0.{}:{}", entry.host, entry.port);
            model.by_etcdctl(&host_id(entry.host), &url, learner);
            self.by_hand.insert(entry.host);
        }
    }

    fn planner(&self, pods: bool) -> Planner {
        let release = RELEASES[self.release];
        let mut text = format!("format = 1\ncluster = \"prod\"\netcd = \"{release}\"\n");
        if pods {
            text += "runtime = \"static-pod\"\n";
        }
        if self.flag {
            text += "flags = { snapshot-count = 4321 }\n";
        }
        let (peers, place) = (PEERS[self.peers], PLACES[self.place]);
        let _ = write!(
            text,
            "[security]\npeer = \"{peers}\"\nallow-plain = true\n[layout]\n{place}\n"
        );
        if self.cas > 0 {
            text += "[certificates]\ntrust = [\"other.crt\"]\n";
        }
        for Entry {
            name,
            host,
            port,
            absent,
        } in &self.entries
        {
            let member = format!("name = \"{name}\"\nhost = \"10.0.0.{host}\"\npeer-port = {port}");
            let _ = write!(text, "[[member]]\n{member}\n{absent}\n");
        }
        worlds::planner(worlds::topology_of(&text))
    }
}

fn host_id(host: usize) -> HostId {
    HostId::new(format!("10.0.0.{host}"))
}

/// What must be true once all is done.
fn is_as_the_file_says(file: &File, model: &Model) -> Result<(), TestCaseError> {
    let present: BTreeSet<usize> = file
        .present()
        .iter()
        .map(|index| file.entries[*index].host)
        .collect();
    let hosts: BTreeSet<HostId> = present.iter().map(|host| host_id(*host)).collect();
    prop_assert_eq!(&model.lost, &Vec::<String>::new());
    prop_assert_eq!(model.healthy(), hosts);
    prop_assert_eq!(model.voters(), present.len());
    prop_assert_eq!(model.versions(), vec![RELEASES[file.release].to_owned()]);
    for host in (1..=HOSTS).filter(|host| !present.contains(host) && !file.dead.contains(host)) {
        let machine = model.machine(&host_id(host));
        prop_assert!(machine.is_clean(), "{host} is not cleaned up");
    }
    let roster = |host: &usize| model.machine(&host_id(*host)).roster_hosts();
    let wanted: BTreeSet<HostId> = present.iter().map(|host| host_id(*host)).collect();
    for host in &present {
        prop_assert_eq!(roster(host), wanted.clone(), "the roster of {}", host);
    }
    Ok(())
}

proptest! {
    // Each runs several plans to their ends, which takes as long as four of the other worlds.
    #![proptest_config(ProptestConfig { cases: cases() / 4, ..ProptestConfig::default() })]

    /// One edit after the other, each carried out to its end: every stage does what was predicted.
    #[test]
    fn edits_come_true_as_predicted(
        first in 1_usize..6,
        pods in any::<bool>(),
        edits in proptest::collection::vec(proptest::collection::vec(edit(), 1..4), 1..4),
    ) {
        let mut model = Model::new(&File::of(HOSTS).planner(pods));
        let mut file = File::of(first);
        run(&file.planner(pods), &mut model, true)?;
        is_as_the_file_says(&file, &model)?;
        for edits in edits {
            // A host is cleared before another member's data comes to lie elsewhere on it: of both
            // in one edit the second is refused.
            let places = edits.iter().any(|edit| matches!(edit, Edit::Place(_)));
            for edit in edits.into_iter().filter(|edit| !places || !edit.is_of_members()) {
                file.edit(edit, &mut model);
            }
            let done = run(&file.planner(pods), &mut model, true)?;
            is_as_the_file_says(&file, &model).map_err(|why| {
                let rules: Vec<&str> = done.iter().map(|rule: &Rule| rule.as_str()).collect();
                TestCaseError::fail(format!("{why}\nafter {}\n{file:?}", rules.join(", ")))
            })?;
        }
    }

    /// The file is edited in the middle of what an earlier edit began, machines lose power and
    /// come back, stages are cut, members come and go by etcdctl: no quorum is spent, nothing is
    /// lost, and it ends as the file says.
    #[test]
    fn nothing_is_lost_however_the_file_is_edited(
        first in 1_usize..6,
        pods in any::<bool>(),
        edits in proptest::collection::vec((0_usize..30, edit()), 1..6),
        faults in proptest::collection::vec((0_usize..40, 1_usize..=HOSTS, 0_usize..14), 0..5),
        others in proptest::collection::vec((0_usize..40, any::<usize>(), any::<bool>()), 0..2),
    ) {
        let mut model = Model::new(&File::of(HOSTS).planner(pods));
        let mut file = File::of(first);
        run(&file.planner(pods), &mut model, true)?;
        let mut planner = file.planner(pods);
        let mut back: Vec<(usize, usize)> = Vec::new();
        let mut placed = false;
        for round in 0..40 {
            let due = back.iter().filter(|(when, _)| *when == round);
            for (_, host) in due.filter(|(_, host)| !file.dead.contains(host)) {
                model.power_on(host - 1);
            }
            for (_, edit) in edits.iter().filter(|(at, _)| *at == round) {
                // A host is cleared before another member's data comes to lie elsewhere on it.
                let (leg, seen) = model.observe(&planner);
                let goes_on = !matches!(leg.next(&seen), Next::Done);
                let is_placing = goes_on && (leg.target().leg().place || placed);
                let waits = match edit {
                    Edit::Place(_) => goes_on,
                    edit => edit.is_of_members() && is_placing,
                };
                if waits {
                    continue;
                }
                placed = matches!(edit, Edit::Place(_)) || (placed && goes_on);
                file.edit(*edit, &mut model);
                planner = file.planner(pods);
            }
            for (_, index, learner) in others.iter().filter(|(at, ..)| *at == round) {
                file.by_etcdctl(*index, *learner, &mut model);
            }
            let mut cut = BTreeMap::new();
            for (_, host, after) in faults.iter().filter(|(at, ..)| *at == round) {
                if *after < 4 {
                    model.power_off(host - 1);
                    back.push((round + after + 1, *host));
                } else {
                    cut.insert(host_id(*host), after - 4);
                }
            }
            one_round(&planner, &mut model, &cut)?;
            prop_assert_eq!(&model.lost, &Vec::<String>::new(), "round {}", round);
        }
        for host in (1..=HOSTS).filter(|host| !file.dead.contains(host)) {
            if !model.machines[host - 1].up {
                model.power_on(host - 1);
            }
        }
        run(&planner, &mut model, false)
            .map_err(|why| TestCaseError::fail(format!("{why}\n{file:?}")))?;
        is_as_the_file_says(&file, &model)?;
    }
}

/// The list has the new member by the scheme that peers still speak when it is added, and the file
/// by the other: it is the same member, and not one that nobody wants.
#[test]
fn who_joins_while_peers_turn_to_tls_is_added_once() {
    let mut model = Model::new(&File::of(HOSTS).planner(false));
    let mut file = File::of(5);
    let edits = [
        [Edit::Delete(0), Edit::Peers(2), Edit::Release(2)],
        [Edit::Delete(2), Edit::Replace(0, 0), Edit::Peers(0)],
    ];
    let mut done = Vec::new();
    run(&file.planner(false), &mut model, true).unwrap();
    for edits in edits {
        edits
            .into_iter()
            .for_each(|edit| file.edit(edit, &mut model));
        done = run(&file.planner(false), &mut model, true).unwrap();
        is_as_the_file_says(&file, &model).unwrap();
    }
    let added = done.iter().filter(|rule| **rule == Rule::Add).count();
    assert_eq!(added, 1, "{done:?}");
}
