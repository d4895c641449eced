//! Members that leave the file, the hosts that they leave, and whose those are by then. A stranger
//! looked for worlds in which something is stopped, deleted or started that is another's, or that
//! the cluster still needs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use std::ops::RangeInclusive;

use etcdup_core::host::HostId;
use etcdup_core::observation::{DataDir, FileKind, HostView, Observation, RecordedFile};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Goal, HostStep, Next, Stage, Work};
use etcdup_planner::Planner;
use scripted::{RUNTIMES, blocked, bootstrapped, carry_out, halt, host, seen_by, stage, view};

/// A `[[member]]` of the file, on the host of this number.
fn entry(name: &str, host: usize, more: &str) -> String {
    format!("[[member]]\nname = \"{name}\"\nhost = \"10.0.0.{host}\"\n{more}\n")
}

/// `m1`, `m2` and so on, each on the host of its number.
fn entries(numbers: RangeInclusive<usize>, more: &str) -> Vec<String> {
    numbers
        .map(|number| entry(&format!("m{number}"), number, more))
        .collect()
}

fn plans(head: &str, entries: &[Vec<String>]) -> Planner {
    let head = format!("format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n{head}\n");
    worlds::planner(worlds::topology_of(&(head + &entries.concat().concat())))
}

/// Three members, of which m3 is to go.
fn without_m3(head: &str) -> Planner {
    plans(head, &[entries(1..=2, ""), entries(3..=3, "absent = true")])
}

/// What is found instead of a stage, and of what.
fn refused(planner: &Planner, seen: &Observation) -> Vec<String> {
    let leg = planner.clone().next_leg(seen).unwrap();
    let found = blocked(&leg, seen);
    found
        .iter()
        .map(|finding| format!("{} {}", finding.id, finding.subject))
        .collect()
}

/// The stages from here to the end, each of which comes true as predicted; before each,
/// something else comes true by itself.
fn course(
    planner: &Planner,
    mut seen: Observation,
    meanwhile: impl Fn(&mut Observation),
) -> Vec<Stage> {
    let mut stages = Vec::new();
    for _ in 0..30 {
        meanwhile(&mut seen);
        let leg = planner.clone().next_leg(&seen).unwrap();
        match leg.next(&seen) {
            Next::Stage(stage) => {
                seen = leg.predict(&seen, &stage);
                stages.push(*stage);
            }
            Next::Done => return stages,
            Next::Blocked(findings) => panic!("{:?}, then {findings:?}", keys(&stages)),
        }
    }
    panic!("it does not end: {:?}", keys(&stages));
}

fn keys(stages: &[Stage]) -> Vec<String> {
    stages.iter().map(|stage| stage.key.to_string()).collect()
}

/// What is done on a host.
fn on<'a>(stages: &'a [Stage], host: &str) -> Vec<&'a HostStep> {
    let host = HostId::new(host);
    let tasks = stages.iter().filter_map(|stage| match &stage.work {
        Work::Hosts(tasks) => tasks.get(&host),
        Work::Cluster(_) | Work::Operator(_) => None,
    });
    tasks.flatten().collect()
}

/// Whatever file is there is one that the record knows: so the executor leaves a host.
fn record_files(host: &mut HostView) {
    let files = host.files.iter_mut();
    let recorded: Vec<_> = files
        .filter(|(_, file)| file.kind == FileKind::File)
        .map(|(path, file)| {
            let sha256 = file.sha256.get_or_insert_with(|| "issued".into()).clone();
            (path.clone(), RecordedFile { sha256 })
        })
        .collect();
    host.record_mut().unwrap().files.extend(recorded);
}

/// `etcd --force-new-cluster` on m3: its list is itself alone.
fn force(planner: &Planner, seen: &mut Observation) {
    let forced = view(seen, &planner.topology().members[2]);
    let id = forced.id;
    forced.leader = Some(id);
    forced.listed.retain(|listed| listed.id == id);
}

/// m1 and m2 were stopped and m3 was forced: those two are a quorum and have its data, which is
/// not moved aside for the list of one.
#[test]
fn a_stopped_quorum_is_kept_when_one_member_was_forced() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        for index in 0..2 {
            halt(&planner, &mut seen, index);
        }
        force(&planner, &mut seen);
        assert_eq!(
            refused(&planner, &seen),
            ["cluster-split cluster"],
            "{head}"
        );
    }
}

