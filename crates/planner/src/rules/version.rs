//! Calls to etcd before members restart with another minor: enabling a downgrade, and raft
//! snapshots so that 3.7 replays no log from before 3.6.

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::known_issue::FIRST_WITHOUT_V2;
use etcdup_core::membership::{ClusterView, Standing};
use etcdup_core::observation::Observation;
use etcdup_core::stage::{
    ClusterStep, Condition, Gate, Impact, Rule, Stage, StageKey, Work, limits,
};
use etcdup_core::version::{EtcdVersion, minor_of};

use crate::assess::Assessment;
use crate::identity::Bootstrap;
use crate::leg::version::{between_all, version_of};
use crate::listed::leaving_entry;
use crate::places::standing;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::restart::all_seen;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[SNAPSHOT_COUNT_HIGH, FLAGS_ON_THE_WAY, DOWNGRADE_ALONE];

const DOWNGRADE_ALONE: Check = Check {
    id: "downgrade-alone",
    title: "members would come or go during a downgrade",
    about: "A downgrade ends once every member that the cluster lists runs the older minor, and until it has begun no older release \
            joins. A member that is to go would keep the newer one, and one that is to come cannot start with the older one.",
    advice: "one after the other: finish adding or removing members with `etcd` as it runs now, then set the older release; or let the \
             downgrade end with the members that there were when it began",
};

/// Members that come or go while the cluster goes back to an older minor.
pub(crate) fn members_during_downgrade(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = &target.topology;
    let Some(view) = ClusterView::confirmed(seen) else {
        return Vec::new();
    };
    let serving = topology.members.iter();
    let serving = serving.filter(|member| seen.serves(&member.name));
    let lowest = serving
        .filter_map(|member| version_of(seen, member))
        .map(|version| version.minor())
        .min();
    let has_begun = seen.downgrade().is_some();
    if !has_begun && lowest <= Some(topology.version.minor()) {
        return Vec::new();
    }
    let leaving = topology.leaving.iter().filter(|leaving| {
        let name = &leaving.member.name;
        let host = seen.host(&leaving.member.host);
        let runs = host.is_some_and(|host| host.processes.contains_key(name));
        // One that is dead is removed: with it on the list no downgrade ends.
        runs && leaving_entry(topology, seen, &view, leaving).is_some()
    });
    let going = leaving.map(|leaving| (leaving.member.name.clone(), "is to be removed"));
    // Once it has begun the older release may join, and what was lost meanwhile is replaced.
    let members = topology.members.iter().filter(|_| !has_begun);
    let coming =
        members.filter_map(
            |member| match standing(target, seen, Bootstrap::Complete, member) {
                Standing::New | Standing::Removed { .. } => {
                    Some((member.name.clone(), "is to be added"))
                }
                Standing::Added { .. } | Standing::Learner { .. } => {
                    Some((member.name.clone(), "has not finished joining"))
                }
                Standing::Bootstrapped(_)
                | Standing::Voter { .. }
                | Standing::Lost { .. }
                | Standing::Unmanaged(_)
                | Standing::Unknown(_) => None,
            },
        );
    let found = going.chain(coming).map(|(name, what)| {
        let evidence = format!(
            "{name} {what}, and the cluster goes back to {}",
            topology.version
        );
        DOWNGRADE_ALONE
            .error(&name, evidence)
            .at(KeyPath::root("etcd"))
    });
    found.collect()
}

const SNAPSHOT_COUNT_HIGH: Check = Check {
    id: "snapshot-count",
    title: "raft snapshots are taken too seldom to wait for one",
    about: "Before 3.7 every member takes a raft snapshot, which etcd does after `snapshot-count` entries. That many are agreed on, \
            each written to every disk: a million takes minutes, and more is not begun.",
    advice: "set `snapshot-count` to 10000, which etcd has by default from 3.6 on, apply that, then go on",
};

/// The most entries that are agreed on for nothing.
const MOST_ENTRIES: u64 = 1_000_000;

const FLAGS_ON_THE_WAY: Check = Check {
    id: "flags-on-the-way",
    title: "a release on the way knows some flags by other names, or not at all",
    about: "The file's flags are those of its own release. On the way there each release gets what it knows: a flag under the \
            name that it has there, a feature gate as the switch that it was. What a release has nothing for is left out while \
            that one runs.",
    advice: "nothing need be done; set the flag only once the upgrade is over where it must not be missing meanwhile",
};

