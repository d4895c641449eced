//! A cluster that is there: changed in the file, changed by hand, broken, taken down.

use std::time::Duration;

use super::context::{
    Context, Killed, Round, STILL, Scenario, finishes_when_killed, lead, never_still,
};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::writer::Writer;

pub(super) const ALL: &[Scenario] = &[
    ("flags-roll-leader-last", flags_roll_leader_last),
    ("drift-by-hand", drift_by_hand),
    ("next-patch-version", next_patch_version),
    ("next-minor-version", next_minor_version),
    ("upgrade-killed-at-any-moment", upgrade_killed),
    ("release-edited-back", release_edited_back),
    ("release-that-does-not-start", release_that_does_not_start),
    ("minor-that-does-not-start", minor_that_does_not_start),
    ("stopped-member-is-started", stopped_member_is_started),
    ("one-host-away", one_host_away),
    ("one-voter-needs-a-word", one_voter_needs_a_word),
    ("lost-data-is-not-restarted", lost_data_is_not_restarted),
    ("reset-keeps-data", reset_keeps_data),
];

/// A changed flag restarts members one at a time, the leader last after it has handed over, and all
/// keep serving.
fn flags_roll_leader_last(context: &Context) -> Outcome {
    let lab = context.three("")?;
    let status = lab.etcdup(&["status"])?.exits(0)?;
    let leader = status
        .out
        .lines()
        .find(|line| line.contains("leader"))
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or_default()
        .to_owned();
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    let plan = lab
        .etcdup(&["plan", "--detailed-exitcode"])?
        .exits(2)?
        .says("--snapshot-count")?;
    let restarts: Vec<&str> = plan
        .out
        .lines()
        .filter_map(|line| line.split_once(". restart "))
        .map(|(_, member)| member)
        .collect();
    ensure(
        restarts.last() == Some(&leader.as_str()),
        format!("the leader {leader} is not last in {restarts:?}"),
    )?;
    ensure(
        restarts.len() == 3,
        format!("{restarts:?} are not three restarts"),
    )?;
    plan.says("move leadership from")?
        .says("on 3 hosts, 3 restarts, no outage")?;
    let writer = Writer::start(&lab, 3)?;
    let said = lab.apply()?;
    never_still(&writer.stop()?)?;
    said.says("move leadership from")?;
    let running = lab.on(2, "tr '\\0' '\\n' < /proc/$(pidof etcd)/cmdline")?;
    running.says("--snapshot-count=4321")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()
}

/// Unit, modes, owners and a certificate changed by hand are put right, without a restart where
/// none is needed.
fn drift_by_hand(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.on(
        1,
        "chmod 644 /etc/etcd/peer.key; chown root:root /etc/etcd/server.crt",
    )?;
    lab.on(
        2,
        "sed -i 's/^LimitNOFILE=.*/LimitNOFILE=1024/' /etc/systemd/system/etcd.service",
    )?;
    lab.on(
        3,
        "systemctl disable -q etcd; head -c 300 /dev/urandom | base64 > /etc/etcd/server.crt",
    )?;
    let pids = |lab: &Lab| -> Result<Vec<String>, String> {
        (1..=3)
            .map(|n| lab.on(n, "pidof etcd").map(|said| said.out))
            .collect()
    };
    let before = pids(&lab)?;
    lab.etcdup(&["verify"])?.says("drift")?;
    let plan = lab.etcdup(&["plan"])?.exits(0)?;
    let plan = plan
        .says("has mode 644, wanted 640")?
        .says("belongs to root:root, wanted root:etcd")?;
    plan.says("is not enabled at boot")?
        .says("- LimitNOFILE=1024")?
        .says("server.crt cannot be read")?;
    lab.apply()?;
    ensure(
        pids(&lab)? == before,
        "a member was restarted for what needs no restart",
    )?;
    ensure(
        lab.on(1, "stat -c %a /etc/etcd/peer.key")?.out.trim() == "640",
        "the key's mode is still wrong",
    )?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()
}

