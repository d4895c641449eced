//! Worlds in which a careless plan would lose a cluster or its data. Each was found on real hosts
//! or with real etcd.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::membership::MemberId;
use etcdup_core::observation::{DataDir, DropIn, ListedMember, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Goal, HostStep, Next, Rule, Work};
use etcdup_planner::{Ending, Planner};
use scripted::{
    RUNTIMES, blocked, blocked_after_start, bootstrapped, carry_out, halt, host, ids, stage, view,
};

/// B2: all disks gone is not a first start, whatever the runtime: the record, or the start file,
/// remembers.
#[test]
fn all_data_gone_is_never_a_first_start() {
    for head in RUNTIMES {
        for forget_record in [false, true] {
            let (planner, mut seen) = bootstrapped(head);
            for index in 0..3 {
                halt(&planner, &mut seen, index);
                let member = &planner.topology().members[index];
                let host = host(&mut seen, member);
                host.data
                    .insert(member.layout.data.clone(), DataDir::Absent);
                if forget_record {
                    host.record = Observed::Known(None);
                }
            }
            let found = blocked(&planner, &seen);
            assert_eq!(
                ids(&found),
                ["member-lost-data"; 3],
                "{head}, {forget_record}"
            );
        }
    }
}

/// B2: a record that cannot be read is not the same as none.
#[test]
fn an_unreadable_record_is_unknown_and_not_absent() {
    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[0].clone();
    host(&mut seen, &member).record = Observed::unknown("expected value at line 1 column 1");
    assert_eq!(ids(&blocked(&planner, &seen)), ["record-unreadable"]);
}

/// B3: a lost disk beside members with data is never started as new, with pods neither.
#[test]
fn a_lost_disk_is_not_started_when_no_member_serves() {
    for head in RUNTIMES {
        for lost in [vec![2], vec![1, 2]] {
            let (planner, mut seen) = bootstrapped(head);
            for index in 0..3 {
                halt(&planner, &mut seen, index);
            }
            for index in &lost {
                let member = &planner.topology().members[*index];
                let data = member.layout.data.clone();
                host(&mut seen, member).data.insert(data, DataDir::Empty);
            }
            if lost.len() == 1 {
                // The others are a quorum: their list decides, and takes the lost one out.
                let start = stage(&planner, &seen);
                assert_eq!(start.key.to_string(), "start-quorum", "{head}");
                let started = planner.predict(&seen, &start);
                assert_eq!(stage(&planner, &started).key.to_string(), "remove:m3");
                continue;
            }
            let found = blocked_after_start(&planner, &seen);
            assert_eq!(ids(&found), vec!["member-lost-data"; lost.len()], "{head}");
        }
    }
}

/// B3: a pod's manifest says `existing` before the run ends, one pod at a time.
#[test]
fn pods_are_settled_one_by_one_after_the_bootstrap() {
    let planner = worlds::planner(worlds::topology(3, "runtime = \"static-pod\""));
    let forecast = planner.forecast(&worlds::bare(&planner));
    let keys: Vec<_> = forecast
        .stages
        .iter()
        .map(|stage| stage.key.to_string())
        .collect();
    assert_eq!(
        keys,
        [
            "ca",
            "bootstrap",
            "refresh-files",
            "roll:m2",
            "roll:m3",
            "move-leader",
            "roll:m1"
        ]
    );
    assert_eq!(forecast.ending, Ending::Done);
}

/// K1: the kubelet, or `Restart=always`, refills an emptied directory within seconds: it looks like
/// data and is not.
#[test]
fn a_refilled_data_directory_counts_as_lost() {
    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[2].clone();
    host(&mut seen, &member).marks.clear();
    assert_eq!(stage(&planner, &seen).key.to_string(), "remove:m3");
    // It serves, so `verify` alone would call it healthy.
    let drift = planner.find_drift(&seen);
    assert!(
        drift.iter().any(|finding| finding.id == "member-lost-data"),
        "{drift:?}"
    );
}

