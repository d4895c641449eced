//! The care of a cluster that serves: space, the alarm of a full database, who leads.

use std::thread;
use std::time::Duration;

use super::context::{Context, Scenario, never_still};
use super::releases::all_at_hand;
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::setup::{newest_of, releases};
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("out-of-nospace", out_of_nospace),
    ("out-of-nospace-on-each-minor", on_each_minor),
    ("defragmented-under-writes", defragmented_under_writes),
    ("alarm-before-another-minor", alarm_before_another_minor),
];

/// A key that is written again and again, half a megabyte each time.
fn fill(lab: &Lab, members: u32, times: u32) -> Result<String, String> {
    // Issues the certificate that it shows.
    lab.etcdctl(&Lab::endpoints(members), &["endpoint", "health"])?
        .exits(0)?;
    let tool = crate::setup::cache()
        .join("etcd/bin")
        .join(newest_of("3.5")?)
        .join("etcdctl");
    let filled = lab.inside(&format!(
        "head -c 500000 /dev/urandom | od -An -tx1 | tr -d ' \\n' > big; \
         for n in $(seq {times}); do {} --endpoints {} --cacert pki/prod/ca.crt --cert tester.crt \
         --key tester.key put big < big 2>&1 || break; done",
        tool.display(),
        Lab::endpoints(members)
    ))?;
    Ok(filled.all())
}

/// A small quota is used up by history; one command leads out of it, and its plan is shown before.
fn out_of_nospace(context: &Context) -> Outcome {
    let lab = context.three("flags = { quota-backend-bytes = 33554432 }")?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "kept", "yes"])?
        .exits(0)?;
    lab.etcdup(&["alarm", "list"])?
        .exits(0)?
        .says("No alarm is raised")?;
    lab.etcdup(&["maintain", "--yes"])?
        .exits(0)?
        .says("Nothing to do")?;
    let writer = Writer::start(&lab, 3)?;
    let filled = fill(&lab, 3, 100)?;
    ensure(filled.contains("database space exceeded"), &filled)?;
    lab.etcdup(&["alarm", "list"])?
        .exits(1)?
        .says("NOSPACE of m")?;
    lab.etcdup(&["verify"])?
        .exits(1)?
        .says("NOSPACE")?
        .says("etcdup maintain")?;
    let saved = lab.etcdup(&["snapshot", "save"])?.exits(0)?;
    let of_a_full_one = saved.out.trim();
    // The database may have stayed just below its quota.
    let smaller = "flags.quota-backend-bytes=16777216";
    lab.etcdup(&["--set", smaller, "restore", of_a_full_one, "--dry-run"])?
        .exits(4)?
        .says("restore-quota")?;
    lab.etcdup(&["maintain", "--dry-run"])?
        .exits(0)?
        .says("compact to revision")?
        .says("defragment m2")?
        .says("m2 answers nothing meanwhile; the other members stay available")?
        .says("disarm the alarm NOSPACE")?;
    // Nobody said yes.
    lab.etcdup(&["maintain"])?.exits(3)?;
    let put = ["put", "after", "written"];
    ensure(
        lab.etcdctl(&Lab::endpoints(3), &put)?.exits(0).is_err(),
        "it was written though the database is full",
    )?;
    lab.etcdup(&["maintain", "--yes"])?
        .exits(0)?
        .says("the database of m2 is")?
        .says("; it took ")?;
    lab.etcdup(&["alarm", "list"])?.exits(0)?;
    lab.etcdctl(&Lab::endpoints(3), &put)?.exits(0)?;
    lab.etcdctl(&Lab::endpoints(3), &["get", "kept"])?
        .exits(0)?
        .says("yes")?;
    // Whatever was acknowledged is there, and writes flow: the writer asked all the time.
    thread::sleep(Duration::from_secs(1));
    let written = writer.stop()?;
    written.tell();
    ensure(written.count > 100, format!("{} writes", written.count))?;
    // Whoever watches from before is told, and lists again.
    let watch = ["watch", "kept", "--rev", "2", "--command-timeout", "5s"];
    lab.etcdctl(&Lab::endpoints(3), &watch)?
        .says("required revision has been compacted")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    full_of_what_is_in_use(&lab)?;
    // The alarm is in the snapshot, and nobody could disarm it while clients are kept out.
    lab.etcdup(&["restore", of_a_full_one, "--confirm", "prod"])?
        .exits(0)?
        .says("disarm the alarm NOSPACE")?;
    lab.etcdup(&["alarm", "list"])?.exits(0)?;
    lab.etcdctl(&Lab::endpoints(3), &put)?.exits(0)?;
    lab.nothing_to_do()
}

