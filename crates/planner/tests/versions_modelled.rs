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
}
