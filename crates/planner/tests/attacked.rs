//! What a stranger found who looked for ways to lose a cluster with it: each of these worlds went
//! wrong once.
#![allow(
    clippy::needless_range_loop,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::certificate::CertFacts;
use etcdup_core::membership::{ClusterId, MemberId};
use etcdup_core::observation::{
    CaView, DataDir, DataIdentity, EtcdProcess, FileKind, FileView, Observation,
};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Goal, HostStep, Next, Rule, Work};
use etcdup_planner::Planner;
use scripted::{bootstrapped, carry_out, halt, host, stage, view};

fn world_of(planner: &Planner, mut seen: Observation, until: Rule) -> Observation {
    // Carries out up to and including the stage `until`, then the operator is killed.
    for _ in 0..30 {
        match planner.next(&seen) {
            Next::Stage(stage) => {
                let last = stage.key.rule == until;
                seen = planner.predict(&seen, &stage);
                if last {
                    return seen;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!()
}

/// Bootstrapped, used, never noted (operator killed after `bootstrap`); all down, m3's disk lost.
#[test]
fn a_lost_disk_of_a_cluster_never_recorded_is_not_started_as_new() {
    let planner = worlds::planner(worlds::topology(3, ""));
    let mut seen = world_of(&planner, worlds::bare(&planner), Rule::Bootstrap);
    for i in 0..3 {
        halt(&planner, &mut seen, i);
    }
    let m3 = planner.topology().members[2].clone();
    let data = m3.layout.data.clone();
    host(&mut seen, &m3).data.insert(data, DataDir::Empty);
    let first = stage(&planner, &seen);
    assert!(!first.stops(planner.topology()).contains(&m3.name));
    // The executor after the stage: hosts are looked at, members are not asked (gates are
    // `Listens`).
    let mut next_world = planner.predict(&seen, &first);
    for m in &planner.topology().members {
        next_world
            .members
            .insert(m.name.clone(), Observed::unknown("it does not run"));
    }
    let second = stage(&planner, &next_world);
    // its unit on the host is still the fresh one (state=new), and it is (re)started on the empty
    // directory
    let stops = second.stops(planner.topology());
    assert!(
        !stops.contains(&m3.name),
        "m3, which voted and acknowledged writes, is started as new"
    );
}

/// An adopted unit with EnvironmentFile (data-dir not in the unit's text); the file's `data` was
/// edited, a live copy is there.
#[test]
fn a_member_is_never_restarted_onto_another_directory() {
    for members in [1, 3] {
        let planner = worlds::planner(worlds::topology(members, ""));
        let mut seen = carry_out(&planner, worlds::bare(&planner));
        for m in planner.topology().members.clone() {
            let path = planner.desired(&m).settled.path.clone();
            let h = host(&mut seen, &m);
            h.record = Observed::Known(None);
            let f = h.files.get_mut(&path).unwrap();
            f.sha256 = Some("adopted".into());
            f.text = Some(
                "[Service]\nEnvironmentFile=/etc/etcd/etcd.conf\nExecStart=/usr/bin/etcd\n".into(),
            );
            h.processes
                .values_mut()
                .next()
                .unwrap()
                .flags
                .set("data-dir", "/srv/old");
        }
        let f = planner.forecast(&seen);
        assert!(
            f.stages
                .iter()
                .all(|s| s.stops(planner.topology()).is_empty()),
            "restarted onto a copy of the data that is older"
        );
    }
}

/// The script marked the directory and could not write the record (disk full, power): next run.
#[test]
fn a_mark_without_its_record_is_not_lost_data() {
    let (planner, mut seen) = bootstrapped("");
    let m = planner.topology().members[1].clone();
    // a version roll made a new note due
    host(&mut seen, &m)
        .record_mut()
        .unwrap()
        .members
        .values_mut()
        .next()
        .unwrap()
        .version = "3.5.32".into();
    let next = stage(&planner, &seen);
    let notes = matches!(&next.work, Work::Hosts(t) if t[&m.host].iter().any(|s| matches!(s, HostStep::Note(_))));
    assert!(notes);
    // op_mark came, the record did not.
    host(&mut seen, &m)
        .marks
        .insert(m.layout.data.clone(), "operation-2".into());
    assert!(
        !matches!(planner.next(&seen), Next::Blocked(_)),
        "a healthy, serving member with its data"
    );
}

/// Reset carried out on m1's host, but the script's last step (the record) did not come.
#[test]
fn an_interrupted_reset_goes_on_until_the_record_forgets() {
    let (planner, seen) = bootstrapped("");
    let reset = Planner::new(
        worlds::topology(3, ""),
        Goal::Reset {
            wipe: false,
            cluster_id: None,
        },
        None,
    )
    .unwrap();
    let mut world = seen.clone();
    // files of ours: records know them
    for m in planner.topology().members.clone() {
        let h = host(&mut world, &m);
        let files: Vec<_> = h
            .files
            .iter()
            .filter(|(_, f)| f.kind == FileKind::File)
            .map(|(p, _)| p.clone())
            .collect();
        for p in files {
            h.files
                .get_mut(&p)
                .unwrap()
                .sha256
                .get_or_insert_with(|| "x".into());
            let sha256 = h.files[&p].sha256.clone().unwrap();
            h.record_mut()
                .unwrap()
                .files
                .insert(p, etcdup_core::observation::RecordedFile { sha256 });
        }
    }
    let s = stage(&reset, &world);
    let mut after = reset.predict(&world, &s);
    // hosts 2 and 3 wrote their records; host 1 did not (predict leaves records as they are).
    for m in &planner.topology().members[1..] {
        let r = host(&mut after, m).record_mut().unwrap();
        r.resets += 1;
        r.cluster = None;
        r.members.clear();
        r.begun = None;
        r.files.clear();
    }
    let again = reset.next(&after);
    let conv = planner.clone().next_leg(&after).unwrap();
    assert!(
        again != Next::Done || !matches!(conv.next(&after), Next::Blocked(_)),
        "reset says done, apply is blocked"
    );
}

/// Another's etcd.service with a configuration file; our file has the default layout and never made
/// anything here.
#[test]
fn reset_never_stops_what_nothing_proves_to_be_ours() {
    for runs in [true, false] {
        let topology = worlds::topology(3, "");
        let reset = Planner::new(
            topology,
            Goal::Reset {
                wipe: true,
                cluster_id: None,
            },
            None,
        )
        .unwrap();
        let mut seen = worlds::bare(&reset);
        for m in reset.topology().members.clone() {
            let path = reset.desired(&m).settled.path.clone();
            let h = host(&mut seen, &m);
            h.files.insert(
                path,
                FileView {
                    kind: FileKind::File,
                    mode: "644".parse().unwrap(),
                    owner: None,
                    size: 1,
                    sha256: Some("foreign".into()),
                    text: Some(
                        "[Service]\nExecStart=/usr/bin/etcd --config-file /etc/etcd/other.yml\n"
                            .into(),
                    ),
                    modified: None,
                },
            );
            if runs {
                let mut flags = etcdup_core::flag::FlagSet::default();
                flags.set("config-file", "/etc/etcd/other.yml");
                h.processes.insert(
                    m.name.clone(),
                    EtcdProcess {
                        pid: 9,
                        exe: "/usr/bin/etcd".into(),
                        flags,
                        outdated: false,
                        since: None,
                        unknown_flags: vec![],
                    },
                );
                seen.members
                    .insert(m.name.clone(), Observed::unknown("tls: unknown authority"));
            }
        }
        let next = reset.next(&seen);
        assert!(
            !matches!(next, Next::Stage(_)),
            "stops and disables another's etcd on every host"
        );
    }
}

/// M3 was removed and added again by hand, started by hand; then a power cut.
#[test]
fn a_member_that_was_added_again_by_hand_is_no_copy() {
    let (planner, mut seen) = bootstrapped("");
    for i in 0..3 {
        halt(&planner, &mut seen, i);
    }
    let m3 = planner.topology().members[2].clone();
    let h = host(&mut seen, &m3);
    let Some(DataDir::Member(id)) = h.data.get(&m3.layout.data).cloned() else {
        panic!()
    };
    h.data.insert(
        m3.layout.data.clone(),
        DataDir::Member(DataIdentity {
            member: MemberId::new(0x77),
            ..id
        }),
    );
    h.marks.clear();
    let next = planner.next(&seen);
    assert!(!matches!(next, Next::Blocked(_)));
}

/// A grown cluster (IDs not computed). m3's host was set up again from a backup of m1's; m1's host
/// is not reachable (its Etcd runs), m2 is down.
#[test]
fn a_copy_is_not_started_while_its_original_is_unreachable() {
    let (planner, mut seen) = bootstrapped("");
    let m = planner.topology().members.clone();
    for i in 0..3 {
        let h = host(&mut seen, &m[i]);
        let id = DataIdentity {
            member: MemberId::new(0x100 + i as u64),
            cluster: ClusterId::new(0xc),
        };
        h.data.insert(m[i].layout.data.clone(), DataDir::Member(id));
        let r = h.record_mut().unwrap();
        r.cluster = Some(ClusterId::new(0xc));
        r.members.values_mut().next().unwrap().id = id.member;
    }
    for i in 0..3 {
        halt(&planner, &mut seen, i);
    }
    let h1 = host(&mut seen, &m[0]).clone();
    let h3 = host(&mut seen, &m[2]);
    h3.data
        .insert(m[2].layout.data.clone(), h1.data[&m[0].layout.data].clone());
    h3.marks = h1.marks.clone();
    h3.record = h1.record.clone();
    seen.hosts
        .insert(m[0].host.clone(), Observed::unknown("no route"));
    seen.members
        .insert(m[0].name.clone(), Observed::unknown("no route"));
    let next = planner.next(&seen);
    if let Next::Stage(s) = &next {
        assert!(
            !s.stops(planner.topology()).contains(&m[2].name),
            "m3 starts with m1's data while m1 may run"
        );
    }
}

/// M3's disk is lost and the cluster is down: m1 and m2 are a quorum and are not started; the
/// advice needs a running cluster.
#[test]
fn a_quorum_that_has_its_data_is_started_before_the_rest() {
    let (planner, mut seen) = bootstrapped("runtime = \"process\"");
    for i in 0..3 {
        halt(&planner, &mut seen, i);
    }
    let m3 = planner.topology().members[2].clone();
    host(&mut seen, &m3)
        .data
        .insert(m3.layout.data.clone(), DataDir::Empty);
    let next = planner.next(&seen);
    assert!(matches!(next, Next::Stage(_)));
}

/// After a reset, the new cluster (g1) was bootstrapped and not noted yet; m3's host comes with its
/// old disk (g0).
#[test]
fn one_old_disk_does_not_make_the_new_ones_foreign() {
    let planner = worlds::planner(worlds::topology(3, ""));
    let mut bare = worlds::bare(&planner);
    for m in planner.topology().members.clone() {
        host(&mut bare, &m).record = Observed::Known(Some(etcdup_core::observation::HostRecord {
            resets: 1,
            ..Default::default()
        }));
    }
    let g1 = planner.next_leg(&bare).unwrap();
    let mut seen = world_of(&g1, bare, Rule::Bootstrap);
    let g0 = worlds::planner(worlds::topology(3, ""));
    let old = carry_out(&g0, worlds::bare(&g0));
    let m3 = g0.topology().members[2].clone();
    for i in 0..3 {
        halt(&g0, &mut seen, i);
    }
    let d = old.host(&m3.host).unwrap().data[&m3.layout.data].clone();
    host(&mut seen, &m3).data.insert(m3.layout.data.clone(), d);
    let now = worlds::planner(worlds::topology(3, ""))
        .next_leg(&seen)
        .unwrap();
    let next = now.next(&seen);
    let Next::Blocked(f) = next else { panic!() };
    assert_eq!(
        f.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(),
        ["m3"],
        "the two members of the present cluster are told to move their data away"
    );
}

/// One stale record (host 1 restored from a backup of before the reset) against two.
#[test]
fn one_stale_record_does_not_outvote_the_others() {
    let (planner, mut seen) = bootstrapped("");
    for i in 0..3 {
        halt(&planner, &mut seen, i);
    }
    let m = planner.topology().members.clone();
    host(&mut seen, &m[0]).record_mut().unwrap().cluster = Some(ClusterId::new(0xdead));
    let next = planner.next(&seen);
    let Next::Blocked(f) = next else { return };
    assert!(
        f.len() < 3,
        "two records and three data directories are outvoted by one record"
    );
}

/// One member, CA without key identifiers, ca.crt gone from the host, another CA here.
#[test]
fn another_ca_without_key_ids_is_recognized() {
    let planner = worlds::planner(worlds::topology(1, ""));
    let mut seen = carry_out(&planner, worlds::bare(&planner));
    let m = planner.topology().members[0].clone();
    let ca = m.layout.certificates.join("ca.crt").unwrap();
    let h = host(&mut seen, &m);
    h.files.remove(&ca);
    h.certificates.remove(&ca);
    for c in h.certificates.values_mut().filter_map(Observed::known_mut) {
        c.issuer_key_id = String::new();
        c.issuer = "real CA".into();
    }
    let CaView::Usable(f) = seen.ca.clone() else {
        panic!()
    };
    seen.ca = CaView::Usable(CertFacts {
        fingerprint: "other".into(),
        key_id: String::new(),
        name: "other CA".into(),
        ..f
    });
    assert!(matches!(planner.next(&seen), Next::Blocked(_)));
}

/// Lagging list: m1 just came back and its list knows m3 by its former ID (m3 was added again
/// since, and serves).
#[test]
fn a_list_that_lags_behind_makes_no_copy() {
    let (planner, mut seen) = bootstrapped("");
    let m = planner.topology().members.clone();
    // the truth: m3 has ID 0x77 in data, record and in m2's and m3's lists; m1's list is of before.
    let h = host(&mut seen, &m[2]);
    let Some(DataDir::Member(id)) = h.data.get(&m[2].layout.data).cloned() else {
        panic!()
    };
    h.data.insert(
        m[2].layout.data.clone(),
        DataDir::Member(DataIdentity {
            member: MemberId::new(0x77),
            ..id
        }),
    );
    h.record_mut()
        .unwrap()
        .members
        .values_mut()
        .next()
        .unwrap()
        .id = MemberId::new(0x77);
    for x in &m[1..] {
        view(&mut seen, x).listed[2].id = MemberId::new(0x77);
    }
    view(&mut seen, &m[2]).id = MemberId::new(0x77);
    // Nothing but the records' rosters is brought up to date.
    let next = scripted::stage(&planner, &seen);
    assert_eq!(next.key.to_string(), "refresh-files");
    assert_eq!(planner.next(&planner.predict(&seen, &next)), Next::Done);
}

/// M3's host was rebuilt (no record), m3 removed, added again and started by hand; then a power
/// cut.
#[test]
fn a_member_added_again_on_a_rebuilt_host_is_no_copy() {
    let (planner, mut seen) = bootstrapped("");
    for i in 0..3 {
        halt(&planner, &mut seen, i);
    }
    let m3 = planner.topology().members[2].clone();
    let h = host(&mut seen, &m3);
    let Some(DataDir::Member(id)) = h.data.get(&m3.layout.data).cloned() else {
        panic!()
    };
    h.data.insert(
        m3.layout.data.clone(),
        DataDir::Member(DataIdentity {
            member: MemberId::new(0x77),
            ..id
        }),
    );
    h.marks.clear();
    h.record = Observed::Known(None);
    assert!(matches!(planner.next(&seen), Next::Stage(_)));
}

/// M3 is a learner.
#[test]
fn a_learner_is_not_waited_for() {
    let (planner, mut seen) = bootstrapped("");
    let m = planner.topology().members.clone();
    for x in &m {
        view(&mut seen, x).listed[2].learner = true;
    }
    let v = view(&mut seen, &m[2]);
    v.learner = true;
    v.listed.clear();
    v.served = Observed::unknown("rpc not supported for learner");
    host(&mut seen, &m[0])
        .processes
        .values_mut()
        .next()
        .unwrap()
        .flags
        .set("snapshot-count", "1");
    assert_ne!(
        stage(&planner, &seen).key.to_string(),
        "wait",
        "waits for reads that a learner never answers, on every run"
    );
}

/// A quorum of unseen: 2 of 3 hosts seen, unseen one leads; rolls?
#[test]
fn no_roll_while_the_leader_is_unreachable() {
    let (planner, mut seen) = bootstrapped("");
    let m = planner.topology().members.clone();
    seen.hosts.insert(m[0].host.clone(), Observed::unknown("x"));
    seen.members
        .insert(m[0].name.clone(), Observed::unknown("x"));
    for x in &m[1..] {
        host(&mut seen, x)
            .processes
            .values_mut()
            .next()
            .unwrap()
            .flags
            .set("snapshot-count", "1");
    }
    assert!(matches!(planner.next(&seen), Next::Blocked(_)));
}

/// Held? an older backup of one whole host (record, mark and data) while the others serve.
#[test]
fn two_members_that_answer_with_one_id_are_refused() {
    let (planner, mut seen) = bootstrapped("");
    let m = planner.topology().members.clone();
    let d = host(&mut seen, &m[0]).data[&m[0].layout.data].clone();
    let v = view(&mut seen, &m[0]).clone();
    host(&mut seen, &m[2])
        .data
        .insert(m[2].layout.data.clone(), d);
    *view(&mut seen, &m[2]) = v;
    assert!(matches!(planner.next(&seen), Next::Blocked(_)));
}
