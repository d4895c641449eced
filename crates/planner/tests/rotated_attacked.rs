//! Changes of the CA that an attacker made: members that leave, keys of two names, files that
//! another program put there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::CaView;
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Content, Work};
use scripted::cas::{TRUST, blockers, carried_out, next_ca, of_old, planner, set_aside, spread};
use scripted::host;

/// A member that is to leave still votes, and shows a certificate of the old CA.
#[test]
fn the_old_ca_stays_until_members_that_leave_are_gone() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let mut world = spread(&topology, &seen);
    world.trusted.clear();
    let members = "[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n[[member]]\nname = \"m2\"\nhost = \"10.0.0.2\"\n\
                   [[member]]\nname = \"m3\"\nhost = \"10.0.0.3\"\nabsent = true\n";
    let head = "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n";
    let edited = worlds::topology_of(&format!("{head}{members}"));
    let (keys, _) = carried_out(&edited, &world);
    let removed = keys
        .iter()
        .position(|key| key.starts_with("remove:m3"))
        .unwrap();
    let rolled = keys
        .iter()
        .position(|key| key.starts_with("roll:") && !key.contains('@'))
        .unwrap();
    assert!(removed < rolled, "{keys:?}");
    // Once it was removed its host may be switched off for good.
    let mut gone = world.clone();
    let member = &topology.members[2];
    gone.trusted = seen.trusted.clone();
    for view in gone.members.values_mut().filter_map(Observed::known_mut) {
        view.listed.retain(|listed| listed.name != "m3");
    }
    gone.hosts
        .insert(member.host.clone(), Observed::unknown("no route"));
    gone.members
        .insert(member.name.clone(), Observed::unknown("no route"));
    let trusting = worlds::topology_of(&format!("{head}{TRUST}\n{members}"));
    let forecast = planner(&trusting).next_leg(&gone).unwrap().forecast(&gone);
    let keys: Vec<String> = forecast
        .stages
        .iter()
        .map(|stage| stage.key.to_string())
        .collect();
    assert!(keys.contains(&"renew:m1".to_owned()), "{keys:?}");
}

/// Go looks for issuers by name: a CA of the same key and another name has issued nothing yet.
#[test]
fn the_same_key_under_another_name_is_another_issuer() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let old = seen.trusted[0].facts().unwrap().clone();
    seen.ca = CaView::Usable(CertFacts {
        name: "old 2027".into(),
        issuer: "old 2027".into(),
        fingerprint: "old 2027".into(),
        ..old
    });
    let (keys, _) = carried_out(&topology, &seen);
    assert!(keys.contains(&"renew:m1".to_owned()), "{keys:?}");
}

/// What is in use goes on while the trust of any member is in doubt.
#[test]
fn a_ca_that_somebody_may_not_trust_signs_nothing() {
    let (topology, mut seen) = of_old("", "[certificates]\ntrust = [\"next.crt\"]");
    let old = seen.ca.facts().unwrap().clone();
    seen.trusted = vec![CaView::Usable(next_ca(&old))];
    let member = topology.members[2].clone();
    let missing = member.layout.certificates.join("server.crt").unwrap();
    let mut touched = seen.clone();
    for member in &topology.members {
        let path = member.layout.certificates.join("ca.crt").unwrap();
        let file = host(&mut touched, member).files.get_mut(&path).unwrap();
        file.modified = file.modified.map(|at| at + 100_000);
    }
    let start = planner(&topology).next_leg(&seen).unwrap();
    let forecast = start.forecast(&seen);
    let mut away = forecast.stages[..2]
        .iter()
        .fold(seen.clone(), |world, stage| {
            start
                .clone()
                .next_leg(&world)
                .unwrap()
                .predict(&world, stage)
        });
    let first = &topology.members[0];
    away.hosts
        .insert(first.host.clone(), Observed::unknown("no route"));
    away.members
        .insert(first.name.clone(), Observed::unknown("no route"));
    for mut world in [touched, away] {
        host(&mut world, &member).files.remove(&missing);
        let planner = planner(&topology).next_leg(&world).unwrap();
        let forecast = planner.forecast(&world);
        let issued = forecast.stages.iter().find_map(|stage| match &stage.work {
            Work::Hosts(tasks) => {
                tasks
                    .values()
                    .flatten()
                    .find_map(|step| match &step.artifact()?.content {
                        Content::Issued { request, .. } => Some(request.issuer),
                        _ => None,
                    })
            }
            _ => None,
        });
        assert_eq!(issued, Some(etcdup_core::certificate::Issuer::Own));
    }
}

