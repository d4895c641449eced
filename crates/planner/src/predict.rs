//! What the world looks like if a stage works.

mod cluster;
mod machine;
mod operator;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcdup_core::certificate::CertFacts;
use etcdup_core::host::HostId;
use etcdup_core::membership::{ClusterId, ClusterView, MemberId, quorum_of};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{
    DataDir, DataIdentity, FileKind, FileView, HostRecord, ListedMember, LogDir, MemberView,
    Observation, RecordedMember, Served,
};
use etcdup_core::observed::Observed;
use etcdup_core::stage::{ClusterStep, Content, Goal, Held, HostStep, Rule, Stage, Work};
use etcdup_core::topology::Member;
use etcdup_core::version::minor_of;

use crate::generation::{cluster_id, member_id, recorded_cluster};
use crate::identity::data_of;
use crate::places::known_members;
use crate::recovering::forced;
use crate::target::Target;
use cluster::cluster_step;
use machine::{file, link, move_data, move_log, restored, start, stop, unit_view};
use operator::operator_step;

/// What the world looks like if this stage works.
pub(crate) fn predict(target: &Target, mut world: Observation, stage: &Stage) -> Observation {
    // Where the only one who answers is stopped and started, the list is still what it was.
    let known = ClusterView::any(&world).map(|view| view.told_by().clone());
    match &stage.work {
        Work::Operator(steps) => steps
            .iter()
            .for_each(|step| operator_step(&target.topology.cluster, &mut world, step)),
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
                // As the executor has it, whatever the steps are.
                if stage.key.rule == Rule::Reset
                    && let Some(Observed::Known(view)) = world.hosts.get_mut(host)
                    && let Some(record) = view.record_mut()
                {
                    record.forget_cluster();
                }
            }
            let started = stage.stops(&target.topology);
            // Whoever was taken elsewhere is found there from now on.
            let moved = stage
                .key
                .leg
                .place
                .then(|| target.clone().next_leg(&Goal::CONVERGE, &world).ok());
            let moved = moved.flatten();
            serve(
                moved.as_ref().unwrap_or(target),
                &mut world,
                known,
                &started,
                !stage.postconditions.is_empty(),
            );
        }
        Work::Cluster(step) => {
            cluster_step(target, &mut world, step);
            if let ClusterStep::Promote { .. } = step {
                serve(target, &mut world, known, &BTreeSet::new(), true);
            }
        }
    }
    world.done.insert(stage.key.clone());
    world
}

