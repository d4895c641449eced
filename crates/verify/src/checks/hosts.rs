//! Certificates' ends and clocks.

use etcdup_core::finding::{Check, Finding};
use etcdup_core::observed::Observed;

use super::evidence::Evidence;

pub(super) const SNAPSHOT_AGE: Check = Check {
    id: "snapshot-age",
    title: "the newest snapshot is as new as the file asks for",
    about: "`snapshots.every` says how old the newest snapshot may become. One that is twice as old was missed: the timer does not run, or \
            no snapshot could be taken or kept. What counts is what [snapshots] names, or else what lies beside the topology file.",
    advice: "run `etcdup snapshot save`; `systemctl status etcdup-snapshot-CLUSTER` (`systemctl --user` where it is a user's) says why the timer took none",
};
pub(super) const CERTS_END: Check = Check {
    id: "certificates-end",
    title: "no certificate ends soon",
    about: "Expired certificates take a cluster down, and years later nobody remembers (etcdadm issues 56 and 379). Under 30 \
            days, or under a third of a shorter life, is a warning.",
    advice: "run `etcdup apply`: certificates in the last third of their life are renewed without a restart",
};
pub(super) const CLOCKS: Check = Check {
    id: "clocks",
    title: "clocks agree",
    about: "More than a second apart, certificates and leases go wrong and logs cannot be compared.",
    advice: "set up chrony, ntp or systemd-timesyncd on every host",
};

pub(super) const DISK: Check = Check {
    id: "disk-free",
    title: "there is free space for the data",
    about: "A member that cannot write its log ends, and a full disk stops all members on it at once. Below 1 GiB is a warning, \
            below 64 MiB, the size of one log segment, an error.",
    advice: "free space on that disk, or move the data directory to a larger one",
};

/// One segment of the log: etcd allocates the next one before it is needed.
const SEGMENT: u64 = 64 << 20;

pub(super) fn disk(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &evidence.topology.members {
        let Some(host) = evidence.seen.host(&member.host) else {
            continue;
        };
        for (_, path) in member.layout.own() {
            let Some(disk) = host.disks.get(path) else {
                continue;
            };
            let words = format!(
                "{} MiB are free for {path} on {} ({})",
                disk.free >> 20,
                member.host,
                disk.device
            );
            if disk.free < SEGMENT {
                findings.push(check.error(&member.name, words));
            } else if disk.free < 1 << 30 {
                findings.push(check.warning(&member.name, words));
            }
        }
    }
    if findings.is_empty() {
        findings.push(check.pass("cluster", "more than 1 GiB for every member"));
    }
    findings
}

pub(super) fn certificates(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let now = evidence.seen.at;
    let mut findings = Vec::new();
    let mut soonest: Option<(jiff::Timestamp, String)> = None;
    for (host, view) in evidence
        .seen
        .hosts
        .iter()
        .filter_map(|(host, seen)| Some((host, seen.known()?)))
    {
        for (path, facts) in view
            .certificates
            .iter()
            .filter_map(|(path, facts)| Some((path, facts.known()?)))
        {
            let what = format!("{path} on {host}");
            let days = facts.remaining(now).as_hours() / 24;
            if now >= facts.not_after {
                findings.push(check.error(&what, format!("ended at {}", facts.not_after)));
            } else if facts.needs_renewal(now) || (days < 30 && facts.is_ca) {
                findings.push(check.warning(
                    &what,
                    format!("ends at {}, in {days} days", facts.not_after),
                ));
            }
            if soonest
                .as_ref()
                .is_none_or(|(end, _)| facts.not_after < *end)
            {
                soonest = Some((facts.not_after, what));
            }
        }
    }
    if findings.is_empty() {
        let words = soonest.map_or_else(
            || "there are none".to_owned(),
            |(end, what)| format!("the first to end is {what}, at {end}"),
        );
        findings.push(check.pass("cluster", words));
    }
    findings
}

pub(super) fn clocks(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let clocks: Vec<(i64, i64)> = evidence
        .seen
        .hosts
        .values()
        .filter_map(|host| host.known())
        .map(|view| (view.facts.clock_ahead_ms, view.facts.clock_error_ms))
        .collect();
    let (Some(first), Some(last)) = (clocks.iter().min(), clocks.iter().max()) else {
        return Vec::new();
    };
    if clocks.len() == 1 {
        return vec![check.pass("cluster", "one host has one clock")];
    }
    let apart = last.0 - first.0;
    // A slow answer makes the measurement worthless, and what is not known must not pass.
    if first.1 + last.1 > 1000 {
        let words = format!(
            "not known: hosts took {} ms to answer",
            2 * first.1.max(last.1)
        );
        let finding = check.warning("cluster", words);
        return vec![finding.advise("run `etcdup verify` again when hosts answer within a second")];
    }
    let words = format!("{apart} ms apart, give or take {} ms", first.1 + last.1);
    vec![if apart > 1000 + first.1 + last.1 {
        check.error("cluster", words)
    } else {
        check.pass("cluster", words)
    }]
}

pub(super) fn snapshot(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let every = evidence.topology.snapshots.every;
    let newest = match &evidence.seen.snapshot {
        Observed::Known(Some(newest)) => newest,
        Observed::Known(None) if every.is_none() => {
            return vec![check.pass(
                "cluster",
                "none is kept, and `snapshots.every` asks for none",
            )];
        }
        Observed::Known(None) => return vec![check.warning("cluster", "none is kept")],
        // What is not known does not pass.
        Observed::Unknown(why) => {
            return vec![check.warning("cluster", format!("not known: {why}"))];
        }
    };
    let age = evidence.seen.at.duration_since(newest.taken);
    let words = format!("{} was taken {} min ago", newest.name, age.as_mins());
    // One of tomorrow was taken by a wrong clock, and stays the newest until then.
    let late = every.is_some_and(|every| age > every.duration() * 2);
    let odd = age.is_negative() || late;
    vec![match odd {
        true => check.warning("cluster", words),
        false => check.pass("cluster", words),
    }]
}