/// U8: a drop-in that replaces the command is named, and no restart is planned that would start the
/// same command again.
#[test]
fn a_member_whose_command_is_overridden_is_not_restarted_for_it() {
    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[2].clone();
    let host = host(&mut seen, &member);
    let process = host.processes.get_mut(&member.name).unwrap();
    process.flags.set("snapshot-count", "5");
    assert!(
        planner.next(&seen) != Next::Done,
        "without a drop-in it is drift"
    );
    let host = crate::scripted::host(&mut seen, &member);
    let unit = host.units.get_mut(&member.layout.unit).unwrap();
    unit.drop_ins.push(DropIn {
        path: "/etc/systemd/system/etcd.service.d/own.conf".to_owned(),
        directives: vec!["ExecStart=".to_owned(), "ExecStart=/bin/etcd".to_owned()],
    });
    assert_eq!(planner.next(&seen), Next::Done);
    let drift = planner.find_drift(&seen);
    let named = drift
        .iter()
        .find(|finding| finding.evidence.contains("--snapshot-count"));
    assert!(
        named
            .unwrap()
            .evidence
            .contains("own.conf overrides ExecStart"),
        "{drift:?}"
    );
}

/// B4: two directories with one member ID are two processes with one vote.
#[test]
fn a_copied_data_directory_is_not_started() {
    let (planner, mut seen) = bootstrapped("");
    let members = planner.topology().members.clone();
    let copied = host(&mut seen, &members[0]).data[&members[0].layout.data].clone();
    for index in 0..3 {
        halt(&planner, &mut seen, index);
    }
    let target = host(&mut seen, &members[2]);
    target.data.insert(members[2].layout.data.clone(), copied);
    let found = blocked_after_start(&planner, &seen);
    assert_eq!(ids(&found), ["data-other-member"]);
    assert!(
        found[0].evidence.contains("a copy of m1"),
        "{}",
        found[0].evidence
    );
}

/// Adopted, never recorded, wholly down, and the file has grown since: nothing says that the data
/// is another's, and it is the only data there is.
#[test]
fn the_only_data_there_is_is_never_called_anothers() {
    let (small, mut seen) = bootstrapped("");
    for (index, member) in small.topology().members.clone().iter().enumerate() {
        halt(&small, &mut seen, index);
        host(&mut seen, member).record = Observed::Known(None);
    }
    let grown = worlds::planner(worlds::topology(5, ""));
    let mut world = worlds::bare(&grown);
    world.hosts.extend(seen.hosts);
    world.ca = seen.ca;
    let found = blocked(&grown, &world);
    assert_eq!(ids(&found), ["cluster-not-known"; 3]);
    // A single directory of another cluster among them is another matter.
    let other = DataDir::Member(etcdup_core::observation::DataIdentity {
        member: MemberId::new(9),
        cluster: etcdup_core::membership::ClusterId::new(9),
    });
    let first = grown.topology().members[0].clone();
    let data = first.layout.data.clone();
    host(&mut world, &first).data.insert(data, other);
    let found = blocked(&grown, &world);
    assert!(ids(&found).contains(&"data-other-cluster"), "{found:?}");
}

/// B5: members that follow a leader vote, whatever keeps their reads from being answered (etcd's
/// auth, an alarm): a flag that differs never restarts them together.
#[test]
fn members_that_follow_a_leader_are_not_restarted_together() {
    let (planner, mut seen) = bootstrapped("");
    for member in planner.topology().members.clone() {
        view(&mut seen, &member).served = Observed::unknown("etcdserver: corrupt cluster");
        let processes = &mut host(&mut seen, &member).processes;
        let process = processes.values_mut().next().unwrap();
        process.flags.set("snapshot-count", "1");
    }
    let next = stage(&planner, &seen);
    assert_eq!(next.key.to_string(), "wait");
    assert!(next.stops(planner.topology()).is_empty());
}

/// B5: without a leader anywhere, all of them may be restarted together; while one still follows,
/// one at a time.
#[test]
fn only_a_cluster_without_a_quorum_is_restarted_as_a_whole() {
    let (planner, mut seen) = bootstrapped("");
    for member in planner.topology().members.clone() {
        let view = view(&mut seen, &member);
        view.served = Observed::unknown("request timed out");
        view.leader = None;
        let processes = &mut host(&mut seen, &member).processes;
        let process = processes.values_mut().next().unwrap();
        process.flags.set("snapshot-count", "1");
    }
    let members = &planner.topology().members;
    assert_eq!(stage(&planner, &seen).stops(planner.topology()).len(), 3);
    let leader = view(&mut seen, &members[0].clone()).id;
    view(&mut seen, &members[0].clone()).leader = Some(leader);
    assert_eq!(stage(&planner, &seen).stops(planner.topology()).len(), 1);
}

