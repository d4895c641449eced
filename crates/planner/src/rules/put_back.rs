//! The one exception to rolling forward: a member that does not come up with another release gets
//! the one back that it ran.

use std::collections::BTreeMap;

use etcdup_core::name::MemberName;
use etcdup_core::observation::{FailedRelease, HostView, Observation};
use etcdup_core::stage::{Artifact, Content, Gate, HostStep, Impact, Rule, Stage, Work, limits};
use etcdup_core::topology::Member;
use etcdup_core::version::EtcdVersion;

use crate::leg::version::version_of;
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
    let name = stage
        .key
        .subject
        .as_ref()
        .filter(|_| stage.key.rule == Rule::Roll)?;
    let member = target
        .topology
        .members
        .iter()
        .find(|one| one.name == *name)?;
    let failed = target.topology.version.clone();
    let ran = version_of(before, member).filter(|ran| *ran != failed)?;
    let host = before.host(&member.host)?;
    // What is not seen may be well, and one that is slow to start is not one that fails.
    let now = seen.host(&member.host)?;
    let restarts = |host: &HostView| {
        let unit = host.units.get(&member.layout.unit);
        unit.map_or(0, |unit| unit.restarts)
    };
    let fails = !now.processes.contains_key(name) || restarts(now) > restarts(host);
    if seen.serves(name) || !fails {
        return None;
    }
    // Once all members run the newer minor the cluster may be of it, and an older release would
    // not start. Nobody else serving says something else than that the release is bad.
    let others = target
        .topology
        .members
        .iter()
        .filter(|one| one.name != *name);
    let mut others = others.filter(|one| seen.serves(&one.name));
    let alone = target.topology.members.len() == 1;
    let of_minor = |version: EtcdVersion| version.minor() == ran.minor();
    let back_is_open = ran.minor() == failed.minor()
        || others.any(|one| version_of(seen, one).is_some_and(of_minor));
    if !back_is_open
        || !alone
            && !target
                .topology
                .members
                .iter()
                .any(|one| seen.serves(&one.name))
    {
        return None;
    }
    let settled = &target.desired(member).settled;
    let text = host.files.get(&settled.path)?.text.as_ref()?;
    // A run that was cut before this one may have written the new file already.
    let is_new = settled.content == Content::Text(text.as_str().into());
    let process = host.processes.get(name)?;
    if is_new || !target.is_pod() && !text.contains(&process.exe) {
        return None;
    }
    let artifact = Artifact {
        content: Content::Text(text.as_str().into()),
        ..settled.clone()
    };
    let log = seen
        .host(&member.host)
        .and_then(|host| host.console.get(name));
    let noted = FailedRelease {
        version: failed.to_string(),
        binary: binary_of(target, member, seen.host(&member.host).unwrap_or(host)),
        log: log.cloned().unwrap_or_default(),
    };
    let mut steps = start_as_it_was(target, member, artifact);
    steps.push(HostStep::NoteFailed {
        member: member.etcd_name.clone(),
        failed: noted,
    });
    let mut gate = Gate::serves(name);
    if target.is_pod() {
        gate.within = limits::POD_SERVES;
    }
    Some(PutBack {
        member: name.clone(),
        stage: Stage {
            key: stage.key.clone(),
            title: format!("put etcd {ran} of {name} back"),
            why: vec![format!("{name}: does not come up with etcd {failed}")],
            impact: Impact::Restart(name.clone()),
            preconditions: Vec::new(),
            work: Work::Hosts(BTreeMap::from([(member.host.clone(), steps)])),
            postconditions: vec![gate],
        },
        ran,
        failed,
    })
}

fn start_as_it_was(target: &Target, member: &Member, artifact: Artifact) -> Vec<HostStep> {
    let layout = &member.layout;
    if target.is_pod() {
        return vec![HostStep::Pod(artifact)];
    }
    if target.is_systemd() {
        return vec![
            HostStep::File(artifact),
            HostStep::Reload,
            HostStep::Restart(layout.unit.clone()),
        ];
    }
    vec![
        HostStep::File(artifact),
        HostStep::StopProcess {
            pid_file: layout.pid_file.clone(),
            data: layout.data.clone(),
        },
        HostStep::Spawn {
            member: member.name.clone(),
            start_file: layout.start_file.clone(),
            pid_file: layout.pid_file.clone(),
            log_file: layout.log_file.clone(),
            data: layout.data.clone(),
        },
    ]
}
