//! Worlds to plan in: topologies, bare hosts, and ways for them to go wrong. Also used by an
//! example.

use etcdup_core::file::Document;
use etcdup_core::host::HostId;
use etcdup_core::host::{Architecture, HostFacts, Init};
use etcdup_core::observation::{CaView, DataDir, Disk, HostView, Observation};
use etcdup_core::observed::Observed;
use etcdup_core::stage::Goal;
use etcdup_core::topology::{Topology, resolve};
use etcdup_planner::Planner;
use jiff::Timestamp;

/// A topology of so many members, each on a host of its own.
#[allow(dead_code, reason = "each test file uses what it needs")]
pub(crate) fn topology(members: usize, head: &str) -> Topology {
    let members: String = (1..=members)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.0.0.{n}\"\n"))
        .collect();
    topology_of(&format!(
        "format = 1\ncluster = \"prod\"\netcd = \"3.5.33\"\n{head}\n{members}"
    ))
}

/// The topology that a file means.
pub(crate) fn topology_of(text: &str) -> Topology {
    let document =
        Document::parse("etcdup.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"));
    resolve(&document.spec, |_| None).unwrap_or_else(|error| panic!("{error}"))
}

/// A planner that brings it about.
pub(crate) fn planner(topology: Topology) -> Planner {
    let goal = Goal::Converge {
        allow_outage: true,
        retry: false,
    };
    Planner::new(topology, goal, None).unwrap_or_else(|error| panic!("{error}"))
}

/// Bare hosts, all seen, and no CA.
pub(crate) fn bare(planner: &Planner) -> Observation {
    let mut seen = Observation::new(Timestamp::UNIX_EPOCH);
    seen.ca = CaView::Absent;
    for host in planner.topology().hosts.keys() {
        seen.hosts
            .insert(host.clone(), Observed::Known(host_view(planner, host)));
    }
    for member in &planner.topology().members {
        seen.members
            .insert(member.name.clone(), Observed::unknown("it does not run"));
    }
    seen
}

fn host_view(planner: &Planner, host: &HostId) -> HostView {
    let facts = HostFacts {
        machine_id: host.to_string(),
        architecture: Architecture::Amd64,
        hostname: host.to_string(),
        init: Init::Systemd,
        ..HostFacts::default()
    };
    let mut view = HostView {
        facts,
        ..HostView::default()
    };
    for member in planner.topology().on_host(host) {
        view.data
            .insert(member.layout.data.clone(), DataDir::Absent);
        view.disks.insert(
            member.layout.data.clone(),
            Disk {
                free: 1 << 40,
                device: "sda".into(),
                fsync_us: Some(1),
            },
        );
    }
    view
}