/// B6: a second file with the same layout must not take the first file's cluster down.
#[test]
fn reset_refuses_what_belongs_to_another_cluster() {
    for head in RUNTIMES {
        let (_, mut seen) = bootstrapped(head);
        let text = format!("token = \"other\"\n{head}");
        let goal = Goal::Reset {
            wipe: true,
            cluster_id: None,
        };
        let other = Planner::new(worlds::topology(3, &text), goal, None).unwrap();
        for member in &other.topology().members {
            host(&mut seen, member).record = Observed::Known(None);
        }
        assert_eq!(
            ids(&blocked(&other, &seen)),
            ["reset-of-another"; 3],
            "{head}"
        );
        let id = view(&mut seen, &other.topology().members[0].clone()).cluster;
        let goal = Goal::Reset {
            wipe: true,
            cluster_id: Some(id),
        };
        let typed = Planner::new(worlds::topology(3, &text), goal, None).unwrap();
        let Work::Hosts(tasks) = stage(&typed, &seen).work else {
            panic!("no host work")
        };
        let removed = tasks.values().flatten().filter_map(|step| match step {
            HostStep::Remove(path) => Some(path.to_string()),
            _ => None,
        });
        // Files that no record calls ours may be the only ones there are.
        let certificates: Vec<_> = removed.filter(|path| path.ends_with(".key")).collect();
        assert!(certificates.is_empty(), "{certificates:?}");
    }
}

/// A bootstrap of three whose third member never started, as etcd lists it: with a name, without
/// client URLs.
fn missed(head: &str) -> (Planner, Observation) {
    let planner = worlds::planner(worlds::topology(3, head));
    let mut seen = worlds::bare(&planner);
    while let Next::Stage(mut next) = planner.next(&seen) {
        let last = next.key.to_string() == "bootstrap";
        if let (true, Work::Hosts(tasks)) = (last, &mut next.work) {
            tasks.remove(&planner.topology().members[2].host);
        }
        seen = planner.predict(&seen, &next);
        if last {
            break;
        }
    }
    (planner, seen)
}

/// A member that starts between the look at its host and the questions to the others is no lost
/// one: its host is observed again, and only what then still looks empty is lost.
#[test]
fn a_member_that_started_between_two_looks_is_looked_at_again() {
    for head in RUNTIMES {
        let (planner, mut seen) = missed(head);
        assert!(planner.hosts_to_observe_again(&seen).is_empty());
        let member = planner.topology().members[2].clone();
        for view in seen.members.values_mut().filter_map(Observed::known_mut) {
            view.listed[2].client_urls = vec!["https://10.0.0.3:2379".to_owned()];
        }
        let again = planner.hosts_to_observe_again(&seen);
        assert_eq!(again, vec![member.host.clone()]);
        // Nor is it one whose process was seen, and whose data etcd had yet to make.
        let mut running = seen.clone();
        let process = planner.topology().members[0].clone();
        let process = seen.host(&process.host).unwrap().processes[&process.name].clone();
        let host = running.hosts.get_mut(&member.host).unwrap().known_mut();
        host.unwrap().processes.insert(member.name.clone(), process);
        assert_eq!(planner.hosts_to_observe_again(&running), again);
        // It still is empty then: the member had data, and has none.
        assert_eq!(next_that_is_not_record(&planner, &seen), "remove:m3");
    }
}

/// One that had no process when its unit was looked at, and an etcd on its port a moment later, was
/// between two lives of its unit: that is not another's port.
#[test]
fn a_member_between_two_lives_of_its_unit_is_looked_at_again() {
    let (planner, mut seen) = scripted::bootstrapped("");
    assert!(planner.hosts_to_observe_again(&seen).is_empty());
    let member = planner.topology().members[2].clone();
    let host = seen.hosts.get_mut(&member.host).unwrap().known_mut();
    host.unwrap().processes.remove(&member.name);
    assert_eq!(planner.hosts_to_observe_again(&seen), vec![member.host]);
}

