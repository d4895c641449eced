//! Changes that one stage after another cannot make safely: refused until they can be taken in
//! steps.

use std::path::Path;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::FlagSet;
use etcdup_core::known_issue::may_follow;
use etcdup_core::observation::{DataDir, HostView, Observation};
use etcdup_core::topology::Member;
use etcdup_core::version::EtcdVersion;

use crate::identity::read_flags;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[VERSION_CHANGE, SECURITY_CHANGE];

const VERSION_CHANGE: Check = Check {
    id: "version-change",
    title: "the running version cannot be replaced by this one",
    about: "etcd supports one minor version at a time, upwards: a data directory that a newer minor has written does not start \
            on an older one (\"cluster cannot be downgraded\"), and a skipped minor panics at replay. Neither is drift, so \
            nothing is restarted for it.",
    advice: "set `etcd` back to the running version, or to the newest patch of the next minor; between 3.5 and 3.6 go to \
             3.5.32 or later first. To go back to an older minor, restore a snapshot that was taken on it",
};
const SECURITY_CHANGE: Check = Check {
    id: "security-change",
    title: "the transport security of a running cluster cannot be changed yet",
    about: "Turning TLS or client certificates on or off while a cluster runs takes several steps: members that speak TLS and \
            members that do not refuse each other, and clients are locked out. It is refused as a whole, since half of it would \
            make every member unreachable.",
    advice: "set `security` back to what runs",
};

/// What stands in the way of going on from what runs.
pub(crate) fn conflicts(target: &Target, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &target.topology.members {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let at = || KeyPath::member(member.index);
        let wanted = &target.topology.version;
        if let Some(running) = version_of(seen, member, host)
            && let Err(why) = may_follow(&running, wanted)
        {
            let finding = VERSION_CHANGE.error(&member.name, why.to_string());
            findings.push(finding.at(KeyPath::root("etcd")));
        }
        let Some((now, since)) = running_flags(target, member, host) else {
            continue;
        };
        for (side, prefix) in [("client", ""), ("peer", "peer-")] {
            let found = security(&now, prefix);
            let desired = security(&target.desired(member).flags, prefix);
            if found != desired {
                let evidence = format!(
                    "{side} connections of {} {since} {found}, wanted {desired}",
                    member.name
                );
                findings.push(SECURITY_CHANGE.error(&member.name, evidence).at(at()));
            }
        }
    }
    findings
}

/// The version that a member runs, or ran last: by its own answer, by the path of its binary, or by
/// the host record.
pub(crate) fn version_of(
    seen: &Observation,
    member: &Member,
    host: &HostView,
) -> Option<EtcdVersion> {
    let answered = seen.member(&member.name);
    if let Some(version) = answered.and_then(|view| view.version.parse().ok()) {
        return Some(version);
    }
    let exe = host
        .processes
        .get(&member.name)
        .map(|process| process.exe.as_str());
    let of_path = |exe: &str| {
        let exe = exe.trim_end_matches(" (deleted)");
        let directory = Path::new(exe).parent()?.file_name()?.to_str()?;
        directory.strip_prefix('v')?.parse::<EtcdVersion>().ok()
    };
    if let Some(version) = exe.and_then(of_path) {
        return Some(version);
    }
    // Without data there is nothing that an older release could fail to read.
    if !matches!(host.data.get(&member.layout.data), Some(DataDir::Member(_))) {
        return None;
    }
    let recorded = host.record()?.members.get(&member.name)?;
    recorded.version.parse().ok()
}

/// The flags that a member runs with, or would start with on data that it has.
fn running_flags(
    target: &Target,
    member: &Member,
    host: &HostView,
) -> Option<(FlagSet, &'static str)> {
    if let Some(process) = host.processes.get(&member.name) {
        return Some((process.flags.clone(), "use"));
    }
    let data = host.data.get(&member.layout.data);
    if !matches!(data, Some(DataDir::Member(_))) {
        return None;
    }
    let file = host.files.get(&target.desired(member).settled.path)?;
    let flags = read_flags(target, file.text.as_deref()?);
    // A file without any flag is not one that starts etcd, and tells nothing of how it ran.
    (!flags.is_empty()).then_some((flags, "used"))
}

/// How connections are secured, by the flags of a member.
fn security(flags: &FlagSet, prefix: &str) -> &'static str {
    let set = |name: &str| flags.get(&format!("{prefix}{name}"));
    let on = |name: &str| set(name) == Some("true");
    if set("cert-file").is_none() && !on("auto-tls") {
        "plain HTTP"
    } else if on("client-cert-auth") || set("trusted-ca-file").is_some() {
        "mutual TLS"
    } else {
        "TLS"
    }
}
