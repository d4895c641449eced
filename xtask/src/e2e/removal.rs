//! Members that go, are replaced, and move, on real hosts and under a writer.

use std::time::Duration;

use super::context::{
    Context, Killed, Round, Scenario, agrees, finishes_when_killed, lead, member_id, never_still,
};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::writer::Writer;

pub(super) const ALL: &[Scenario] = &[
    ("shrinks-from-five-to-one", shrinks_from_five_to_one),
    ("dead-host-replaced", dead_host_replaced),
    ("two-of-five-replaced", two_of_five_replaced),
    ("live-member-replaced", live_member_replaced),
    ("lost-disk-replaced", lost_disk_replaced),
    ("member-moved", member_moved),
    ("two-edits-in-one-plan", two_edits_in_one_plan),
    ("replacement-killed-at-any-moment", replacement_killed),
    ("removed-by-etcdctl", removed_by_etcdctl),
    ("members-on-older-releases", older_releases),
    ("every-member-on-another-host", every_member_elsewhere),
];

/// The members while host 4 takes the place of host 3, which is gone.
const GONE: [(&str, u32, &str); 4] = [
    ("m1", 1, ""),
    ("m2", 2, ""),
    ("m3", 3, "absent = \"gone\""),
    ("m3", 4, ""),
];

/// The topology with these members: name, host, and what else is said of each.
fn file(lab: &Lab, context: &Context, head: &str, members: &[(&str, u32, &str)]) -> Outcome {
    let members: String = members
        .iter()
        .map(|(name, host, more)| {
            let address = Lab::address(*host);
            format!("[[member]]\nname = \"{name}\"\nhost = \"{address}\"\n{more}\n")
        })
        .collect();
    let head = format!("{}{head}\n", lab.head(&context.version));
    lab.write("etcdup.toml", &format!("{head}{members}"))
}

/// Nothing of a member is left on a host but its data, aside.
fn cleaned_up(lab: &Lab, host: u32) -> Outcome {
    let left = lab.on(
        host,
        "pidof etcd; systemctl is-enabled etcd 2>/dev/null; ls -d /var/lib/etcd /etc/systemd/system/etcd.service 2>/dev/null; \
         ls /etc/etcd; ls -d /var/lib/etcd.kept-*",
    )?;
    let kept = left.out.trim();
    ensure(
        kept.starts_with("/var/lib/etcd.kept-") && kept.lines().count() == 1,
        format!("left on host {host}:\n{}", left.all()),
    )
}

/// Snapshots that were kept, each for its owner alone.
fn snapshots(lab: &Lab, count: usize) -> Outcome {
    let listed = lab
        .inside("stat -c '%a %s' snapshots/prod/*.db")?
        .exits(0)?;
    let lines: Vec<&str> = listed.out.lines().collect();
    let private = lines.iter().all(|line| line.starts_with("600 "));
    ensure(
        lines.len() == count && private,
        format!("{count} snapshots were expected:\n{}", listed.out),
    )
}

/// Five members become three and one, the leader among those that go, while a client writes.
fn shrinks_from_five_to_one(context: &Context) -> Outcome {
    let lab = context.formed("r", 5, 5)?;
    let mut writer = Writer::start(&lab, 5)?;
    lead(&lab, 5)?;
    lab.topology(&context.version, "", 3)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("remove m5 from the cluster")?
        .says("move leadership from m5")?
        .says("no outage")?;
    lab.apply()?.says("a snapshot of")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    cleaned_up(&lab, 4)?;
    cleaned_up(&lab, 5)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lead(&lab, 2)?;
    lab.edit("name = \"m3\"\n", "name = \"m3\"\nabsent = true\n")?;
    lab.edit("name = \"m2\"\n", "name = \"m2\"\nabsent = true\n")?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.nothing_to_do()?;
    cleaned_up(&lab, 2)?;
    cleaned_up(&lab, 3)?;
    snapshots(&lab, 4)?;
    writer.checks(&[1]);
    never_still(&writer.stop()?)?;
    // Down as a whole after all that, it starts as the one that it is.
    lab.on(1, "systemctl stop etcd")?.exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    // And a host that was given up comes back as new.
    lab.topology(&context.version, "", 2)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)
}

/// One of three loses power for good, and another host takes its name over.
fn dead_host_replaced(context: &Context) -> Outcome {
    let lab = context.formed("r", 4, 3)?;
    let mut writer = Writer::start(&lab, 2)?;
    // The leader, which is the worst of the three to lose.
    lead(&lab, 3)?;
    lab.power("kill", 3)?;
    // A host that does not answer is not dead by itself.
    file(
        &lab,
        context,
        "",
        &[("m1", 1, ""), ("m2", 2, ""), ("m3", 4, "")],
    )?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("10.77.0.13")?
        .says("absent = \"gone\"")?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 3)?;
    file(&lab, context, "", &GONE)?;
    lab.apply()?
        .says("remove m3-old from the cluster")?
        .says("add m3 to the cluster as a learner")?;
    lab.nothing_to_do()?;
    file(
        &lab,
        context,
        "",
        &[("m1", 1, ""), ("m2", 2, ""), ("m3", 4, "")],
    )?;
    lab.nothing_to_do()?;
    agrees(&lab, &[1, 2, 4])?;
    writer.checks(&[1, 2, 4]);
    never_still(&writer.stop()?)?;
    // The dead one comes back to life: nobody knows it any more.
    lab.power("start", 3)?;
    lab.nothing_to_do()?;
    agrees(&lab, &[1, 2, 4])
}