/// From one minor to the next in one edit, under a writer, after a snapshot.
fn next_minor_version(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    let older = versions.iter().find(|one| one.starts_with("3.4."));
    let older = older.ok_or("there is no 3.4 at hand")?;
    let lab = context.lab(3)?;
    lab.topology(older, "", 3)?;
    lab.apply()?;
    let writer = Writer::start(&lab, 3)?;
    lab.edit(older, &context.version)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says(&format!("etcd {older} -> {}", context.version))?
        .says("a snapshot is kept")?;
    lab.apply()?
        .says("is verified and kept")?
        .says("move leadership")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    never_still(&writer.stop()?)?;
    let kept = lab.inside("ls snapshots/prod/*.db")?.exits(0)?;
    ensure(kept.out.lines().count() == 1, kept.all())?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// `apply` is killed at seeded moments while members change to the next minor, each time on hosts
/// of its own; the next run finishes.
fn upgrade_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_128,
        labs: "u",
        span: Duration::from_millis(12_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, upgrade_killed_after)
}

fn upgrade_killed_after(context: &Context, name: &str, after: Duration) -> Result<Round, String> {
    let versions = crate::setup::versions()?;
    let older = versions.first().ok_or("no etcd at hand")?;
    let lab = context.named(name, 3)?;
    lab.topology(older, "", 3)?;
    lab.apply()?;
    let writer = Writer::start(&lab, 3)?;
    lab.edit(older, &context.version)?;
    finishes_when_killed(&lab, writer, after, &[1, 2, 3])
}

/// The file says the old minor again before all run the new one: the cluster's own version is the
/// old one until then, and all go back.
fn release_edited_back(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    let older = versions.first().ok_or("no etcd at hand")?;
    let (lab, newer) = (context.named("b", 3)?, &context.version);
    lab.topology(older, "", 3)?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 3)?;
    lab.edit(older, newer)?;
    let mut first = lab.start(&["apply", "--yes"])?;
    // As soon as one runs the new one, whichever is first: the leader is last.
    let runs_newer = |host: u32| -> Result<bool, String> {
        let runs = lab.on(host, "tr '\\0' ' ' < /proc/$(pidof etcd)/cmdline")?;
        Ok(runs.out.contains(&format!("v{newer}/")))
    };
    first.until(Duration::from_secs(60), "one member restarted", || {
        Ok(runs_newer(1)? || runs_newer(2)? || runs_newer(3)?)
    })?;
    ensure(first.kill()?, "it ended before it was killed")?;
    lab.edit(newer, older)?;
    lab.apply()?.says(&format!("with etcd {older}"))?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// One member does not come up with the next release: it gets the one back that it ran, and the
/// same binary is not tried again by itself.
fn release_that_does_not_start(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    let older = versions.iter().find(|one| one.starts_with("3.5."));
    // Whoever restarts last: the two before have the newer release by then.
    does_not_start(context, older.ok_or("there is no 3.5 at hand")?, 3)
}

/// The same with another minor, on the first member that restarts.
fn minor_that_does_not_start(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    does_not_start(context, versions.first().ok_or("no etcd at hand")?, 1)
}

fn does_not_start(context: &Context, older: &str, broken_on: u32) -> Outcome {
    let (lab, newer) = (context.named("v", 3)?, &context.version);
    lab.topology(older, "", 3)?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 3)?;
    let broken = format!("/opt/etcd/v{newer}");
    // It restarts last.
    lead(&lab, 3)?;
    lab.on(
        broken_on,
        &format!(
            "mkdir -p {broken} && cd {broken} && cp /opt/etcd/v{older}/etcdctl . && \
             printf '#!/bin/sh\\n[ \"$1\" = --version ] && echo \"etcd Version: {newer}\" && exit\\n\
             echo \"panic: it is broken\" >&2; exit 1\\n' > etcd && chmod 755 etcd etcdctl"
        ),
    )?
    .exits(0)?;
    lab.edit(older, newer)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(1)?
        .says(&format!("m{broken_on} did not come up with etcd {newer}"))?
        .says(&format!("it runs {older} again, and serves"))?
        .says("panic: it is broken")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["plan"])?
        .exits(4)?
        .says("version-failed")?
        .says("panic: it is broken")?;
    // The same binary once more, because a person wants it.
    lab.etcdup(&["plan", "--retry"])?
        .exits(0)?
        .says(&format!("restart m{broken_on}"))?;
    // Another binary is another matter.
    lab.on(broken_on, &format!("rm -r {broken}"))?.exits(0)?;
    lab.apply()?.says(&format!("restart m{broken_on}"))?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// From one patch of 3.5 to the next: new binaries beside the old, one member at a time.
