//! Killed, cut off, failing on one host: the next run finishes.

use std::thread;
use std::time::{Duration, Instant};

use super::context::{Context, Scenario, at_once};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("killed-at-ten-points", killed_at_ten_points),
    ("upload-cut", upload_cut),
    ("one-host-fails", one_host_fails),
    ("stopped-by-ctrl-c", stopped_by_ctrl_c),
];

/// `apply` is killed at ten points of its run, each on hosts of its own; the next run finishes.
fn killed_at_ten_points(context: &Context) -> Outcome {
    let start = Instant::now();
    drop(context.three("")?);
    let whole = start.elapsed().min(Duration::from_secs(12));
    let mut failures = Vec::new();
    let points: Vec<u32> = match context.long {
        true => (0..10).collect(),
        false => (0..10).step_by(2).collect(),
    };
    for batch in points.chunks(5) {
        failures.extend(at_once(batch, |_, point| {
            killed_at(context, point, whole * (point + 1) / 11)
                .map_err(|why| format!("point {point}: {why}"))
        }));
    }
    ensure(failures.is_empty(), failures.join("\n"))
}

fn killed_at(context: &Context, point: u32, after: Duration) -> Outcome {
    let lab = context.named(&format!("k{point}"), 3)?;
    lab.topology(&context.version, "", 3)?;
    lab.apply_killed(after)?;
    let second = lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let third = lab.etcdup(&["apply", "--yes"])?.exits(0)?;
    third
        .says("No changes")
        .map(|_| ())
        .map_err(|why| format!("{why}\nafter\n{}", second.all()))?;
    let left = lab.on(
        1,
        "ls -d /var/lib/etcdup/in.* 2>/dev/null; ls -a /etc/etcd | grep '[.]etcdup'",
    )?;
    ensure(left.out.is_empty(), format!("left behind: {}", left.out))
}

/// Waits until the first host is sent a release.
fn upload_begins(lab: &Lab) -> Outcome {
    let start = Instant::now();
    while lab.on(1, "ls /var/lib/etcdup/in.*/f/0 2>/dev/null")?.code != 0 {
        ensure(
            start.elapsed() < Duration::from_secs(20),
            "the upload never began",
        )?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The link dies in the middle of an upload: the host is as it was, and the next run finishes.
fn upload_cut(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.inside(&format!(
        "tc qdisc add dev vb-{}-1 root tbf rate 50mbit burst 64kb latency 400ms",
        lab.name()
    ))?
    .exits(0)?;
    let mut running = lab
        .command(&context.etcdup.to_string_lossy(), &["apply", "--yes"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    upload_begins(&lab)?;
    lab.on(1, "pkill -KILL -f 'sshd: root@'")?;
    let status = running.wait().map_err(|error| error.to_string())?;
    ensure(
        status.code() == Some(1),
        format!("the cut run ended with {status}"),
    )?;
    let changed = lab.on(
        1,
        "test ! -e /opt/etcd && test ! -e /etc/etcd && ! id -u etcd",
    )?;
    ensure(changed.code == 0, "the cut stage changed the host")?;
    lab.inside(&format!("tc qdisc del dev vb-{}-1 root", lab.name()))?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    ensure(
        lab.on(1, "ls -d /var/lib/etcdup/in.*")?.code != 0,
        "the cut input was not swept",
    )
}

/// One host cannot do its part: the others finish theirs, the report names host, step and words;
/// the next run finishes.
fn one_host_fails(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    // Too little room is told before anything changes.
    lab.on(
        2,
        "mkdir -p /opt && chmod 755 /opt && mount -t tmpfs -o size=4m none /opt",
    )?
    .exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("disk-space")?
        .says("for binaries in /opt/etcd")?;
    // What nobody can foresee: a file system that takes no writes any more.
    lab.on(
        2,
        "mount -o remount,size=900m /opt && mount -o remount,ro /opt",
    )?
    .exits(0)?;
    let failed = lab.etcdup(&["apply", "--yes"])?.exits(1)?;
    failed
        .says("10.77.0.12: unpack etcd")?
        .says("Read-only file system")?
        .says("run the same command again")?;
    let machine = lab
        .etcdup(&["apply", "--yes", "--output", "json"])?
        .exits(1)?;
    let last = machine.out.lines().last().unwrap_or_default().to_owned();
    let value: serde_json::Value =
        serde_json::from_str(&last).map_err(|error| format!("{error}: {last}"))?;
    ensure(
        value["format"] == "etcdup/error/1" && value["hosts"][0]["host"] == "10.77.0.12",
        format!("the last line names no host: {last}"),
    )?;
    ensure(
        lab.on(1, "test -x /opt/etcd/v*/etcd && pidof etcd")?.code == 0,
        "the others did not finish the stage",
    )?;
    lab.on(2, "umount /opt")?.exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

/// The first Ctrl-C finishes the stage and says where things stand; the next run goes on.
fn stopped_by_ctrl_c(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.inside(&format!(
        "tc qdisc add dev vb-{}-1 root tbf rate 100mbit burst 64kb latency 400ms",
        lab.name()
    ))?
    .exits(0)?;
    let running = lab
        .command(&context.etcdup.to_string_lossy(), &["apply", "--yes"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    upload_begins(&lab)?;
    lab.inside(&format!("kill -INT {}", running.id()))?
        .exits(0)?;
    let output = running
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(
        output.status.code() == Some(130),
        format!("it ended with {}:\n{said}", output.status),
    )?;
    ensure(said.contains("run the command again to continue"), said)?;
    ensure(
        lab.on(1, "test ! -e /var/lib/etcdup/lease && pidof etcd")?
            .code
            == 0,
        "the lease was kept, or the stage was not finished",
    )?;
    lab.inside(&format!("tc qdisc del dev vb-{}-1 root", lab.name()))?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}