/// m1 and m2 run and serve, and only their client ports do not answer here; m3 was forced. Neither
/// is stopped.
#[test]
fn a_quorum_that_runs_unanswered_is_kept_when_one_member_was_forced() {
    let (planner, mut seen) = bootstrapped("");
    for member in &planner.topology().members[..2] {
        seen.members
            .insert(member.name.clone(), Observed::unknown("tls: expired"));
    }
    force(&planner, &mut seen);
    assert_eq!(refused(&planner, &seen), ["cluster-split cluster"]);
}

/// An adopted cluster without records, all of whose members are to go, has no leader or does not
/// run. The new members wait for it, and are no cluster of their own.
#[test]
fn no_second_cluster_is_bootstrapped_beside_one_that_does_not_serve() {
    let leaving = entries(1..=3, "absent = true");
    let edited = plans("", &[leaving, entries(4..=6, "")]);
    for runs in [true, false] {
        let (adopted, mut seen) = bootstrapped("");
        for (index, member) in adopted.topology().members.iter().enumerate() {
            let host = host(&mut seen, member);
            host.record = Observed::Known(None);
            host.marks.clear();
            if runs {
                let view = view(&mut seen, member);
                view.leader = None;
                view.served = Observed::unknown("no leader");
            } else {
                halt(&adopted, &mut seen, index);
            }
        }
        let lost = ["m4", "m5", "m6"].map(|name| format!("member-lost-data {name}"));
        assert_eq!(refused(&edited, &seen_by(&edited, &seen)), lost, "{runs}");
    }
}

/// m1 and m2 list m3 no more, and m1 leads.
fn unlist_m3(planner: &Planner, seen: &mut Observation) {
    let members = &planner.topology().members;
    let first = view(seen, &members[0]).id;
    let third = view(seen, &members[2]).id;
    for member in &members[..2] {
        let view = view(seen, member);
        view.listed.retain(|listed| listed.id != third);
        view.leader = Some(first);
    }
}

/// m3 was removed long ago, and the file keeps it as `absent = true`. Its host is by now another
/// cluster's that is called `prod` too: a member that runs, with its record, files and data.
fn reused(data: &str) -> (Planner, Observation) {
    let (ours, mut seen) = bootstrapped("");
    let members = &ours.topology().members;
    let third = &members[2];
    unlist_m3(&ours, &mut seen);
    for member in &members[..2] {
        let record = host(&mut seen, member).record_mut().unwrap();
        record.roster.retain(|known| known.place.host != third.host);
    }
    let own = entry("m3", 3, &format!("data = \"{data}\""));
    let others = vec![own, entry("m8", 8, ""), entry("m9", 9, "")];
    let other = plans("token = \"another\"", &[others]);
    let theirs = carry_out(&other, worlds::bare(&other));
    let mut theirs = theirs.host(&third.host).unwrap().clone();
    record_files(&mut theirs);
    let ours = theirs.data.entry(third.layout.data.clone());
    ours.or_insert(DataDir::Absent);
    seen.hosts
        .insert(third.host.clone(), Observed::Known(theirs));
    // Another CA signed for it.
    let refuses = Observed::unknown("tls: unknown authority");
    seen.members.insert(third.name.clone(), refuses);
    (without_m3(""), seen)
}

/// The other `prod` has its data where m3 had it: neither that nor its record is m3's.
#[test]
fn anothers_data_and_record_are_left_alone() {
    let (planner, seen) = reused("/var/lib/etcd");
    let stages = course(&planner, seen, |_| {});
    assert_eq!(keys(&stages), ["roll:m2", "roll:m1"]);
    assert!(on(&stages, "10.0.0.3").is_empty());
}

/// The other `prod` has its data elsewhere, and its unit and certificates where m3 had them.
#[test]
fn anothers_unit_and_certificates_are_left_alone() {
    let (planner, seen) = reused("/data/etcd");
    let stages = course(&planner, seen, |_| {});
    assert_eq!(keys(&stages), ["roll:m2", "roll:m1"]);
    assert!(on(&stages, "10.0.0.3").is_empty());
}

