//! Transport security turned on and off while a cluster runs: clients find a URL that they can use
//! at every moment, and peers one another.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::observation::{CaView, DropIn, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Content, Next, Rule};
use etcdup_planner::{Ending, Planner};
use scripted::{bootstrapped, halt, host, ids, view};

const PLAIN: &str = "[security]\nclient = \"plain\"\npeer = \"plain\"\nallow-plain = true";

fn security(client: &str, also: Option<&str>, peer: &str) -> String {
    let also = also.map_or(String::new(), |also| format!("client-also = \"{also}\"\n"));
    format!("[security]\nclient = \"{client}\"\n{also}peer = \"{peer}\"\nallow-plain = true")
}

fn planner(head: &str) -> Planner {
    worlds::planner(worlds::topology(3, head))
}

/// Every stage from here to the end, and the world then.
fn carried_out(head: &str, seen: &Observation) -> (Vec<String>, Observation) {
    scripted::carried_out(&planner(head), seen)
}

fn flag(world: &Observation, host: &str, name: &str) -> Option<String> {
    let host = world
        .hosts
        .iter()
        .find(|(id, _)| id.as_str() == host)
        .unwrap()
        .1;
    let process = host.known().unwrap().processes.values().next().unwrap();
    process.flags.get(name).map(str::to_owned)
}

#[test]
fn peers_learn_tls_before_the_first_of_them_demands_it() {
    let (_, mut seen) = bootstrapped(PLAIN);
    seen.ca = CaView::Absent;
    let both = security("mutual", Some("plain"), "mutual");
    let (keys, world) = carried_out(&both, &seen);
    assert_eq!(
        keys,
        [
            "ca@peers",
            "roll:m2@peers",
            "roll:m3@peers",
            "move-leader@peers",
            "roll:m1@peers",
            "move:m1",
            "roll:m1",
            "move:m3",
            "roll:m3",
            "move-leader",
            "move:m2",
            "roll:m2",
            "refresh-files"
        ]
    );
    let listens = flag(&world, "10.0.0.1", "listen-client-urls").unwrap();
    assert_eq!(
        listens,
        "https://10.0.0.1:2379,http://10.0.0.1:2379,https://127.0.0.1:2379,http://127.0.0.1:2379"
    );
    // Clients have moved over: one roll ends it.
    let mutual = security("mutual", None, "mutual");
    let (keys, world) = carried_out(&mutual, &world);
    assert_eq!(keys, ["roll:m2", "roll:m3", "move-leader", "roll:m1"]);
    // And back, where the file says so.
    let both = security("plain", Some("mutual"), "plain");
    let (keys, world) = carried_out(&both, &world);
    assert_eq!(
        keys,
        [
            "move:m1@peers",
            "roll:m1@peers",
            "move:m3@peers",
            "roll:m3@peers",
            "move-leader@peers",
            "move:m2@peers",
            "roll:m2@peers",
            "roll:m2",
            "roll:m3",
            "move-leader",
            "roll:m1",
            "refresh-files"
        ]
    );
    assert_eq!(flag(&world, "10.0.0.1", "peer-cert-file"), None);
    let (keys, world) = carried_out(PLAIN, &world);
    assert_eq!(keys, ["roll:m1", "roll:m3", "move-leader", "roll:m2"]);
    assert_eq!(flag(&world, "10.0.0.1", "cert-file"), None);
}

/// Whether clients must show a certificate is a flag like any other.
#[test]
fn certificates_are_demanded_and_no_longer_demanded_in_one_roll() {
    let (_, seen) = bootstrapped(&security("tls", None, "tls"));
    let (keys, world) = carried_out(&security("mutual", None, "mutual"), &seen);
    assert_eq!(keys, ["roll:m2", "roll:m3", "move-leader", "roll:m1"]);
    let (keys, _) = carried_out(&security("tls", None, "tls"), &world);
    assert_eq!(keys, ["roll:m1", "roll:m3", "move-leader", "roll:m2"]);
}

#[test]
fn no_client_is_locked_out_by_one_edit() {
    let mutual = security("mutual", None, "mutual");
    for (from, to) in [(PLAIN, mutual.as_str()), (mutual.as_str(), PLAIN)] {
        let (_, seen) = bootstrapped(from);
        let forecast = planner(to).next_leg(&seen).unwrap().forecast(&seen);
        let Ending::Blocked(findings) = forecast.ending else {
            panic!("{:?}", forecast.ending)
        };
        assert_eq!(ids(&findings), ["security-change"; 3]);
        assert!(forecast.stages.is_empty());
    }
    // Peers alone need no word of the file's.
    let (_, seen) = bootstrapped(PLAIN);
    carried_out(&security("plain", None, "mutual"), &seen);
}

