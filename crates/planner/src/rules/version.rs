//! What etcd itself must be told before members restart with another minor: that a downgrade is
//! meant, and that no log from before 3.6 is to be replayed.

use std::collections::BTreeMap;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::Check;
use etcdup_core::known_issue::FIRST_WITHOUT_V2;
use etcdup_core::stage::{
    ClusterStep, Condition, Gate, Impact, Rule, Stage, StageKey, Work, limits,
};
use etcdup_core::version::EtcdVersion;

use crate::assess::Assessment;
use crate::leg::version::version_of;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::restart::all_seen;

pub(crate) const CHECKS: &[Check] = &[SNAPSHOT_COUNT_HIGH];

const SNAPSHOT_COUNT_HIGH: Check = Check {
    id: "snapshot-count",
    title: "raft snapshots are taken too seldom to wait for one",
    about: "Before 3.7 every member takes a raft snapshot, which etcd does after `snapshot-count` entries. That many are agreed on, \
            each written to every disk: a million takes minutes, and more is not begun.",
    advice: "set `snapshot-count` to 10000, which etcd has by default from 3.6 on, apply that, then go on",
};

/// The most entries that are agreed on for nothing.
const MOST_ENTRIES: u64 = 1_000_000;

/// How many entries a member applies between two raft snapshots, from 3.6 on.
const SNAPSHOT_COUNT: u64 = 10_000;

/// A call that must come before the next restart.
pub(crate) fn calls(context: &PlanContext<'_>) -> Decision {
    let serving: Vec<(&Assessment<'_>, EtcdVersion)> = context
        .members
        .iter()
        .filter(|member| member.serves)
        .filter_map(|member| Some((member, version_of(context.seen, member.member)?)))
        .collect();
    match downgrade(context, &serving) {
        Decision::Continue => raft_snapshot(context, &serving),
        decided @ (Decision::Run(_) | Decision::Block(_)) => decided,
    }
}

fn minor_text(version: &EtcdVersion) -> String {
    format!("3.{}", version.minor())
}

fn downgrade(context: &PlanContext<'_>, serving: &[(&Assessment<'_>, EtcdVersion)]) -> Decision {
    let wanted = minor_text(&context.target.topology.version);
    let all = serving.len() == context.members.len() && context.unseen.is_empty();
    let all_run = |minor: &str| {
        all && serving
            .iter()
            .all(|(_, version)| minor_text(version) == minor)
    };
    let Some(under_way) = context.seen.downgrade() else {
        let lowest = serving.iter().map(|(_, version)| version.minor()).min();
        let goes_down = lowest > Some(context.target.topology.version.minor());
        return if goes_down {
            Decision::run(enable(context, wanted))
        } else {
            Decision::Continue
        };
    };
    if all_run(under_way) {
        let why = format!("all members run {under_way}, and the cluster still waits for it");
        let gate = Condition::DowngradeEnded;
        return Decision::run(waits(
            "wait for the end of the downgrade".to_owned(),
            why,
            gate,
        ));
    }
    if under_way != wanted {
        return Decision::run(Stage {
            key: StageKey::new(Rule::Downgrade, None),
            title: format!("give up the downgrade to {under_way}"),
            why: vec![format!(
                "cluster: it is being downgraded to {under_way}, and the file does not ask for it"
            )],
            impact: Impact::None,
            preconditions: Vec::new(),
            work: Work::Cluster(ClusterStep::CancelDowngrade),
            postconditions: vec![Gate {
                condition: Condition::DowngradeEnded,
                within: limits::DOWNGRADED,
            }],
        });
    }
    // Until its data is written for it, no older release starts on it.
    let mut views = context.seen.known_members();
    if let Some(late) =
        views.find(|view| !view.storage_version.is_empty() && view.storage_version != wanted)
    {
        let why = format!("data is still written for {}", late.storage_version);
        let title = format!("wait until data is written for {wanted}");
        return Decision::run(waits(title, why, Condition::StoredFor(wanted)));
    }
    Decision::Continue
}

fn enable(context: &PlanContext<'_>, minor: String) -> Stage {
    Stage {
        key: StageKey::new(Rule::Downgrade, None),
        title: format!("begin the downgrade to {minor}"),
        why: vec![format!(
            "cluster: {} is of an older minor than members run; a snapshot is kept first",
            context.target.topology.version
        )],
        impact: Impact::None,
        preconditions: all_seen(context),
        postconditions: vec![Gate {
            condition: Condition::StoredFor(minor.clone()),
            within: limits::DOWNGRADED,
        }],
        work: Work::Cluster(ClusterStep::EnableDowngrade { minor }),
    }
}

fn waits(title: String, why: String, condition: Condition) -> Stage {
    Stage {
        key: StageKey::new(Rule::Downgrade, None),
        title,
        why: vec![format!("cluster: {why}")],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::new()),
        postconditions: vec![Gate {
            condition,
            within: limits::DOWNGRADED,
        }],
    }
}

/// A member that came from 3.5 has entries in its log that 3.7 cannot read. A raft snapshot that
/// was taken since all run 3.6 is later than any of them.
fn raft_snapshot(
    context: &PlanContext<'_>,
    serving: &[(&Assessment<'_>, EtcdVersion)],
) -> Decision {
    if context.target.topology.version.minor() < FIRST_WITHOUT_V2 {
        return Decision::Continue;
    }
    let older = || {
        let members = serving.iter();
        members
            .filter(|(_, version)| version.minor() < FIRST_WITHOUT_V2)
            .map(|(member, _)| *member)
    };
    // Hosts' clocks differ, and so do starts and snapshots by them.
    let here = |member: &Assessment<'_>, at: i64| at - member.host.facts.clock_ahead_ms / 1000;
    let latest = older()
        .filter_map(|member| Some(here(member, member.process?.since?)))
        .max();
    let stale: Vec<&Assessment<'_>> = older()
        .filter(|member| {
            let taken = member.host.raft_snapshots.get(&member.member.layout.data);
            taken.is_none_or(|taken| Some(here(member, *taken)) < latest)
        })
        .collect();
    if stale.is_empty() {
        return Decision::Continue;
    }
    let count = |member: &Assessment<'_>| {
        let flag = member.process?.flags.get("snapshot-count")?;
        flag.parse::<u64>().ok()
    };
    let most = older().filter_map(count).max().unwrap_or_default();
    if most > MOST_ENTRIES {
        let evidence = format!(
            "members take a raft snapshot after {most} entries, and each must take one before 3.{FIRST_WITHOUT_V2}"
        );
        let at = KeyPath::root("flags").key("snapshot-count");
        return Decision::Block(vec![SNAPSHOT_COUNT_HIGH.error("cluster", evidence).at(at)]);
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::RaftSnapshot, None),
        title: "have every member take a raft snapshot".to_owned(),
        why: stale
            .iter()
            .map(|member| {
                format!(
                    "{}: has taken none since all run 3.{}, and 3.{FIRST_WITHOUT_V2} panics at what may lie before",
                    member.member.name,
                    FIRST_WITHOUT_V2 - 1
                )
            })
            .collect(),
        impact: Impact::None,
        preconditions: all_seen(context),
        // More than that many, so that what others write meanwhile does not matter.
        work: Work::Cluster(ClusterStep::RaftSnapshot {
            entries: most.max(SNAPSHOT_COUNT) + 1,
        }),
        postconditions: Vec::new(),
    })
}