/// A live member changes hosts: the new one votes before the old one goes. Then a host is rebuilt:
/// nothing of etcdup or etcd is left on it.
fn live_member_replaced(context: &Context) -> Outcome {
    let lab = context.formed("r", 4, 3)?;
    let mut writer = Writer::start(&lab, 2)?;
    lead(&lab, 3)?;
    let members = [("m1", 1, ""), ("m2", 2, ""), ("m3", 4, "")];
    file(&lab, context, "", &members)?;
    let plan = lab.etcdup(&["plan"])?.exits(0)?.says("no outage")?;
    let at = |text: &str| plan.out.find(text).ok_or_else(|| plan.all());
    ensure(at("make m3 a voter")? < at("remove m3")?, plan.all())?;
    lab.apply()?;
    agrees(&lab, &[1, 2, 4])?;
    cleaned_up(&lab, 3)?;
    lab.nothing_to_do()?;
    let rebuilt = "systemctl disable --now etcd; rm -rf /var/lib/etcd* /etc/etcd /opt/etcd /usr/local/bin/etcd* \
                   /etc/systemd/system/etcd.service; systemctl daemon-reload; userdel etcd";
    lab.on(2, rebuilt)?.exits(0)?;
    lab.apply()?
        .says("remove m2 from the cluster")?
        .says("add m2 to the cluster as a learner")?;
    agrees(&lab, &[1, 2, 4])?;
    lab.nothing_to_do()?;
    writer.checks(&[1, 2, 4]);
    never_still(&writer.stop()?)
}

/// One of five is gone, then two of five; others take their places.
fn two_of_five_replaced(context: &Context) -> Outcome {
    if !context.long {
        note!("skipped: in long runs");
        return Ok(());
    }
    let lab = context.formed("r", 8, 5)?;
    let mut writer = Writer::start(&lab, 3)?;
    let gone = "absent = \"gone\"";
    let mut members = vec![("m1", 1, ""), ("m2", 2, ""), ("m3", 3, "")];
    lead(&lab, 5)?;
    lab.power("kill", 5)?;
    members.extend([("m4", 4, ""), ("m5", 5, gone), ("m6", 6, "")]);
    file(&lab, context, "", &members)?;
    lab.apply()?;
    agrees(&lab, &[1, 2, 3, 4, 6])?;
    lab.nothing_to_do()?;
    lab.power("kill", 4)?;
    lab.power("kill", 6)?;
    members.truncate(3);
    members.extend([
        ("m4", 4, gone),
        ("m6", 6, gone),
        ("m7", 7, ""),
        ("m8", 8, ""),
    ]);
    file(&lab, context, "", &members)?;
    lab.apply()?;
    agrees(&lab, &[1, 2, 3, 7, 8])?;
    writer.checks(&[1, 2, 3, 7, 8]);
    // The gap of a member that vanished moments before it is removed is etcd's own.
    writer.stop()?.tell();
    lab.nothing_to_do()
}

