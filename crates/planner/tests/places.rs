//! How members stand with the cluster, by its list, their records and their data.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::membership::{MemberId, Standing};
use etcdup_core::observation::{DataDir, ListedMember, Observation};
use etcdup_core::observed::Observed;
use etcdup_planner::Planner;
use scripted::{bootstrapped, halt, host, view};
use worlds::{bare, planner as plans, topology};

/// Changes the list that every member gives.
fn relist(planner: &Planner, seen: &mut Observation, change: impl Fn(&mut Vec<ListedMember>)) {
    for member in planner.topology().members.clone() {
        if seen.member(&member.name).is_some() {
            change(&mut view(seen, &member).listed);
        }
    }
}

fn standing(planner: &Planner, seen: &Observation, index: usize) -> Standing {
    planner.places(seen)[index].standing.clone()
}

fn id(planner: &Planner, seen: &Observation, index: usize) -> MemberId {
    let name = &planner.topology().members[index].name;
    seen.member(name).unwrap().id
}

#[test]
fn before_a_bootstrap_all_are_new() {
    let planner = plans(topology(3, ""));
    let seen = bare(&planner);
    for index in 0..3 {
        assert_eq!(standing(&planner, &seen, index), Standing::New);
    }
}

#[test]
fn who_serves_votes_and_who_is_down_votes_unhealthily() {
    let (planner, mut seen) = bootstrapped("");
    let third = id(&planner, &seen, 2);
    let healthy = |healthy| Standing::Voter { id: third, healthy };
    assert_eq!(standing(&planner, &seen, 2), healthy(true));
    halt(&planner, &mut seen, 2);
    assert_eq!(standing(&planner, &seen, 2), healthy(false));
    let host = planner.topology().members[2].host.clone();
    seen.hosts
        .insert(host, Observed::unknown("no route to host"));
    assert_eq!(
        standing(&planner, &seen, 2),
        healthy(false),
        "listed, whatever its host says"
    );
}

/// The list says added, or learner, before the member itself can answer.
#[test]
fn a_member_that_was_added_is_told_from_one_that_was_bootstrapped() {
    let (planner, mut seen) = bootstrapped("");
    let third = id(&planner, &seen, 2);
    let member = planner.topology().members[2].clone();
    halt(&planner, &mut seen, 2);
    let bare = host(&mut seen, &member);
    bare.data
        .insert(member.layout.data.clone(), DataDir::Absent);
    bare.record = Observed::Known(None);
    relist(&planner, &mut seen, |listed| {
        listed[2].client_urls.clear();
    });
    assert_eq!(standing(&planner, &seen, 2), Standing::Bootstrapped(third));
    for learner in [false, true] {
        relist(&planner, &mut seen, |listed| {
            listed[2].name.clear();
            listed[2].learner = learner;
        });
        let added = Standing::Added { id: third, learner };
        assert_eq!(standing(&planner, &seen, 2), added);
        assert_eq!(added.is_learner(), learner);
    }
}

#[test]
fn a_learner_is_so_many_entries_behind_and_unknown_while_it_is_silent() {
    let (planner, mut seen) = bootstrapped("");
    let third = id(&planner, &seen, 2);
    relist(&planner, &mut seen, |listed| listed[2].learner = true);
    let members = planner.topology().members.clone();
    for (member, index) in members.iter().zip([500, 500, 120]) {
        view(&mut seen, member).raft_index = index;
    }
    let behind = |behind| Standing::Learner { id: third, behind };
    assert_eq!(standing(&planner, &seen, 2), behind(Some(380)));
    seen.members
        .insert(members[2].name.clone(), Observed::unknown("refused"));
    assert_eq!(standing(&planner, &seen, 2), behind(None));
}

#[test]
fn lost_data_outweighs_what_the_list_says() {
    let (planner, mut seen) = bootstrapped("");
    let third = id(&planner, &seen, 2);
    let member = planner.topology().members[2].clone();
    halt(&planner, &mut seen, 2);
    host(&mut seen, &member)
        .data
        .insert(member.layout.data.clone(), DataDir::Empty);
    match standing(&planner, &seen, 2) {
        Standing::Lost {
            id: Some(lost),
            why,
        } => {
            assert_eq!(lost, third);
            assert!(why.contains("empty or missing"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_left_the_list_was_removed_whether_or_not_it_still_runs() {
    let (planner, mut seen) = bootstrapped("");
    let member = planner.topology().members[2].clone();
    seen.members
        .insert(member.name.clone(), Observed::unknown("refused"));
    relist(&planner, &mut seen, |listed| {
        listed.remove(2);
    });
    let removed = |runs, data| Standing::Removed { runs, data };
    assert_eq!(standing(&planner, &seen, 2), removed(true, true));
    halt(&planner, &mut seen, 2);
    assert_eq!(standing(&planner, &seen, 2), removed(false, true));
    host(&mut seen, &member)
        .data
        .insert(member.layout.data.clone(), DataDir::Absent);
    assert_eq!(
        standing(&planner, &seen, 2),
        removed(false, false),
        "its record remains"
    );
    host(&mut seen, &member).record = Observed::Known(None);
    assert_eq!(standing(&planner, &seen, 2), Standing::New);
}

#[test]
fn a_listed_member_that_no_file_names_is_unmanaged() {
    let (planner, mut seen) = bootstrapped("");
    relist(&planner, &mut seen, |listed| {
        let mut fourth = listed[2].clone();
        fourth.id = MemberId::new(4);
        fourth.name.clear();
        fourth.peer_urls = vec!["https://10.0.0.99:2380".to_owned()];
        listed.push(fourth);
    });
    let places = planner.places(&seen);
    assert_eq!(places.len(), 4);
    assert_eq!(places[3].standing, Standing::Unmanaged(MemberId::new(4)));
    assert_eq!((&places[3].name, &places[3].host), (&None, &None));
}

#[test]
fn where_nobody_answers_data_says_who_a_member_is() {
    let (planner, mut seen) = bootstrapped("");
    let third = id(&planner, &seen, 2);
    for index in 0..3 {
        halt(&planner, &mut seen, index);
    }
    let voter = Standing::Voter {
        id: third,
        healthy: false,
    };
    assert_eq!(standing(&planner, &seen, 2), voter);
    let host = planner.topology().members[2].host.clone();
    seen.hosts
        .insert(host, Observed::unknown("no route to host"));
    assert!(matches!(standing(&planner, &seen, 2), Standing::Unknown(_)));
}

/// It has not told its name yet, and its file names members that are still to come: a restart would
/// begin its snapshot again.
#[test]
fn a_learner_that_runs_is_waited_for_and_not_restarted() {
    for head in scripted::RUNTIMES {
        let small = plans(topology(1, head));
        let seen = scripted::carry_out(&small, bare(&small));
        let grown = plans(topology(3, head));
        let mut world = bare(&grown);
        world.hosts.extend(seen.hosts);
        world.members.extend(seen.members);
        world.ca = seen.ca;
        world.clients = seen.clients;
        loop {
            let stage = scripted::stage(&grown, &world);
            world = grown.predict(&world, &stage);
            if stage.key.to_string() == "join:m2" {
                break;
            }
        }
        let second = grown.topology().members[1].clone();
        world
            .members
            .insert(second.name.clone(), Observed::unknown("no answer"));
        relist(&grown, &mut world, |listed| {
            listed[1].name.clear();
            listed[1].client_urls.clear();
        });
        let stage = scripted::stage(&grown, &world);
        assert_eq!(stage.title, "let m2 catch up", "{head}: {:?}", stage.work);
        assert!(stage.only_waits(), "{head}");
    }
}
