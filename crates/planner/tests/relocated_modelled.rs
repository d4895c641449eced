//! Members taken elsewhere on their hosts against the model: whatever is edited, cut or loses power
//! on the way, no data is left behind, no two etcds run on it, no quorum is spent, and it ends.
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

use etcdup_core::path::HostPath;
use etcdup_planner::Planner;
use model::Model;
use model::runs::{Event, cases, event, happens, run, to_the_end};
use proptest::prelude::*;

/// Where the file has members: what runs them, what its layout says, and what peers speak.
type Said = (usize, usize, usize);

const RUNTIMES: [&str; 2] = ["systemd", "static-pod"];
const LAYOUTS: [&str; 6] = [
    "",
    "wal = \"/fast/kv\"",
    "data = \"/srv/other\"\nwal = \"/fast/other\"",
    "data = \"/srv/kv\"",
    "unit = \"kv\"\nuser = \"kv\"\ncertificates = \"/etc/kv\"",
    "data = \"/srv/other\"\nunit = \"kv\"",
];
const PEERS: [&str; 2] = ["mutual", "plain"];

fn said() -> impl Strategy<Value = Said> {
    (0..RUNTIMES.len(), 0..LAYOUTS.len(), 0..PEERS.len())
}

fn planner(members: usize, said: Said) -> &'static Planner {
    static PLANNERS: LazyLock<BTreeMap<(usize, Said), Planner>> = LazyLock::new(|| {
        let mut planners = BTreeMap::new();
        for members in 1..6 {
            for (runtime, name) in RUNTIMES.iter().enumerate() {
                for (layout, text) in LAYOUTS.iter().enumerate() {
                    for (peer, peers) in PEERS.iter().enumerate() {
                        let head = format!(
                            "runtime = \"{name}\"\n[security]\npeer = \"{peers}\"\n\
                             allow-plain = true\n[layout]\n{text}\n"
                        );
                        let planner = worlds::planner(worlds::topology(members, &head));
                        planners.insert((members, (runtime, layout, peer)), planner);
                    }
                }
            }
        }
        planners
    });
    &PLANNERS[&(members, said)]
}

proptest! {
    // Few things can differ here: a quarter of the worlds finds what all of them do.
    #![proptest_config(ProptestConfig { cases: cases() / 4 + 1, ..ProptestConfig::default() })]

    /// From any place to any other: every stage has the effect that was predicted.
    #[test]
    fn every_way_is_as_it_is_predicted(
        members in 1_usize..6,
        places in proptest::collection::vec(said(), 2..4),
    ) {
        let mut model = Model::new(planner(members, places[0]));
        for place in places {
            to_the_end(planner(members, place), &mut model)?;
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
            prop_assert_eq!(model.healthy().len(), members);
        }
    }

    /// Edits in the middle, cuts and power: once all is on and the file stays, it ends there.
    #[test]
    fn whatever_happens_on_the_way_it_ends(
        members in 3_usize..6,
        first in said(),
        events in proptest::collection::vec(event(said()), 1..10),
    ) {
        let mut said = first;
        let mut model = Model::new(planner(members, said));
        to_the_end(planner(members, said), &mut model)?;
        for event in events {
            if let Some(other) = happens(planner(members, said), &mut model, event)? {
                said = other;
            }
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        (0..members).for_each(|index| model.power_on(index));
        model.settle();
        run(planner(members, said), &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
        for machine in &model.machines {
            prop_assert!(machine.is_at(planner(members, said).topology()));
            prop_assert_eq!(machine.unpaired(), Vec::<&HostPath>::new());
        }
    }
}

/// Files of another user, of which a cut leaves the new key beside the old certificate: the record
/// says that the certificate is not the one that was meant, and both are issued again.
#[test]
fn a_key_without_its_certificate_is_not_kept() {
    let (first, then) = ((1, 4, 0), (0, 4, 0));
    for after in 0..12 {
        let mut model = Model::new(planner(3, first));
        to_the_end(planner(3, first), &mut model).unwrap();
        for after in [1, after] {
            happens(planner(3, then), &mut model, Event::<()>::Cut(0, after)).unwrap();
        }
        run(planner(3, then), &mut model, false).unwrap();
        assert_eq!(model.machines[0].unpaired(), Vec::<&HostPath>::new());
    }
}
