//! Checks of hosts as such: tools, root, architecture, clocks, the same machine twice.

use std::collections::BTreeMap;

use etcdup_core::file::{KeyPath, RuntimeKind};
use etcdup_core::finding::{Check, Finding};
use etcdup_core::host::HostId;
use etcdup_core::host::{Architecture, Init};
use etcdup_core::observation::Observation;

use crate::target::Target;

/// The check of hosts that could not be looked at.
pub const HOST_UNSEEN: Check = Check {
    id: "host-unseen",
    title: "a host could not be looked at",
    about: "What is unseen is not touched. No cluster is begun while a host of the file is unseen; one that has formed is \
            managed on the hosts that answer, if a majority is reachable and quorum remains.",
    advice: "check that the host is up and reachable by SSH; then run again",
};
pub(super) const HOST_TOOLS: Check = Check {
    id: "host-tools",
    title: "a host lacks tools",
    about: "A host needs a POSIX shell, coreutils, tar, gzip, flock, awk, sed, grep, find, getent, od, df and stat; curl or \
            wget where it downloads the release itself. Nothing is installed beside etcd.",
    advice: "install them with the host's package manager",
};
pub(super) const HOST_ROOT: Check = Check {
    id: "host-root",
    title: "no root on a host",
    about: "Units, users and files below /etc need root. The login user is not root and sudo is not used.",
    advice: "log in as root, or set sudo = \"auto\" or \"password\" under [ssh]",
};
pub(super) const HOST_SYSTEMD: Check = Check {
    id: "host-systemd",
    title: "a host does not run systemd",
    about: "The `systemd` runtime writes a unit; here another program is the first process.",
    advice: "use a host with systemd, or runtime = \"process\" for a try",
};
pub(super) const HOST_ARCH: Check = Check {
    id: "host-arch",
    title: "unsupported CPU architecture",
    about: "Releases are for amd64 and arm64.",
    advice: "use another host",
};
pub(super) const SAME_MACHINE: Check = Check {
    id: "same-machine",
    title: "two hosts are one machine",
    about: "Two hosts of the file have the same machine-id. With the same boot ID they are one machine under two addresses, and \
            losing it would cost two members at once (kubespray issue 2111). With different boot IDs they were cloned from one \
            image, which is only a warning.",
    advice: "name another host, or give the clone its own id with systemd-machine-id-setup",
};
pub(super) const CLOCKS: Check = Check {
    id: "clock-apart",
    title: "clocks are apart",
    about: "Certificates begin and leases end by the clock; more than a second apart, peers may refuse each other and logs \
            cannot be compared.",
    advice: "set up chrony, ntp or systemd-timesyncd on every host",
};

/// How far clocks may be apart, and how exact a measurement must be to count.
const CLOCK_LIMIT_MS: i64 = 1000;

fn at_host(target: &Target, host: &HostId, finding: Finding) -> Finding {
    match target
        .topology
        .members
        .iter()
        .find(|member| member.host == *host)
    {
        Some(member) => finding.at(KeyPath::member(member.index).key("host")),
        None => finding,
    }
}

pub(super) fn tools(target: &Target, seen: &Observation, findings: &mut Vec<Finding>) {
    for host in target.topology.hosts.keys() {
        let Some(view) = seen.host(host) else {
            continue;
        };
        let mut add = |finding| findings.push(at_host(target, host, finding));
        let facts = &view.facts;
        // Either of the two downloads.
        let lacks = |tool: &str| facts.missing_tools.iter().any(|missing| missing == tool);
        let download = lacks("curl") && lacks("wget");
        let missing: Vec<&str> = facts
            .missing_tools
            .iter()
            .map(String::as_str)
            .filter(|tool| download || !["curl", "wget"].contains(tool))
            .collect();
        if !missing.is_empty() {
            add(HOST_TOOLS.error(host, format!("there is no {}", missing.join(", "))));
        }
        if let Architecture::Other(machine) = &facts.architecture {
            add(HOST_ARCH.error(host, format!("its processor is {machine}")));
        }
        if target.topology.runtime == RuntimeKind::Process {
            continue;
        }
        if facts.uid != 0 {
            add(HOST_ROOT.error(host, format!("scripts run as user {}", facts.uid)));
        }
        if target.topology.runtime != RuntimeKind::Systemd {
            continue;
        }
        if let Init::Other(init) = &facts.init {
            add(HOST_SYSTEMD.error(host, format!("its first process is `{init}`")));
        }
    }
}

/// Equal machine-ids alone are what every cloned image has; the same boot as well is one machine.
pub(super) fn same_machine(target: &Target, seen: &Observation, findings: &mut Vec<Finding>) {
    let mut machines: BTreeMap<&str, (&HostId, &str)> = BTreeMap::new();
    for host in target.topology.hosts.keys() {
        let Some(view) = seen.host(host) else {
            continue;
        };
        let (id, boot) = (view.facts.machine_id.as_str(), view.facts.boot_id.as_str());
        if id.is_empty() {
            continue;
        }
        let Some((first, same)) = machines.insert(id, (host, boot)) else {
            continue;
        };
        let finding = if same == boot {
            let evidence =
                format!("{first} has the same machine-id {id} and the same boot ID {boot}");
            SAME_MACHINE.error(host, evidence)
        } else {
            let evidence = format!(
                "{first} has the same machine-id {id}; it was booted separately, so it is another machine cloned from one image"
            );
            SAME_MACHINE.warning(host, evidence)
        };
        findings.push(at_host(target, host, finding));
    }
}

/// More than a second between any two hosts, beyond what the measurement itself can be wrong by.
pub(super) fn clocks(target: &Target, seen: &Observation, findings: &mut Vec<Finding>) {
    let clocks: Vec<(&HostId, i64, i64)> = target
        .topology
        .hosts
        .keys()
        .filter_map(|host| {
            seen.host(host)
                .map(|view| (host, view.facts.clock_ahead_ms, view.facts.clock_error_ms))
        })
        .collect();
    // A slow answer makes the measurement worthless: then nothing is known, which must not pass for
    // "equal".
    let (clocks, unsure): (Vec<_>, Vec<_>) = clocks
        .into_iter()
        .partition(|(_, _, error)| *error <= CLOCK_LIMIT_MS);
    for (host, _, error) in unsure {
        let evidence = format!(
            "not known: the host took {:.1} s to answer, so its clock cannot be compared",
            error as f64 / 500.0
        );
        findings.push(at_host(target, host, CLOCKS.warning(host, evidence)));
    }
    let (Some(first), Some(last)) = (
        clocks.iter().min_by_key(|clock| clock.1),
        clocks.iter().max_by_key(|clock| clock.1),
    ) else {
        return;
    };
    let apart = last.1 - first.1;
    if apart > CLOCK_LIMIT_MS + first.2 + last.2 {
        let evidence = format!(
            "its clock is {:.1} s ahead of that of {}",
            apart as f64 / 1000.0,
            first.0
        );
        // Where time is to be set right first, that comes before; it is measured again after.
        let without = |host: &HostId| {
            let view = seen.host(host);
            view.is_some_and(|view| view.facts.time_service.is_none())
        };
        let is_fixed = target.topology.time.is_some() && [first.0, last.0].into_iter().any(without);
        let finding = if is_fixed {
            CLOCKS.warning(last.0, evidence)
        } else {
            CLOCKS.error(last.0, evidence)
        };
        findings.push(at_host(target, last.0, finding));
    }
}
