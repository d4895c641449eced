//! A snapshot of a gigabyte, against etcd's own tool in the same run.

use std::path::Path;
use std::time::Duration;

use super::figures::{ratios, spread, worst};
use super::floor::{timed, timed_shell};

use crate::lab::Lab;
use crate::setup::{cache, newest_of};

/// Pairs: each moves two gigabytes.
const PAIRS: usize = 5;

/// Keys of a mebibyte each.
const KEYS: u32 = 1024;

/// What was measured, and what is wanted.
pub(super) fn measure(lab: &Lab, etcdup: &Path) -> Result<Vec<[String; 3]>, String> {
    let tool = cache().join("etcd/bin").join(newest_of("3.5")?);
    let etcdctl = format!(
        "{}/etcdctl --endpoints {} --cacert pki/prod/ca.crt --cert tester.crt --key tester.key",
        tool.display(),
        Lab::endpoints(1)
    );
    // Makes its certificate.
    lab.etcdctl(&Lab::endpoints(1), &["endpoint", "health"])?
        .exits(0)?;
    let save = ["snapshot", "save", "--member", "m1"];
    let (_, empty) = timed(lab, etcdup, &save)?;
    let fill = format!(
        "head -c 1048576 /dev/urandom | base64 -w 0 | head -c 1048576 >value; \
         for n in $(seq {KEYS}); do {etcdctl} put key$n <value >/dev/null || exit 1; done"
    );
    lab.inside(&fill)?.exits(0)?;
    let (mut own, mut floor, mut peak) = (Vec::<Duration>::new(), Vec::<Duration>::new(), 0);
    for _ in 0..PAIRS {
        lab.inside("rm -rf snapshots floor.db")?.exits(0)?;
        floor.push(timed_shell(
            lab,
            &format!("{etcdctl} snapshot save floor.db"),
        )?);
        let (took, memory) = timed(lab, etcdup, &save)?;
        own.push(took);
        peak = peak.max(memory);
    }
    let size = lab.inside("stat -c %s floor.db")?.exits(0)?.out;
    let size = size.trim().parse::<u64>().unwrap_or_default() >> 20;
    let row = |what: String, measured: String, wanted: &str| [what, measured, wanted.to_owned()];
    Ok(vec![
        row(
            format!("`etcdctl snapshot save` of {size} MiB, without SSH"),
            spread(&floor),
            "",
        ),
        row(
            "`etcdup snapshot save`, through SSH, read back".to_owned(),
            spread(&own),
            "",
        ),
        row(
            "the two, pair by pair".to_owned(),
            worst(ratios(&own, &floor)),
            "1.2",
        ),
        row(
            "peak memory of `etcdup snapshot save`".to_owned(),
            format!("{} MB, of an empty store {} MB", peak / 1000, empty / 1000),
            "flat",
        ),
    ])
}
