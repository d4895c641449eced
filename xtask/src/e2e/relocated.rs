//! Members that go elsewhere on their hosts: another runtime, another directory, another user.

use std::time::Duration;

use crate::e2e::context::{
    Context, Killed, Round, STILL, Scenario, finishes_when_killed, never_still,
};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("systemd-to-pods-and-back", systemd_to_pods),
    ("process-to-systemd", process_to_systemd),
    ("another-layout", another_layout),
    ("data-on-another-disk", data_on_another_disk),
    ("log-on-another-disk", log_on_another_disk),
    ("relocation-killed-at-any-moment", relocation_killed),
    ("pods-killed-at-any-moment", pods_killed),
];

/// Every write is on every member, clients were never kept waiting, and the cluster is as the file
/// says.
fn served_throughout(lab: &Lab, mut writer: Writer<'_>) -> Outcome {
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// Units become static pods and static pods units, one at a time, under a writer.
fn systemd_to_pods(context: &Context) -> Outcome {
    let (lab, image) = context.pods(3)?;
    let pods = format!("runtime = \"static-pod\"\npod = {{ archive = \"{image}\" }}");
    let units = "runtime = \"systemd\"";
    lab.topology(&context.version, units, 3)?;
    lab.apply()?;
    let writer = Writer::start(&lab, 3)?;
    lab.edit(units, &pods)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("what runs it is etcd.service, wanted the static pod")?
        .says("each member where the file has it on its host")?
        .says("no outage")?;
    lab.apply()?;
    for host in 1..=3 {
        let left = lab.on(
            host,
            "ls /etc/systemd/system/etcd.service; pidof etcd | wc -w; \
             stat -c %U /var/lib/etcd /var/lib/etcd/member",
        )?;
        ensure(left.out == "1\nroot\nroot\n", left.all())?;
    }
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    lab.edit(&pods, units)?;
    lab.apply()?;
    for host in 1..=3 {
        let left = lab.on(
            host,
            "ls -A /etc/kubernetes/manifests; pidof etcd | wc -w; systemctl is-enabled etcd; \
             find /var/lib/etcd ! -user etcd",
        )?;
        ensure(left.out == "1\nenabled\n", left.all())?;
    }
    served_throughout(&lab, writer)
}

/// A demonstration that people came to rely on becomes a service.
fn process_to_systemd(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "runtime = \"process\"", 3)?;
    lab.apply()?;
    let writer = Writer::start(&lab, 3)?;
    lab.edit("runtime = \"process\"", "runtime = \"systemd\"")?;
    lab.apply()?;
    let left = lab.on(
        2,
        "find /var/lib/etcdup/process -type f ! -name '*.log' ! -path '*/opt/*'; \
         pidof etcd | wc -w; systemctl is-enabled etcd; find /var/lib/etcd ! -user etcd",
    )?;
    ensure(left.out == "1\nenabled\n", left.all())?;
    served_throughout(&lab, writer)
}

/// Another directory, unit, user, place of certificates and of binaries, all in one edit; what
/// stands in the way is said before anything changes.
fn another_layout(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    lab.apply()?;
    let head = lab.head(&context.version);
    let layout = "[layout]\ndata = \"/srv/kv\"\nunit = \"kv\"\nuser = \"kv\"\n\
                  certificates = \"/etc/kv\"\nbinaries = \"/opt/kv\"\n\n[[member]]\nname = \"m1\"";
    ensure(!head.contains("[layout]"), "the head has a layout already")?;
    lab.edit("[[member]]\nname = \"m1\"", layout)?;
    // Nothing is ever put over what is there.
    lab.on(2, "mkdir -p /srv/kv && echo mine > /srv/kv/notes")?
        .exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("place-taken")?
        .says("should go to /srv/kv, which is not empty")?;
    lab.on(2, "rm -r /srv/kv")?.exits(0)?;
    let writer = Writer::start(&lab, 3)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("its data is /var/lib/etcd, wanted /srv/kv")?
        .says("move the data in /var/lib/etcd to /srv/kv, owned by kv:kv")?;
    lab.apply()?;
    for host in 1..=3 {
        let left = lab.on(
            host,
            "ls -d /var/lib/etcd /etc/etcd/*.key /etc/systemd/system/etcd.service 2>/dev/null; \
             systemctl is-active etcd; systemctl is-enabled kv; find /srv/kv ! -user kv; \
             readlink /proc/$(pidof etcd)/exe",
        )?;
        let wanted = format!("inactive\nenabled\n/opt/kv/v{}/etcd\n", context.version);
        ensure(left.out == wanted, left.all())?;
    }
    served_throughout(&lab, writer)?;
    // A member that is down goes too: it starts where the file has it.
    lab.on(3, "systemctl stop kv")?.exits(0)?;
    lab.edit("/srv/kv", "/srv/kv2")?;
    lab.apply()?;
    let left = lab.on(3, "ls /srv")?;
    ensure(left.out == "kv2\n", left.all())?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()
}

/// Data goes to another file system: it is copied, and what it was copied from is kept. Without
/// room there the member never stops.
fn data_on_another_disk(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    lab.apply()?;
    let mount = |size: &str| format!("mkdir -p /data && mount -t tmpfs -o size={size} none /data");
    for host in 1..=3 {
        let size = if host == 2 { "80m" } else { "900m" };
        lab.on(host, &mount(size))?.exits(0)?;
    }
    lab.edit(
        "[[member]]\nname = \"m1\"",
        "[layout]\ndata = \"/data/etcd\"\n\n[[member]]\nname = \"m1\"",
    )?;
    let before = lab.on(2, "pidof etcd")?.exits(0)?.out;
    lab.etcdup(&["apply", "--yes"])?
        .exits(1)?
        .says("MiB are free for /data/etcd")?;
    let after = lab.on(2, "pidof etcd")?.exits(0)?.out;
    ensure(before == after, "the member stopped for want of room")?;
    lab.on(2, "mount -o remount,size=900m /data")?.exits(0)?;
    let writer = Writer::start(&lab, 3)?;
    lab.apply()?;
    let kept = lab.on(
        2,
        "ls -d /var/lib/etcd/member.kept-* | wc -l; ls -A /data/etcd",
    )?;
    ensure(kept.out == "1\nmember\n", kept.all())?;
    served_throughout(&lab, writer)
}

