//! What a step makes of its host.

use std::collections::BTreeMap;

use etcdup_core::certificate::CertFacts;
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{
    DataDir, DataIdentity, EtcdProcess, FileKind, FileView, HostView, Listener, LogDir, MemberView,
    RecordedFile, UnitView,
};
use etcdup_core::observed::Observed;
use etcdup_core::path::{HostPath, Mode, Owner};
use etcdup_core::restore::RestoredMember;
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::{LOG, Member, MemberLayout};

use super::operator::issued;
use crate::assess::LINKED;
use crate::generation::{cluster_id, member_id};
use crate::identity::read_flags;
use crate::questions::COPY;
use crate::roster::is_place_of;
use crate::target::Target;

/// Starts the member that this starts: where its host's record has it.
pub(super) fn start(
    target: &Target,
    host: &mut HostView,
    id: &HostId,
    at: jiff::Timestamp,
    is_it: impl Fn(&MemberLayout) -> bool,
) {
    let moved = |member: &&Member| {
        let (_, there) = target.there(&member.name)?;
        let roster = &host.record()?.roster;
        let known = roster.iter().find(|known| is_place_of(known, there))?;
        let tls = target.topology.uses_tls();
        (known.place.is_kept_by(there, tls) && is_it(&there.layout)).then_some(())
    };
    let mut members = target.topology.on_host(id);
    if let Some(member) = members.find(|member| moved(member).is_some()) {
        if let Some((beyond, there)) = target.there(&member.name) {
            run(beyond, host, there, at);
        }
        return;
    }
    let mut members = target.topology.on_host(id);
    if let Some(member) = members.find(|member| is_it(&member.layout)) {
        run(target, host, member, at);
    }
}

pub(super) fn move_data(
    host: &mut HostView,
    from: &HostPath,
    to: &HostPath,
    owner: Option<&Owner>,
) {
    if from != to {
        let data = host.data.insert(from.clone(), DataDir::Absent);
        host.data
            .insert(to.clone(), data.unwrap_or(DataDir::Absent));
        let (mark, taken) = (host.marks.remove(from), host.raft_snapshots.remove(from));
        host.marks.extend(mark.map(|mark| (to.clone(), mark)));
        host.raft_snapshots
            .extend(taken.map(|taken| (to.clone(), taken)));
        if let Some(view) = host.files.remove(from) {
            host.files.insert(to.clone(), view);
        }
    }
    if let Ok(copy) = to.join(COPY) {
        host.files.remove(&copy);
    }
    if let (true, Ok(old), Ok(new)) = (from != to, from.join("member"), to.join("member"))
        && let Some(log) = host.logs.insert(old, LogDir::Absent)
    {
        host.logs.insert(new, log);
    }
    if let (Ok(old), Ok(new)) = (from.join("member"), to.join("member"))
        && let Some(mut view) = host.files.remove(&old)
    {
        view.owner = owner.cloned().or(view.owner);
        host.files.insert(new, view);
    }
    if let Some(view) = host.files.get_mut(to) {
        view.mode = Mode::CLOSED;
        view.owner = owner.cloned().or(view.owner.take());
    }
}

pub(super) fn move_log(host: &mut HostView, from: &HostPath, to: &HostPath, owner: Option<&Owner>) {
    if from != to {
        let log = host.logs.insert(from.clone(), LogDir::Absent);
        host.logs.insert(to.clone(), log.unwrap_or(LogDir::Log));
        if from.file_name() != "member" {
            host.files.remove(from);
        }
        if let Ok(log) = from.join(LOG) {
            host.files.remove(&log);
        }
    }
    if let Ok(copy) = to.join(COPY) {
        host.files.remove(&copy);
    }
    // In the data it is what the data's own directory says.
    if to.file_name() != "member" {
        let view = FileView {
            kind: FileKind::Directory,
            mode: Mode::CLOSED,
            owner: owner.cloned(),
            size: 0,
            sha256: None,
            text: None,
            modified: None,
        };
        host.files.insert(to.clone(), view);
    }
    if let Ok(log) = to.join(LOG)
        && let Some(view) = host.files.get_mut(&log)
    {
        view.owner = owner.cloned().or(view.owner.take());
    }
}