fn host_step(target: &Target, world: &mut Observation, id: &HostId, step: &HostStep) {
    let at = world.at;
    let content = step.artifact().map(|artifact| &artifact.content);
    let ca = content.and_then(|content| authority(world, content));
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
            host.logs.entry(path.clone()).and_modify(|log| {
                if *log == LogDir::Absent {
                    *log = LogDir::Empty;
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
            start(target, host, id, at, |layout| layout.unit == *unit);
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
        HostStep::Spawn { start_file, .. } => {
            start(target, host, id, at, |layout| {
                layout.start_file == *start_file
            });
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
            start(target, host, id, at, |layout| {
                layout.manifest == artifact.path
            });
        }
        HostStep::BouncePod { manifest, .. } => {
            start(target, host, id, at, |layout| layout.manifest == *manifest);
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
                record.failed.remove(&noted.member);
            }
        }
        HostStep::Roster(roster) => {
            if let Some(record) = host.record_mut() {
                record.roster.clone_from(roster);
            }
        }
        HostStep::Place(known) => {
            if let Some(record) = host.record_mut() {
                record.place((**known).clone());
            }
        }
        HostStep::NoteFailed { member, failed } => {
            if let Some(record) = host.record_mut() {
                record.failed.insert(member.clone(), failed.clone());
            }
        }
        HostStep::ForgetMember(name) => {
            if let Some(record) = host.record_mut() {
                record.forget(name);
            }
        }
        HostStep::Forget => {
            if let Some(record) = host.record_mut() {
                record.forget_cluster();
            }
        }
        HostStep::CheckRoom { .. } => {}
        HostStep::NoteRestore(restore) => {
            if let Some(record) = host.record_mut() {
                record.note_restore(restore);
            }
        }
        HostStep::NoteRecover(recover) => {
            if let Some(record) = host.record_mut() {
                record.note_recover(recover);
            }
        }
        // Whose data it is stays: its record says that it is alone.
        HostStep::ForceNew(_) | HostStep::CheckForce(_) => {}
        HostStep::Restore(made) => {
            restored(target, host, made);
        }
        HostStep::MoveData {
            held: Held::Data,
            from,
            to,
            owner,
        } => move_data(host, from, to, owner.as_ref()),
        HostStep::MoveData {
            held: Held::Log,
            from,
            to,
            owner,
        } => move_log(host, from, to, owner.as_ref()),
        HostStep::MoveAside { path } | HostStep::Remove(path) => {
            host.files.remove(path);
            host.certificates.remove(path);
            host.data
                .entry(path.clone())
                .and_modify(|data| *data = DataDir::Absent);
            let inside = host.logs.iter_mut().filter(|(log, _)| log.is_within(path));
            inside.for_each(|(_, log)| *log = LogDir::Absent);
        }
    }
}

/// The CAs that a file says something of: those that a CA file holds, or the one that signs a
/// certificate.
fn authority(world: &Observation, content: &Content) -> Option<CertFacts> {
    match content {
        Content::Ca => Some(CertFacts {
            further: world.bundle().into_iter().skip(1).collect(),
            ..world.ca.facts()?.clone()
        }),
        Content::Issued { request, .. } => world.issuer(request.issuer)?.facts().cloned(),
        Content::Text(_) | Content::Provided(_) | Content::OnHost(_) => None,
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

/// A member that was made the only one, as it answers once it serves.
fn alone(target: &Target, world: &Observation) -> Option<MemberView> {
    let (name, data) = forced(target, world)?;
    let member = target.topology.member(&name)?;
    let listed = ListedMember {
        id: data.member,
        name: member.etcd_name.to_string(),
        peer_urls: vec![target.topology.peer_url(member).to_string()],
        client_urls: Vec::new(),
        learner: false,
    };
    Some(MemberView {
        listed: vec![listed],
        ..MemberView::serving(data.member, data.cluster)
    })
}

/// Members that run serve once a quorum of the cluster's voters runs; after a stage with gates all
/// of them do.
fn serve(
    target: &Target,
    world: &mut Observation,
    before: Option<MemberView>,
    restarted: &BTreeSet<MemberName>,
    settled: bool,
) {
    let topology = &target.topology;
    let downgrade = world.downgrade().map(str::to_owned);
    let running: Vec<&Member> = topology
        .everyone()
        .filter(|member| {
            world
                .host(&member.host)
                .is_some_and(|host| host.processes.contains_key(&member.name))
        })
        .collect();
    let known = ClusterView::any(world).map(|view| view.told_by().clone());
    let known = known.or(before);
    let known = alone(target, world).or(known);
    let url = |member: &Member| topology.peer_url(member).to_string();
    let on_disk = |member: &Member| match data_of(world, member) {
        Some(DataDir::Member(data)) => Some(*data),
        Some(DataDir::Absent | DataDir::Empty | DataDir::Foreign) | None => None,
    };
    // Two directories of one member: which is the copy is not known here.
    let unique = |data: &DataIdentity| {
        let same = topology.members.iter().filter_map(on_disk);
        same.filter(|other| other.member == data.member).count() == 1
    };
    // Those that go vote until they are removed.
    let leaving = topology.leaving.iter().map(|leaving| &leaving.member);
    let recorded = recorded_cluster(topology, world);
    let own = |data: DataIdentity| recorded.is_none_or(|cluster| data.cluster == cluster);
    let leaving_with_data: Vec<&Member> = leaving
        .filter(|one| on_disk(one).is_some_and(own))
        .collect();
    // Where nobody answers, the members that have data, and those that their files name.
    let mut listed: Vec<ListedMember> = match &known {
        Some(view) => view.listed.clone(),
        None => known_members(target, world)
            .into_iter()
            .chain(leaving_with_data)
            .map(|member| ListedMember {
                id: on_disk(member).filter(unique).map_or_else(
                    || member_id(topology, member, &topology.token),
                    |data| data.member,
                ),
                name: member.etcd_name.to_string(),
                peer_urls: vec![url(member)],
                client_urls: Vec::new(),
                learner: false,
            })
            .collect(),
    };
    // One that has moved within its host is known by its data.
    let datas: BTreeMap<&MemberName, MemberId> = running
        .iter()
        .filter_map(|member| Some((&member.name, on_disk(member)?.member)))
        .collect();
    let is = |listed: &ListedMember, member: &Member| {
        listed.peer_urls.contains(&url(member)) || datas.get(&member.name) == Some(&listed.id)
    };
    let voters = listed.iter().filter(|listed| !listed.learner);
    let runs = |listed: &&ListedMember| running.iter().any(|member| is(listed, member));
    if !settled || voters.clone().filter(runs).count() < quorum_of(voters.count()) {
        return;
    }
    for member in &running {
        if let Some(own) = listed.iter_mut().find(|listed| is(listed, member)) {
            // Only a member that runs publishes its name and client URLs; a bootstrap knows every
            // name beforehand.
            let host = world.host(&member.host);
            let process = host.and_then(|host| host.processes.get(&member.name));
            let flag = |name: &str| process?.flags.get(name).map(str::to_owned);
            own.name = flag("name").unwrap_or_else(|| member.etcd_name.to_string());
            own.client_urls = flag("advertise-client-urls").into_iter().collect();
        }
    }
    let own = |member: &Member| listed.iter().find(|listed| is(listed, member));
    let leader = world
        .leader()
        .cloned()
        .and_then(|name| world.member(&name).map(|view| view.id));
    let voting = |member: &&&Member| own(member).is_some_and(|own| !own.learner);
    let first = running.iter().find(voting);
    let leader = leader.or_else(|| Some(own(first?)?.id));
    let of_data = running.iter().find_map(|member| on_disk(member));
    let cluster = known
        .as_ref()
        .map(|view| view.cluster)
        .or(of_data.map(|data| data.cluster))
        .unwrap_or_else(|| cluster_id(topology));
    let denied = known
        .as_ref()
        .and_then(|view| view.served.known())
        .is_some_and(|served| served.denied);
    for member in &running {
        // Whom the list does not have does not get in.
        let Some(own) = own(member) else { continue };
        name_new_data(target, world, member, own.id, cluster);
        let fresh = MemberView::serving(own.id, cluster);
        // Only a member that starts runs the target's release.
        let ran = world.member(&member.name);
        let ran = ran.filter(|_| !restarted.contains(&member.name));
        let serving = MemberView {
            leader,
            version: ran.map_or_else(|| topology.version.to_string(), |view| view.version.clone()),
            downgrade: downgrade.clone(),
            revision: target
                .restored_with()
                .map_or(fresh.revision, |with| with.revision),
            raft_index: known
                .as_ref()
                .map_or(fresh.raft_index, |view| view.raft_index),
            listed: listed.clone(),
            served: Observed::Known(Served {
                took: Duration::ZERO,
                denied,
            }),
            ..fresh
        };
        let view = if own.learner {
            MemberView {
                learner: true,
                listed: Vec::new(),
                served: Observed::unknown("it is a learner"),
                ..serving
            }
        } else {
            serving
        };
        world
            .members
            .insert(member.name.clone(), Observed::Known(view));
    }
    // A downgrade goes on until all run the older minor.
    let ended = downgrade.is_some_and(|minor| {
        let mut views = world.known_members();
        views.all(|view| minor_of(&view.version) == minor)
    });
    if ended {
        let views = world.members.values_mut().filter_map(Observed::known_mut);
        views.for_each(|view| view.downgrade = None);
    }
}