/// The other `prod` was stopped on purpose, and ours is down: ours alone is started.
#[test]
fn anothers_member_is_not_started_with_ours() {
    let (planner, mut seen) = reused("/var/lib/etcd");
    for index in 0..2 {
        halt(&planner, &mut seen, index);
    }
    let theirs = seen.hosts.get_mut(&HostId::new("10.0.0.3")).unwrap();
    let theirs = theirs.known_mut().unwrap();
    theirs.processes.clear();
    theirs.listeners.clear();
    let stages = course(&planner, seen, |_| {});
    assert_eq!(keys(&stages), ["install", "start"]);
    assert!(on(&stages, "10.0.0.3").is_empty());
}

/// `reset --wipe` where m3's host is another `prod`'s by now: its data is not ours to delete.
#[test]
fn a_reset_refuses_anothers_data_on_a_former_host() {
    let (planner, seen) = reused("/var/lib/etcd");
    let goal = Goal::Reset {
        wipe: true,
        cluster_id: None,
    };
    let reset = Planner::new(planner.topology().clone(), goal, None).unwrap();
    assert_eq!(refused(&reset, &seen), ["reset-of-another m3"]);
}

/// m3 was removed, and what is left of it is its data. Under its unit another cluster runs by now,
/// on data of its own: that is not stopped for the sake of the old data.
#[test]
fn a_unit_that_runs_on_other_data_is_not_stopped_for_what_was_left_behind() {
    for head in RUNTIMES {
        let (ours, mut seen) = bootstrapped(head);
        let third = &ours.topology().members[2];
        unlist_m3(&ours, &mut seen);
        let reused = host(&mut seen, third);
        reused.record = Observed::Known(None);
        let process = reused.processes.get_mut(&third.name).unwrap();
        process.flags.set("data-dir", "/data/other");
        let start_file = ours.desired(third).settled.path.clone();
        let file = reused.files.get_mut(&start_file).unwrap();
        file.sha256 = Some("theirs".into());
        file.text = Some("[Service]\nExecStart=/usr/bin/etcd --data-dir=/data/other\n".into());
        let refuses = Observed::unknown("tls: unknown authority");
        seen.members.insert(third.name.clone(), refuses);
        let stages = course(&without_m3(head), seen, |_| {});
        assert!(on(&stages, "10.0.0.3").is_empty(), "{head}");
        let mut keys = keys(&stages);
        keys.sort();
        assert_eq!(keys, ["refresh-files", "roll:m1", "roll:m2"], "{head}");
    }
}

/// Only m1's host has a record with a roster, and that names a host that no other knows: whoever
/// can write one record is not led to machines of others.
#[test]
fn one_record_alone_leads_to_no_other_host() {
    let (planner, mut seen) = bootstrapped("");
    let members = planner.topology().members.clone();
    let first = host(&mut seen, &members[0]).record().unwrap();
    let mut forged = first.roster[0].clone();
    forged.place.host = HostId::new("10.9.9.9");
    forged.place.name = "victim".parse().unwrap();
    forged.place.address = "10.9.9.9".parse().unwrap();
    forged.peer_url = "https://10.9.9.9:2380".into();
    forged.id = None;
    for (member, roster) in members.iter().zip([vec![forged], vec![], vec![]]) {
        host(&mut seen, member).record_mut().unwrap().roster = roster;
    }
    let leg = planner.clone().next_leg(&seen).unwrap();
    assert_eq!(leg.topology().hosts, planner.topology().hosts);
    // The forged one is written over.
    assert_eq!(keys(&course(&planner, seen, |_| {})), ["refresh-files"]);
}