pub(super) fn file(
    target: &Target,
    host: &mut HostView,
    artifact: &Artifact,
    ca: Option<&CertFacts>,
    at: jiff::Timestamp,
) {
    let sha256 = target
        .topology
        .members
        .iter()
        .flat_map(|member| {
            let there = target.there(&member.name);
            let there = there.map(|(beyond, there)| beyond.desired(there));
            std::iter::once(target.desired(member)).chain(there)
        })
        .find_map(|wanted| {
            if wanted.fresh == *artifact {
                return Some(wanted.fresh_digest().to_owned());
            }
            (wanted.settled == *artifact)
                .then(|| wanted.sum(&artifact.path).map(str::to_owned))
                .flatten()
        });
    let sha256 = match &artifact.content {
        Content::OnHost(source) => host.files.get(source).and_then(|file| file.sha256.clone()),
        Content::Text(_) | Content::Ca | Content::Issued { .. } | Content::Provided(_) => sha256,
    };
    // The start file of a member that joins is of neither kind, and read again afterwards.
    let joining = match &artifact.content {
        Content::Text(text) => Some(text).filter(|_| sha256.is_none()),
        Content::Ca | Content::Issued { .. } | Content::Provided(_) | Content::OnHost(_) => None,
    };
    // What is issued is not known before; whatever it is, the record has its digest.
    let made = match &artifact.content {
        Content::Issued { .. } => Some("issued".to_owned()),
        Content::Text(_) | Content::Ca | Content::Provided(_) | Content::OnHost(_) => None,
    };
    let sha256 = sha256
        .or_else(|| artifact.content.sha256())
        .or_else(|| made.clone());
    let view = FileView {
        kind: FileKind::File,
        mode: artifact.mode,
        owner: artifact.owner.clone(),
        size: 0,
        sha256,
        text: joining.map(ToString::to_string),
        modified: Some(at.as_second()),
    };
    host.files.insert(artifact.path.clone(), view);
    if let Some(record) = host.record_mut() {
        record.files.remove(&artifact.path);
        let made = made.map(|sha256| (artifact.path.clone(), RecordedFile { sha256 }));
        record.files.extend(made);
    }
    match &artifact.content {
        Content::Ca => {
            if let Some(ca) = ca {
                host.certificates
                    .insert(artifact.path.clone(), Observed::Known(ca.clone()));
            }
        }
        Content::Issued {
            request,
            part: Part::Certificate,
        } => {
            let facts = issued(request, ca, at);
            host.certificates
                .insert(artifact.path.clone(), Observed::Known(facts));
        }
        Content::Issued {
            request,
            part: Part::Renewal(_),
        } => {
            let before = host.certificates.get(&artifact.path);
            let before = before.and_then(Observed::known);
            let facts = CertFacts {
                public_key: before.map_or_else(String::new, |facts| facts.public_key.clone()),
                ..issued(request, ca, at)
            };
            host.certificates
                .insert(artifact.path.clone(), Observed::Known(facts));
        }
        Content::Issued {
            part: Part::Key, ..
        }
        | Content::Text(_)
        | Content::Provided(_) => {}
        Content::OnHost(source) => {
            let facts = host.certificates.get(source).cloned();
            let written = facts.map(|facts| (artifact.path.clone(), facts));
            host.certificates.extend(written);
        }
    }
}

