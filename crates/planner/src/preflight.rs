//! What must be right before anything changes: every problem of every host, at once. One check a
//! function; checks of members that run already are left out, for they have proven themselves.

mod certs;
mod hosts;
mod names;
mod places;
mod quota;
mod srv;
mod stopped;
mod unseen;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::Observation;

use crate::identity::{Bootstrap, bootstrap};
use crate::target::Target;

use stopped::StoppedMember;

pub(crate) use certs::CERT_REFUSED;
pub use certs::SOURCE_UNREADABLE;
pub use hosts::HOST_UNSEEN;
pub(crate) use names::unresolved;
pub(crate) use unseen::unseen_hosts;

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
    quota::QUOTA_BELOW,
    names::NAME_UNRESOLVED,
    names::PEER_UNREACHABLE,
    names::REACH_UNKNOWN,
    srv::SRV,
    certs::CERT_REFUSED,
    certs::SOURCE_UNREADABLE,
];

pub(crate) fn preflight(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let fresh: Vec<StoppedMember<'_>> = target
        .topology
        .members
        .iter()
        .filter_map(|member| {
            Some(StoppedMember {
                target,
                seen,
                member,
                host: seen.host(&member.host)?,
            })
        })
        .filter(|fresh| !fresh.host.processes.contains_key(&fresh.member.name))
        .collect();
    hosts::tools(target, seen, &mut findings);
    certs::sources(target, seen, &mut findings);
    certs::ca(target, seen, &mut findings);
    findings.extend(crate::rules::trust::warnings(target, seen));
    findings.extend(crate::rules::transition::warnings(target, seen));
    findings.extend(crate::rules::version::flags_on_the_way(target, seen));
    for member in &target.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        findings.extend(quota::below(target, seen, member, host));
        if crate::assess::binaries(target, member, host).is_some() {
            places::room(member, host, &mut findings);
        }
    }
    if fresh.is_empty() {
        return findings;
    }
    let formed = bootstrap(target, seen) == Bootstrap::Complete;
    hosts::same_machine(target, seen, &mut findings);
    hosts::clocks(target, seen, &mut findings);
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
