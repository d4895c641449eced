//! Changes of the release against the model of etcd: whatever is edited, cut or loses power on the
//! way, no member starts that etcd would not let in, no quorum is spent, and it ends.
//!
//! `ETCDUP_WORLDS` says how many worlds each property looks at.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod model;
mod worlds;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use etcdup_core::stage::{Goal, Next, Rule};
use etcdup_planner::Planner;
use model::Model;
use model::runs::{cases, event, happens, run, to_the_end};
use proptest::prelude::*;

/// What a file may say.
const VERSIONS: [&str; 8] = [
    "3.4.23", "3.4.45", "3.5.30", "3.5.33", "3.6.5", "3.6.16", "3.7.1", "3.7.3",
];

fn minor(version: &str) -> u64 {
    version.split('.').nth(1).unwrap().parse().unwrap()
}

/// Whether etcd has a way from one to the other: down from 3.6 on only.
fn leads(from: &str, to: &str) -> bool {
    minor(to) >= minor(from) || minor(to) >= 5
}

fn planner(members: usize, pods: bool, version: &'static str) -> &'static Planner {
    static PLANNERS: LazyLock<BTreeMap<(usize, bool, &'static str), Planner>> =
        LazyLock::new(|| {
            let all = (1..6).flat_map(|members| {
                let runtimes = [false, true].into_iter();
                runtimes.flat_map(move |pods| VERSIONS.map(|version| (members, pods, version)))
            });
            all.map(|(members, pods, version)| {
                let runtime = if pods {
                    "runtime = \"static-pod\"\n"
                } else {
                    ""
                };
                let members_text: String = (1..=members)
                    .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
                    .collect();
                let text = format!(
                    "format = 1\ncluster = \"prod\"\netcd = \"{version}\"\n{runtime}{members_text}"
                );
                let planner = worlds::planner(worlds::topology_of(&text));
                ((members, pods, version), planner)
            })
            .collect()
        });
    &PLANNERS[&(members, pods, version)]
}

fn version() -> impl Strategy<Value = &'static str> {
    prop::sample::select(VERSIONS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// From any release to any that etcd has a way to: every stage has the effect that was
    /// predicted, and the end is what the file says.
    #[test]
    fn every_way_is_as_it_is_predicted(
        members in 1_usize..6,
        pods in any::<bool>(),
        from in version(),
        to in version(),
    ) {
        prop_assume!(leads(from, to));
        let first = planner(members, pods, from);
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        to_the_end(planner(members, pods, to), &mut model)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        prop_assert_eq!(model.versions(), vec![to.to_owned()]);
    }

    /// Edits in the middle, cuts and power: no member is started that etcd would refuse, and once
    /// all is on and the file stays, it ends there.
    #[test]
    fn whatever_happens_on_the_way_it_ends(
        members in 3_usize..6,
        pods in any::<bool>(),
        from in version(),
        to in version(),
        events in proptest::collection::vec(event(version()), 1..8),
        last in version(),
    ) {
        let first = planner(members, pods, from);
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        let mut wanted = to;
        for event in events {
            let planner = planner(members, pods, wanted);
            wanted = happens(planner, &mut model, event)?.unwrap_or(wanted);
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        (0..members).for_each(|index| model.power_on(index));
        model.settle();
        // What the cluster is of by now may have no way to what the file says last: then all go on
        // to the highest that runs.
        let highest = model.versions().into_iter().max_by_key(|one| minor(one)).unwrap();
        let last = if leads(&highest, last) { last } else { VERSIONS[7] };
        run(planner(members, pods, last), &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        prop_assert_eq!(model.versions(), vec![last.to_owned()]);
    }

    /// One member does not come up with a release: it gets the one back that it ran, serves, and is
    /// not tried again by itself. Edited back, or tried once more, it ends as the file says.
    #[test]
    fn a_release_that_does_not_start_is_put_back(
        members in 3_usize..6,
        pods in any::<bool>(),
        from in version(),
        to in version(),
        index in 0_usize..5,
        back in any::<bool>(),
    ) {
        prop_assume!(from != to && leads(from, to));
        let first = planner(members, pods, from);
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        let refusing = index % members;
        model.machines[refusing].refuses = Some(to);
        let ran = until_put_back(planner(members, pods, to), &mut model)?;
        let Some(ran) = ran else { return Ok(()) };
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        let findings = loop {
            let (leg, seen) = model.observe(planner(members, pods, to));
            match leg.next(&seen) {
                Next::Blocked(findings) => break findings,
                // What the release needs and what is recorded comes before it.
                Next::Stage(stage) if stage.key.rule != Rule::Roll => {
                    model.carry_out(&leg, &stage, &BTreeMap::new());
                }
                next => return Err(TestCaseError::fail(format!("it goes on: {next:?}"))),
            }
        };
        let failed = findings.iter().any(|one| one.id.as_str() == "version-failed");
        prop_assert!(failed, "{findings:?}");
        let end = if back {
            run(planner(members, pods, ran), &mut model, true)?;
            ran
        } else {
            model.machines[refusing].refuses = None;
            let topology = planner(members, pods, to).topology().clone();
            let goal = Goal::Converge { allow_outage: true, retry: true };
            let again = Planner::new(topology, goal, None).unwrap();
            run(&again, &mut model, true)?;
            to
        };
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        prop_assert_eq!(model.versions(), vec![end.to_owned()]);
    }
}

/// Carries stages out until a member does not come up and is put back, as the executor does; the
/// release that it ran. None where it was the last to change minors: the cluster may be of the new
/// one by then.
fn until_put_back(
    planner: &Planner,
    model: &mut Model,
) -> Result<Option<&'static str>, TestCaseError> {
    for _ in 0..80 {
        let (planner, before) = model.observe(planner);
        let stage = match planner.next(&before) {
            Next::Stage(stage) => stage,
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        model.carry_out(&planner, &stage, &BTreeMap::new());
        let stopped = stage.key.subject.as_ref();
        let stopped = stopped.filter(|_| stage.key.rule == Rule::Roll);
        let seen = model.observe_hosts(planner.topology());
        if stopped.is_some_and(|name| !seen.serves(name)) {
            let back = planner.put_back(&stage, &before, &seen);
            let Some(back) = back else {
                let ran = model.versions();
                let wanted = minor(&planner.topology().version.to_string());
                prop_assert!(ran.iter().all(|one| minor(one) == wanted), "{ran:?}");
                return Ok(None);
            };
            model.carry_out(&planner, &back.stage, &BTreeMap::new());
            let ran = back.ran.to_string();
            let known = VERSIONS.into_iter().find(|version| *version == ran);
            let known = known.ok_or_else(|| TestCaseError::reject("a release on the way"))?;
            return Ok(Some(known));
        }
    }
    Err(TestCaseError::fail("no member failed"))
}