/// m1 is to go, and its host answers for a cluster that etcdup knows as `events` here, whether
/// others are on its list or not: the new members would join what is not `prod`.
#[test]
fn nobody_joins_a_cluster_of_another_name() {
    let leaving = entries(1..=1, "absent = true");
    let planner = plans("", &[leaving, entries(4..=5, "")]);
    let others = vec![entry("m1", 1, ""), entry("m8", 8, ""), entry("m9", 9, "")];
    let events = plans("token = \"another\"", &[others]);
    let theirs = carry_out(&events, worlds::bare(&events));
    let first = &events.topology().members[0];
    let mut seen = worlds::bare(&planner);
    seen.ca = theirs.ca.clone();
    let mut host = theirs.host(&first.host).unwrap().clone();
    host.record = Observed::Known(None);
    let answer = theirs.member(&first.name).unwrap().clone();
    host.others.insert("events".into(), answer.cluster);
    seen.hosts.insert(first.host.clone(), Observed::Known(host));
    seen.members
        .insert(first.name.clone(), Observed::Known(answer));
    assert_eq!(
        refused(&planner, &seen),
        [
            "cluster-of-another-name m1",
            "member-not-in-file m8",
            "member-not-in-file m9"
        ]
    );
    let alone = view(&mut seen, first);
    alone.listed.truncate(1);
    alone.leader = Some(alone.id);
    assert_eq!(refused(&planner, &seen), ["cluster-of-another-name m1"]);
}