/// Nothing renews a certificate that waits for its reissue until too late.
#[test]
fn certificates_are_renewed_in_time_while_the_new_ca_waits() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let member = &topology.members[2];
    seen.hosts
        .insert(member.host.clone(), Observed::unknown("no route"));
    seen.members
        .insert(member.name.clone(), Observed::unknown("no route"));
    let renewed = |days: i64| {
        let mut later = seen.clone();
        later.at += jiff::SignedDuration::from_hours(24 * days);
        let forecast = planner(&topology)
            .next_leg(&later)
            .unwrap()
            .forecast(&later);
        forecast
            .stages
            .iter()
            .any(|stage| stage.key.to_string() == "renew:m1@trust")
    };
    assert_eq!([260, 320].map(renewed), [false, true]);
}

/// Files that move to another place may hide what goes.
#[test]
fn certificates_do_not_move_while_a_ca_goes() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let mut world = spread(&topology, &seen);
    world.trusted.clear();
    world.ca_file = Some("new alone".into());
    for member in &topology.members {
        let path = member.layout.certificates.join("ca.crt").unwrap();
        let view = host(&mut world, member);
        view.files.get_mut(&path).unwrap().sha256 = Some("both".into());
    }
    let head = "[certificates.files]\nca = \"etcd-ca.crt\"";
    assert_eq!(
        blockers(&worlds::topology(3, head), &world),
        ["ca-mismatch"; 3]
    );
    // With the CAs that they trust now they may.
    let mut same = world.clone();
    same.trusted = seen.trusted.clone();
    same.ca_file = Some("both".into());
    carried_out(&worlds::topology(3, head), &same);
    // Another directory is for a leg of its own, once no certificate is of the old CA.
    let moves = worlds::topology(3, "[layout]\ncertificates = \"/etc/other\"");
    let (keys, _) = carried_out(&moves, &world);
    let (reissued, rest) = keys.split_at(3);
    assert!(
        reissued.iter().all(|key| key.ends_with("@reissue")),
        "{keys:?}"
    );
    assert!(rest[0].ends_with("@place"), "{keys:?}");
}

/// Another program put both CAs in their place, with the time that the file had elsewhere: whether
/// a member has read it is not known.
#[test]
fn a_ca_file_of_another_program_counts_for_nothing_before_a_restart() {
    let (topology, mut seen) = of_old("", TRUST);
    set_aside(&mut seen, true);
    let (_, world) = carried_out(&topology, &seen);
    let mut copied = seen.clone();
    copied.ca = world.ca.clone();
    for member in &topology.members {
        let path = member.layout.certificates.join("ca.crt").unwrap();
        let both = world.host(&member.host).unwrap().certificates[&path].clone();
        let view = host(&mut copied, member);
        view.certificates.insert(path.clone(), both);
        let recorded = etcdup_core::observation::RecordedFile {
            sha256: "old".into(),
        };
        view.record_mut()
            .unwrap()
            .files
            .insert(path.clone(), recorded);
        let file = view.files.get_mut(&path).unwrap();
        file.sha256 = Some("both".into());
        file.modified = Some(-100);
    }
    let (keys, _) = carried_out(&topology, &copied);
    assert_eq!(keys[0], "roll:m2@trust", "{keys:?}");
    // Nor does it without a record, which is how an adopted cluster begins.
    for member in &topology.members {
        host(&mut copied, member).record = Observed::Known(None);
    }
    let (keys, _) = carried_out(&topology, &copied);
    assert!(keys[0].ends_with("@trust"), "{keys:?}");
}
