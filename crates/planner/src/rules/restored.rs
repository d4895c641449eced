//! A member's first data, made of a snapshot.

use etcdup_core::file::Binaries;
use etcdup_core::observation::HostView;
use etcdup_core::path::HostPath;
use etcdup_core::restore::RestoredMember;
use etcdup_core::stage::HostStep;
use etcdup_core::topology::{Member, Topology};
use etcdup_core::version::EtcdVersion;

use crate::assess::Assessment;
use crate::identity::Start;
use crate::rules::needs::source_of;
use crate::target::Target;

/// What makes a member's data of the snapshot, right before it starts for the first time.
pub(crate) fn restore_steps(target: &Target, member: &Assessment<'_>) -> Vec<HostStep> {
    let topology = &target.topology;
    let Some(with) = target.restored_with() else {
        return Vec::new();
    };
    if member.process.is_some() || member.has_data() || member.starts != Start::New {
        return Vec::new();
    }
    let layout = &member.member.layout;
    let mut restored = RestoredMember {
        member: member.member.name.clone(),
        data: layout.data.clone(),
        log: layout.wal.clone(),
        owner: layout.owner(),
        tools: layout.binaries.clone(),
        token: topology.token.to_string(),
        peer_url: topology.peer_url(member.member).to_string(),
        initial_cluster: topology.initial_cluster(),
        bump: with.bump,
    };
    // An image has no tool that could be run outside of it, and a distribution may leave it out.
    let needs = layout.is_pod() || lacks_tools(topology, member.member, member.host);
    let fetched = needs.then(|| fetch_tools(topology, member.member));
    let Some((directory, step)) = fetched.flatten() else {
        return vec![HostStep::Restore(Box::new(restored))];
    };
    restored.tools = directory.clone();
    vec![
        step,
        HostStep::Restore(Box::new(restored)),
        HostStep::Remove(directory),
    ]
}

/// The binaries of a release, for as long as they are needed, and where they go.
pub(crate) fn fetch_tools(topology: &Topology, member: &Member) -> Option<(HostPath, HostStep)> {
    let directory = member.layout.state.join("tools").ok()?;
    let step = HostStep::Binaries {
        directory: directory.clone(),
        version: topology.version.clone(),
        links: None,
        source: source_of(topology.binaries.tools())?,
    };
    Some((directory, step))
}

/// Whether binaries are their host's own: then the tool is as well.
pub(crate) fn is_hosts_own(topology: &Topology) -> bool {
    matches!(topology.binaries, Binaries::Host(_))
}

/// Whether a host whose binaries are its own has no tool among them that restores.
fn lacks_tools(topology: &Topology, member: &Member, host: &HostView) -> bool {
    let is_there = |path: &HostPath| host.files.contains_key(path);
    let tools = tools(member, &topology.version);
    is_hosts_own(topology) && !tools.iter().any(is_there)
}

/// What restores: etcdctl no longer does since 3.6.
fn tool_names(version: &EtcdVersion) -> &'static [&'static str] {
    match version.minor() {
        0..=5 => &["etcdutl", "etcdctl"],
        _ => &["etcdutl"],
    }
}

/// The tools that restore, beside a member's etcd.
pub(crate) fn tools(member: &Member, version: &EtcdVersion) -> Vec<HostPath> {
    tool_names(version)
        .iter()
        .filter_map(|name| member.layout.binaries.join(name).ok())
        .collect()
}
