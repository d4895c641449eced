//! What the world looks like if a stage works.

use std::collections::BTreeMap;
use std::time::Duration;

use etcdup_core::certificate::CertFacts;
use etcdup_core::host::HostId;
use etcdup_core::membership::{ClusterId, MemberId, bootstrap_quorum};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{
    CaView, DataDir, DataIdentity, EtcdProcess, FileKind, FileView, HostRecord, HostView,
    ListedMember, Listener, MemberView, Observation, RecordedMember, Served, UnitView,
};
use etcdup_core::observed::Observed;
use etcdup_core::path::{HostPath, Mode};
use etcdup_core::stage::{
    Artifact, ClusterStep, Content, HostStep, OperatorStep, Part, Stage, Work,
};
use etcdup_core::topology::Member;
use jiff::SignedDuration;

use crate::assess::LINKED;
use crate::generation::{cluster_id, member_id};
use crate::target::Target;

/// What the world looks like if this stage works.
pub(crate) fn predict(target: &Target, mut world: Observation, stage: &Stage) -> Observation {
    match &stage.work {
        Work::Operator(steps) => steps
            .iter()
            .for_each(|step| operator_step(&mut world, step)),
        Work::Hosts(tasks) => {
            for (host, steps) in tasks {
                // Every stage that changes a host writes its record.
                if let Some(Observed::Known(view)) = world.hosts.get_mut(host)
                    && view.record == Observed::Known(None)
                {
                    view.record = Observed::Known(Some(HostRecord::default()));
                }
                for step in steps {
                    host_step(target, &mut world, host, step);
                }
            }
            serve(target, &mut world, !stage.postconditions.is_empty());
        }
        Work::Cluster(ClusterStep::MoveLeader { to, .. }) => {
            let id = world.member(to).map(|member| member.id);
            for member in world.members.values_mut().filter_map(Observed::known_mut) {
                member.leader = id;
            }
        }
    }
    world
}

fn host_step(target: &Target, world: &mut Observation, id: &HostId, step: &HostStep) {
    let ca = world.ca.facts().cloned();
    let at = world.at;
    let content = step.artifact().map(|artifact| &artifact.content);
    let provided = content.and_then(|content| {
        let source = world.sources.get(content.provided()?)?;
        source.known().cloned()
    });
    let Some(Observed::Known(host)) = world.hosts.get_mut(id) else {
        return;
    };
    match step {
        HostStep::User { name, .. } => host.facts.users.push(name.to_string()),
        HostStep::Directory { path, mode, owner } => {
            let view = FileView {
                kind: FileKind::Directory,
                mode: *mode,
                owner: owner.clone(),
                size: 0,
                sha256: None,
                text: None,
                modified: Some(at.as_second()),
            };
            host.files.insert(path.clone(), view);
            host.data.entry(path.clone()).and_modify(|data| {
                if *data == DataDir::Absent {
                    *data = DataDir::Empty;
                }
            });
        }
        HostStep::File(artifact) => {
            file(target, host, artifact, ca.as_ref(), at);
            if let (Some(source), Some(file)) = (provided, host.files.get_mut(&artifact.path)) {
                file.sha256 = Some(source.sha256);
                let facts = source.certificate.into_iter().map(Observed::Known);
                let written = facts.map(|facts| (artifact.path.clone(), facts));
                host.certificates.extend(written);
            }
        }
        HostStep::Binaries {
            directory, links, ..
        } => {
            if let Some(links) = links {
                link(host, directory, links);
            }
            for member in target
                .topology
                .members
                .iter()
                .filter(|member| member.layout.binaries == *directory)
            {
                let etcd = &target.desired(member).etcd;
                let view = FileView {
                    kind: FileKind::File,
                    mode: etcdup_core::path::Mode::PROGRAM,
                    owner: None,
                    size: 0,
                    sha256: None,
                    text: None,
                    modified: Some(at.as_second()),
                };
                host.files.insert(etcd.clone(), view);
                if let Some(record) = host.record_mut() {
                    record.files.remove(etcd);
                }
            }
        }
        HostStep::Links { directory, links } => link(host, directory, links),
        HostStep::TimeSync => host.facts.time_service = Some("chrony".to_owned()),
        HostStep::Reload => host
            .units
            .values_mut()
            .for_each(|unit| unit.needs_reload = false),
        HostStep::Enable(unit) => unit_view(host, unit).enabled = true,
        HostStep::Restart(unit) => {
            if let Some(member) = target
                .topology
                .on_host(id)
                .find(|member| member.layout.unit == *unit)
            {
                run(target, host, member, at);
            }
        }
        HostStep::Disable(unit) => {
            unit_view(host, unit).enabled = false;
            for member in target
                .topology
                .on_host(id)
                .filter(|member| member.layout.unit == *unit)
            {
                stop(host, &mut world.members, member);
            }
        }
        HostStep::Spawn { member, .. } => {
            if let Some(member) = target.topology.member(member) {
                run(target, host, member, at);
            }
        }
        HostStep::StopProcess { pid_file, .. } => {
            for member in target
                .topology
                .on_host(id)
                .filter(|member| member.layout.pid_file == *pid_file)
            {
                stop(host, &mut world.members, member);
            }
        }
        HostStep::LoadImage { image, .. } => {
            host.images.insert(image.clone());
        }
        HostStep::Pod(artifact) => {
            file(target, host, artifact, ca.as_ref(), at);
            if let Some(member) = target
                .topology
                .on_host(id)
                .find(|member| member.layout.manifest == artifact.path)
            {
                run(target, host, member, at);
            }
        }
        HostStep::BouncePod { manifest, .. } => {
            if let Some(member) = target
                .topology
                .on_host(id)
                .find(|member| member.layout.manifest == *manifest)
            {
                run(target, host, member, at);
            }
        }
        HostStep::StopPod { manifest, .. } => {
            host.files.remove(manifest);
            for member in target
                .topology
                .on_host(id)
                .filter(|member| member.layout.manifest == *manifest)
            {
                stop(host, &mut world.members, member);
            }
        }
        HostStep::Note(noted) => {
            let known = RecordedMember {
                id: noted.id,
                mark: noted.mark.clone().unwrap_or_else(|| "new".to_owned()),
                version: noted.version.clone(),
            };
            host.marks.insert(noted.data.clone(), known.mark.clone());
            if let Some(record) = host.record_mut() {
                record.cluster = Some(noted.cluster);
                record.members.insert(noted.member.clone(), known);
            }
        }
        HostStep::Forget => {
            if let Some(record) = host.record_mut() {
                record.cluster = None;
                record.members.clear();
                record.begun = None;
            }
        }
        HostStep::MoveAside { path } | HostStep::Remove(path) => {
            host.files.remove(path);
            host.data
                .entry(path.clone())
                .and_modify(|data| *data = DataDir::Absent);
        }
    }
}

