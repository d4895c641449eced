//! `cargo xtask e2e`: every scenario through the real binary, each on fresh real hosts; a table at
//! the end.

mod adopted;
mod bootstrap;
mod context;
mod costs;
mod embedded;
mod examples;
mod faults;
mod machines;
mod members;
mod networks;
mod operators;
mod page;
mod pods;
mod preflight;
mod releases;
mod relocated;
mod removal;
mod repair;
mod safety;
mod served;
mod tools;
mod trust;
mod ways;

use std::time::{Duration, Instant};

use crate::dashboard;
use crate::lab::Kept;
use crate::outcome::Outcome;
use crate::setup::{binary, fixtures, newest_of, testbed};

use context::{Context, Scenario};

/// How many lines of a failure are printed again at the end.
const LAST_LINES: usize = 14;

pub(crate) fn run(filter: Option<&str>, keep: bool, long: bool) -> Outcome {
    fixtures()?;
    dashboard::up_to_date()?;
    // What a killed run left behind goes first.
    let _ = testbed("hosts.sh").args(["sweep", "e2e"]).output();
    let kept = keep.then(Kept::default);
    let context = Context {
        etcdup: binary(false)?,
        version: newest_of("3.5")?,
        kept: kept.clone(),
        long,
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
        trust::ALL,
        relocated::ALL,
        members::ALL,
        removal::ALL,
        embedded::ALL,
        served::ALL,
        page::ALL,
        costs::ALL,
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
            "no scenario matches; available: {}",
            names.join(", ")
        ));
    }
    let mut table: Vec<(&str, Duration, Option<String>)> = Vec::new();
    for (name, scenario) in wanted {
        let start = Instant::now();
        let failed = scenario(&context).err();
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
        let stop = kept
            .as_ref()
            .is_some_and(|kept| kept.after(failed.is_some()));
        table.push((name, start.elapsed(), failed));
        if stop {
            // The next scenario would need the same names and addresses.
            break;
        }
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
    for (name, _, why) in &table {
        let Some(why) = why else { continue };
        // Once more, and short: of a long log only its end may be kept.
        let lines: Vec<&str> = why.lines().collect();
        let last = lines.len().saturating_sub(LAST_LINES);
        eprintln!("\n{name} ends with:");
        for line in &lines[last..] {
            eprintln!("     {line}");
        }
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
