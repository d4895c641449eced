//! What must always hold of `next` and `predict`, over random topologies, random worlds and random
//! failures of steps.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod worlds;

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::membership::bootstrap_quorum;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Next, Stage, Work};
use etcdup_planner::{Ending, Planner};
use proptest::prelude::*;
use proptest::sample::Index;

/// Something that goes wrong on the host of a member.
#[derive(Debug, Clone)]
enum Trouble {
    FileGone(Index),
    FileChanged(Index),
    Stopped,
    OtherFlag,
    OtherBinary,
    NotEnabled,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        any::<Index>().prop_map(Trouble::FileGone),
        any::<Index>().prop_map(Trouble::FileChanged),
        Just(Trouble::Stopped),
        Just(Trouble::OtherFlag),
        Just(Trouble::OtherBinary),
        Just(Trouble::NotEnabled),
    ]
}

fn befall(planner: &Planner, seen: &mut Observation, at: Index, trouble: &Trouble) {
    let member = &planner.topology().members[at.index(planner.topology().members.len())];
    let Some(Observed::Known(host)) = seen.hosts.get_mut(&member.host) else {
        return;
    };
    let ours: Vec<_> = host
        .files
        .keys()
        .filter(|path| !path.is_within(&member.layout.data))
        .cloned()
        .collect();
    match trouble {
        Trouble::FileGone(index) if !ours.is_empty() => {
            let gone = &ours[index.index(ours.len())];
            host.files.remove(gone);
            if *gone == member.layout.manifest {
                // The kubelet ends the pod whose manifest is gone.
                host.processes.remove(&member.name);
                host.listeners.clear();
                seen.members
                    .insert(member.name.clone(), Observed::unknown("stopped"));
            }
        }
        Trouble::FileChanged(index) if !ours.is_empty() => {
            if let Some(file) = host.files.get_mut(&ours[index.index(ours.len())]) {
                file.sha256 = Some("changed".into());
                file.mode = "777".parse().unwrap();
            }
        }
        Trouble::FileGone(_) | Trouble::FileChanged(_) => {}
        Trouble::Stopped => {
            host.processes.remove(&member.name);
            host.listeners.clear();
            seen.members
                .insert(member.name.clone(), Observed::unknown("stopped"));
        }
        Trouble::OtherFlag => {
            if let Some(process) = host.processes.get_mut(&member.name) {
                process.flags.set("snapshot-count", "1");
            }
        }
        Trouble::OtherBinary => {
            if let Some(process) = host.processes.get_mut(&member.name) {
                process.exe = "/usr/bin/etcd".into();
            }
        }
        Trouble::NotEnabled => host
            .units
            .values_mut()
            .for_each(|unit| unit.enabled = false),
    }
}

/// The stage as it works out when only these hosts do their part.
fn partly(stage: &Stage, works: &[bool]) -> Stage {
    let mut part = stage.clone();
    if let Work::Hosts(tasks) = &stage.work {
        let kept: BTreeMap<_, _> = tasks
            .iter()
            .enumerate()
            .filter(|(index, _)| works.get(*index).copied().unwrap_or(true))
            .map(|(_, (host, steps))| (host.clone(), steps.clone()))
            .collect();
        part.work = Work::Hosts(kept);
    }
    part
}

/// The members that a stage stops.
fn stopped(planner: &Planner, stage: &Stage) -> BTreeSet<MemberName> {
    stage.stops(planner.topology())
}

fn serving(seen: &Observation) -> BTreeSet<MemberName> {
    seen.members
        .keys()
        .filter(|name| seen.serves(name))
        .cloned()
        .collect()
}

