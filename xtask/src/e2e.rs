//! `cargo xtask e2e`: every scenario through the real binary, each on fresh real hosts; a table at
//! the end.

mod adopted;
mod bootstrap;
mod care;
mod context;
mod costs;
mod embedded;
mod examples;
mod faults;
mod kept;
mod machines;
mod members;
mod networks;
mod operators;
mod page;
mod pods;
mod preflight;
mod recovered;
mod releases;
mod relocated;
mod removal;
mod repair;
mod restored;
mod safety;
mod served;
mod snapshots;
mod tools;
mod trust;
mod ways;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::dashboard;
use crate::lab::Kept;
use crate::outcome::{Outcome, SCENARIO};
use crate::setup::{built_for_tests, fixtures, newest_of, testbed};

use context::{Context, LABS, Scenario};

/// What is carried out on its own at the end: it times what a machine does, or counts what depends
/// on how long that takes.
const ALONE: [&str; 2] = ["page-in-chromium", "programs-on-a-host"];

/// How many lines of a failure are printed again at the end.
const LAST_LINES: usize = 14;

pub(crate) fn run(filters: &[String], keep: bool, long: bool) -> Outcome {
    fixtures()?;
    dashboard::up_to_date()?;
    // What a killed run left behind goes first.
    let _ = testbed("hosts.sh").args(["sweep", "e2"]).output();
    let kept = keep.then(Kept::default);
    let context = Context {
        etcdup: built_for_tests()?,
        version: newest_of("3.5")?,
        labs: LABS[0],
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
        snapshots::ALL,
        kept::ALL,
        restored::ALL,
        recovered::ALL,
        care::ALL,
        embedded::ALL,
        served::ALL,
        page::ALL,
        costs::ALL,
    ]
    .into_iter()
    .flatten()
    .collect();
    let wanted: Vec<&Scenario> = all
        .iter()
        .copied()
        .filter(|(name, _)| {
            filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
        })
        .collect();
    if wanted.is_empty() {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "no scenario matches; available: {}",
            names.join(", ")
        ));
    }
    let (alone, others): (Vec<&Scenario>, Vec<&Scenario>) = wanted
        .into_iter()
        .partition(|(name, _)| ALONE.contains(name));
    // What is left up to be looked at must be the last that ran.
    let at_once = if kept.is_some() { 1 } else { LABS.len() };
    let queue = Mutex::new(others.into_iter());
    let table: Mutex<Vec<Carried>> = Mutex::default();
    thread::scope(|scope| {
        for labs in LABS.into_iter().take(at_once) {
            let context = Context {
                labs,
                ..context.clone()
            };
            let (queue, table) = (&queue, &table);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(scenario) = next else { break };
                    let (carried, stop) = carry_out(scenario, &context);
                    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                    table.push(carried);
                    if stop {
                        break;
                    }
                }
            });
        }
    });
    let mut table = table.into_inner().unwrap_or_else(PoisonError::into_inner);
    for scenario in alone {
        let (carried, stop) = carry_out(scenario, &context);
        table.push(carried);
        if stop {
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

/// A scenario's name, how long it took, and why it failed.
type Carried = (&'static str, Duration, Option<String>);

/// Carries out one scenario and says how it ended; whether nothing may follow it.
fn carry_out((name, scenario): &Scenario, context: &Context) -> (Carried, bool) {
    SCENARIO.set(name);
    let start = Instant::now();
    let failed = scenario(context).err();
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
    let kept = context.kept.as_ref();
    // The next scenario would need the same names and addresses.
    let stop = kept.is_some_and(|kept| kept.after(failed.is_some()));
    ((name, start.elapsed(), failed), stop)
}