/// While a host is away it is not known whether its member could speak TLS; once one of the others
/// does, the way leads on.
#[test]
fn peers_wait_for_a_host_that_is_away() {
    let (topology, seen) = bootstrapped(PLAIN);
    let topology = topology.topology().clone();
    let away = |world: &Observation| {
        let (mut away, member) = (world.clone(), &topology.members[2]);
        away.hosts
            .insert(member.host.clone(), Observed::unknown("no route"));
        away.members
            .insert(member.name.clone(), Observed::unknown("no route"));
        away
    };
    let to = security("plain", None, "mutual");
    let keys = |world: &Observation| -> Vec<String> {
        let forecast = planner(&to).next_leg(world).unwrap().forecast(world);
        forecast
            .stages
            .iter()
            .map(|stage| stage.key.to_string())
            .collect()
    };
    assert!(keys(&away(&seen)).iter().all(|key| key.ends_with("@peers")));
    let (_, mut world) = carried_out(&to, &seen);
    assert_eq!(keys(&away(&world)), [""; 0]);
    // It comes back as it was long ago: it alone changes.
    let old = seen.hosts[&topology.members[2].host].clone();
    world.hosts.insert(topology.members[2].host.clone(), old);
    let alone = view(&mut world, &topology.members[2]);
    alone.leader = None;
    alone.served = Observed::unknown("no leader");
    assert_eq!(keys(&world), ["refresh-files", "start:m3"]);
}

/// Only a quorum changes the list by which members find one another.
#[test]
fn a_cluster_that_is_down_starts_as_it_ran() {
    let mutual = security("plain", None, "mutual");
    for (from, to) in [(PLAIN, mutual.as_str()), (mutual.as_str(), PLAIN)] {
        let (before, mut seen) = bootstrapped(from);
        (0..3).for_each(|index| halt(&before, &mut seen, index));
        for member in &before.topology().members {
            let start = &before.desired(member).settled;
            let Content::Text(text) = &start.content else {
                panic!("{start:?}")
            };
            let text = text.to_string();
            let path = start.path.clone();
            host(&mut seen, member).files.get_mut(&path).unwrap().text = Some(text);
        }
        assert_eq!(blocked(to, &seen), ["peers-need-quorum"; 3], "{from}");
        // As it was it starts.
        carried_out(from, &seen);
    }
}

/// A drop-in would have a member listen as before, and be listed where it does not.
#[test]
fn a_member_whose_command_is_overridden_is_not_listed_elsewhere() {
    let (before, mut seen) = bootstrapped(&security("plain", None, "mutual"));
    for member in &before.topology().members {
        let unit = host(&mut seen, member)
            .units
            .get_mut(&member.layout.unit)
            .unwrap();
        unit.drop_ins = vec![DropIn {
            path: "/etc/systemd/system/etcd.service.d/own.conf".into(),
            directives: vec!["ExecStart=/opt/etcd/etcd --own".into()],
        }];
    }
    assert_eq!(blocked(PLAIN, &seen), ["peers-need-quorum"; 3]);
}

/// A file that needs no CA any more issues nothing, while members still show certificates.
#[test]
fn nothing_is_issued_by_a_ca_that_the_file_does_not_need() {
    let (before, mut seen) = bootstrapped(&security("plain", None, "mutual"));
    seen.ca = CaView::Unneeded;
    carried_out(PLAIN, &seen);
    let member = &before.topology().members[0];
    let path = member.layout.certificates.join("peer.crt").unwrap();
    host(&mut seen, member).files.remove(&path);
    assert_eq!(blocked(PLAIN, &seen), ["ca-without-key"]);
}

#[test]
fn clients_are_told_that_a_certificate_will_be_demanded() {
    let (_, seen) = bootstrapped(&security("tls", None, "tls"));
    let planner = planner(&security("mutual", None, "mutual"))
        .next_leg(&seen)
        .unwrap();
    assert!(ids(&planner.preflight(&seen)).contains(&"clients-must-show"));
}

fn blocked(head: &str, seen: &Observation) -> Vec<String> {
    scripted::blockers(&planner(head), seen)
}

/// Between its place in the list and its restart it lost power: it came back where the others do
/// not look for it, and answers no client.
#[test]
fn a_member_that_listens_where_the_list_has_it_no_more_restarts() {
    let (before, seen) = bootstrapped(&security("plain", None, "mutual"));
    let leg = planner(PLAIN).next_leg(&seen).unwrap();
    let first = scripted::stage(&leg, &seen);
    assert_eq!(first.key.to_string(), "move:m2@peers");
    let mut world = leg.predict(&seen, &first);
    let member = &before.topology().members[1];
    world.members.insert(
        member.name.clone(),
        Observed::unknown("no answer within 5 s"),
    );
    let leg = planner(PLAIN).next_leg(&world).unwrap();
    assert_eq!(
        scripted::stage(&leg, &world).key.to_string(),
        "start:m2@peers"
    );
    // Where the others are no quorum without it, it is left alone.
    let other = &before.topology().members[2];
    world.members.insert(
        other.name.clone(),
        Observed::unknown("no answer within 5 s"),
    );
    let leg = planner(PLAIN).next_leg(&world).unwrap();
    let next = leg.next(&world);
    let starts = matches!(&next, Next::Stage(stage) if stage.key.rule == Rule::Start);
    assert!(!starts, "{next:?}");
}