fn file(
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
        .map(|member| target.desired(member))
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
    let view = FileView {
        kind: FileKind::File,
        mode: artifact.mode,
        owner: artifact.owner.clone(),
        size: 0,
        sha256,
        text: None,
        modified: Some(at.as_second()),
    };
    host.files.insert(artifact.path.clone(), view);
    if let Some(record) = host.record_mut() {
        record.files.remove(&artifact.path);
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
    let process = EtcdProcess {
        pid: before.map_or(1, |process| process.pid + 1),
        exe: wanted.etcd.to_string(),
        flags: wanted.flags.clone(),
        outdated: false,
        since: Some(since),
        unknown_flags: Vec::new(),
    };
    let port = member.ports.peer;
    let listener = Listener {
        pid: Some(process.pid),
        program: "etcd".to_owned(),
    };
    host.listeners.insert(port, listener);
    host.processes.insert(member.name.clone(), process);
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

/// Data that was just made belongs to the member as the cluster lists it.
fn name_new_data(
    target: &Target,
    world: &mut Observation,
    member: &Member,
    id: MemberId,
    cluster: ClusterId,
) {
    let made = DataIdentity {
        member: member_id(&target.topology, member, &target.topology.token),
        cluster: cluster_id(&target.topology),
    };
    if let Some(Observed::Known(host)) = world.hosts.get_mut(&member.host)
        && let Some(data) = host.data.get_mut(&member.layout.data)
        && *data == DataDir::Member(made)
    {
        *data = DataDir::Member(DataIdentity {
            member: id,
            cluster,
        });
    }
}

/// Members that run serve once a quorum of them runs; after a stage with gates all of them do.
fn serve(target: &Target, world: &mut Observation, settled: bool) {
    let running: Vec<&Member> = target
        .topology
        .members
        .iter()
        .filter(|member| {
            world
                .host(&member.host)
                .is_some_and(|host| host.processes.contains_key(&member.name))
        })
        .collect();
    if !settled || running.len() < bootstrap_quorum(&target.topology) {
        return;
    }
    let known = target
        .topology
        .members
        .iter()
        .find_map(|member| world.member(&member.name))
        .cloned();
    let by_list = |member: &Member| {
        let url = target.topology.peer_url(member).to_string();
        let mut listed = known.iter().flat_map(|view| &view.listed);
        listed.find(|listed| listed.peer_urls.contains(&url))
    };
    // A member that was added has the ID that the cluster gave it; at a bootstrap each is made of
    // URLs and token.
    let id_of = |world: &Observation, member: &Member| {
        let view = world.member(&member.name).map(|view| view.id);
        view.or_else(|| by_list(member).map(|listed| listed.id))
            .unwrap_or_else(|| member_id(&target.topology, member, &target.topology.token))
    };
    let leader = world
        .leader()
        .cloned()
        .and_then(|name| world.member(&name).map(|view| view.id));
    let leader = leader.or_else(|| running.first().map(|member| id_of(world, member)));
    let url = |member: &Member| target.topology.peer_url(member).to_string();
    let has_started = |member: &Member| {
        let known = known
            .iter()
            .flat_map(|view| &view.listed)
            .any(|listed| listed.started() && listed.peer_urls.contains(&url(member)));
        known || running.iter().any(|other| other.name == member.name)
    };
    let listed: Vec<ListedMember> = target
        .topology
        .members
        .iter()
        .map(|member| ListedMember {
            id: id_of(world, member),
            name: member.name.to_string(),
            peer_urls: vec![target.topology.peer_url(member).to_string()],
            // Only a member that runs publishes its client URLs; a bootstrap knows every name
            // beforehand.
            client_urls: if has_started(member) {
                vec![target.topology.client_url(member).to_string()]
            } else {
                Vec::new()
            },
            learner: false,
        })
        .collect();
    let cluster = known
        .as_ref()
        .map_or_else(|| cluster_id(&target.topology), |view| view.cluster);
    for member in &running {
        name_new_data(target, world, member, id_of(world, member), cluster);
        let view = MemberView {
            leader,
            version: target.topology.version.to_string(),
            listed: listed.clone(),
            served: Observed::Known(Served {
                took: Duration::ZERO,
                denied: known
                    .as_ref()
                    .and_then(|view| view.served.known())
                    .is_some_and(|served| served.denied),
            }),
            ..MemberView::serving(id_of(world, member), cluster)
        };
        world
            .members
            .insert(member.name.clone(), Observed::Known(view));
    }
}

fn stop(
    host: &mut HostView,
    members: &mut BTreeMap<MemberName, Observed<MemberView>>,
    member: &Member,
) {
    host.processes.remove(&member.name);
    host.listeners.remove(&member.ports.peer);
    members.insert(member.name.clone(), Observed::unknown("stopped"));
}

/// Links to binaries; what is no link stays.
fn link(host: &mut HostView, directory: &HostPath, links: &HostPath) {
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

fn unit_view<'a>(host: &'a mut HostView, unit: &str) -> &'a mut UnitView {
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

fn operator_step(world: &mut Observation, step: &OperatorStep) {
    match step {
        OperatorStep::CreateCa => {
            let life = SignedDuration::from_hours(24 * 3650);
            world.ca = CaView::Usable(CertFacts {
                name: "new".to_owned(),
                issuer: "new".to_owned(),
                sans: std::collections::BTreeSet::new(),
                other_sans: Vec::new(),
                server_auth: true,
                client_auth: true,
                is_ca: true,
                not_before: world.at,
                not_after: world.at + life,
                fingerprint: "new".to_owned(),
                key_id: "new".to_owned(),
                issuer_key_id: "new".to_owned(),
                public_key: "new".to_owned(),
                further: Vec::new(),
            });
        }
        OperatorStep::IssueClient(request) => {
            let facts = issued(request, world.ca.facts(), world.at);
            world
                .clients
                .insert(request.name.clone(), Observed::Known(facts));
        }
    }
}

fn issued(
    request: &etcdup_core::certificate::CertRequest,
    ca: Option<&CertFacts>,
    at: jiff::Timestamp,
) -> CertFacts {
    CertFacts {
        name: request.name.clone(),
        issuer: ca.map(|facts| facts.name.clone()).unwrap_or_default(),
        sans: request.sans.clone(),
        other_sans: Vec::new(),
        server_auth: request.usage.is_server(),
        client_auth: true,
        is_ca: false,
        not_before: at,
        not_after: at + SignedDuration::from_hours(i64::from(request.hours)),
        fingerprint: "new".to_owned(),
        key_id: "new".to_owned(),
        issuer_key_id: ca.map(|facts| facts.key_id.clone()).unwrap_or_default(),
        public_key: "new".to_owned(),
        further: Vec::new(),
    }
}
