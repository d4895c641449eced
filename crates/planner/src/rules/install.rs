//! Installing what a member needs before it runs: user, directories, certificates, binaries, its
//! unit or start file.

use std::collections::BTreeMap;

use etcdup_core::file::{Binaries, Download};
use etcdup_core::host::HostId;
use etcdup_core::path::Mode;
use etcdup_core::stage::{
    Artifact, BinarySource, Content, HostStep, Impact, Rule, Stage, StageKey, Work,
};
use etcdup_core::topology::Member;

use crate::assess::{Assessment, Difference};
use crate::identity::Bootstrap;
use crate::plan_context::{Decision, PlanContext};
use crate::target::Target;

/// Installs, on every host at once, what members that do not run need, and binaries that running
/// members will need: neither touches a running member.
pub(crate) fn install(context: &PlanContext<'_>) -> Decision {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in &context.members {
        let steps = match member.process {
            None => whole(context.target, member),
            Some(_) => binaries(context.target, member),
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
    let title = match context.bootstrap {
        Bootstrap::Pending => "install etcd",
        Bootstrap::InProgress | Bootstrap::Complete => "install missing components",
    };
    Decision::Run(Stage {
        key: StageKey::new(Rule::Install, None),
        title: title.to_owned(),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: Vec::new(),
    })
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
    let mut steps = binaries(target, member);
    let manifest = &member.member.layout.manifest;
    let files: Vec<HostStep> = member
        .files
        .iter()
        // A manifest starts its pod: that is for the stage that starts members.
        .filter(|(artifact, _)| artifact.path != *manifest)
        .map(|(artifact, _)| HostStep::File((*artifact).clone()))
        .collect();
    let enable = member.running.iter().any(Difference::is_not_enabled);
    let mut frame = frame(target, member);
    if steps.is_empty() && files.is_empty() && frame.is_empty() && !enable {
        return Vec::new();
    }
    let unit = &member.member.layout.unit;
    let has_files = !files.is_empty();
    // Binaries come first: one that is not what it should be stops before anything else is changed.
    steps.append(&mut frame);
    steps.extend(files);
    if target.is_systemd() {
        if has_files {
            steps.push(HostStep::Reload);
        }
        if enable || has_files {
            steps.push(HostStep::Enable(unit.clone()));
        }
    }
    steps
}

/// The user and the directories, where they are missing or owned by another user.
fn frame(target: &Target, member: &Assessment<'_>) -> Vec<HostStep> {
    let layout = &member.member.layout;
    let owner = target.topology.owner();
    let mut steps = Vec::new();
    let user = &target.topology.user;
    if target.is_systemd()
        && !member
            .host
            .facts
            .users
            .iter()
            .any(|found| found == user.as_str())
    {
        steps.push(HostStep::User {
            name: user.clone(),
            home: layout.data.clone(),
        });
    }
    let mut wanted = vec![(&layout.data, Mode::CLOSED, owner)];
    // Files that are on the host already, at their own place, are in a directory that etcdup did
    // not make and does not own.
    let in_place = |artifact: &Artifact| matches!(&artifact.content, Content::OnHost(source) if *source == artifact.path);
    let certificates = &target.desired(member.member).certificates;
    if target.topology.uses_tls() && !certificates.iter().all(in_place) {
        let mode = target.topology.certificate_directory_mode();
        wanted.push((
            &layout.certificates,
            mode,
            target.topology.certificate_owner(),
        ));
    }
    for (path, mode, owner) in wanted {
        let right =
            member.host.files.get(path).is_some_and(|found| {
                found.mode == mode && (owner.is_none() || found.owner == owner)
            });
        if !right {
            steps.push(HostStep::Directory {
                path: path.clone(),
                mode,
                owner: owner.clone(),
            });
        }
    }
    steps
}

fn binaries(target: &Target, member: &Assessment<'_>) -> Vec<HostStep> {
    if member.binaries.is_none() {
        return Vec::new();
    }
    if target.is_pod() {
        let archive = target.topology.pod.archive.iter();
        return archive
            .map(|archive| HostStep::LoadImage {
                image: etcdup_render::image(&target.topology),
                archive: archive.to_string(),
            })
            .collect();
    }
    let source = match &target.topology.binaries {
        Binaries::Host(_) => return Vec::new(),
        Binaries::Directory(_) => BinarySource::Directory,
        Binaries::Archive(_) => BinarySource::Push,
        Binaries::Release(release) => match release.download {
            Download::Operator => BinarySource::Push,
            Download::Host => BinarySource::Fetch,
        },
    };
    let Member { layout, .. } = member.member;
    vec![HostStep::Binaries {
        directory: layout.binaries.clone(),
        version: target.topology.version.clone(),
        links: layout.links.clone(),
        source,
    }]
}
