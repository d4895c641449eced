//! Writing files that need no restart.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{HostRecord, HostView};
use etcdup_core::path::Mode;
use etcdup_core::stage::{Artifact, Content, Gate, HostStep, Impact, Rule, Stage, StageKey, Work};

use crate::assess::{Assessment, Cost, Difference};
use crate::plan_context::{Decision, PlanContext};
use crate::rules::spare::can_be_spared;
use crate::rules::trust::is_cut_off;
use crate::rules::{record, roster};
use crate::target::Target;

/// Refreshes, for running members on every host at once, what needs no restart: before any member
/// is waited for, since a missing file may be why it is unhealthy. Certificates of members that run
/// are left to [`renew`].
pub(crate) fn refresh_files(context: &PlanContext<'_>) -> Decision {
    // While members are rolled one by one, records are written once at the end instead of after
    // each.
    let rolls = |member: &Assessment<'_>| {
        member.serves && member.restart_reasons().next().is_some() && !member.only_settles()
    };
    let later = context.members.iter().any(rolls);
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    // What a member that does not run needs is installed; a static pod's manifest among it would
    // start the pod.
    // Where it goes is written for one that does not run too: it goes when it starts.
    let elsewhere = context.target.takes_members_elsewhere();
    let running = context
        .members
        .iter()
        .filter(|member| member.process.is_some() || elsewhere);
    // Who is added, and where members go, must be known before, however many restarts still wait.
    let in_flux = roster::is_in_flux(context);
    let now = !later || in_flux || elsewhere;
    let roster = roster::wanted(context.target, context.seen).filter(|_| now);
    let mut enrolled: BTreeSet<&HostId> = BTreeSet::new();
    for member in running {
        // The list of the first start changes with every member that joins: it is written once.
        let grows = context.grows();
        let leave_out = |artifact: &Artifact, difference: &Difference| {
            is_identity(artifact) || grows && difference.is_of_first_start()
        };
        let note = record::step(context, member).filter(|_| !later);
        let steps = match member.process {
            Some(_) => quiet_steps(context.target, member, |artifact, difference| {
                !leave_out(artifact, difference)
            }),
            None => Vec::new(),
        };
        let roster = roster
            .as_ref()
            .filter(|roster| record::is_outdated(context, member, roster, in_flux))
            .filter(|_| enrolled.insert(&member.member.host));
        if steps.is_empty() && note.is_none() && roster.is_none() {
            continue;
        }
        let left_out = member
            .files
            .iter()
            .filter(|(artifact, difference)| leave_out(artifact, difference));
        let left_out: Vec<&Difference> = left_out.map(|(_, difference)| difference).collect();
        let quiet = member.differences().filter(|difference| {
            difference.cost == Cost::NoRestart && !left_out.contains(difference)
        });
        why.extend(quiet.map(|difference| format!("{}: {difference}", member.member.name)));
        if note.is_some() {
            why.push(record::reason(context, member));
        }
        let task = tasks.entry(member.member.host.clone()).or_default();
        // One file has both; a record that knows the cluster knows its members.
        if let Some(roster) = roster {
            if note.is_none() || enrolled_before(member.host) {
                why.push(outdated_by(&member.member.name));
            }
            task.push(HostStep::Roster(roster.clone()));
        }
        // The mark first: with the record before it, a cut between the two would look like lost
        // data.
        task.extend(note);
        task.extend(steps);
    }
    // Those that go are members until they are removed: the file may yet want them back.
    for leaving in context.leaving.iter().filter(|one| one.listed.is_some()) {
        let (Some(host), Some(roster)) = (leaving.host, &roster) else {
            continue;
        };
        let record = host.record().filter(|record| record.cluster.is_some());
        let outdated = |record: &HostRecord| !roster::is_current(&record.roster, roster, in_flux);
        let member = &leaving.leaving.member;
        if record.is_some_and(outdated) && !enrolled.contains(&member.host) {
            why.push(outdated_by(&member.name));
            let task = tasks.entry(member.host.clone()).or_default();
            task.push(HostStep::Roster(roster.clone()));
        }
    }
    if tasks.is_empty() {
        return Decision::Continue;
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::RefreshFiles, None),
        title: "update files without restarting members".to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    })
}

/// Whether a record has a roster at all: the first one comes with the first note of its member.
fn enrolled_before(host: &HostView) -> bool {
    host.record()
        .is_some_and(|record| !record.roster.is_empty())
}

fn outdated_by(member: &MemberName) -> String {
    format!("{member}: its host's record does not say who the members are now")
}