fn next_patch_version(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    let older = versions
        .iter()
        .find(|version| version.starts_with("3.5."))
        .cloned()
        .unwrap_or_default();
    ensure(
        older != context.version,
        "there is only one patch of 3.5 at hand",
    )?;
    let lab = context.lab(3)?;
    lab.topology(&older, "", 3)?;
    lab.apply()?;
    lab.edit(&older, &context.version)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says(&format!("etcd {older} -> {}", context.version))?;
    lab.apply()?.says("restart m1")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let kept = lab
        .on(
            1,
            &format!("ls -d /opt/etcd/v{older} && readlink /usr/local/bin/etcd"),
        )?
        .exits(0)?;
    kept.says(&format!("/opt/etcd/v{}/etcd", context.version))?;
    lab.etcdup(&["verify", "--output", "json"])?
        .exits(0)?
        .says(&format!("all run {}", context.version))
        .map(|_| ())
}

fn stopped_member_is_started(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.on(2, "systemctl stop etcd")?;
    lab.etcdup(&["verify"])?.exits(1)?.says("m2")?;
    lab.apply()?.says("start unhealthy members")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    // Power loss of a host: it comes back by itself, and there is nothing to do.
    lab.power("kill", 3)?;
    lab.etcdup(&["plan"])?.exits(4)?.says("host-unseen")?;
    lab.power("start", 3)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

/// With one host of three away the others are managed as far as a quorum allows, and the end says
/// what waits.
fn one_host_away(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.power("kill", 3)?;
    lab.on(1, "chmod 644 /etc/etcd/peer.key; systemctl disable -q etcd")?;
    lab.on(2, "systemctl stop etcd")?;
    let said = lab.etcdup(&["apply", "--yes"])?.exits(4)?;
    said.says("start unhealthy members")?.says("host-unseen")?;
    lab.etcdctl(&Lab::endpoints(2), &["endpoint", "health"])?
        .exits(0)?;
    let mode = lab.on(
        1,
        "stat -c %a /etc/etcd/peer.key; systemctl is-enabled etcd",
    )?;
    ensure(
        mode.out == "640\nenabled\n",
        format!("m1 was not repaired: {}", mode.out),
    )?;
    // A restart would leave one of three: it waits.
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    let before = lab.on(1, "pidof etcd")?.out;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("restart-waits")?
        .says("m1 must restart")?;
    ensure(lab.on(1, "pidof etcd")?.out == before, "m1 was restarted")?;
    lab.power("start", 3)?;
    lab.apply()?.says("restart m3")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

fn one_voter_needs_a_word(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.apply()?;
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("outage-not-approved")?;
    lab.etcdup(&["apply", "--yes", "--allow-outage"])?
        .exits(0)?
        .says("OUTAGE")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}

/// A member whose disk was emptied must not come back as its old self (etcd issues 20269, 21178).
fn lost_data_is_not_restarted(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.on(3, "systemctl stop etcd; rm -rf /var/lib/etcd/member")?;
    // Nobody approves that it is taken out and added again.
    lab.etcdup(&["apply"])?
        .exits(3)?
        .says("remove m3 from the cluster")?;
    ensure(
        lab.on(3, "pidof etcd")?.code != 0,
        "it was started all the same",
    )?;
    // Without a quorum nobody can take it out.
    lab.on(
        2,
        "systemctl stop etcd; mv /var/lib/etcd/member /var/lib/away",
    )?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("member-lost-data")?;
    ensure(
        lab.on(3, "pidof etcd")?.code != 0,
        "it was started without a quorum",
    )
}

fn reset_keeps_data(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "a", "b"])?
        .exits(0)?;
    lab.etcdup(&["reset"])?.exits(3)?;
    lab.etcdup(&["reset", "--yes"])?.exits(0)?;
    for host in 1..=3 {
        let kept = lab.on(host, "ls -d /var/lib/etcd.kept-* && test ! -e /etc/systemd/system/etcd.service && ! pidof etcd")?;
        ensure(
            kept.code == 0,
            format!("host {host} is not reset:\n{}", kept.all()),
        )?;
    }
    lab.etcdup(&["reset", "--yes"])?
        .exits(0)?
        .says("Nothing to reset")?;
    // And again from nothing.
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}
