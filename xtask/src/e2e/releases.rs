//! etcd releases that no package brings: what `ETCDUP_RELEASES` holds,
//! `vX.Y.Z/{etcd,etcdctl,etcdutl}`.

use crate::e2e::context::{Context, Scenario};
use crate::outcome::{Outcome, ensure};
use crate::setup::{Release, releases};

pub(crate) const ALL: &[Scenario] = &[("further-releases", further_releases)];

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
            None => eprintln!("     skipped: no etcd {minor}x in ETCDUP_RELEASES"),
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
