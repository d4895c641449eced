//! `cargo xtask bench`: figures against a floor in the same run, medians of interleaved pairs.

mod api;
mod figures;
mod fleet;
mod floor;
mod playbook;
mod snapshots;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::lab::Lab;
use crate::outcome::Outcome;
use crate::setup::{binary, fixtures, measured_example, newest_of, testbed};
use crate::writer::Writer;
use figures::{middle, ratios, spread, worst};
use floor::{bare, timed, timed_shell};
use playbook::Playbook;

const PAIRS: usize = 7;
/// A run of the playbook takes as long as all pairs of the others.
const PLAYBOOKS: usize = 3;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The binary, and what needs no hosts
    Itself,
    /// The main job against a script
    Cold,
    /// What is asked of a cluster that needs nothing
    Looks,
    /// Restarts under a writer
    Rolls,
    /// The same by Ansible
    Playbook,
    /// Twenty hosts
    Fleet,
    /// The server of the API under load
    Api,
    /// A snapshot of a gigabyte
    Snapshots,
}

pub(crate) fn run(part: Option<Part>) -> Outcome {
    let is_asked = |other: Part| part.is_none_or(|part| part == other);
    fixtures()?;
    let _ = testbed("hosts.sh").args(["sweep", "bench"]).output();
    let etcdup = binary(true)?;
    println!("| what | measured | wanted |\n|---|---|---|");
    if is_asked(Part::Itself) {
        of_itself(&etcdup)?;
    }
    if is_asked(Part::Fleet) {
        for (what, measured) in fleet::measure(&etcdup)? {
            row(&what, &measured, "");
        }
    }
    if is_asked(Part::Api) {
        for (what, measured, wanted) in api::measure(&etcdup)? {
            row(&what, &measured, &wanted);
        }
    }
    if matches!(part, Some(Part::Itself | Part::Fleet | Part::Api)) {
        return Ok(());
    }
    let lab = Lab::with_python("bench", 3, &etcdup)?;
    lab.topology(&newest_of("3.5")?, "", 3)?;
    lab.apply()?;
    let script = floor::prepare(&lab)?;
    if is_asked(Part::Cold) {
        cold(&lab, &etcdup, &script)?;
    }
    if is_asked(Part::Looks) {
        looks(&lab, &etcdup)?;
    }
    if is_asked(Part::Rolls) {
        rolls(&lab)?;
    }
    if is_asked(Part::Playbook) {
        by_playbook(&lab)?;
    }
    if is_asked(Part::Snapshots) {
        // Room for it, and for what overwriting leaves.
        lab.topology(
            &newest_of("3.5")?,
            "flags = { quota-backend-bytes = 8589934592 }",
            3,
        )?;
        lab.apply()?;
        let measured = snapshots::measure(&lab, &etcdup)?;
        for [what, measured, wanted] in &measured.rows {
            row(what, measured, wanted);
        }
        if !measured.missed.is_empty() {
            return Err(measured.missed.join("\n"));
        }
    }
    Ok(())
}

/// A row as soon as it is known: the whole takes minutes.
fn row(what: &str, measured: &str, wanted: &str) {
    println!("| {what} | {measured} | {wanted} |");
}

/// What needs no hosts.
fn of_itself(etcdup: &Path) -> Outcome {
    let size = std::fs::metadata(etcdup)
        .map_err(|error| error.to_string())?
        .len();
    row(
        "release binary",
        &format!("{:.1} MB", size as f64 / 1e6),
        "18 MB",
    );
    let help = (0..11).map(|_| {
        let start = Instant::now();
        let mut command = Command::new(etcdup);
        let output = command.arg("--help").output();
        output
            .map(|_| start.elapsed())
            .map_err(|error| error.to_string())
    });
    let help = help.collect::<Result<Vec<_>, _>>()?;
    row("`etcdup --help`", &spread(&help), "10 ms");
    let program = measured_example("etcdup-planner", "forecasts")?;
    for (count, wanted) in [("1000", "300 ms"), ("3334", "1000 ms, 200 MB")] {
        let (mut took, mut memory) = (Vec::new(), 0.0_f64);
        for _ in 0..PAIRS {
            let mut command = Command::new(&program);
            let output = command.arg(count).output();
            let output = output.map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut figures = text.split_whitespace().filter_map(|word| word.parse().ok());
            took.push(figures.next().unwrap_or(f64::NAN));
            memory = memory.max(figures.next().unwrap_or(f64::NAN));
        }
        row(
            &format!("forecasting {count} three-member clusters"),
            &format!("{:.0} ms, {:.0} MB", middle(took), memory / 1000.0),
            wanted,
        );
    }
    Ok(())
}