/// The first stage that is more than writing down what is.
fn next_that_is_not_record(planner: &Planner, seen: &Observation) -> String {
    let mut seen = seen.clone();
    loop {
        let next = stage(planner, &seen);
        if ![Rule::Record, Rule::RefreshFiles].contains(&next.key.rule) {
            return next.key.to_string();
        }
        seen = planner.predict(&seen, &next);
    }
}

/// B7, F1: one member missed the bootstrap, and the next run finishes it, as new.
#[test]
fn a_bootstrap_that_one_member_missed_is_finished() {
    for head in RUNTIMES {
        let (planner, seen) = missed(head);
        let listed = &seen
            .member(&planner.topology().members[0].name)
            .unwrap()
            .listed;
        assert!(!listed[2].name.is_empty() && !listed[2].started());
        let next = stage(&planner, &seen);
        assert_eq!(
            next.key.to_string(),
            "record",
            "writes may be acknowledged by now"
        );
        let seen = planner.predict(&seen, &next);
        let forecast = planner.forecast(&seen);
        let keys: Vec<_> = forecast
            .stages
            .iter()
            .map(|stage| stage.key.to_string())
            .collect();
        assert!(
            keys.contains(&"finish-bootstrap".to_owned()),
            "{head}: {keys:?}"
        );
        let done = carry_out(&planner, seen);
        assert!(done.serves(&planner.topology().members[2].name));
    }
}

/// A member's own list may lag behind the start of another: what answers has started, and the
/// bootstrap is over.
#[test]
fn a_member_that_answers_has_started_whatever_a_list_says() {
    let (planner, mut seen) = bootstrapped("");
    let first = planner.topology().members[0].clone();
    view(&mut seen, &first).listed[2].client_urls.clear();
    assert_eq!(planner.next(&seen), Next::Done);
}

/// B7 and B3 together: the same half-born cluster, wholly down, with one of the two disks lost.
#[test]
fn a_disk_lost_in_a_half_finished_bootstrap_is_not_started_as_new() {
    let (planner, mut seen) = missed("");
    let note = stage(&planner, &seen);
    seen = planner.predict(&seen, &note);
    for index in 0..2 {
        halt(&planner, &mut seen, index);
    }
    let member = planner.topology().members[1].clone();
    let data = member.layout.data.clone();
    host(&mut seen, &member).data.insert(data, DataDir::Absent);
    let found = blocked(&planner, &seen);
    assert!(ids(&found).contains(&"member-lost-data"), "{found:?}");
}

/// S1, F2: a member that `etcdctl member add` announced has no name, and may start as `existing`
/// only.
#[test]
fn an_added_member_never_starts_as_new() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        let members = planner.topology().members.clone();
        halt(&planner, &mut seen, 2);
        let data = members[2].layout.data.clone();
        host(&mut seen, &members[2])
            .data
            .insert(data, DataDir::Absent);
        for member in &members[..2] {
            let listed: &mut Vec<ListedMember> = &mut view(&mut seen, member).listed;
            listed[2].name.clear();
            listed[2].client_urls.clear();
            listed[2].id = MemberId::new(7);
        }
        let mut texts = Vec::new();
        while let Next::Stage(next) = planner.next(&seen) {
            if let Work::Hosts(tasks) = &next.work {
                for step in tasks.values().flatten() {
                    if let HostStep::File(artifact) | HostStep::Pod(artifact) = step
                        && let etcdup_core::stage::Content::Text(text) = &artifact.content
                    {
                        texts.push(text.clone());
                    }
                }
            }
            seen = planner.predict(&seen, &next);
        }
        assert!(
            matches!(planner.next(&seen), Next::Done),
            "{head}: {:?}",
            planner.next(&seen)
        );
        assert!(
            texts
                .iter()
                .all(|text| !text.contains("initial-cluster-state=new")),
            "{head}"
        );
    }
}

