//! Two operators at once.

use std::time::Duration;

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::running::Running;

pub(super) const ALL: &[Scenario] = &[
    ("two-operators-one-alive", second_is_told),
    ("two-operators-one-frozen", frozen_is_taken_over),
    ("two-operators-at-once", both_at_once),
    ("history-of-everyone", history_of_everyone),
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

fn until_started(first: &mut Running, lab: &Lab) -> Outcome {
    first.until(Duration::from_secs(20), "come to start etcd", || {
        let is_starting = lab.on(1, "systemctl is-active etcd | grep -q activating")?;
        Ok(is_starting.code == 0)
    })
}

/// Every operator finds what anyone did: with all events where it was run, else what hosts noted.
fn history_of_everyone(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    lab.apply()?;
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    lab.apply()?;
    let mut killed = lab.start(&["apply", "--yes", "--set", "flags.snapshot-count=5432"])?;
    killed.until(Duration::from_secs(20), "begun", || {
        let log = lab.on(1, "grep -c '^began' /var/lib/etcdup/operations")?;
        Ok(log.out.trim() == "3")
    })?;
    killed.kill()?;
    let mine = lab.etcdup(&["history"])?.exits(0)?;
    mine.says("apply")?
        .says("interrupted")?
        .never_says("(summary)")?;
    let listed = lab.etcdup(&["history", "--output", "json"])?.exits(0)?;
    let listed: serde_json::Value =
        serde_json::from_str(&listed.out).map_err(|error| error.to_string())?;
    let of = |index: usize| &listed["operations"][index];
    ensure(
        of(2)["stages"][1] == "bootstrap" && of(1)["stages"][2] == "move-leader",
        listed.to_string(),
    )?;
    let id = of(1)["id"].as_str().unwrap_or_default().to_owned();
    lab.etcdup(&["history", "show", &id[..13]])?
        .exits(0)?
        .says("restart m")?
        .says("completed in")?;
    // Another operator has the file and the CA, and no journal.
    lab.inside("mkdir other && cp -r etcdup.toml pki other/")?
        .exits(0)?;
    let theirs = |arguments: &[&str]| {
        let mut all = vec!["--file", "other/etcdup.toml"];
        all.extend(arguments);
        lab.etcdup(&all)
    };
    theirs(&["history"])?
        .exits(0)?
        .says("done (summary)")?
        .says("no end noted (summary)")?
        .says("roll:m")?;
    theirs(&["history", "show", &id])?
        .exits(0)?
        .says("Only this summary is known, from 10.77.0.11, 10.77.0.12, 10.77.0.13.")?;
    theirs(&["history", "show", "ffff"])?
        .exits(1)?
        .says("no operation `ffff` is known")?;
    lab.apply().map(|_| ())
}

/// While the first renews its lease the second sees who holds it and since when. Once the first is
/// killed, its lease runs out and the second finishes the work.
fn second_is_told(context: &Context) -> Outcome {
    let lab = slow(context, 25)?;
    let mut first = lab.start(&["apply", "--yes"])?;
    until_started(&mut first, &lab)?;
    let second = lab.etcdup(&["apply", "--yes"])?.exits(75)?;
    second.says("apply, since")?.says("nothing was changed")?;
    first.kill()?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}

/// A frozen first operator is taken over; when it thaws, it finds that its lease is gone and
/// changes nothing more.
fn frozen_is_taken_over(context: &Context) -> Outcome {
    let lab = slow(context, 8)?;
    let mut first = lab.start(&["apply", "--yes"])?;
    until_started(&mut first, &lab)?;
    lab.inside(&format!("kill -STOP {}", first.id()))?
        .exits(0)?;
    lab.apply()?
        .says("waiting for the lease to be renewed or to expire")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    let generation = lab.on(1, "grep generation /var/lib/etcdup/prod.json")?.out;
    lab.inside(&format!("kill -CONT {}", first.id()))?
        .exits(0)?;
    let status = first.wait().map_err(|error| error.clone())?;
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
        .map(|running| running.wait().ok().and_then(|status| status.code()))
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