/// A member's disk is lost, once while it is stopped and once under it.
fn lost_disk_replaced(context: &Context) -> Outcome {
    let lab = context.formed("r", 3, 3)?;
    let mut writer = Writer::start(&lab, 2)?;
    lab.on(3, "systemctl stop etcd; rm -rf /var/lib/etcd")?
        .exits(0)?;
    lab.apply()?
        .says("remove m3 from the cluster")?
        .says("is empty or missing")?
        .says("add m3 to the cluster as a learner")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    // systemd starts etcd on the emptied directory, which then looks like data.
    lab.on(3, "systemctl stop etcd; rm -rf /var/lib/etcd/member; systemctl start --no-block etcd; sleep 4")?;
    lab.apply()?.says("emptied and filled again")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    snapshots(&lab, 2)?;
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// It still connects from its first address, which its certificate must have then.
const RENUMBERED: &str = "address = \"10.77.0.33\"\nnames = [\"10.77.0.13\"]";

/// Peer port, address and client port change, one member at a time.
fn member_moved(context: &Context) -> Outcome {
    let lab = context.formed("r", 3, 3)?;
    let mut writer = Writer::start(&lab, 2)?;
    lead(&lab, 2)?;
    lab.on(3, "ip address add 10.77.0.33/24 dev host0")?
        .exits(0)?;
    let members = [
        ("m1", 1, ""),
        ("m2", 2, "peer-port = 2480"),
        ("m3", 3, RENUMBERED),
    ];
    file(&lab, context, "", &members)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("list m2 at https://10.77.0.12:2480")?
        .says("list m3 at https://10.77.0.33:2380")?
        .says("no outage")?;
    lab.apply()?;
    lab.nothing_to_do()?;
    let list = lab
        .etcdctl(&Lab::endpoints(1), &["member", "list"])?
        .exits(0)?;
    list.says("https://10.77.0.12:2480")?
        .says("https://10.77.0.33:2380")?;
    let members = [
        ("m1", 1, ""),
        ("m2", 2, "peer-port = 2480\nclient-port = 2479"),
        ("m3", 3, RENUMBERED),
    ];
    file(&lab, context, "", &members)?;
    lab.apply()?;
    lab.nothing_to_do()?;
    lab.etcdup(&["verify"])?.exits(0)?;
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// One member out, one in, and a flag of all changed, in one plan.
fn two_edits_in_one_plan(context: &Context) -> Outcome {
    let lab = context.formed("r", 4, 3)?;
    let mut writer = Writer::start(&lab, 2)?;
    let members = [("m1", 1, ""), ("m2", 2, ""), ("m4", 4, "")];
    file(&lab, context, "flags = { snapshot-count = 4321 }", &members)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("restart m1")?
        .says("add m4")?
        .says("remove m3")?
        .says("no outage")?;
    lab.apply()?;
    agrees(&lab, &[1, 2, 4])?;
    cleaned_up(&lab, 3)?;
    lab.nothing_to_do()?;
    writer.checks(&[1, 2, 4]);
    never_still(&writer.stop()?)?;
    // Down as a whole, the cluster is started as what it became, by whatever file says so.
    for host in [1, 2, 4] {
        lab.on(host, "systemctl stop etcd")?.exits(0)?;
    }
    lab.apply()?.says("start unhealthy members")?;
    agrees(&lab, &[1, 2, 4])?;
    lab.nothing_to_do()
}

/// `apply` is killed at seeded moments while a dead member is replaced, each time on hosts of its
/// own; the next run finishes.
fn replacement_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_127,
        labs: "s",
        span: Duration::from_millis(14_000),
        // One host loses its power, and may have led.
        gap: Duration::from_secs(15),
        sample: 3,
    }
    .series(context, replacement_killed_after)
}

fn replacement_killed_after(
    context: &Context,
    name: &str,
    after: Duration,
) -> Result<Round, String> {
    let lab = context.formed(name, 4, 3)?;
    let writer = Writer::start(&lab, 2)?;
    lab.power("kill", 3)?;
    file(&lab, context, "", &GONE)?;
    finishes_when_killed(&lab, writer, after, &[1, 2, 4])
}

/// Removed by etcdctl, and its data still there: cleaned up, and added again.
fn removed_by_etcdctl(context: &Context) -> Outcome {
    let lab = context.formed("r", 3, 3)?;
    remove_by_etcdctl(&lab)?;
    lab.apply()?
        .says("clean up after m3, moving its data aside")?
        .says("add m3 to the cluster as a learner")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    // Deleted from the file while etcdctl removes it as well.
    remove_by_etcdctl(&lab)?;
    lab.topology(&context.version, "", 2)?;
    lab.apply()?.says("clean up after m3")?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    lab.nothing_to_do()
}

/// A file of which nothing is left begins no second cluster beside the first; with one member left
/// the cluster moves.
fn every_member_elsewhere(context: &Context) -> Outcome {
    let lab = context.named("r", 2)?;
    file(&lab, context, "", &[("m1", 1, "")])?;
    lab.apply()?;
    file(&lab, context, "", &[("m1", 2, "")])?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cluster-elsewhere")?
        .says("10.77.0.11")?;
    ensure(lab.on(2, "pidof etcd")?.code != 0, "a second cluster")?;
    file(
        &lab,
        context,
        "",
        &[("m1", 1, "absent = true"), ("m2", 2, "")],
    )?;
    lab.apply()?;
    agrees(&lab, &[2])?;
    cleaned_up(&lab, 1)?;
    file(&lab, context, "", &[("m2", 2, "")])?;
    lab.nothing_to_do()
}

/// Members come and go on each release that there is beside the one of the other scenarios: their
/// rules for changing the list while a member is down differ.
fn older_releases(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    for version in versions.iter().filter(|one| **one != context.version) {
        one_release(context, version).map_err(|why| format!("etcd {version}: {why}"))?;
    }
    Ok(())
}

fn one_release(context: &Context, version: &str) -> Outcome {
    let lab = context.named("r", 3)?;
    lab.topology(version, "", 1)?;
    lab.apply()?;
    lab.topology(version, "", 3)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    // A lost disk, then one that is deleted.
    lab.on(3, "systemctl stop etcd; rm -rf /var/lib/etcd")?
        .exits(0)?;
    lab.apply()?.says("remove m3 from the cluster")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.topology(version, "", 2)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    cleaned_up(&lab, 3)?;
    lab.nothing_to_do()
}

fn remove_by_etcdctl(lab: &Lab) -> Outcome {
    let id = member_id(lab, "m3")?;
    // etcd wants five seconds of connections before it changes its list.
    lab.inside("sleep 6")?;
    let removed = lab.etcdctl(&Lab::endpoints(2), &["member", "remove", &id])?;
    removed.exits(0).map(|_| ())
}
