//! `cargo xtask e2e`: every scenario through the real binary, each on fresh real hosts; a table at the end.

mod adopted;
mod bootstrap;
mod examples;
mod faults;
mod machines;
mod networks;
mod operators;
mod pods;
mod preflight;
mod releases;
mod repair;
mod safety;
mod tools;
mod ways;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::lab::Lab;
use crate::setup::{binary, fixtures, newest_of, testbed};

/// What a scenario is given.
pub(crate) struct Stage {
    /// etcdup's binary.
    pub(crate) etcdup: PathBuf,
    /// The version most scenarios run.
    pub(crate) version: String,
    keep: bool,
}

impl Stage {
    /// Boots hosts for this scenario.
    pub(crate) fn lab(&self, count: u32) -> Result<Lab, String> {
        self.named("e2e", count)
    }

    /// Boots hosts under another name, for scenarios that need several labs.
    pub(crate) fn named(&self, name: &str, count: u32) -> Result<Lab, String> {
        Lab::up(name, count, &self.etcdup)
    }

    /// Boots hosts that run static pods, and makes the image they run: its archive.
    pub(crate) fn pods(&self, count: u32) -> Result<(Lab, String), String> {
        let output = testbed("image.sh")
            .arg(&self.version)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let image = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((Lab::with_pods("e2e", count, &self.etcdup)?, image))
    }

    /// Three members, applied and verified, agreed by etcdctl.
    pub(crate) fn three(&self, head: &str) -> Result<Lab, String> {
        let lab = self.lab(3)?;
        lab.topology(&self.version, head, 3)?;
        lab.apply()?.says("cluster prod")?;
        lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
        Ok(lab)
    }
}

/// A scenario: what it is called, and what it does.
pub(crate) type Scenario = (&'static str, fn(&Stage) -> Outcome);

pub(crate) fn run(filter: Option<&str>, keep: bool) -> Outcome {
    fixtures()?;
    // What a killed run left behind goes first.
    let _ = testbed("hosts.sh").args(["sweep", "e2e"]).output();
    let stage = Stage {
        etcdup: binary(false)?,
        version: newest_of("3.5")?,
        keep,
    };
    let all: Vec<&Scenario> = [
        bootstrap::ALL,
        repair::ALL,
        faults::ALL,
        operators::ALL,
        preflight::ALL,
        tools::ALL,
        ways::ALL,
        examples::ALL,
        networks::ALL,
        pods::ALL,
        adopted::ALL,
        machines::ALL,
        releases::ALL,
        safety::ALL,
    ]
    .into_iter()
    .flatten()
    .collect();
    let wanted: Vec<&&Scenario> = all
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter)))
        .collect();
    if wanted.is_empty() {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "no scenario's name holds that; there are {}",
            names.join(", ")
        ));
    }
    let mut table: Vec<(&str, Duration, Option<String>)> = Vec::new();
    for (name, scenario) in wanted {
        let start = Instant::now();
        let failed = scenario(&stage).err();
        let word = match &failed {
            None => "ok  ",
            // The hosts themselves are to blame, not what was tried on them.
            Some(why) if why.contains(crate::lab::BED) => "FAIL (testbed)",
            Some(_) => "FAIL",
        };
        eprintln!("{word} {name} ({:.1} s)", start.elapsed().as_secs_f64());
        if let Some(why) = &failed {
            eprintln!(
                "{}",
                why.lines()
                    .map(|line| format!("     {line}\n"))
                    .collect::<String>()
            );
        }
        table.push((name, start.elapsed(), failed));
    }
    let failed: Vec<&str> = table
        .iter()
        .filter(|(_, _, failed)| failed.is_some())
        .map(|(name, ..)| *name)
        .collect();
    eprintln!("\n{:>8}  scenario", "seconds");
    for (name, took, failed) in &table {
        eprintln!(
            "{:>8.1}  {name}{}",
            took.as_secs_f64(),
            if failed.is_some() { "  FAILED" } else { "" }
        );
    }
    println!(
        "{} passed, {} failed",
        table.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// Fails with this message unless it holds.
pub(crate) fn ensure(holds: bool, message: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(message.into()) }
}

impl Stage {
    /// Leaves the hosts of a failing scenario up where that was asked for.
    pub(crate) fn keeping<T>(
        &self,
        lab: &mut Lab,
        outcome: Result<T, String>,
    ) -> Result<T, String> {
        lab.keep = self.keep && outcome.is_err();
        outcome
    }
}