/// What becomes of the file's flags on the releases before its own.
pub(crate) fn flags_on_the_way(target: &Target, seen: &Observation) -> Vec<Finding> {
    let file = target.file();
    let changes = |version: EtcdVersion| {
        let (mut said, members) = (BTreeSet::new(), file.members.iter());
        for translated in members.map(|member| member.flags_on(&version)) {
            let renamed = translated.renamed.into_iter();
            said.extend(renamed.map(|(given, here)| format!("`{given}` is `{here}`")));
            let dropped = translated.dropped.into_iter();
            said.extend(dropped.map(|given| format!("`{given}` is left out")));
        }
        let said: Vec<String> = said.into_iter().collect();
        let evidence = format!("on etcd {version} {}", said.join(", "));
        let at = KeyPath::root("flags");
        (!said.is_empty()).then(|| FLAGS_ON_THE_WAY.warning("cluster", evidence).at(at))
    };
    let ahead = between_all(file, seen).into_iter();
    ahead.filter_map(changes).collect()
}

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

fn downgrade(context: &PlanContext<'_>, serving: &[(&Assessment<'_>, EtcdVersion)]) -> Decision {
    let version = &context.target.topology.version;
    let wanted = minor_of(&version.to_string());
    let Some(under_way) = context.seen.downgrade() else {
        let lowest = serving.iter().map(|(_, version)| version.minor()).min();
        return if lowest > Some(version.minor()) {
            Decision::run(Stage {
                preconditions: all_seen(context),
                ..stage(
                    format!("begin the downgrade to {wanted}"),
                    format!(
                        "{version} is of an older minor than members run; hashes and alarms are looked at first, and a snapshot is kept"
                    ),
                    Work::Cluster(ClusterStep::EnableDowngrade {
                        minor: wanted.clone(),
                    }),
                    Condition::StoredFor(wanted),
                )
            })
        } else {
            Decision::Continue
        };
    };
    let waits = || Work::Hosts(BTreeMap::new());
    // One that is still to be added keeps nobody waiting.
    let members = context.members.iter().filter(|member| !member.to_join);
    let all = serving.len() == members.count() && context.unseen.is_empty();
    let mut running = serving.iter().map(|(_, version)| version.to_string());
    if all && running.all(|version| minor_of(&version) == under_way) {
        return Decision::run(stage(
            "wait for the end of the downgrade".to_owned(),
            format!("all members run {under_way}, and the cluster still waits for it"),
            waits(),
            Condition::DowngradeEnded,
        ));
    }
    if under_way != wanted {
        return Decision::run(stage(
            format!("give up the downgrade to {under_way}"),
            format!("it is being downgraded to {under_way}, and the file does not ask for it"),
            Work::Cluster(ClusterStep::CancelDowngrade),
            Condition::DowngradeEnded,
        ));
    }
    // Until its data is written for it, no older release starts on it.
    let mut stored = context
        .seen
        .known_members()
        .map(|view| &view.storage_version);
    if let Some(late) = stored.find(|stored| !stored.is_empty() && **stored != wanted) {
        return Decision::run(stage(
            format!("wait until data is written for {wanted}"),
            format!("data is still written for {late}"),
            waits(),
            Condition::StoredFor(wanted),
        ));
    }
    Decision::Continue
}

/// A stage of a downgrade, which interrupts nothing.
fn stage(title: String, why: String, work: Work, holds: Condition) -> Stage {
    Stage {
        key: StageKey::new(Rule::Downgrade, None),
        title,
        why: vec![format!("cluster: {why}")],
        impact: Impact::None,
        preconditions: Vec::new(),
        work,
        postconditions: vec![Gate {
            condition: holds,
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

/// What comes before the first member runs another minor.
pub(crate) fn first_of_minor(context: &PlanContext<'_>) -> Option<String> {
    // Of a downgrade that came before it began.
    if context.seen.downgrade().is_some() {
        return None;
    }
    let wanted = &context.target.topology.version;
    let views = context.seen.known_members();
    let running: Vec<EtcdVersion> = views.filter_map(|view| view.version.parse().ok()).collect();
    let first = running.first()?;
    let all = running.iter().all(|one| one.minor() != wanted.minor());
    all.then(|| {
        format!(
            "all run {first}: before the first runs {wanted}, hashes and alarms are looked at, and a snapshot is kept"
        )
    })
}