/// Whether a file is a member's own certificate or key.
fn is_identity(artifact: &Artifact) -> bool {
    match artifact.content {
        Content::Issued { .. } | Content::Provided(_) | Content::OnHost(_) => true,
        Content::Text(_) | Content::Ca => false,
    }
}

/// Whether a member runs with this file.
fn is_used(member: &Assessment<'_>, artifact: &Artifact) -> bool {
    let flags = member
        .process
        .iter()
        .flat_map(|process| process.flags.iter());
    flags
        .into_iter()
        .any(|(_, value)| value == artifact.path.as_str())
}

/// Replaces the certificates of one running member, then proves that all members are still healthy
/// before the next one: etcd reads them again at each handshake, so a wrong one would cut off every
/// member at once. A member that could not be asked keeps what it has, unless the others are a
/// quorum without it, or what it has is missing or expired.
pub(crate) fn renew(context: &PlanContext<'_>) -> Decision {
    let mut due = context.members.iter().filter_map(|member| {
        member.process?;
        // What it does not use yet comes with the restart after which it does.
        let restarts = member.restart_reasons().next().is_some();
        let quiet = |(artifact, difference): &&(Cow<'_, Artifact>, Difference)| {
            is_identity(artifact)
                && difference.cost == Cost::NoRestart
                && (!restarts || is_used(member, artifact))
        };
        let files: Vec<_> = member.files.iter().filter(quiet).collect();
        let cut_off = || {
            // Keys say nothing of validity; certificates are the files that anyone may read.
            let mut certificates = files
                .iter()
                .filter(|(artifact, _)| artifact.mode == Mode::PUBLIC);
            certificates.any(|(artifact, _)| is_cut_off(context.seen, member.host, &artifact.path))
        };
        // Where the others are a quorum without it, a member that does not answer can only gain.
        let alone = || can_be_spared(context, &member.member.name);
        let may = member.answers || cut_off() || alone();
        (may && !files.is_empty()).then_some((member, files))
    });
    let Some((member, files)) = due.next() else {
        return Decision::Continue;
    };
    let name = &member.member.name;
    let why = files
        .iter()
        .map(|(_, difference)| format!("{name}: {difference}"));
    let steps = files
        .iter()
        .map(|(artifact, _)| HostStep::File(artifact.clone().into_owned()));
    // Those that cannot serve for want of a certificate of their own are not waited for yet.
    let more = due.next().is_some();
    let healthy = context
        .members
        .iter()
        .filter(|other| (!more || other.serves) && !other.standing.is_learner())
        .filter(|other| !other.to_join);
    Decision::run(Stage {
        key: StageKey::new(Rule::Renew, Some(name)),
        title: format!("replace the certificates of {name} without a restart"),
        why: why.collect(),
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(
            member.member.host.clone(),
            steps.collect(),
        )])),
        postconditions: healthy
            .map(|other| Gate::serves(&other.member.name))
            .collect(),
    })
}

fn quiet_steps(
    target: &Target,
    member: &Assessment<'_>,
    is_due: impl Fn(&Artifact, &Difference) -> bool,
) -> Vec<HostStep> {
    let quiet = |cost: Cost| cost == Cost::NoRestart;
    let start = &target.desired(member.member).settled.path;
    let mut steps: Vec<HostStep> = member
        .files
        .iter()
        .filter(|(artifact, difference)| quiet(difference.cost) && is_due(artifact, difference))
        .map(|(artifact, _)| HostStep::File(artifact.clone().into_owned()))
        .collect();
    let unit_changed = member.files.iter().any(|(artifact, difference)| {
        artifact.path == *start && quiet(difference.cost) && is_due(artifact, difference)
    });
    let layout = &member.member.layout;
    // Links lead to the new version only once its binaries are in place.
    let links_differ = member.running.iter().any(|difference| {
        quiet(difference.cost)
            && layout
                .links
                .as_ref()
                .is_some_and(|links| difference.is_link(links))
    });
    if let Some(links) = layout
        .links
        .as_ref()
        .filter(|_| links_differ && member.binaries.is_none())
    {
        steps.push(HostStep::Links {
            directory: layout.binaries.clone(),
            links: links.clone(),
        });
    }
    if layout.is_systemd() {
        if unit_changed {
            steps.push(HostStep::Reload);
        }
        if member.running.iter().any(Difference::is_not_enabled) {
            steps.push(HostStep::Enable(member.member.layout.unit.clone()));
        }
    }
    steps
}
