//! Files that mean a cluster which is not theirs, or not all of it: found by a stranger on real
//! hosts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect"
)]

mod scripted;
mod worlds;

use etcdup_core::membership::{ClusterId, MemberId};
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_core::stage::{Condition, Goal, Next};
use etcdup_planner::Planner;
use scripted::{RUNTIMES, blocked, bootstrapped, halt, host, ids, stage, view};

const WIPE: Goal = Goal::Reset {
    wipe: true,
    cluster_id: None,
};

fn planner_of(count: usize, head: &str, goal: &Goal) -> Planner {
    Planner::new(worlds::topology(count, head), goal.clone(), None).unwrap()
}

/// The hosts as a copy of the file sees them, with a new name and the same CA: its own record is
/// not there yet.
fn under_another_name(planner: &Planner, mut seen: Observation) -> Observation {
    for member in &planner.topology().members {
        let host = host(&mut seen, member);
        if let Observed::Known(Some(record)) =
            std::mem::replace(&mut host.record, Observed::Known(None))
        {
            let cluster = record.cluster.unwrap();
            host.others.insert("first".to_owned(), cluster);
        }
    }
    seen
}

/// A copied file with a new name rolled the first cluster over to its own, and its reset deleted
/// the first one's data.
#[test]
fn a_copied_file_with_a_new_name_takes_nothing() {
    let converge = Goal::CONVERGE;
    for head in RUNTIMES {
        let (planner, seen) = bootstrapped(head);
        let seen = under_another_name(&planner, seen);
        for goal in [&converge, &WIPE] {
            let copy = planner_of(3, head, goal);
            let found = blocked(&copy, &seen);
            assert_eq!(ids(&found), ["cluster-of-another-name"; 3], "{head}");
            assert!(found[0].evidence.contains("`first`"), "{found:?}");
        }
        // Stopped, it is known by its data.
        let mut seen = seen;
        for index in 0..3 {
            halt(&planner, &mut seen, index);
        }
        let found = blocked(&planner_of(3, head, &WIPE), &seen);
        assert_eq!(ids(&found), ["cluster-of-another-name"; 3], "{head}");
    }
}

/// Two of three would be stopped, and the third left running without its quorum.
#[test]
fn reset_leaves_no_member_behind_that_the_file_does_not_have() {
    let (planner, mut seen) = bootstrapped("");
    let members = planner.topology().members.clone();
    for member in &members {
        let listed = &mut view(&mut seen, member).listed;
        let mut fourth = listed[2].clone();
        fourth.id = MemberId::new(4);
        "m4".clone_into(&mut fourth.name);
        fourth.peer_urls = vec!["https://10.0.0.99:2380".to_owned()];
        listed.push(fourth);
    }
    let found = blocked(&planner_of(3, "", &WIPE), &seen);
    assert_eq!(ids(&found), ["member-not-in-file"]);
}

/// After the stage the record is forgotten, and what members answered before it must not be held
/// against them.
#[test]
fn a_reset_that_is_carried_out_is_done() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        // An ID that this file's token does not make, known from the record alone: a cluster that
        // was adopted.
        for member in &planner.topology().members {
            view(&mut seen, member).cluster = ClusterId::new(77);
            let host = host(&mut seen, member);
            for data in host.data.values_mut() {
                if let etcdup_core::observation::DataDir::Member(identity) = data {
                    identity.cluster = ClusterId::new(77);
                }
            }
            if let Some(record) = host.record_mut() {
                record.cluster = Some(ClusterId::new(77));
            }
        }
        let reset = planner_of(3, head, &WIPE);
        let answers = seen.members.clone();
        let first = stage(&reset, &seen);
        let mut seen = reset.predict(&seen, &first);
        // Members are not asked again after a stage that waits for none of them.
        seen.members = answers;
        for member in &reset.topology().members {
            if let Some(record) = host(&mut seen, member).record_mut() {
                record.cluster = None;
                record.members.clear();
            }
        }
        assert!(
            matches!(reset.next(&seen), Next::Done),
            "{head}: {:?}",
            reset.next(&seen)
        );
    }
}

/// A learner that was just added does not answer yet, and answers no read once it does: nobody
/// waits for that.
#[test]
fn a_learner_that_does_not_answer_yet_is_not_waited_for() {
    for head in RUNTIMES {
        let (planner, mut seen) = bootstrapped(head);
        let members = planner.topology().members.clone();
        halt(&planner, &mut seen, 2);
        for member in &members[..2] {
            view(&mut seen, member).listed[2].learner = true;
        }
        let stage = stage(&planner, &seen);
        let waits = stage.postconditions.iter().any(
            |gate| matches!(&gate.condition, Condition::Serves(name) if *name == members[2].name),
        );
        assert!(!waits, "{head}: {:?}", stage.postconditions);
    }
}
