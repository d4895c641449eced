//! etcd releases that no package brings: what `ETCDUP_RELEASES` holds,
//! `vX.Y.Z/{etcd,etcdctl,etcdutl}`.

use std::path::Path;
use std::time::Duration;

use crate::e2e::context::{Context, Killed, STILL, Scenario, finishes_when_killed, never_still};
use crate::lab::{CommandOutput, Lab};
use crate::outcome::{Outcome, ensure, note};
use crate::setup::{Release, cache, releases};
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("further-releases", further_releases),
    ("from-minor-to-minor", from_minor_to_minor),
    ("downgrade-given-up", downgrade_given_up),
    ("downgrade-killed-at-any-moment", downgrade_killed),
];

/// Three members of each further minor: bootstrapped, verified, a flag rolled, and nothing left to
/// do. etcdctl of the same release agrees.
fn further_releases(context: &Context) -> Outcome {
    let all = releases();
    for minor in ["3.6.", "3.7."] {
        let newest = all
            .iter()
            .rfind(|release| release.version.starts_with(minor));
        match newest {
            Some(release) => one_release(context, release)
                .map_err(|why| format!("etcd {}: {why}", release.version))?,
            None => note!("skipped: no etcd {minor}x in ETCDUP_RELEASES"),
        }
    }
    Ok(())
}

fn one_release(context: &Context, release: &Release) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&release.version, "", 3)?;
    let directory = release.directory.display().to_string();
    lab.edit_line(
        "binaries",
        &format!("binaries = {{ directory = {{ path = \"{directory}\" }} }}"),
    )?;
    lab.apply()?;
    let listed = lab.etcdup(&["etcdctl", "--", "member", "list"])?.exits(0)?;
    ensure(
        listed.out.matches(", started, m").count() == 3,
        listed.all(),
    )?;
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    lab.apply()?.says("restart m2")?;
    let running = lab.on(1, "tr '\\0' ' ' < /proc/$(pidof etcd)/cmdline")?;
    running.says("--snapshot-count=4321")?;
    lab.etcdup(&["verify"])?.says("version-skew")?;
    // Two minors down is no downgrade that etcd has: refused before anything is touched.
    lab.etcdup(&["plan", "--set", "etcd=3.4.45"])?
        .exits(4)?
        .says("version-change")?;
    lab.nothing_to_do()?;
    // A member goes, and comes back.
    let text = lab.read("etcdup.toml")?;
    let (stays, _) = text.rsplit_once("[[member]]").ok_or("no member")?;
    lab.write("etcdup.toml", stays)?;
    lab.apply()?.says("remove m3 from the cluster")?;
    lab.write("etcdup.toml", &text)?;
    lab.apply()?.says("add m3 to the cluster as a learner")?;
    lab.nothing_to_do()
}

/// From 3.4 to 3.7 in one edit and down to 3.5 again, under a writer, with whatever releases are at
/// hand on the way.
fn from_minor_to_minor(context: &Context) -> Outcome {
    let further = releases();
    let Some([five, six, seven]) = newest_of_each(&further, ["3.5", "3.6", "3.7"]) else {
        return Ok(());
    };
    let lab = context.lab(3)?;
    let oldest = crate::setup::versions()?.remove(0);
    lab.topology(&oldest, "", 3)?;
    all_at_hand(&lab, &further)?;
    lab.edit(
        "through = []",
        &format!(
            "through = [\"{}\", \"{}\"]\nflags = {{ experimental-initial-corrupt-check = true }}",
            five.version, six.version
        ),
    )?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 3)?;
    let mut before = oldest;
    // Up in one edit, then down a minor at a time, then down two.
    for to in [&seven.version, &six.version, &seven.version, &five.version] {
        // One of each minor, and none of the file's own.
        let others = [five, six].map(|release| &release.version);
        let others = others.into_iter().filter(|version| *version != to);
        let others: Vec<String> = others.map(|version| format!("\"{version}\"")).collect();
        lab.edit_line("through", &format!("through = [{}]", others.join(", ")))?;
        lab.edit(&format!("etcd = \"{before}\""), &format!("etcd = \"{to}\""))?;
        let planned = lab.etcdup(&["plan"])?.exits(0)?;
        let planned = planned.says("no outage")?;
        let mut ran = lab.apply()?;
        if before.starts_with("3.4.") {
            ran = ran.says("is verified and kept")?;
            planned
                .says("Leg 1 of 3: etcd 3.5")?
                .says("have every member take a raft snapshot")?;
        }
        runs(&lab, &seven.directory.join("etcdctl"), to)?;
        lab.etcdup(&["verify"])?.exits(0)?;
        lab.nothing_to_do()
            .map_err(|why| format!("{before} to {to}: {why}\n{}", ran.all()))?;
        note!("{before} to {to}");
        before.clone_from(to);
    }
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// A directory of every release that there is, and a file that takes binaries from it.
pub(super) fn all_at_hand(lab: &Lab, further: &[Release]) -> Outcome {
    let place = lab.work.path().join("releases");
    std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    let link = |version: &str, directory: &Path| {
        let made = std::os::unix::fs::symlink(directory, place.join(format!("v{version}")));
        made.map_err(|error| error.to_string())
    };
    for release in further {
        link(&release.version, &release.directory)?;
    }
    let oldest = crate::setup::versions()?.remove(0);
    link(&oldest, &cache().join("etcd/bin").join(&oldest))?;
    lab.edit_line(
        "binaries",
        "binaries = { directory = { path = \"releases/v{version}\" } }\nthrough = []",
    )
}