/// Removed with etcdctl, as the advice about lost data says: what is missing now is to add it, not
/// to remove it again.
#[test]
fn a_removed_member_is_to_be_added_whatever_its_host_remembers() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        let members = planner.topology().members.clone();
        halt(&planner, &mut seen, 2);
        let data = members[2].layout.data.clone();
        host(&mut seen, &members[2])
            .data
            .insert(data, DataDir::Absent);
        let next = stage(&planner, &seen);
        assert_eq!(next.key.to_string(), "remove:m3", "{head}");
        for member in &members[..2] {
            view(&mut seen, member).listed.truncate(2);
        }
        let added = std::iter::successors(Some(seen), |seen| match planner.next(seen) {
            Next::Stage(stage) if stage.key.rule != Rule::Add => {
                Some(planner.predict(seen, &stage))
            }
            _ => None,
        });
        let stage = scripted::stage(&planner, &added.last().unwrap());
        assert_eq!(stage.key.to_string(), "add:m3", "{head}");
    }
}

/// S6, F3, U2: a downgrade and a skipped minor are refused, whether members run or not; a patch is
/// rolled.
#[test]
fn a_version_that_cannot_follow_is_never_drift() {
    let (planner, mut seen) = bootstrapped("");
    let with = |version: &str| {
        let mut topology = planner.topology().clone();
        topology.version = version.parse().unwrap();
        let text = toml_of(version);
        let document = etcdup_core::file::Document::parse("t", &text, &[]).unwrap();
        let topology = etcdup_core::topology::resolve(&document.spec, |_| None).unwrap_or(topology);
        worlds::planner(topology)
    };
    for (version, refused) in [
        ("3.4.45", true),
        ("3.7.1", true),
        ("3.5.32", false),
        ("3.6.14", false),
    ] {
        let other = with(version);
        match (refused, other.next(&seen)) {
            (true, Next::Blocked(found)) => assert_eq!(ids(&found), ["version-change"; 3]),
            (false, Next::Stage(_)) => {}
            (_, next) => panic!("{version}: {next:?}"),
        }
    }
    for index in 0..3 {
        halt(&planner, &mut seen, index);
    }
    assert_eq!(ids(&blocked(&with("3.4.45"), &seen)), ["version-change"; 3]);
}

fn toml_of(version: &str) -> String {
    let members: String = (1..=3)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
        .collect();
    format!("format = 1\ncluster = \"prod\"\netcd = \"{version}\"\n{members}")
}

/// Equal machine-ids are what cloned images have; only the same boot is the same machine.
#[test]
fn cloned_images_are_only_a_warning() {
    let planner = worlds::planner(worlds::topology(3, ""));
    let mut seen = worlds::bare(&planner);
    for (index, member) in planner.topology().members.clone().iter().enumerate() {
        let facts = &mut host(&mut seen, member).facts;
        facts.machine_id = "clone".into();
        facts.boot_id = format!("boot-{index}");
    }
    assert_eq!(planner.forecast(&seen).ending, Ending::Done);
    let warnings = planner.preflight(&seen);
    let same = warnings
        .iter()
        .filter(|finding| finding.id == "same-machine");
    assert_eq!(same.count(), 2);
    host(&mut seen, &planner.topology().members[1].clone())
        .facts
        .boot_id = "boot-0".into();
    assert!(ids(&blocked(&planner, &seen)).contains(&"same-machine"));
}

/// B5: where etcd's authentication lets nobody move leadership, the leader restarts as it is
/// instead of failing there.
#[test]
fn leadership_is_not_moved_by_one_who_may_not() {
    let (planner, mut seen) = bootstrapped("flags = { snapshot-count = 4321 }");
    let keys = |seen: &Observation| -> Vec<String> {
        let stages = planner.forecast(seen).stages;
        stages.iter().map(|stage| stage.key.to_string()).collect()
    };
    let members = planner.topology().members.clone();
    for member in &members {
        let process = host(&mut seen, member).processes.get_mut(&member.name);
        process.unwrap().flags.set("snapshot-count", "1");
    }
    assert!(keys(&seen).contains(&"move-leader".to_owned()));
    for member in &members {
        if let Observed::Known(served) = &mut view(&mut seen, member).served {
            served.denied = true;
        }
    }
    let keys = keys(&seen);
    assert!(!keys.contains(&"move-leader".to_owned()), "{keys:?}");
    assert_eq!(keys.len(), 3, "{keys:?}");
}