/// A disk for logs on every host.
fn mount_fast(lab: &Lab) -> Outcome {
    for host in 1..=3 {
        lab.on(
            host,
            "mkdir -p /fast && mount -t tmpfs -o size=1200m none /fast",
        )?
        .exits(0)?;
    }
    Ok(())
}

/// The log has a disk of its own from the start, goes into the data and out again; without it a
/// member is never started.
fn log_on_another_disk(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    mount_fast(&lab)?;
    let fast = "[layout]\nwal = \"/fast/etcd\"";
    lab.topology(&context.version, fast, 3)?;
    lab.apply()?;
    let runs = |places: &str, wanted: &str| -> Outcome {
        for host in 1..=3 {
            let found = lab.on(
                host,
                &format!(
                    "{places}; tr '\\0' '\\n' </proc/$(pidof etcd)/cmdline | grep -e --wal-dir -e --data-dir"
                ),
            )?;
            ensure(found.out == wanted, found.all())?;
        }
        Ok(())
    };
    runs(
        "ls /fast/etcd /var/lib/etcd/member",
        "/fast/etcd:\nwal\n\n/var/lib/etcd/member:\nsnap\n--data-dir=/var/lib/etcd\n--wal-dir=/fast/etcd/wal\n",
    )?;
    let writer = Writer::start(&lab, 3)?;
    lab.edit(fast, "")?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("its log is /fast/etcd/wal, wanted /var/lib/etcd/member/wal")?
        .says("move the log in /fast/etcd to /var/lib/etcd/member")?;
    lab.apply()?;
    // Copied from one disk to the other, what was copied stays.
    runs(
        "ls /fast/etcd | sed 's/-.*//'; ls /var/lib/etcd/member; find /var/lib/etcd ! -user etcd",
        "wal.kept\nsnap\nwal\n--data-dir=/var/lib/etcd\n",
    )?;
    lab.edit(
        "[[member]]\nname = \"m1\"",
        "[layout]\ndata = \"/srv/etcd\"\nwal = \"/fast/log\"\n\n[[member]]\nname = \"m1\"",
    )?;
    lab.apply()?;
    runs(
        "ls /fast/log; ls /srv/etcd/member | sed 's/-.*//'; ls -d /var/lib/etcd 2>/dev/null",
        "wal\nsnap\nwal.kept\n--data-dir=/srv/etcd\n--wal-dir=/fast/log/wal\n",
    )?;
    served_throughout(&lab, writer)?;
    // The disk of its log is away, and comes back.
    lab.on(3, "systemctl stop etcd && mount -t tmpfs none /fast")?
        .exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("data-without-log")?
        .says("there is data in /srv/etcd on 10.77.0.13, and no log in /fast/log")?;
    let stopped = lab.on(3, "pidof etcd || echo stopped")?;
    ensure(stopped.out == "stopped\n", stopped.all())?;
    lab.on(3, "umount /fast")?.exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    // Both are kept, and the next cluster begins with neither.
    lab.etcdup(&["reset", "--yes"])?;
    let kept = lab.on(1, "ls -d /srv/etcd* /fast/log* | sed 's/-.*//'")?;
    ensure(kept.out == "/fast/log.kept\n/srv/etcd.kept\n", kept.all())?;
    lab.apply()?;
    lab.nothing_to_do()
}

/// `apply` is killed at seeded moments while processes become units and their logs go elsewhere;
/// the next run finishes.
fn relocation_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_201,
        labs: "r",
        span: Duration::from_millis(14_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, relocation_killed_after)
}

fn relocation_killed_after(
    context: &Context,
    name: &str,
    after: Duration,
) -> Result<Round, String> {
    let lab = context.named(name, 3)?;
    let process = "runtime = \"process\"";
    lab.topology(&context.version, process, 3)?;
    lab.apply()?;
    mount_fast(&lab)?;
    let writer = Writer::start(&lab, 3)?;
    let systemd = "runtime = \"systemd\"\nlayout = { wal = \"/fast/etcd\" }";
    lab.edit(process, systemd)?;
    finishes_when_killed(&lab, writer, after, &[1, 2, 3])
}

/// `apply` is killed at seeded moments while units become static pods, or pods units; the next run
/// finishes.
fn pods_killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_207,
        labs: "w",
        span: Duration::from_millis(25_000),
        gap: STILL,
        sample: 2,
    }
    .series(context, |context, name, after| {
        let (lab, image) = context.named_pods(name, 3)?;
        let pods = format!("runtime = \"static-pod\"\npod = {{ archive = \"{image}\" }}");
        let units = "runtime = \"systemd\"".to_owned();
        // As many the one way as the other.
        let (from, to) = if after.as_secs() % 2 == 1 {
            (pods, units)
        } else {
            (units, pods)
        };
        lab.topology(&context.version, &from, 3)?;
        lab.apply()?;
        let writer = Writer::start(&lab, 3)?;
        lab.edit(&from, &to)?;
        finishes_when_killed(&lab, writer, after, &[1, 2, 3])
    })
}