/// A downgrade that etcd was asked for, and no member has begun: `apply` is killed then, the file
/// goes back to the release that runs, and etcd is told so. What comes afterwards is a downgrade
/// as any other.
fn downgrade_given_up(context: &Context) -> Outcome {
    let further = releases();
    let Some([six, seven]) = newest_of_each(&further, ["3.6", "3.7"]) else {
        return Ok(());
    };
    let lab = context.lab(3)?;
    lab.topology(&seven.version, "", 3)?;
    all_at_hand(&lab, &further)?;
    lab.apply()?;
    let etcdctl = seven.directory.join("etcdctl");
    lab.etcdctl(&Lab::endpoints(3), &["put", "kept", "yes"])?
        .exits(0)?;
    // Only where it is under way etcd names the release it leads to.
    let is_begun = || -> Result<bool, String> {
        let status = status(&lab, &etcdctl)?;
        Ok(status.out.contains("\"downgradeInfo\":{\"enabled\":true"))
    };
    ensure(
        !is_begun()?,
        "a downgrade is under way before any was asked for",
    )?;
    let writer = Writer::start(&lab, 3)?;
    let (up, down) = (
        format!("etcd = \"{}\"", seven.version),
        format!("etcd = \"{}\"", six.version),
    );
    lab.edit(&up, &down)?;
    let mut running = lab.start(&["apply", "--yes"])?;
    running.until(Duration::from_secs(60), "asked for a downgrade", is_begun)?;
    ensure(running.kill()?, "it ended before it was killed")?;
    lab.edit(&down, &up)?;
    let planned = lab.etcdup(&["plan"])?.exits(0)?;
    planned
        .says("give up the downgrade")?
        .never_says("restart m")?;
    lab.apply()?;
    runs(&lab, &etcdctl, &seven.version)?;
    ensure(!is_begun()?, "the downgrade was not given up")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    lab.edit(&up, &down)?;
    lab.apply()?;
    never_still(&writer.stop()?)?;
    ensure(!is_begun()?, "the downgrade is not over")?;
    runs(&lab, &etcdctl, &six.version)?;
    lab.etcdctl(&Lab::endpoints(3), &["get", "kept"])?
        .exits(0)?
        .says("yes")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// `apply` is killed at seeded moments while members go from 3.7 to 3.6; the next run finishes.
fn downgrade_killed(context: &Context) -> Outcome {
    let further = releases();
    let Some([six, seven]) = newest_of_each(&further, ["3.6", "3.7"]) else {
        return Ok(());
    };
    Killed {
        seed: 20_261_208,
        labs: "z",
        span: Duration::from_millis(20_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, |context, name, after| {
        let lab = context.named(name, 3)?;
        lab.topology(&seven.version, "", 3)?;
        all_at_hand(&lab, &further)?;
        lab.apply()?;
        let writer = Writer::start(&lab, 3)?;
        lab.edit(&seven.version, &six.version)?;
        let round = finishes_when_killed(&lab, writer, after, &[1, 2, 3])?;
        runs(&lab, &seven.directory.join("etcdctl"), &six.version)?;
        Ok(round)
    })
}

/// The newest release of each of these minors, where all are at hand.
pub(super) fn newest_of_each<'r, const N: usize>(
    further: &'r [Release],
    minors: [&str; N],
) -> Option<[&'r Release; N]> {
    let newest = |minor: &str| {
        let begins = format!("{minor}.");
        let mut known = further.iter().rev();
        known.find(|release| release.version.starts_with(&begins))
    };
    let found: Vec<&Release> = minors.into_iter().filter_map(newest).collect();
    let all = found.try_into().ok();
    if all.is_none() {
        let needed = minors.join(", ");
        note!("skipped: it needs etcd {needed} in ETCDUP_RELEASES");
    }
    all
}

/// What etcdctl of a newer release says of all three members.
fn status(lab: &Lab, etcdctl: &Path) -> Result<CommandOutput, String> {
    let script = format!(
        "{} --endpoints {} --cacert pki/prod/ca.crt --cert tester.crt --key tester.key \
         endpoint status -w json",
        etcdctl.display(),
        Lab::endpoints(3)
    );
    lab.inside(&script)?.exits(0)
}

/// etcdctl finds that all three members run this release.
fn runs(lab: &Lab, etcdctl: &Path, version: &str) -> Outcome {
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let status = status(lab, etcdctl)?;
    let of_it = status
        .out
        .matches(&format!("\"version\":\"{version}\""))
        .count();
    ensure(of_it == 3, status.all())
}
