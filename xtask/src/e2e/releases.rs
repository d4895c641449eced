//! etcd releases that no package brings: what `ETCDUP_RELEASES` holds,
//! `vX.Y.Z/{etcd,etcdctl,etcdutl}`.

use crate::e2e::context::{Context, Scenario, never_still};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::setup::{Release, cache, releases};
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("further-releases", further_releases),
    ("from-minor-to-minor", from_minor_to_minor),
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
    lab.topology(&context.version, "", 3)?;
    let text = lab.read("etcdup.toml")?;
    let binaries = text
        .lines()
        .find(|line| line.starts_with("binaries"))
        .unwrap_or_default();
    let directory = release.directory.display();
    lab.edit(
        binaries,
        &format!("binaries = {{ directory = {{ path = \"{directory}\" }} }}"),
    )?;
    lab.edit(
        &format!("etcd = \"{}\"", context.version),
        &format!("etcd = \"{}\"", release.version),
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
    // The next minor needs more than a roll, so it is refused before anything is touched.
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
    let newest = |minor: &str| {
        let mut known = further.iter().rev();
        known.find(|release| release.version.starts_with(minor))
    };
    let (Some(five), Some(six), Some(seven)) = (newest("3.5."), newest("3.6."), newest("3.7."))
    else {
        note!("skipped: it needs etcd 3.5, 3.6 and 3.7 in ETCDUP_RELEASES");
        return Ok(());
    };
    let lab = context.lab(3)?;
    let oldest = crate::setup::versions()?.remove(0);
    let place = lab.work.path().join("releases");
    std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    let programs = cache().join("etcd/bin").join(&oldest);
    for (version, directory) in further
        .iter()
        .map(|release| (&release.version, &release.directory))
        .chain([(&oldest, &programs)])
    {
        std::os::unix::fs::symlink(directory, place.join(format!("v{version}")))
            .map_err(|error| error.to_string())?;
    }
    lab.topology(&oldest, "", 3)?;
    let text = lab.read("etcdup.toml")?;
    let lines = text.lines().map(|line| {
        if line.starts_with("binaries") {
            format!(
                "binaries = {{ directory = {{ path = \"releases/v{{version}}\" }} }}\n\
                 through = [\"{}\", \"{}\"]\n\
                 flags = {{ experimental-initial-corrupt-check = true }}",
                five.version, six.version
            )
        } else {
            line.to_owned()
        }
    });
    let text: Vec<String> = lines.collect();
    lab.write("etcdup.toml", &text.join("\n"))?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 3)?;
    let mut before = oldest;
    // Up in one edit, then down a minor at a time, then down two.
    for to in [&seven.version, &six.version, &seven.version, &five.version] {
        if let Some(line) = lab
            .read("etcdup.toml")?
            .lines()
            .find(|line| line.starts_with("through"))
        {
            // One of each minor, and none of the file's own.
            let others = [five, six].map(|release| &release.version);
            let others = others.into_iter().filter(|version| *version != to);
            let others: Vec<String> = others.map(|version| format!("\"{version}\"")).collect();
            lab.edit(line, &format!("through = [{}]", others.join(", ")))?;
        }
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
        lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
        lab.etcdup(&["verify"])?.exits(0)?;
        lab.nothing_to_do()
            .map_err(|why| format!("{before} to {to}: {why}\n{}", ran.all()))?;
        note!("{before} to {to}");
        before.clone_from(to);
    }
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}
