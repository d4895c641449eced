//! `cargo xtask test`: all tests.

use std::process::Command;

use crate::outcome::Outcome;
use crate::setup::{TESTED, cache, carry_out, fixtures, root};
use crate::{docs, e2e, tidy};

pub(crate) fn run() -> Outcome {
    step("packages, etcd's binaries, the hosts' root", fixtures)?;
    step("the repository's rules", tidy::run)?;
    step("unit, property and doc tests", || {
        let cargo = |packages: &[&str]| {
            carry_out(
                Command::new("cargo")
                    .current_dir(root())
                    .env("ETCDUP_FIXTURES", cache().join("etcd"))
                    .env("RUST_BACKTRACE", "0")
                    .args(["test", "--quiet"])
                    .args(packages),
            )
        };
        cargo(&TESTED)?;
        cargo(&["--package", "xtask"])
    })?;
    step("generated pages", || docs::run(true))?;
    step("end to end, on real hosts", || e2e::run(&[], false, false))
}

fn step(what: &str, task: impl FnOnce() -> Outcome) -> Outcome {
    eprintln!("== {what}");
    let start = std::time::Instant::now();
    task()?;
    eprintln!("   {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