/// Every minor raises the alarm, is compacted and defragmented, and takes writes again.
fn on_each_minor(context: &Context) -> Outcome {
    let further = releases();
    let at_hand = ["3.4", "3.5"].map(newest_of);
    let at_hand: Result<Vec<String>, String> = at_hand.into_iter().collect();
    let newer = further.iter().map(|release| &release.version);
    let newer = newer.filter(|version| !version.starts_with("3.5"));
    for version in at_hand?.iter().chain(newer) {
        let lab = context.named("n", 1)?;
        lab.topology(version, "flags = { quota-backend-bytes = 16777216 }", 1)?;
        if further.iter().any(|release| release.version == *version) {
            all_at_hand(&lab, &further)?;
        }
        lab.apply()?;
        let filled = fill(&lab, 1, 60)?;
        ensure(filled.contains("database space exceeded"), &filled)?;
        lab.etcdup(&["maintain", "--allow-outage", "--yes"])?
            .exits(0)?
            .says("the database of m1 is")?;
        lab.etcdup(&["alarm", "list"])?.exits(0)?;
        lab.etcdctl(&Lab::endpoints(1), &["put", "after", "written"])?
            .exits(0)?;
        lab.nothing_to_do()?;
    }
    Ok(())
}

/// Where history is not what fills it, a larger quota and the same command lead out of it.
fn full_of_what_is_in_use(lab: &Lab) -> Outcome {
    let tool = crate::setup::cache()
        .join("etcd/bin")
        .join(newest_of("3.5")?)
        .join("etcdctl");
    // What was free in the database is used up once it was given back.
    for round in ["a", "b"] {
        let filled = lab.inside(&format!(
            "for n in $(seq 60); do {} --endpoints {} --cacert pki/prod/ca.crt --cert tester.crt \
             --key tester.key put big-{round}$n < big 2>&1 || break; done",
            tool.display(),
            Lab::endpoints(3)
        ))?;
        filled.says("database space exceeded")?;
        if round == "a" {
            lab.etcdup(&["maintain", "--yes"])?;
        }
    }
    lab.etcdup(&["maintain", "--yes"])?
        .exits(4)?
        .says("still-full")?;
    lab.edit(
        "quota-backend-bytes = 33554432",
        "quota-backend-bytes = 134217728",
    )?;
    // The alarm stays until it is disarmed, and is what verification says then.
    lab.etcdup(&["apply", "--yes"])?
        .exits(1)?
        .says("NOSPACE")?
        .says("etcdup maintain")?;
    lab.etcdup(&["maintain", "--yes"])?
        .exits(0)?
        .says("disarm the alarm NOSPACE")?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "after", "larger"])?
        .exits(0)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// History is dropped and every member defragmented while clients write; leadership moves where it
/// is sent.
fn defragmented_under_writes(context: &Context) -> Outcome {
    let lab = context.three("")?;
    let filled = fill(&lab, 3, 60)?;
    ensure(!filled.contains("rror"), &filled)?;
    let writer = Writer::start(&lab, 3)?;
    lab.etcdup(&["maintain", "--compact", "--yes"])?
        .exits(0)?
        .says("the database of m1 is")?
        .says("the database of m3 is")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    for to in ["m2", "m3"] {
        lab.etcdup(&["move-leader", to, "--yes"])?.exits(0)?;
        lab.etcdup(&["move-leader", to, "--yes"])?
            .exits(0)?
            .says("that member leads already")?;
    }
    lab.etcdup(&["move-leader", "--yes"])?.exits(0)?;
    lab.etcdup(&["move-leader", "m9", "--yes"])?
        .exits(64)?
        .says("no member `m9`")?;
    never_still(&writer.stop()?)?;
    lab.nothing_to_do()
}

/// While an alarm is raised no member changes to another minor, and none restarts.
fn alarm_before_another_minor(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    let older = versions.first().ok_or("no etcd at hand")?;
    let lab = context.lab(3)?;
    lab.topology(older, "flags = { quota-backend-bytes = 16777216 }", 3)?;
    lab.apply()?;
    let filled = fill(&lab, 3, 40)?;
    ensure(filled.contains("database space exceeded"), &filled)?;
    let running = || {
        let pids: Result<Vec<_>, String> = (1..=3)
            .map(|host| lab.on(host, "pidof etcd").map(|printed| printed.out))
            .collect();
        pids
    };
    let before = running()?;
    lab.edit(older, &context.version)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("alarms")?
        .says("NOSPACE")?;
    let after = running()?;
    ensure(after == before, format!("restarted: {before:?} {after:?}"))
}