/// Carries out the plan, some hosts failing in each stage, until it ends; checks every stage on the
/// way.
fn run(
    planner: &Planner,
    seen: Observation,
    failures: &[Vec<bool>],
) -> Result<Observation, TestCaseError> {
    let mut world = seen;
    let mut failures = failures.iter();
    for _ in 0..60 {
        let stage = match planner.next(&world) {
            Next::Done => return Ok(world),
            Next::Blocked(findings) => {
                return Err(TestCaseError::fail(format!("blocked: {findings:?}")));
            }
            Next::Stage(stage) => *stage,
        };
        prop_assert!(!stage.why.is_empty(), "{} has no reason", stage.key);
        let quorum = bootstrap_quorum(planner.topology());
        let before = serving(&world);
        let left = before.difference(&stopped(planner, &stage)).count();
        if planner.topology().members.len() > 2 && before.len() >= quorum {
            prop_assert!(left >= quorum, "{} leaves {left} of {before:?}", stage.key);
        }
        let part = match failures.next() {
            Some(works) => partly(&stage, works),
            None => stage,
        };
        world = planner.predict(&world, &part);
    }
    Err(TestCaseError::fail("it does not end"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// From bare hosts or a troubled cluster, with steps failing at random, it ends; a finished
    /// world plans nothing; and a quorum that serves is never spent.
    #[test]
    fn it_ends_and_never_spends_the_quorum(
        members in 1_usize..8,
        plain in any::<bool>(),
        pods in any::<bool>(),
        born in any::<bool>(),
        troubles in proptest::collection::vec((any::<Index>(), trouble()), 0..6),
        failures in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 8), 0..6),
    ) {
        let head = if plain { "security = { client = \"plain\", peer = \"plain\", allow-plain = true }" } else { "" };
        let runtime = if pods { "runtime = \"static-pod\"\n" } else { "" };
        let planner = worlds::planner(worlds::topology(members, &format!("{runtime}{head}")));
        let mut seen = worlds::bare(&planner);
        if born {
            seen = run(&planner, seen, &[])?;
            for (at, trouble) in &troubles {
                befall(&planner, &mut seen, *at, trouble);
            }
        }
        let done = run(&planner, seen, &failures)?;
        prop_assert_eq!(planner.next(&done), Next::Done);
        prop_assert!(planner.forecast(&done).stages.is_empty());
        prop_assert_eq!(serving(&done).len(), members);
    }

    /// A forecast ends without a circle, from any troubled world.
    #[test]
    fn a_forecast_has_no_circle(
        members in 1_usize..6,
        pods in any::<bool>(),
        troubles in proptest::collection::vec((any::<Index>(), trouble()), 0..8),
    ) {
        let runtime = if pods { "runtime = \"static-pod\"" } else { "" };
        let planner = worlds::planner(worlds::topology(members, runtime));
        let mut seen = run(&planner, worlds::bare(&planner), &[])?;
        for (at, trouble) in &troubles {
            befall(&planner, &mut seen, *at, trouble);
        }
        prop_assert_eq!(planner.forecast(&seen).ending, Ending::Done);
    }

    /// A file of three over a cluster of five: whatever differs and whoever is unhealthy, nobody is
    /// stopped whom the cluster's own list needs, and what the file does not have is named.
    #[test]
    fn a_file_of_three_over_a_cluster_of_five_counts_by_the_clusters_list(
        unhealthy in proptest::collection::vec(any::<Index>(), 0..4),
        troubles in proptest::collection::vec((any::<Index>(), trouble()), 0..6),
    ) {
        let five = worlds::planner(worlds::topology(5, ""));
        let mut seen = run(&five, worlds::bare(&five), &[])?;
        let three = worlds::planner(worlds::topology(3, ""));
        for (at, trouble) in &troubles {
            befall(&three, &mut seen, *at, trouble);
        }
        for at in &unhealthy {
            let name = five.topology().members[at.index(5)].name.clone();
            seen.members.insert(name, Observed::unknown("no leader"));
        }
        let healthy = serving(&seen).len();
        match three.next(&seen) {
            Next::Stage(stage) => {
                let left = healthy - stopped(&three, &stage).intersection(&serving(&seen)).count();
                prop_assert!(healthy < 3 || left >= 3, "{} leaves {left} of five", stage.key);
            }
            Next::Blocked(findings) => {
                let known = serving(&seen).is_empty()
                    || findings.iter().any(|finding| finding.id == "member-not-in-file")
                    || findings.iter().any(|finding| finding.id == "data-other-cluster");
                prop_assert!(known, "{findings:?}");
            }
            Next::Done => return Err(TestCaseError::fail("it claims to be done")),
        }
    }

    /// A member that runs and was merely not seen is never restarted for it, whatever else differs.
    #[test]
    fn a_running_member_that_was_not_seen_is_not_restarted(
        members in 1_usize..6,
        hidden in proptest::collection::vec(any::<Index>(), 1..6),
        troubles in proptest::collection::vec((any::<Index>(), trouble()), 0..6),
    ) {
        let planner = worlds::planner(worlds::topology(members, ""));
        let mut seen = run(&planner, worlds::bare(&planner), &[])?;
        for (at, trouble) in &troubles {
            befall(&planner, &mut seen, *at, trouble);
        }
        for at in &hidden {
            let name = planner.topology().members[at.index(members)].name.clone();
            seen.members.insert(name, Observed::unknown("no answer within 5 s"));
        }
        if let Next::Stage(stage) = planner.next(&seen) {
            for name in stopped(&planner, &stage) {
                let member = planner.topology().member(&name).unwrap();
                let runs = seen.host(&member.host).is_some_and(|host| host.processes.contains_key(&name));
                prop_assert!(!runs || seen.member(&name).is_some(), "{} stops {name}, which runs unseen", stage.key);
            }
        }
    }

    /// With hosts unseen no cluster is begun, and one that has formed is managed only where most
    /// hosts answer: what is unseen is not touched, no quorum is spent, and the end names the hosts
    /// that are away.
    #[test]
    fn what_is_unseen_is_not_touched(
        members in 1_usize..8,
        hidden in proptest::collection::vec(any::<Index>(), 1..4),
        born in any::<bool>(),
        troubles in proptest::collection::vec((any::<Index>(), trouble()), 0..6),
    ) {
        let planner = worlds::planner(worlds::topology(members, ""));
        let mut seen = worlds::bare(&planner);
        if born {
            seen = run(&planner, seen, &[])?;
            for (at, trouble) in &troubles {
                befall(&planner, &mut seen, *at, trouble);
            }
        }
        let away: BTreeSet<_> = hidden.iter().map(|at| planner.topology().members[at.index(members)].host.clone()).collect();
        for member in planner.topology().members.iter().filter(|member| away.contains(&member.host)) {
            seen.hosts.insert(member.host.clone(), Observed::unknown("no route"));
            seen.members.insert(member.name.clone(), Observed::unknown("no route"));
        }
        let most = (members - away.len()) * 2 > members;
        let mut world = seen;
        for _ in 0..60 {
            let stage = match planner.next(&world) {
                Next::Stage(stage) => *stage,
                Next::Done => return Err(TestCaseError::fail("it claims to be done")),
                Next::Blocked(findings) => {
                    let named = findings.iter().filter(|finding| finding.id == "host-unseen").count();
                    prop_assert_eq!(named, away.len());
                    return Ok(());
                }
            };
            prop_assert!(born && most, "{} begins with {away:?} unseen", stage.key);
            if let Work::Hosts(tasks) = &stage.work {
                prop_assert!(tasks.keys().all(|host| !away.contains(host)), "{} touches what is unseen", stage.key);
            }
            let before = serving(&world);
            let left = before.difference(&stopped(&planner, &stage)).count();
            let quorum = bootstrap_quorum(planner.topology());
            prop_assert!(before.len() < quorum || left >= quorum, "{} leaves {left} of {before:?}", stage.key);
            world = planner.predict(&world, &stage);
        }
        prop_assert!(false, "it does not end");
    }
}
