//! What findings say: each is read by someone tired, so it names what it is about and a way out
//! that works there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::host::HostId;
use etcdup_core::membership::MemberId;
use etcdup_core::observation::{
    CaView, HostRecord, ListedMember, Listener, Observation, RecordedFile,
};
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::stage::Next;
use scripted::{blocked, bootstrapped, host, ids, stage, view};

/// F9: hosts that only have their time set are no voters: a cluster is managed while all of them
/// are away.
#[test]
fn hosts_that_are_no_members_keep_nothing_from_being_done() {
    let time = "time = { hosts = [\"10.0.1.1\", \"10.0.1.2\", \"10.0.1.3\", \"10.0.1.4\"] }";
    let (planner, mut seen) = bootstrapped(time);
    let workers = planner.topology().hosts.keys();
    let workers: Vec<HostId> = workers
        .filter(|id| id.as_str().starts_with("10.0.1."))
        .cloned()
        .collect();
    assert_eq!(workers.len(), 4);
    for worker in workers {
        let away = Observed::unknown_for(Cause::Unreachable, "no answer");
        seen.hosts.insert(worker, away);
    }
    let member = planner.topology().members[2].clone();
    let process = host(&mut seen, &member).processes.get_mut(&member.name);
    process.unwrap().flags.set("snapshot-count", "1");
    assert_eq!(stage(&planner, &seen).key.to_string(), "roll:m3");
    // Members' hosts count: half of them is not enough to act on.
    for member in &planner.topology().members[..2] {
        seen.hosts
            .insert(member.host.clone(), Observed::unknown("away"));
    }
    assert!(matches!(planner.next(&seen), Next::Blocked(_)));
}

/// U5: without root a port's owner is not known, and may be the member itself: nobody is told to
/// stop it.
#[test]
fn a_port_whose_owner_is_not_known_is_not_another_programs() {
    let planner = worlds::planner(worlds::topology(1, "runtime = \"process\""));
    let mut seen = worlds::bare(&planner);
    let member = planner.topology().members[0].clone();
    let unknown = Listener {
        pid: None,
        program: String::new(),
        unit: None,
    };
    let view = host(&mut seen, &member);
    view.listeners.insert(2379, unknown);
    view.facts.uid = 65534;
    let found = blocked(&planner, &seen);
    let port = found.iter().find(|finding| finding.id == "port-taken");
    let advice = &port.unwrap().advice;
    assert!(advice.contains("root"), "{advice}");
    assert!(!advice.contains("stop that program"), "{advice}");
}

/// A member that ends and is started again over and over is seen without a process at one moment,
/// and on its port at the next: that is not another program.
#[test]
fn a_port_of_the_members_own_unit_is_not_another_programs() {
    let planner = worlds::planner(worlds::topology(1, ""));
    let mut seen = worlds::bare(&planner);
    let member = planner.topology().members[0].clone();
    let mut listener = Listener {
        pid: Some(865),
        program: "etcd".to_owned(),
        unit: Some(member.layout.unit.clone()),
    };
    let is_taken = |seen: &Observation| {
        let Next::Blocked(found) = planner.next(seen) else {
            return false;
        };
        found.iter().any(|finding| finding.id == "port-taken")
    };
    let view = host(&mut seen, &member);
    view.listeners.insert(2380, listener.clone());
    // A distribution's etcd has a unit of that name too.
    assert!(is_taken(&seen));
    let sha256 = "of the unit that etcdup wrote".to_owned();
    let unit = member.layout.start().unwrap();
    let mut record = HostRecord::default();
    record.files.insert(unit, RecordedFile { sha256 });
    let view = host(&mut seen, &member);
    view.record = Observed::Known(Some(record));
    assert!(!is_taken(&seen));
    listener.unit = Some("another.service".to_owned());
    host(&mut seen, &member).listeners.insert(2380, listener);
    assert!(is_taken(&seen));
}

/// U9, M11: each kind of reason for which a host cannot be reached has help of its own.
#[test]
fn a_host_that_cannot_be_reached_is_helped_by_the_kind_of_the_reason() {
    let planner = worlds::planner(worlds::topology(1, ""));
    let advice = |cause: Cause| {
        let mut seen = worlds::bare(&planner);
        let host = planner.topology().members[0].host.clone();
        seen.hosts.insert(host, Observed::unknown_for(cause, "why"));
        let found = blocked(&planner, &seen);
        assert_eq!(ids(&found), ["host-unseen"]);
        found[0].advice.clone()
    };
    for (cause, word) in [
        (Cause::Unreachable, "is up"),
        (Cause::HostKey, "known_hosts"),
        (Cause::Login, "authorized_keys"),
        (Cause::Sudo, "sudo = \"password\""),
        (Cause::JumpHost, "ssh.jump"),
    ] {
        let advice = advice(cause);
        assert!(advice.contains(word), "{cause:?}: {advice}");
    }
}

/// U29: which member it is, by everything that tells it from the others.
#[test]
fn a_member_that_the_file_does_not_have_is_named_in_full() {
    let (planner, mut seen) = bootstrapped("");
    let extra = ListedMember {
        id: MemberId::new(0x61df),
        name: "m4".into(),
        peer_urls: vec!["https://10.0.0.4:2380".into()],
        client_urls: vec!["https://10.0.0.4:2379".into()],
        learner: false,
    };
    for member in planner.topology().members.clone() {
        view(&mut seen, &member).listed.push(extra.clone());
    }
    let found = blocked(&planner, &seen);
    assert_eq!(ids(&found), ["member-not-in-file"]);
    for word in ["m4", "61df", "https://10.0.0.4:2380"] {
        assert!(found[0].evidence.contains(word), "{}", found[0].evidence);
    }
}

/// A CA without its key keeps only what must be issued from being done.
#[test]
fn a_ca_without_its_key_keeps_a_running_cluster_manageable() {
    let (planner, mut seen) = bootstrapped("");
    let CaView::Usable(facts) = seen.ca.clone() else {
        panic!("no CA")
    };
    seen.ca = CaView::WithoutKey(facts);
    let member = planner.topology().members[2].clone();
    let process = host(&mut seen, &member).processes.get_mut(&member.name);
    process.unwrap().flags.set("snapshot-count", "1");
    assert_eq!(stage(&planner, &seen).key.to_string(), "roll:m3");
}
