//! Installing what a member needs before it runs: user, directories, certificates, binaries, its
//! unit or start file.

use std::collections::BTreeMap;

use etcdup_core::host::HostId;
use etcdup_core::stage::{HostStep, Impact, Rule, Stage, StageKey, Work};

use crate::assess::{Assessment, Difference};
use crate::identity::{Bootstrap, Start};
use crate::plan_context::{Decision, PlanContext};
use crate::rules::grow;
use crate::rules::needs::{directories, install_binaries, taken_over, user};
use crate::rules::restart::{all_seen, start_steps};
use crate::rules::restored::restore_steps;
use crate::target::Target;

/// Installs, on every host at once, what members that do not run need, and binaries that running
/// members will need: neither touches a running member.
pub(crate) fn install(context: &PlanContext<'_>) -> Decision {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    // One that lost its data is removed first: its directory may only miss its disk.
    for member in context.members.iter().filter(|one| one.takes_part()) {
        let steps = match member.process {
            None => whole(context.target, member),
            Some(_) => missing_binaries(context.target, member),
        };
        if steps.is_empty() {
            continue;
        }
        why.push(reason(member));
        tasks
            .entry(member.member.host.clone())
            .or_default()
            .extend(steps);
    }
    if tasks.is_empty() {
        return Decision::Continue;
    }
    if is_first_start(context) {
        return Decision::run(install_and_bootstrap(context, why, tasks));
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Install, None),
        title: "install missing components".to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    })
}

/// Nothing of the cluster runs or ever did, and every host is seen.
fn is_first_start(context: &PlanContext<'_>) -> bool {
    let bare = |member: &Assessment<'_>| member.process.is_none() && member.starts == Start::New;
    context.bootstrap == Bootstrap::Pending
        && context.unseen.is_empty()
        && context.members.iter().all(bare)
}

/// Installing and starting is one stage, and one script run a host: a member that is there first
/// waits for the others. Where a host cannot install, the others form the cluster if they are a
/// quorum, and the next run brings the last one in.
fn install_and_bootstrap(
    context: &PlanContext<'_>,
    why: Vec<String>,
    mut tasks: BTreeMap<HostId, Vec<HostStep>>,
) -> Stage {
    for member in &context.members {
        let host = member.member.host.clone();
        let task = tasks.entry(host).or_default();
        task.extend(start_steps(member));
        // Plans are kept: as many as a server has clusters.
        task.shrink_to_fit();
    }
    Stage {
        key: StageKey::new(Rule::Bootstrap, None),
        title: "install etcd and bootstrap the cluster".to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: all_seen(context),
    }
}

fn reason(member: &Assessment<'_>) -> String {
    let count = member.differences().count();
    match member.differences().next() {
        Some(first) if count == 1 => {
            format!("{}: {first}", member.member.name)
        }
        Some(first) => format!("{}: {first}, and {} more", member.member.name, count - 1),
        None => format!("{}: is not installed", member.member.name),
    }
}

/// Everything that differs for a member that does not run.
fn whole(target: &Target, member: &Assessment<'_>) -> Vec<HostStep> {
    let mut steps = missing_binaries(target, member);
    let manifest = &member.member.layout.manifest;
    // A host that starts again before its member is added must not start it.
    let may_start = !member.to_join && !grow::is_joining(member);
    let files: Vec<HostStep> = member
        .files
        .iter()
        // A manifest starts its pod: that is for the stage that starts members.
        .filter(|(artifact, _)| artifact.path != *manifest)
        // The list that a member joins with changes until it does.
        .filter(|(_, difference)| may_start || !difference.is_of_first_start())
        .map(|(artifact, _)| HostStep::File(artifact.clone().into_owned()))
        .collect();
    let enable = may_start && member.running.iter().any(Difference::is_not_enabled);
    let mut frame: Vec<HostStep> = user(member.member, member.host).into_iter().collect();
    frame.extend(directories(target, member.member, member.host, true));
    frame.extend(taken_over(member.member, member.host));
    // Before anything that could start it: with a unit and without data it would begin an empty
    // cluster once its host boots.
    frame.extend(restore_steps(target, member));
    if steps.is_empty() && files.is_empty() && frame.is_empty() && !enable {
        return Vec::new();
    }
    let unit = &member.member.layout.unit;
    let has_files = !files.is_empty();
    // Binaries come first: one that is not what it should be stops before anything else is changed.
    steps.append(&mut frame);
    steps.extend(files);
    // systemd reads all units again when one is enabled.
    if member.member.layout.is_systemd() && (enable || has_files && may_start) {
        steps.push(HostStep::Enable(unit.clone()));
    }
    steps
}

fn missing_binaries(target: &Target, member: &Assessment<'_>) -> Vec<HostStep> {
    match member.binaries {
        Some(_) => install_binaries(target, member.member),
        None => Vec::new(),
    }
}
