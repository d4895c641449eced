//! The one exception to rolling forward: a member that does not come up with another release gets
//! the one back that it ran.

use std::collections::BTreeMap;

use etcdup_core::name::MemberName;
use etcdup_core::observation::{FailedRelease, HostView, Observation};
use etcdup_core::stage::{Artifact, Content, HostStep, Impact, Rule, Stage, Work};
use etcdup_core::topology::Member;
use etcdup_core::version::EtcdVersion;

use crate::leg::version::version_of;
use crate::rules::restart::{restart, serves};
use crate::rules::transition::binary_of;
use crate::target::Target;

/// What brings a member back.
#[derive(Debug, Clone, PartialEq)]
pub struct PutBack {
    /// The member.
    pub member: MemberName,
    /// The release that it ran.
    pub ran: EtcdVersion,
    /// The release that it did not come up with.
    pub failed: EtcdVersion,
    /// The stage, which stays within what was approved: the same host, the same member stopped.
    pub stage: Stage,
}

/// What brings the member of a roll back, where it changed releases and does not serve. The start
/// file as it was names the binary as it was, which is still in its place.
pub(crate) fn put_back(
    target: &Target,
    stage: &Stage,
    before: &Observation,
    seen: &Observation,
) -> Option<PutBack> {
    let subject = stage.key.subject.as_ref();
    let name = subject.filter(|_| stage.key.rule == Rule::Roll)?;
    let mut members = target.topology.members.iter();
    let member = members.find(|one| one.name == *name)?;
    let failed = target.topology.version.clone();
    // What it ran with before is not where it is now.
    if target.there(name).is_some() {
        return None;
    }
    let ran = version_of(before, member).filter(|ran| *ran != failed)?;
    // What is not seen may be healthy.
    let (host, now) = (before.host(&member.host)?, seen.host(&member.host)?);
    if seen.serves(name) || !has_failed(member, host, now) || !is_way_back_open(target, seen, &ran)
    {
        return None;
    }
    let artifact = start_file_as_it_was(target, member, host)?;
    let noted = FailedRelease {
        version: failed.to_string(),
        binary: binary_of(target, member, now),
        log: now.console.get(name).cloned().unwrap_or_default(),
    };
    let mut steps = if member.layout.is_pod() {
        vec![HostStep::Pod(artifact)]
    } else {
        let mut steps = vec![HostStep::File(artifact)];
        steps.extend(member.layout.is_systemd().then_some(HostStep::Reload));
        steps.extend(restart(member));
        steps
    };
    steps.push(HostStep::NoteFailed {
        member: member.etcd_name.clone(),
        failed: noted,
    });
    Some(PutBack {
        member: name.clone(),
        stage: Stage {
            key: stage.key.clone(),
            title: format!("put etcd {ran} of {name} back"),
            why: vec![format!("{name}: does not come up with etcd {failed}")],
            impact: Impact::Restart(name.clone()),
            preconditions: Vec::new(),
            work: Work::Hosts(BTreeMap::from([(member.host.clone(), steps)])),
            postconditions: vec![serves(target, name)],
        },
        ran,
        failed,
    })
}

/// Whether a member has ended since, or keeps ending: one that is slow to start has not failed.
fn has_failed(member: &Member, before: &HostView, now: &HostView) -> bool {
    let restarts = |host: &HostView| {
        let unit = host.units.get(&member.layout.unit);
        unit.map_or(0, |unit| unit.restarts)
    };
    // systemd counts from nothing again when a unit is restarted by hand, as it was just now.
    let ended = match restarts(now) < restarts(before) {
        true => restarts(now) > 0,
        false => restarts(now) > restarts(before),
    };
    !now.processes.contains_key(&member.name) || ended
}

/// Whether a member may run this release again. Once all others run a newer minor the cluster may
/// be of it, and an older release would not start. Where no other member serves, that says
/// something else than that the release is bad.
fn is_way_back_open(target: &Target, seen: &Observation, ran: &EtcdVersion) -> bool {
    let members = &target.topology.members;
    // The member itself does not serve.
    let serving: Vec<&Member> = members
        .iter()
        .filter(|one| seen.serves(&one.name))
        .collect();
    let is_patch = ran.minor() == target.topology.version.minor();
    let runs_it =
        |one: &&Member| version_of(seen, one).is_some_and(|version| version.minor() == ran.minor());
    if is_patch {
        members.len() == 1 || !serving.is_empty()
    } else {
        serving.iter().any(runs_it)
    }
}

/// The start file of a member before its release changed; `None` where it is not known, or was
/// changed already by a run that was cut before this one.
fn start_file_as_it_was(target: &Target, member: &Member, host: &HostView) -> Option<Artifact> {
    let settled = &target.desired(member).settled;
    let text = host.files.get(&settled.path)?.text.as_deref()?;
    let content = Content::Text(text.into());
    let process = host.processes.get(&member.name)?;
    let is_new = settled.content == content;
    let names_what_ran = member.layout.is_pod() || text.contains(&process.exe);
    (!is_new && names_what_ran).then(|| Artifact {
        content,
        ..settled.clone()
    })
}
