//! Transport security turned on and off against a model of who can dial whom: whatever is edited,
//! cut or loses power on the way, no quorum is spent, clients are served, and it ends.
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

/// What the file says of clients, of what their port serves besides, and of peers.
type Said = (&'static str, Option<&'static str>, &'static str);

const PEERS: [&str; 3] = ["plain", "tls", "mutual"];
/// What clients go through, each a step from the one before.
const CLIENTS: [(&str, Option<&str>); 4] = [
    ("plain", None),
    ("plain", Some("mutual")),
    ("mutual", Some("plain")),
    ("mutual", None),
];

fn planner(members: usize, pods: bool, said: Said) -> &'static Planner {
    static PLANNERS: LazyLock<BTreeMap<(usize, bool, Said), Planner>> = LazyLock::new(|| {
        let mut planners = BTreeMap::new();
        for members in 1..6 {
            for pods in [false, true] {
                for (client, also) in CLIENTS {
                    for peer in PEERS {
                        let runtime = if pods { "static-pod" } else { "systemd" };
                        let besides = also
                            .map_or(String::new(), |also| format!("client-also = \"{also}\"\n"));
                        let head = format!(
                            "runtime = \"{runtime}\"\n[security]\nclient = \"{client}\"\n{besides}\
                             peer = \"{peer}\"\nallow-plain = true\n"
                        );
                        let planner = worlds::planner(worlds::topology(members, &head));
                        planners.insert((members, pods, (client, also, peer)), planner);
                    }
                }
            }
        }
        planners
    });
    &PLANNERS[&(members, pods, said)]
}

fn said(clients: usize, peers: usize) -> Said {
    let (client, also) = CLIENTS[clients];
    (client, also, PEERS[peers])
}

/// The scheme by which clients are served all the way from one to the other.
fn kept(from: usize, to: usize) -> Option<&'static str> {
    match (from.min(to), from.max(to)) {
        (_, 0..=2) => Some("http:"),
        (1.., _) => Some("https:"),
        (0, _) => None,
    }
}

proptest! {
    // Few things can differ here: a quarter of the worlds finds what all of them do.
    #![proptest_config(ProptestConfig { cases: cases() / 4 + 1, ..ProptestConfig::default() })]

    /// From any to any, a step at a time for clients: every stage has the effect that was
    /// predicted.
    #[test]
    fn every_way_is_as_it_is_predicted(
        members in 1_usize..6,
        pods in any::<bool>(),
        from in (0_usize..4, 0_usize..3),
        to in (0_usize..4, 0_usize..3),
    ) {
        let first = planner(members, pods, said(from.0, from.1));
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        let mut clients = from.0;
        loop {
            let next = match clients.cmp(&to.0) {
                std::cmp::Ordering::Less => clients + 1,
                std::cmp::Ordering::Equal => clients,
                std::cmp::Ordering::Greater => clients - 1,
            };
            model.clients = kept(clients, next);
            prop_assert!(model.clients.is_some());
            to_the_end(planner(members, pods, said(next, to.1)), &mut model)?;
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
            if next == to.0 {
                break;
            }
            clients = next;
        }
        prop_assert_eq!(model.healthy().len(), members);
    }

    /// Edits in the middle, cuts and power: once all is on and the file stays, it ends there.
    #[test]
    fn whatever_happens_on_the_way_it_ends(
        members in 3_usize..6,
        pods in any::<bool>(),
        from in (0_usize..4, 0_usize..3),
        events in proptest::collection::vec(event((any::<bool>(), 0_usize..3)), 1..10),
    ) {
        let (mut clients, mut peers) = from;
        let first = planner(members, pods, said(clients, peers));
        let mut model = Model::new(first);
        to_the_end(first, &mut model)?;
        for event in events {
            let planner = planner(members, pods, said(clients, peers));
            if let Some((up, other)) = happens(planner, &mut model, event)? {
                // Clients have a URL in common with the step before once all are there.
                let (_, seen) = model.observe(planner);
                if matches!(planner.clone().next_leg(&seen).unwrap().next(&seen), Next::Done) {
                    let next = if up { (clients + 1).min(3) } else { clients.saturating_sub(1) };
                    model.clients = kept(clients, next);
                    clients = next;
                }
                peers = other;
            }
            prop_assert_eq!(&model.lost, &Vec::<String>::new());
        }
        (0..members).for_each(|index| model.power_on(index));
        model.settle();
        run(planner(members, pods, said(clients, peers)), &mut model, false)?;
        prop_assert_eq!(&model.lost, &Vec::<String>::new());
        prop_assert_eq!(model.healthy().len(), members);
    }
}
