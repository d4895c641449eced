//! From a snapshot: over a cluster that serves, on new hosts, cut anywhere, given twice.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::membership::ClusterId;
use etcdup_core::observation::{DataDir, FileKind, FileView, HostView, LogDir, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::path::Mode;
use etcdup_core::restore::{KnownSnapshot, RestoreOrder, RestorePhase};
use etcdup_core::stage::{Approval, Goal, HostStep, Next, Rule, Stage, Work};
use etcdup_core::topology::Topology;
use etcdup_planner::Planner;
use scripted::{blockers, bootstrapped, carried_out, record, until};

fn order(id: &str, sha256: &str) -> RestoreOrder {
    RestoreOrder {
        id: id.to_owned(),
        path: format!("/backup/{sha256}.db"),
        sha256: sha256.to_owned(),
        size: 1 << 20,
        known: Some(KnownSnapshot {
            cluster_id: ClusterId::new(7),
            etcd: "3.5.33".to_owned(),
            revision: 1,
            taken: jiff::Timestamp::UNIX_EPOCH,
        }),
        bump: false,
        above: 0,
        again: false,
        cluster_id: None,
    }
}

fn of(topology: &Topology, order: RestoreOrder) -> Planner {
    Planner::new(
        topology.clone(),
        Goal::Restore {
            order: Box::new(order),
        },
        None,
    )
    .unwrap()
}

fn rules(keys: &[String]) -> Vec<&str> {
    let rules = keys.iter().map(|key| key.split(['@', ':']).next().unwrap());
    rules.collect()
}

/// The cluster that members answer for.
fn cluster(seen: &Observation) -> ClusterId {
    let mut clusters = seen.known_members().map(|view| view.cluster);
    let first = clusters.next().unwrap();
    assert!(clusters.all(|other| other == first));
    first
}

#[test]
fn a_cluster_that_serves_becomes_another_generation_of_itself() {
    let (planner, seen) = bootstrapped("");
    let restore = of(planner.topology(), order("1", "a"));
    let (keys, world) = carried_out(&restore, &seen);
    assert_eq!(
        rules(&keys)[..5],
        [
            "begin-restore",
            "set-aside",
            "forget",
            "bootstrap",
            "refresh-files"
        ],
        "{keys:?}"
    );
    assert!(
        keys.contains(&"end-restore@g1@restore".to_owned()),
        "{keys:?}"
    );
    assert_ne!(cluster(&world), cluster(&seen));
    let listens = |member: &str| {
        let member = world.hosts.values().find_map(|host| {
            let host = host.known()?;
            let mut processes = host.processes.iter();
            let (_, process) = processes.find(|(name, _)| name.as_str() == member)?;
            process.flags.get("listen-client-urls").map(str::to_owned)
        });
        member.unwrap()
    };
    assert!(listens("m1").contains("10.0.0.1"), "{}", listens("m1"));
    // It is restored, and `apply` finds nothing to do; neither does the same order.
    let (keys, _) = carried_out(&planner, &world);
    assert!(keys.is_empty(), "{keys:?}");
    let (keys, _) = carried_out(&of(planner.topology(), order("2", "a")), &world);
    assert!(keys.is_empty(), "{keys:?}");
    // With --again, or of another snapshot, it begins once more.
    let again = RestoreOrder {
        again: true,
        ..order("3", "a")
    };
    for order in [again, order("4", "b")] {
        let restore = of(planner.topology(), order);
        let (keys, after) = carried_out(&restore, &world);
        assert_eq!(rules(&keys)[0], "begin-restore");
        assert_ne!(cluster(&after), cluster(&world));
        // The operation that was taken up once it had ended does not begin again.
        let (keys, _) = carried_out(&restore, &after);
        assert!(keys.is_empty(), "{keys:?}");
    }
}

/// Every stage is cut after any of its hosts, and a new order goes on; `apply` does nothing
/// meanwhile.
#[test]
fn it_goes_on_wherever_it_was_cut() {
    let (planner, seen) = bootstrapped("");
    let before = cluster(&seen);
    let mut world = seen;
    let mut cuts = 0;
    for round in 0..60 {
        let start = of(planner.topology(), order(&round.to_string(), "a"));
        let restore = start.next_leg(&world).unwrap();
        let apply = planner.clone().next_leg(&world).unwrap();
        let stage = match restore.next(&world) {
            Next::Stage(stage) => *stage,
            Next::Done => {
                assert_ne!(cluster(&world), before);
                assert!(cuts > 4, "{cuts}");
                return;
            }
            Next::Blocked(findings) => panic!("{findings:?}"),
        };
        let open = round > 0 && stage.key.leg.restore || stage.key.rule == Rule::SetAside;
        if open {
            let Next::Blocked(findings) = apply.next(&world) else {
                panic!("apply goes on before {}", stage.key)
            };
            assert!(findings[0].is_of(&["restore-open"]), "{findings:?}");
        }
        world = match first_host(&stage) {
            // Only the first host carries it out.
            Some(cut) if round % 2 == 0 => {
                cuts += 1;
                restore.predict(&world, &cut)
            }
            _ => restore.predict(&world, &stage),
        };
    }
    panic!("it does not end");
}

fn first_host(stage: &Stage) -> Option<Stage> {
    let Work::Hosts(tasks) = &stage.work else {
        return None;
    };
    let (host, steps) = tasks.iter().next().filter(|_| tasks.len() > 1)?;
    Some(Stage {
        work: Work::Hosts([(host.clone(), steps.clone())].into()),
        postconditions: Vec::new(),
        ..stage.clone()
    })
}

/// On hosts that know nothing; every member's data is made before its first start, and by nothing
/// else.
#[test]
fn new_hosts_get_the_data_before_anything_starts() {
    let planner = worlds::planner(worlds::topology(3, ""));
    let restore = of(planner.topology(), order("1", "a"));
    let seen = worlds::bare(&restore);
    let start = restore.next_leg(&seen).unwrap();
    let forecast = start.forecast(&seen);
    let mut made = 0;
    for stage in &forecast.stages {
        let Work::Hosts(tasks) = &stage.work else {
            continue;
        };
        for steps in tasks.values() {
            let at = |is: fn(&HostStep) -> bool| steps.iter().position(is);
            let data = at(|step| matches!(step, HostStep::Restore(_)));
            // With a unit and without data a host that boots would begin an empty cluster.
            let starts = at(|step| matches!(step, HostStep::Enable(_) | HostStep::File(_)));
            if let Some(data) = data {
                assert!(starts.is_some_and(|starts| data < starts), "{steps:?}");
                made += 1;
            }
            let first = stage.key.rule == Rule::Bootstrap;
            assert_eq!(first, data.is_some(), "{}", stage.key);
        }
    }
    assert_eq!(made, 3);
}

/// The tool is fetched for as long as it takes, on hosts that have none beside their own etcd.
#[test]
fn hosts_without_a_tool_get_one_for_a_while() {
    let own = "binaries = { host = { directory = \"/usr/bin\" } }";
    let planner = worlds::planner(worlds::topology(3, own));
    let restore = of(planner.topology(), order("1", "a"));
    let mut seen = worlds::bare(&restore);
    let first = planner.topology().members[0].clone();
    let view = seen.hosts.get_mut(&first.host).unwrap();
    let files = &mut view.known_mut().unwrap().files;
    let tool = first.layout.binaries.join("etcdctl").unwrap();
    let there = FileView {
        kind: FileKind::File,
        mode: Mode::PROGRAM,
        owner: None,
        size: 1,
        sha256: None,
        text: None,
        modified: None,
    };
    files.insert(tool, there);
    let forecast = restore.next_leg(&seen).unwrap().forecast(&seen);
    let tasks = forecast
        .stages
        .iter()
        .filter_map(|stage| match &stage.work {
            Work::Hosts(tasks) if stage.key.rule == Rule::Bootstrap => Some(tasks),
            _ => None,
        });
    let mut fetched = 0;
    for (host, steps) in tasks.flatten() {
        let Some(at) = steps
            .iter()
            .position(|step| matches!(step, HostStep::Restore(_)))
        else {
            continue;
        };
        let HostStep::Restore(restored) = &steps[at] else {
            panic!("it is one")
        };
        let tools = restored.tools.as_str();
        if *host == first.host {
            assert_eq!(tools, "/usr/bin");
            continue;
        }
        assert_eq!(tools, "/var/lib/etcdup/tools");
        assert!(matches!(
            &steps[at - 1],
            HostStep::Binaries { links: None, .. }
        ));
        assert!(matches!(&steps[at + 1], HostStep::Remove(path) if path.as_str() == tools));
        fetched += 1;
    }
    assert_eq!(fetched, 2);
}

/// Some releases let whoever has a certificate ask how a member is, and refuse all else.
#[test]
fn a_snapshot_without_a_user_for_etcdup_says_so_before_it_ends() {
    let (planner, seen) = bootstrapped("");
    let restore = of(planner.topology(), order("1", "a"));
    let mut world = seen;
    for _ in 0..60 {
        let leg = restore.clone().next_leg(&world).unwrap();
        let stage = match leg.next(&world) {
            Next::Stage(stage) => *stage,
            Next::Done => panic!("it has ended"),
            Next::Blocked(findings) => {
                assert!(findings[0].is_of(&["etcd-auth-denied"]), "{findings:?}");
                return;
            }
        };
        assert_ne!(stage.key.rule, Rule::EndRestore);
        world = leg.predict(&world, &stage);
        if stage.key.rule == Rule::Bootstrap {
            let views = world.members.values_mut().filter_map(Observed::known_mut);
            for served in views.filter_map(|view| view.served.known_mut()) {
                served.denied = true;
            }
        }
    }
    panic!("it does not end");
}

/// The document says at which revision it was taken, and what was made is behind that.
#[test]
fn clients_stay_out_where_a_member_lacks_some_of_the_snapshot() {
    let (planner, mut world) = bootstrapped("");
    let mut more = order("1", "a");
    more.known.as_mut().unwrap().revision = 1000;
    let restore = of(planner.topology(), more);
    for _ in 0..60 {
        let leg = restore.clone().next_leg(&world).unwrap();
        match leg.next(&world) {
            Next::Stage(stage) => {
                assert_ne!(stage.key.rule, Rule::EndRestore);
                world = leg.predict(&world, &stage);
                for view in world.members.values_mut().filter_map(Observed::known_mut) {
                    view.revision = 999;
                }
            }
            Next::Done => panic!("it has ended"),
            Next::Blocked(findings) => {
                assert_eq!(findings.len(), 3, "{findings:?}");
                assert!(findings[0].is_of(&["restored-short"]), "{findings:?}");
                return;
            }
        }
    }
    panic!("it does not end");
}

/// A snapshot of a cluster that was full, or whose members differed, brings its alarms along.
/// Nobody waits for what cannot be disarmed while clients are kept out.
#[test]
fn the_alarms_of_a_snapshot_are_disarmed_before_clients_come_in() {
    let (planner, seen) = bootstrapped("");
    let restore = of(planner.topology(), order("1", "a"));
    let mut world = seen;
    let approved = restore.clone().next_leg(&world).unwrap().forecast(&world);
    let approved = Approval::of(&approved.stages, planner.topology());
    let (mut keys, mut raised) = (Vec::new(), false);
    for _ in 0..60 {
        let leg = restore.clone().next_leg(&world).unwrap();
        let stage = match leg.next(&world) {
            Next::Stage(stage) => *stage,
            Next::Done => break,
            Next::Blocked(findings) => panic!("{findings:?}"),
        };
        approved.covers(&stage, planner.topology()).unwrap();
        keys.push(stage.key.to_string());
        world = leg.predict(&world, &stage);
        // What they were made of holds it as soon as they serve.
        if stage.key.rule == Rule::Bootstrap && !raised {
            raised = true;
            let views = world.members.values_mut().filter_map(Observed::known_mut);
            for view in views {
                let alarms = ["memberID:77 alarm:NOSPACE ", "alarm:CORRUPT "];
                view.errors.extend(alarms.map(str::to_owned));
            }
        }
    }
    let rules = rules(&keys);
    let end = rules
        .iter()
        .position(|rule| *rule == "end-restore")
        .unwrap();
    assert_eq!(rules[end - 2..end], ["disarm", "disarm"], "{rules:?}");
    assert!(!rules[end..].contains(&"disarm"), "{rules:?}");
}

/// Nothing is stopped where it could not be restored: a snapshot of a newer or much older minor, a
/// release that cannot raise revisions, no room, a host that does not answer.
#[test]
fn what_cannot_be_restored_stops_nothing() {
    let (planner, seen) = bootstrapped("");
    let refused = |order: RestoreOrder, seen: &Observation| {
        blockers(&of(planner.topology(), order), seen).join(", ")
    };
    let of_release = |etcd: &str| {
        let mut order = order("1", "a");
        order.known.as_mut().unwrap().etcd = etcd.to_owned();
        order
    };
    for etcd in ["3.6.14", "3.3.27"] {
        assert_eq!(refused(of_release(etcd), &seen), "restore-release");
    }
    assert!(
        carried_out(&of(planner.topology(), of_release("3.4.23")), &seen)
            .0
            .len()
            > 3
    );
    let large = RestoreOrder {
        size: 1 << 50,
        ..order("1", "a")
    };
    assert!(refused(large, &seen).contains("restore-room"));
    // etcd's own quota: what fills it would take no write.
    let full = |mebibytes: u64| RestoreOrder {
        size: mebibytes << 20,
        ..order("1", "a")
    };
    assert_eq!(refused(full(2048), &seen), "restore-quota");
    let (keys, _) = carried_out(&of(planner.topology(), full(2047)), &seen);
    assert!(keys.len() > 3, "{keys:?}");
    // Members with quotas of their own are named, each that is too small.
    let one = worlds::planner(worlds::topology_of(
        "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n\
         [[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n\
         [[member]]\nname = \"m2\"\nhost = \"10.0.0.2\"\n\
         flags = { quota-backend-bytes = 1073741824 }\n",
    ));
    let there = scripted::carry_out(&one, worlds::bare(&one));
    let restore = of(one.topology(), full(1800));
    assert_eq!(blockers(&restore, &there), ["restore-quota"]);
    let mut away = seen.clone();
    let host = planner.topology().members[2].host.clone();
    away.hosts.insert(host, Observed::unknown("no route"));
    assert_eq!(refused(order("1", "a"), &away), "host-unseen");
    let old = worlds::planner(worlds::topology_of(
        "format = 1\ncluster = \"prod\"\netcd = \"3.4.23\"\n[[member]]\nname = \"m1\"\nhost = \"10.0.0.1\"\n",
    ));
    let bump = RestoreOrder {
        bump: true,
        ..of_release("3.4.23")
    };
    let restore = of(old.topology(), bump);
    assert_eq!(
        blockers(&restore, &worlds::bare(&restore)).join(", "),
        "restore-revision"
    );
}

/// An order that another went on with is not begun once more when it is taken up, nor is the other.
#[test]
fn what_has_ended_is_not_begun_by_an_order_that_is_taken_up() {
    let (planner, seen) = bootstrapped("");
    let again = |id: &str| {
        let order = RestoreOrder {
            again: true,
            ..order(id, "a")
        };
        of(planner.topology(), order)
    };
    let cut = until(&again("2"), &seen, Rule::EndRestore);
    let (keys, world) = carried_out(&again("3"), &cut);
    assert_eq!(rules(&keys)[0], "end-restore", "{keys:?}");
    for id in ["1", "2", "3"] {
        let (keys, _) = carried_out(&again(id), &world);
        assert!(keys.is_empty(), "order {id}: {keys:?}");
    }
}

/// `latest` may mean another one when the same command is run again.
#[test]
fn another_snapshot_is_not_begun_while_one_is_under_way() {
    let (planner, seen) = bootstrapped("");
    for rule in [Rule::SetAside, Rule::Bootstrap, Rule::EndRestore] {
        let cut = until(&of(planner.topology(), order("1", "a")), &seen, rule);
        let other = of(planner.topology(), order("2", "b"));
        assert_eq!(blockers(&other, &cut), ["restore-other"; 3], "{rule}");
        let again = RestoreOrder {
            again: true,
            ..order("3", "b")
        };
        let (keys, after) = carried_out(&of(planner.topology(), again), &cut);
        assert_eq!(rules(&keys)[0], "begin-restore", "{rule}");
        assert_ne!(cluster(&after), cluster(&seen));
    }
}

/// One host missed the end, and another lost its record: clients were let in meanwhile.
#[test]
fn an_end_that_any_host_remembers_is_the_end() {
    let (planner, seen) = bootstrapped("");
    let restore = of(planner.topology(), order("1", "a"));
    let (_, world) = carried_out(&restore, &seen);
    for phase in [RestorePhase::SettingAside, RestorePhase::Restoring] {
        let mut world = world.clone();
        let stale = record(&planner, &mut world, 2);
        stale.restore = stale.restore.as_ref().map(|one| one.at(phase));
        record(&planner, &mut world, 0).restore = None;
        for planner in [&of(planner.topology(), order("2", "a")), &restore, &planner] {
            let (keys, after) = carried_out(planner, &world);
            assert_eq!(keys, ["end-restore@g1"], "{phase:?}");
            assert_eq!(cluster(&after), cluster(&world));
        }
    }
}

/// Where a host forgot a restore whose members may have started, all is made as another cluster.
#[test]
fn a_lost_record_begins_another_generation() {
    let (planner, seen) = bootstrapped("");
    let restore = of(planner.topology(), order("1", "a"));
    let mut cut = until(&restore, &seen, Rule::EndRestore);
    let first = cluster(&cut);
    record(&planner, &mut cut, 0).restore = None;
    let (keys, world) = carried_out(&restore, &cut);
    assert_eq!(
        rules(&keys)[..2],
        ["begin-restore", "set-aside"],
        "{keys:?}"
    );
    assert_ne!(cluster(&world), first);
}

#[test]
fn no_client_is_let_in_by_a_url_of_the_users() {
    let (planner, seen) = bootstrapped("[flags]\nlisten-client-urls = \"https://0.0.0.0:4379\"");
    let restore = of(planner.topology(), order("1", "a"));
    let cut = until(&restore, &seen, Rule::EndRestore);
    for host in cut.hosts.values().filter_map(Observed::known) {
        for process in host.processes.values() {
            let listens = process.flags.get("listen-client-urls");
            assert_eq!(listens, Some("https://127.0.77.1:2379"));
        }
    }
}

#[test]
fn a_reset_gives_it_up_wherever_it_was_cut() {
    let rules = [Rule::SetAside, Rule::Forget, Rule::Bootstrap];
    for rule in rules {
        let (planner, seen) = bootstrapped("");
        let restore = of(planner.topology(), order("1", "a"));
        let cut = until(&restore, &seen, rule);
        let goal = Goal::Reset {
            wipe: false,
            cluster_id: None,
        };
        let reset = Planner::new(planner.topology().clone(), goal, None).unwrap();
        let leg = reset.next_leg(&cut).unwrap();
        let Next::Stage(stage) = leg.next(&cut) else {
            panic!("nothing is reset before {rule}")
        };
        let world = leg.predict(&cut, &stage);
        let apply = planner.clone().next_leg(&world).unwrap();
        if let Next::Blocked(findings) = apply.next(&world) {
            assert!(
                !findings[0].is_of(&["restore-open"]),
                "{rule}: {findings:?}"
            );
        }
    }
}

/// A host lost power between the log and the data, a disk of the cluster before came back, and a
/// log that cannot be read says nothing.
#[test]
fn what_lies_there_is_made_once_more_moved_aside_or_named() {
    let (planner, seen) = bootstrapped("[layout]\nwal = \"/wal\"");
    let restore = of(planner.topology(), order("1", "a"));
    let cut = until(&restore, &seen, Rule::Bootstrap);
    let member = planner.topology().members[1].clone();
    let host =
        |seen: &Observation| -> HostView { seen.hosts[&member.host].known().unwrap().clone() };
    let with = |seen: &Observation, view: HostView| {
        let mut seen = seen.clone();
        seen.hosts
            .insert(member.host.clone(), Observed::Known(view));
        seen
    };
    let mut torn = host(&cut);
    torn.logs.insert("/wal".parse().unwrap(), LogDir::Log);
    assert!(carried_out(&restore, &with(&cut, torn)).0.len() > 2);
    let mut back = host(&cut);
    let old = seen.hosts[&member.host].known().unwrap();
    back.data.clone_from(&old.data);
    back.logs.clone_from(&old.logs);
    let (keys, _) = carried_out(&restore, &with(&cut, back));
    assert_eq!(keys[0], "set-aside@g1@restore");
    let mut unreadable = host(&seen);
    unreadable
        .data
        .insert(member.layout.data.clone(), DataDir::Foreign);
    let found = blockers(&restore, &with(&seen, unreadable));
    assert_eq!(found, ["restore-unreadable"]);
}

/// A host that is gone for good is waited for no more once the file says so; taken out of it, the
/// member may still run there, and be another cluster's than the one that is restored.
#[test]
fn a_host_that_is_said_to_be_gone_keeps_nothing_from_being_restored() {
    let (planner, mut seen) = bootstrapped("");
    let gone = planner.topology().members[2].host.clone();
    seen.hosts.insert(gone, Observed::unknown("no route"));
    let name = planner.topology().members[2].name.clone();
    seen.members.insert(name, Observed::unknown("no route"));
    let out = of(&worlds::topology(2, ""), order("1", "a"));
    assert_eq!(blockers(&out, &seen), ["host-unseen"]);
    let said = "[[member]]\nname = \"m3\"\nhost = \"10.0.0.3\"\nabsent = \"gone\"";
    let said = of(&worlds::topology(2, said), order("1", "a"));
    let (keys, _) = carried_out(&said, &seen);
    assert_eq!(rules(&keys)[0], "begin-restore");
}