fn run(target: &Target, host: &mut HostView, member: &Member, at: jiff::Timestamp) {
    let wanted = target.desired(member);
    let before = host.processes.get(&member.name);
    // Hosts' clocks may be ahead of this one: what a process read at its start is never newer than
    // it.
    let ca = target.ca_artifact(member);
    let ca = ca.and_then(|ca| host.files.get(&ca.path)?.modified);
    let since = at.as_second().max(ca.unwrap_or_default());
    let mut flags = wanted.flags.clone();
    // What it is started with may have another list than the settled file.
    let text = host
        .files
        .get(&wanted.settled.path)
        .and_then(|file| file.text.as_deref());
    let listed = text.map(|text| read_flags(member, text));
    if let Some(list) = listed.as_ref().and_then(|own| own.get("initial-cluster")) {
        flags.set("initial-cluster", list);
    }
    let process = EtcdProcess {
        pid: before.map_or(1, |process| process.pid + 1),
        exe: wanted.etcd.to_string(),
        flags,
        outdated: false,
        since: Some(since),
        unknown_flags: Vec::new(),
    };
    let port = member.ports.peer;
    let listener = Listener {
        pid: Some(process.pid),
        program: "etcd".to_owned(),
        unit: None,
    };
    host.listeners.insert(port, listener);
    host.processes.insert(member.name.clone(), process);
    if let Ok(log) = member.layout.holds_log() {
        host.logs.insert(log, LogDir::Log);
    }
    let data = host
        .data
        .entry(member.layout.data.clone())
        .or_insert(DataDir::Absent);
    if matches!(data, DataDir::Absent | DataDir::Empty) {
        *data = DataDir::Member(DataIdentity {
            member: member_id(&target.topology, member, &target.topology.token),
            cluster: cluster_id(&target.topology),
        });
    }
}

/// The data that etcd's tool makes of a snapshot is that of a bootstrap.
pub(super) fn restored(target: &Target, host: &mut HostView, made: &RestoredMember) {
    let mut members = target.topology.members.iter();
    let Some(member) = members.find(|member| member.name == made.member) else {
        return;
    };
    let data = DataDir::Member(DataIdentity {
        member: member_id(&target.topology, member, &target.topology.token),
        cluster: cluster_id(&target.topology),
    });
    host.data.insert(made.data.clone(), data);
    if let Ok(log) = member.layout.holds_log() {
        host.logs.insert(log, LogDir::Log);
    }
}

pub(super) fn stop(
    host: &mut HostView,
    members: &mut BTreeMap<MemberName, Observed<MemberView>>,
    member: &Member,
) {
    host.processes.remove(&member.name);
    // One that is stopped cleanly writes the end of its log, which was in its memory.
    let answer = members.get(&member.name).and_then(Observed::known);
    let log = host.raft_logs.get_mut(&member.layout.data);
    if let (Some(view), Some(Observed::Known(log))) = (answer, log) {
        log.committed = log.committed.max(view.raft_index);
        log.last = log.last.max(view.raft_index);
        log.revision = log.revision.or(Some(view.revision));
    }
    let ports = &member.ports;
    for port in [Some(ports.peer), Some(ports.client), ports.metrics] {
        let listener = port.and_then(|port| Some((port, host.listeners.get(&port)?)));
        if let Some((port, _)) = listener.filter(|(_, listener)| listener.program == "etcd") {
            host.listeners.remove(&port);
        }
    }
    members.insert(member.name.clone(), Observed::unknown("stopped"));
}

/// Links to binaries; what is no link stays.
pub(super) fn link(host: &mut HostView, directory: &HostPath, links: &HostPath) {
    for name in LINKED {
        let (Ok(link), Ok(target)) = (links.join(name), directory.join(name)) else {
            continue;
        };
        let kept = host
            .files
            .get(&link)
            .is_some_and(|found| !matches!(found.kind, FileKind::Link(_)));
        if !kept {
            let view = FileView {
                kind: FileKind::Link(target.to_string()),
                mode: Mode::PROGRAM,
                owner: None,
                size: 0,
                sha256: None,
                text: None,
                modified: None,
            };
            host.files.insert(link, view);
        }
    }
}

pub(super) fn unit_view<'a>(host: &'a mut HostView, unit: &str) -> &'a mut UnitView {
    host.units
        .entry(unit.to_owned())
        .or_insert_with(|| UnitView {
            sub: "dead".to_owned(),
            enabled: false,
            restarts: 0,
            needs_reload: false,
            drop_ins: Vec::new(),
        })
}