/// The main job, from nothing.
fn cold(lab: &Lab, etcdup: &Path, script: &str) -> Outcome {
    let (mut floor, mut cold, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..PAIRS {
        bare(lab)?;
        floor.push(timed_shell(lab, script)?);
        bare(lab)?;
        let (took, peak) = timed(lab, etcdup, &["apply", "--yes"])?;
        cold.push(took);
        memory = memory.max(peak);
    }
    row(
        "a shell script over OpenSSH, three hosts",
        &spread(&floor),
        "",
    );
    row("cold `apply` of three members", &spread(&cold), "");
    row(
        "the two, pair by pair",
        &worst(ratios(&cold, &floor)),
        "1.15, worst 1.5",
    );
    row(
        "peak memory of a cold `apply`",
        &format!("{} MB", memory / 1000),
        "40 MB",
    );
    Ok(())
}

/// What costs no more than asking.
fn looks(lab: &Lab, etcdup: &Path) -> Outcome {
    let (mut nothing, mut second, mut verify) = (Vec::new(), Vec::new(), Vec::new());
    let ssh = floor::nothing_by_ssh(lab);
    for _ in 0..PAIRS {
        nothing.push(timed_shell(lab, &ssh)?);
        second.push(timed(lab, etcdup, &["apply", "--yes"])?.0);
        verify.push(timed(lab, etcdup, &["verify"])?.0);
    }
    row(
        "`ssh HOST true` to all three at once",
        &spread(&nothing),
        "",
    );
    row("second `apply`", &spread(&second), "");
    row(
        "to `ssh HOST true`, pair by pair",
        &worst(ratios(&second, &nothing)),
        "1.0",
    );
    row("`verify`", &spread(&verify), "");
    row(
        "to `ssh HOST true`, pair by pair",
        &worst(ratios(&verify, &nothing)),
        "1.3",
    );
    Ok(())
}

/// A flag rolled through three members while a writer goes to all of them.
fn rolls(lab: &Lab) -> Outcome {
    let mut gaps = Vec::new();
    let mut written = 0;
    let flags = |roll: usize| format!("flags = {{ snapshot-count = {} }}\netcd = \"", 5000 + roll);
    lab.edit("etcd = \"", &flags(0))?;
    for roll in 1..=PAIRS {
        let writer = Writer::start(lab, 3)?;
        lab.apply()?;
        let seen = writer.stop()?;
        gaps.push(seen.gap);
        written += seen.count;
        lab.edit(&flags(roll - 1), &flags(roll))?;
    }
    row(
        &format!("longest pause of {written} writes in {PAIRS} rolls"),
        &spread(&gaps),
        "300 ms",
    );
    Ok(())
}

/// The same by a playbook, on the same hosts.
fn by_playbook(lab: &Lab) -> Outcome {
    let playbook = Playbook::prepare(lab)?;
    let (mut cold, mut second) = (Vec::new(), Vec::new());
    for _ in 0..PLAYBOOKS {
        bare(lab)?;
        for times in [&mut cold, &mut second] {
            let start = Instant::now();
            playbook.run(lab)?;
            times.push(start.elapsed());
        }
    }
    row("a plain Ansible playbook, cold", &spread(&cold), "");
    row("its second run", &spread(&second), "");
    Ok(())
}
