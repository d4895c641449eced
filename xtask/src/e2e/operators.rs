//! Two operators at once.

use std::thread;
use std::time::{Duration, Instant};

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("two-operators-one-alive", second_is_told),
    ("two-operators-one-frozen", frozen_is_taken_over),
    ("two-operators-at-once", both_at_once),
];

/// A cluster of one whose etcd takes this many seconds to start, so that `apply` holds its lease
/// for long.
fn slow(context: &Context, seconds: u32) -> Result<Lab, String> {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.on(
        1,
        &format!("mkdir -p /etc/systemd/system/etcd.service.d && printf '[Service]\\nExecStartPre=/bin/sleep {seconds}\\n' > /etc/systemd/system/etcd.service.d/slow.conf"),
    )?
    .exits(0)?;
    Ok(lab)
}

fn until_started(lab: &Lab) -> Outcome {
    let start = Instant::now();
    while lab
        .on(1, "systemctl is-active etcd | grep -q activating")?
        .code
        != 0
    {
        ensure(
            start.elapsed() < Duration::from_secs(20),
            "the first operator never came to start etcd",
        )?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// While the first renews its lease the second sees who holds it and since when. Once the first is
/// killed, its lease runs out and the second finishes the work.
fn second_is_told(context: &Context) -> Outcome {
    let lab = slow(context, 25)?;
    let mut first = lab.start(&["apply", "--yes"])?;
    until_started(&lab)?;
    let second = lab.etcdup(&["apply", "--yes"])?.exits(75)?;
    second.says("apply, since")?.says("nothing was changed")?;
    let _ = first.kill();
    let _ = first.wait();
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}

/// A frozen first operator is taken over; when it thaws, it finds that its lease is gone and
/// changes nothing more.
fn frozen_is_taken_over(context: &Context) -> Outcome {
    let lab = slow(context, 8)?;
    let mut first = lab.start(&["apply", "--yes"])?;
    until_started(&lab)?;
    lab.inside(&format!("kill -STOP {}", first.id()))?
        .exits(0)?;
    lab.apply()?
        .says("waiting for the lease to be renewed or to expire")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    let generation = lab.on(1, "grep generation /var/lib/etcdup/prod.json")?.out;
    lab.inside(&format!("kill -CONT {}", first.id()))?
        .exits(0)?;
    let status = first.wait().map_err(|error| error.to_string())?;
    ensure(!status.success(), "the thawed operator claims success")?;
    ensure(
        lab.on(1, "grep generation /var/lib/etcdup/prod.json")?.out == generation,
        "the thawed operator wrote",
    )
}

/// Two begin at the same moment on the same three hosts: they do not wait for each other forever,
/// and what comes of it is one whole cluster.
fn both_at_once(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    // The CA is there before, for it lies in the operator's own directory, which two operators
    // would share.
    lab.inside(
        "mkdir -p pki/prod && cd pki/prod && openssl genrsa -traditional -out ca.key 2048 && \
         openssl req -x509 -new -key ca.key -days 30 -subj /CN=ca -out ca.crt && chmod 600 ca.key",
    )?
    .exits(0)?;
    let mut both = [
        lab.start(&["apply", "--yes"])?,
        lab.start(&["apply", "--yes"])?,
    ];
    let codes: Vec<Option<i32>> = both
        .iter_mut()
        .map(|child| child.wait().ok().and_then(|status| status.code()))
        .collect();
    ensure(
        codes
            .iter()
            .all(|code| matches!(code, Some(0 | 75 | 3 | 1))),
        format!("they ended with {codes:?}"),
    )?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}
