//! `cargo xtask ci`: what continuous integration runs.

use std::process::Command;

use crate::setup::{carry_out, root};
use crate::{Outcome, test};

pub(crate) fn run() -> Outcome {
    let cargo =
        |arguments: &[&str]| carry_out(Command::new("cargo").current_dir(root()).args(arguments));
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    test::run()
}
