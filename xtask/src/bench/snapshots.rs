//! A snapshot of a gigabyte, against etcd's own tool in the same run. It fails where one takes
//! longer or holds more than it may.

use std::path::Path;
use std::time::Duration;

use super::figures::{middle, ratios, spread, worst};
use super::floor::{timed, timed_shell};

use crate::lab::Lab;
use crate::setup::{cache, newest_of};
use crate::writer::Writer;

/// Pairs: each moves two gigabytes.
const PAIRS: usize = 5;

/// Keys of a mebibyte each.
const KEYS: u32 = 1024;

/// How much longer than etcd's own tool it may take, in the middle of all pairs.
const LONGEST: f64 = 1.2;

/// How much more it may hold at its peak than for an empty store, in kB: the pieces on their way,
/// and nothing that grows with the store.
const MOST_MORE: u64 = 32_000;

/// What was measured, and what is wanted.
pub(super) struct Measured {
    pub(super) rows: Vec<[String; 3]>,
    /// What is not as it must be.
    pub(super) missed: Vec<String>,
}

pub(super) fn measure(lab: &Lab, etcdup: &Path) -> Result<Measured, String> {
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
    let ratios = ratios(&own, &floor);
    let in_the_middle = middle(ratios.clone());
    let mut missed = Vec::new();
    if in_the_middle > LONGEST {
        missed.push(format!(
            "a snapshot takes {in_the_middle:.2} times as long as etcdctl's, and {LONGEST} is the most"
        ));
    }
    if peak > empty + MOST_MORE {
        missed.push(format!(
            "a snapshot of {size} MiB holds {peak} kB, and one of nothing {empty} kB"
        ));
    }
    let row = |what: String, measured: String, wanted: &str| [what, measured, wanted.to_owned()];
    let mut rows = vec![
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
            worst(ratios),
            &LONGEST.to_string(),
        ),
        row(
            "peak memory of `etcdup snapshot save`".to_owned(),
            format!("{} MB, of an empty store {} MB", peak / 1000, empty / 1000),
            "flat",
        ),
    ];
    for (command, what) in [
        (format!("{etcdctl} snapshot save beside.db"), "`etcdctl`"),
        (format!("{} {}", etcdup.display(), save.join(" ")), "etcdup"),
    ] {
        rows.push(beside_writes(lab, &command, what)?);
    }
    Ok(Measured { rows, missed })
}

/// What a client notices that writes to all members meanwhile; none of its writes is lost.
fn beside_writes(lab: &Lab, command: &str, what: &str) -> Result<[String; 3], String> {
    let writer = Writer::start(lab, 3)?;
    lab.inside(command)?.exits(0)?;
    let written = writer.stop()?;
    Ok([
        format!(
            "longest pause in {} writes while {what} saves it",
            written.count
        ),
        format!("{} ms", written.gap.as_millis()),
        String::new(),
    ])
}