/// Five are down, m1's disk is lost, and the file asks for m1 to m3: m4 and m5 go, and without
/// them there is no quorum to decide anything.
#[test]
fn members_that_go_are_started_where_a_quorum_needs_them() {
    let five = plans("", &[entries(1..=5, "")]);
    let mut seen = carry_out(&five, worlds::bare(&five));
    for index in 0..5 {
        halt(&five, &mut seen, index);
    }
    let first = &five.topology().members[0];
    let data = first.layout.data.clone();
    host(&mut seen, first).data.insert(data, DataDir::Empty);
    let three = plans("", &[entries(1..=3, "")]);
    let start = stage(&three.next_leg(&seen).unwrap(), &seen);
    assert_eq!(start.key.to_string(), "start-quorum");
    let Work::Hosts(tasks) = start.work else {
        panic!("no host work")
    };
    let started: Vec<&str> = tasks.keys().map(HostId::as_str).collect();
    assert_eq!(started, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
}

/// m3 is called m3b, with other ports and data, on its host, where both have their certificates in
/// one directory. Whether the record has those or not, they stay, and m3 is cleaned up once.
#[test]
fn certificates_shared_with_one_that_stays_are_kept() {
    let head = "runtime = \"process\"";
    let (_, seen) = bootstrapped(head);
    let more = "client-port = 2479\npeer-port = 2480\ndata = \"/data/etcd\"";
    let renamed = vec![entry("m3b", 3, more)];
    let planner = plans(head, &[entries(1..=2, ""), renamed]);
    let mut seen = seen_by(&planner, &seen);
    let third = &planner.topology().members[2];
    let data = &third.layout.data;
    let view = host(&mut seen, third);
    view.data.insert(data.clone(), DataDir::Absent);
    let disk = view.disks.values().next().unwrap().clone();
    view.disks.insert(data.clone(), disk);
    for recorded in [true, false] {
        let stages = course(&planner, seen.clone(), |seen| {
            if recorded {
                record_files(host(seen, third));
            }
        });
        assert_eq!(
            keys(&stages),
            [
                "install",
                "refresh-files",
                "roll:m2",
                "move-leader",
                "roll:m1",
                "add:m3b",
                "join:m3b",
                "promote:m3b",
                "refresh-files",
                "remove:m3",
                "clean-up:m3",
                "refresh-files"
            ]
        );
        let removed = on(&stages, "10.0.0.3").into_iter();
        let removed = removed.filter_map(|step| match step {
            HostStep::Remove(path) => Some(path.as_str()),
            _ => None,
        });
        let start_file = "/var/lib/etcdup/process/prod/run/m3.sh";
        let expected = Vec::from_iter(recorded.then_some(start_file));
        assert_eq!(removed.collect::<Vec<_>>(), expected, "{recorded}");
    }
}

/// m3 goes to another host and keeps its address, a name or a floating IP. No two are listed at one
/// URL, so the one on the old host makes room, and the new one is not what lost its data.
#[test]
fn a_member_that_keeps_its_address_on_another_host_takes_the_place_of_the_old_one() {
    let (_, seen) = bootstrapped("");
    let moved = vec![entry("m3", 4, "address = \"10.0.0.3\"")];
    let edited = plans("", &[entries(1..=2, ""), moved]);
    let mut seen = seen_by(&edited, &seen);
    let third = edited.topology().members[2].name.clone();
    seen.members
        .insert(third, Observed::unknown("it does not run"));
    assert_eq!(
        keys(&course(&edited, seen, |_| {})),
        [
            "install",
            "refresh-files",
            "remove:m3-old",
            "clean-up:m3-old",
            "add:m3",
            "join:m3",
            "promote:m3",
            "refresh-files"
        ]
    );
}

/// The machine of one host ID is that of another as well.
fn alias(seen: &mut Observation, from: &str, to: &str) {
    let view = seen.hosts[&HostId::new(from)].clone();
    seen.hosts.insert(HostId::new(to), view);
}

/// m3's disk is lost, and the file calls its host otherwise, as a DNS name does: cleaning up under
/// one name would undo what was installed under the other.
#[test]
fn a_host_under_two_names_is_not_cleaned_up_after_itself() {
    let (three, mut seen) = bootstrapped("");
    halt(&three, &mut seen, 2);
    let third = &three.topology().members[2];
    let data = third.layout.data.clone();
    host(&mut seen, third).data.insert(data, DataDir::Empty);
    let renamed = entry("m3", 3, "").replace("10.0.0.3", "10.0.7.3");
    let edited = plans("", &[entries(1..=2, ""), vec![renamed]]);
    let mut seen = seen_by(&edited, &seen);
    alias(&mut seen, "10.0.0.3", "10.0.7.3");
    assert_eq!(refused(&edited, &seen), ["same-machine 10.0.7.3"]);
}

/// The last member is to go under its host's address and to stay under its name: that is one
/// voter, which is not stopped and its data not moved aside as that of the one that goes.
#[test]
fn a_voter_whose_host_has_two_names_keeps_its_data() {
    for count in [1, 3] {
        let old = plans("", &[entries(1..=count, "")]);
        let seen = carry_out(&old, worlds::bare(&old));
        let name = &old.topology().members[count - 1].name;
        let (from, to) = (format!("10.0.0.{count}"), format!("10.0.7.{count}"));
        let leaving = entries(count..=count, "absent = true");
        let stays = entry(name.as_str(), count, "listen = \"0.0.0.0\"").replace(&from, &to);
        let edited = plans("", &[entries(1..=count - 1, ""), leaving, vec![stays]]);
        let mut seen = seen_by(&edited, &seen);
        // Both answer, being one.
        let gone = &edited.topology().leaving[0].member;
        let answer = seen.members[name].clone();
        seen.members.insert(gone.name.clone(), answer);
        let processes = &mut host(&mut seen, gone).processes;
        let process = processes[name].clone();
        processes.insert(gone.name.clone(), process);
        alias(&mut seen, &from, &to);
        let found = format!("data-other-member {name}");
        assert_eq!(refused(&edited, &seen), [found]);
    }
}

/// x and y go, and share a host. Cleaning up after x must not forget the record of y, which votes.
#[test]
fn the_record_of_a_voter_outlives_the_clean_up_of_its_neighbour() {
    let neighbours = vec![
        entry("x", 4, ""),
        entry("y", 4, "client-port = 2479\npeer-port = 2480"),
    ];
    let old = plans("", &[entries(1..=3, ""), neighbours]);
    let seen = carry_out(&old, worlds::bare(&old));
    let edited = plans("", &[entries(1..=3, "")]);
    let stages = course(&edited, seen, |_| {});
    assert_eq!(
        keys(&stages),
        [
            "roll:m2",
            "roll:m3",
            "move-leader",
            "roll:m1",
            "remove:x",
            "clean-up:x",
            "remove:y",
            "clean-up:y",
            "refresh-files"
        ]
    );
    let forgets = |step: &&HostStep| matches!(step, HostStep::Forget | HostStep::ForgetMember(_));
    let steps = on(&stages, "10.0.0.4").into_iter();
    let forgotten: Vec<_> = steps.filter(forgets).collect();
    let first = HostStep::ForgetMember("x".parse().unwrap());
    assert_eq!(forgotten, [&first, &HostStep::Forget]);
}
