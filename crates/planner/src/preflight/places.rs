//! Checks of a member's ports, disk and listen address.

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::observation::{DataDir, HostView, Listener};
use etcdup_core::path::HostPath;
use etcdup_core::topology::Member;

use super::stopped::StoppedMember;

pub(super) const PORT_TAKEN: Check = Check {
    id: "port-taken",
    title: "a port is taken",
    about: "Another program listens on a port that the member needs; etcd would fail with \"address already in use\".",
    advice: "stop that program, or set another port",
};
pub(super) const DISK_SPACE: Check = Check {
    id: "disk-space",
    title: "too little space",
    about: "A member needs 1 GiB beside its binaries: a full disk stops etcd, and a WAL that cannot be written ends it.",
    advice: "make space, or name another directory with `data`",
};
pub(super) const DISK_SLOW: Check = Check {
    id: "disk-slow",
    title: "a slow disk",
    about: "etcd waits for fsync on every write; over 10 ms leaders are lost under load, which looks like network trouble \
            (etcd issue 13587).",
    advice: "use an SSD or a disk of its own for the data directory",
};
pub(super) const LISTEN_ADDRESS: Check = Check {
    id: "listen-address",
    title: "the host does not have the address",
    about: "The address to listen on is not the host's own: a NAT address, a wrong interface, or a wrong host. etcd would \
            fail with \"cannot assign requested address\" (etcd issue 7655).",
    advice: "set `listen` to one of the host's addresses, or `address = { interface = \"..\" }`",
};

const GIB: u64 = 1 << 30;
/// A segment of etcd's log.
const SEGMENT: u64 = 64 << 20;

pub(super) fn ports(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    let ports = fresh.member.ports;
    let wanted = [
        ("client-port", Some(ports.client)),
        ("peer-port", Some(ports.peer)),
        ("metrics-port", ports.metrics),
    ];
    for (key, port) in wanted {
        let Some((port, listener)) =
            port.and_then(|port| Some((port, fresh.host.listeners.get(&port)?)))
        else {
            continue;
        };
        if is_itself(fresh, listener) {
            continue;
        }
        let program = if listener.program.is_empty() {
            "another program"
        } else {
            &listener.program
        };
        let by = listener.pid.map_or_else(
            || program.to_owned(),
            |pid| format!("{program} (process {pid})"),
        );
        let evidence = format!("port {port} of {} is taken by {by}", fresh.member.host);
        let finding = PORT_TAKEN
            .error(&fresh.member.name, evidence)
            .at(KeyPath::member(fresh.member.index).key(key));
        // Only root sees whose process it is: it may be the member itself.
        let blind = listener.pid.is_none() && fresh.host.facts.uid != 0;
        findings.push(if blind {
            finding.advise(
                "run with root on that host, which shows whether it is this cluster's own etcd",
            )
        } else {
            finding
        });
    }
}

/// Whether who listens is the member: etcd that ends and is started again may have been between two
/// lives when processes were looked at, and listen when ports were. Only of a unit that etcdup
/// wrote, since a distribution's etcd has one of the same name.
fn is_itself(fresh: &StoppedMember<'_>, listener: &Listener) -> bool {
    let layout = &fresh.member.layout;
    let record = fresh.host.record();
    let wrote = |unit: HostPath| record.is_some_and(|record| record.files.contains_key(&unit));
    layout.is_systemd()
        && listener.program == "etcd"
        && listener.unit.as_deref() == Some(layout.unit.as_str())
        && layout.start().is_ok_and(wrote)
}

/// What unpacking a release takes: the archive beside etcdup's own files, etcd and its tools where
/// binaries go.
const ROOM: [(&str, u64); 2] = [("binaries", 160 << 20), ("what is sent", 80 << 20)];

/// Room for binaries that are to be installed, on hosts of running members too.
pub(super) fn room(member: &Member, host: &HostView, findings: &mut Vec<Finding>) {
    let places = [&member.layout.binaries, &member.layout.state];
    for (path, (what, needed)) in places.into_iter().zip(ROOM) {
        let Some(disk) = host.disks.get(path).filter(|disk| disk.free < needed) else {
            continue;
        };
        let evidence = format!(
            "{} MiB are free for {what} in {path} on {} ({}), {} MiB are needed",
            disk.free >> 20,
            member.host,
            disk.device,
            needed >> 20
        );
        findings.push(
            DISK_SPACE
                .error(&member.name, evidence)
                .at(KeyPath::member(member.index)),
        );
    }
}

pub(super) fn disk(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    for (key, path) in fresh.member.layout.own() {
        disk_of(fresh, key, path, findings);
    }
}

fn disk_of(fresh: &StoppedMember<'_>, key: &str, path: &HostPath, findings: &mut Vec<Finding>) {
    let at = || KeyPath::member(fresh.member.index);
    let Some(disk) = fresh.host.disks.get(path) else {
        return;
    };
    // A member that has its data needs no more than the next segment of its log to start.
    let data = fresh.host.data.get(&fresh.member.layout.data);
    let needed = if matches!(data, Some(DataDir::Member(_))) {
        SEGMENT
    } else {
        GIB
    };
    if disk.free < needed {
        let evidence = format!(
            "{} MiB are free for {path} on {} ({}), {} MiB are needed",
            disk.free >> 20,
            fresh.member.host,
            disk.device,
            needed >> 20
        );
        let finding = DISK_SPACE.error(&fresh.member.name, evidence).at(at());
        let advice = format!("make space, or name another directory with `{key}`");
        findings.push(finding.advise(advice));
    }
    if let Some(micros) = disk.fsync_us.filter(|micros| *micros > 10_000) {
        let evidence = format!(
            "a write with fsync takes {:.1} ms on {} of {}",
            micros as f64 / 1000.0,
            disk.device,
            fresh.member.host
        );
        findings.push(DISK_SLOW.warning(&fresh.member.name, evidence).at(at()));
    }
}

pub(super) fn listen(fresh: &StoppedMember<'_>, findings: &mut Vec<Finding>) {
    let facts = &fresh.host.facts;
    if facts.addresses.is_empty() && !fresh.member.listen.is_loopback() {
        let evidence = format!(
            "{} lists no addresses (it has no `ip`), so {} could not be looked for",
            fresh.member.host, fresh.member.listen
        );
        findings.push(LISTEN_ADDRESS.warning(&fresh.member.name, evidence));
        return;
    }
    if facts.addresses.is_empty() || facts.has_address(fresh.member.listen) {
        return;
    }
    let evidence = format!(
        "{} has {}, not {}",
        fresh.member.host,
        facts.print_addresses(),
        fresh.member.listen
    );
    findings.push(
        LISTEN_ADDRESS
            .error(&fresh.member.name, evidence)
            .at(KeyPath::member(fresh.member.index).key("address")),
    );
}
