//! What must be right before anything changes: every problem of every host, at once. One check a function; checks of
//! members that run already are left out, for they have proven themselves.

mod certs;
mod hosts;
mod names;
mod places;
mod srv;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{HostView, Observation};
use etcdup_core::topology::Member;

use crate::identity::{Formation, formation};
use crate::planner::Planner;

pub use certs::SOURCE_UNREADABLE;
pub use hosts::HOST_UNSEEN;
pub(crate) use names::unresolved;

/// Every preflight check.
pub(crate) const CHECKS: &[Check] = &[
    hosts::HOST_UNSEEN,
    hosts::HOST_TOOLS,
    hosts::HOST_ROOT,
    hosts::HOST_SYSTEMD,
    hosts::HOST_ARCH,
    hosts::SAME_MACHINE,
    hosts::CLOCKS,
    places::PORT_TAKEN,
    places::DISK_SPACE,
    places::DISK_SLOW,
    places::LISTEN_ADDRESS,
    names::NAME_UNRESOLVED,
    names::PEER_UNREACHABLE,
    names::REACH_UNKNOWN,
    srv::SRV,
    certs::CERT_REFUSED,
    certs::SOURCE_UNREADABLE,
];

/// A member that does not run yet, and its host.
struct Fresh<'a> {
    planner: &'a Planner,
    seen: &'a Observation,
    member: &'a Member,
    host: &'a HostView,
}

pub(crate) fn preflight(planner: &Planner, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let fresh: Vec<Fresh<'_>> = planner
        .topology
        .members
        .iter()
        .filter_map(|member| {
            Some(Fresh {
                planner,
                seen,
                member,
                host: seen.host(&member.host)?,
            })
        })
        .filter(|fresh| !fresh.host.processes.contains_key(&fresh.member.name))
        .collect();
    hosts::tools(planner, seen, &mut findings);
    certs::sources(planner, seen, &mut findings);
    certs::authority(planner, seen, &mut findings);
    for member in &planner.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        if crate::assess::binaries(planner, member, host).is_some() {
            places::room(member, host, &mut findings);
        }
    }
    if fresh.is_empty() {
        return findings;
    }
    let formed = formation(planner, seen) == Formation::Formed;
    hosts::same_machine(planner, seen, &mut findings);
    hosts::clocks(planner, seen, &mut findings);
    for fresh in &fresh {
        places::ports(fresh, &mut findings);
        places::disk(fresh, &mut findings);
        places::listen(fresh, &mut findings);
        names::resolve(fresh, &mut findings);
        names::reach(fresh, &mut findings);
        certs::peers(fresh, &mut findings);
        if !formed {
            srv::records(fresh, &mut findings);
        }
    }
    findings
}
