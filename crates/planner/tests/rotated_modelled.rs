//! Changes of the CA against a model of TLS: whatever is edited, cut or loses power on the way, no
//! member that runs refuses another or the client, no quorum is spent, and it ends.
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

use etcdup_core::stage::Next;
use etcdup_planner::Planner;
use model::Model;
use model::runs::{cases, event, happens, run, to_the_end};
use proptest::prelude::*;

/// What the file and the files beside it may say: which CA issues, which is trusted too, and
/// whether the key of that one is here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Old,
    OldTrustsNew,
    NewTrustsOld,
    NewTrustsOldWithoutKey,
    New,
}

const ALL: [Said; 5] = [
    Said::Old,
    Said::OldTrustsNew,
    Said::NewTrustsOld,
    Said::NewTrustsOldWithoutKey,
    Said::New,
];

impl Said {
    fn say(self, model: &mut Model) {
        let (own, trusted) = match self {
            Self::Old => ("ca", vec![]),
            Self::OldTrustsNew => ("ca", vec![("new", true)]),
            Self::NewTrustsOld => ("new", vec![("ca", true)]),
            Self::NewTrustsOldWithoutKey => ("new", vec![("ca", false)]),
            Self::New => ("new", vec![]),
        };
        model.authorities.own = own;
        model.authorities.trusted = trusted;
    }

    /// What leads there from wherever members trust either.
    fn before(self) -> Self {
        match self {
            Self::Old | Self::OldTrustsNew => Self::OldTrustsNew,
            Self::New | Self::NewTrustsOld | Self::NewTrustsOldWithoutKey => Self::NewTrustsOld,
        }
    }
}

fn planner(members: usize, pods: bool, said: Said) -> &'static Planner {
    type Key = (usize, bool, bool);
    static PLANNERS: LazyLock<BTreeMap<Key, Planner>> = LazyLock::new(|| {
        let mut planners = BTreeMap::new();
        for members in 1..6 {
            for pods in [false, true] {
                for trusts in [false, true] {
                    let runtime = if pods { "static-pod" } else { "systemd" };
                    let trust = if trusts {
                        "trust = [\"other.crt\"]"
                    } else {
                        ""
                    };
                    let head = format!(
                        "runtime = \"{runtime}\"\n[certificates]\nclients = [{{ name = \"kube\" }}]\n{trust}\n"
                    );
                    let planner = worlds::planner(worlds::topology(members, &head));
                    planners.insert((members, pods, trusts), planner);
                }
            }
        }
        planners
    });
    let trusts = !matches!(said, Said::Old | Said::New);
    &PLANNERS[&(members, pods, trusts)]
}

fn said() -> impl Strategy<Value = Said> {
    prop::sample::select(ALL.to_vec())
}

proptest! {
    // Few things can differ here: a quarter of the worlds finds what all of them do.
    #![proptest_config(ProptestConfig { cases: cases() / 4 + 1, ..ProptestConfig::default() })]

    /// From the old CA to the new one, and back: every stage has the effect that was predicted.
    #[test]
    fn a_new_ca_comes_as_it_is_predicted(
        members in 1_usize..6,
        pods in any::<bool>(),
        key in any::<bool>(),
        back in any::<bool>(),
    ) {
        let first = planner(members, pods, Said::Old);
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        let both = if key { Said::NewTrustsOld } else { Said::NewTrustsOldWithoutKey };
        let mut way = vec![both, Said::New];
        if back {
            way = vec![both, Said::OldTrustsNew, Said::Old];
        }
        for said in way {
            said.say(&mut model);
            to_the_end(planner(members, pods, said), &mut model)?;
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        prop_assert_eq!(model.healthy().len(), members);
        let last = if back { "ca" } else { "new" };
        prop_assert_eq!(model.issuers(), vec![last.to_owned()]);
    }

    /// Edits in the middle, cuts and power: no one is refused, and once all is on and the file has
    /// led through both, it ends where the file says.
    #[test]
    fn whatever_happens_on_the_way_it_ends(
        members in 3_usize..6,
        pods in any::<bool>(),
        events in proptest::collection::vec(event(said()), 1..10),
        last in said(),
    ) {
        let mut said = Said::Old;
        let first = planner(members, pods, said);
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        for event in events {
            if let Some(other) = happens(planner(members, pods, said), &mut model, event)? {
                said = other;
                said.say(&mut model);
            }
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        (0..members).for_each(|index| model.power_on(index));
        model.settle();
        for said in [last.before(), last] {
            said.say(&mut model);
            run(planner(members, pods, said), &mut model, false)?;
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        prop_assert_eq!(model.healthy().len(), members);
        let (_, seen) = model.observe(planner(members, pods, last));
        let done = planner(members, pods, last).next(&seen);
        prop_assert!(matches!(done, Next::Done), "{:?}", done);
        let issuer = if last.before() == Said::OldTrustsNew { "ca" } else { "new" };
        prop_assert_eq!(model.issuers(), vec![issuer.to_owned()]);
    }
}
