//! `cargo xtask ci`: what continuous integration runs, which is `.ci/run`.

use std::process::Command;

use crate::outcome::Outcome;
use crate::setup::{carry_out, root};

pub(crate) fn run() -> Outcome {
    carry_out(Command::new(root().join(".ci/run")).current_dir(root()))
}
