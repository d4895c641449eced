//! What etcdup costs a host, in programs: counts do not depend on the machine.

use crate::lab::Lab;
use crate::outcome::{Outcome, note};
use crate::programs::Watch;

use super::context::{Context, Scenario};

pub(crate) const ALL: &[Scenario] = &[("programs-on-a-host", programs_on_a_host)];

/// The most programs that each may execute on one host.
const COLD_APPLY: usize = 120;
const LOOK: usize = 25;
const ROLLED_RESTART: usize = 60;

fn programs_on_a_host(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    within(
        &lab,
        COLD_APPLY,
        &["apply", "--yes"],
        "cluster prod is healthy",
    )?;
    within(&lab, LOOK, &["plan"], "No changes")?;
    within(&lab, LOOK, &["apply", "--yes"], "No changes")?;
    // A watched host is slow, and its clock then "not known": a warning, which is not meant here.
    within(&lab, LOOK, &["verify"], "3 members")?;
    lab.edit(
        "binaries =",
        "flags = { snapshot-count = 20000 }\nbinaries =",
    )?;
    within(
        &lab,
        ROLLED_RESTART,
        &["apply", "--yes"],
        "cluster prod is healthy",
    )
}

/// Runs etcdup, and fails where a host of the lab executed more programs than this.
fn within(lab: &Lab, most: usize, arguments: &[&str], says: &str) -> Outcome {
    let watches = (1..=3)
        .map(|host| Watch::begin(lab, host))
        .collect::<Result<Vec<_>, _>>()?;
    let begun = std::time::Instant::now();
    let said = lab.etcdup(arguments)?;
    // A lease is renewed every ten seconds, and asked for before a member is stopped where it was
    // confirmed more than five seconds ago, by four programs: how often depends on the machine.
    let asked = usize::try_from(begun.elapsed().as_secs() / 5).unwrap_or(0);
    let most = most + 4 * asked;
    for (host, watch) in (1..).zip(watches) {
        let programs = watch.end()?;
        note!(
            "etcdup {}: {} programs on host {host}",
            arguments.join(" "),
            programs.len()
        );
        if programs.is_empty() || programs.len() > most {
            return Err(format!(
                "{} programs on host {host}, at most {most} are meant: {}",
                programs.len(),
                programs.join(" ")
            ));
        }
    }
    said.exits(0)?.says(says).map(|_| ())
}
