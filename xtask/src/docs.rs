//! `cargo xtask docs`: pages that are made from tables in the code.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::outcome::Outcome;
use crate::setup::{binary, root};

pub(crate) fn run(check: bool) -> Outcome {
    let mut stale = Vec::new();
    for (path, text) in pages()? {
        let full = root().join(&path);
        if std::fs::read_to_string(&full).ok().as_deref() == Some(&text) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
        } else {
            std::fs::write(&full, text).map_err(|error| format!("{}: {error}", full.display()))?;
            println!("wrote {}", path.display());
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(format!("stale: {}; run cargo xtask docs", stale.join(", ")))
    }
}

fn pages() -> Result<Vec<(PathBuf, String)>, String> {
    let etcdup = binary(false)?;
    let run = |arguments: &[&str]| -> Result<String, String> {
        let output = Command::new(&etcdup)
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .output()
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut checks = String::from(
        "# Checks\n\nMade by `cargo xtask docs` from the tables in the code. `etcdup explain ID` prints one page.\n",
    );
    for page in etcdup_deploy::pages() {
        // Writing to a String cannot fail.
        let _ = write!(
            checks,
            "\n## {}\n\n**{}**\n\n{}",
            page.id, page.title, page.text
        );
    }
    let verbs = [
        "init",
        "adopt",
        "check",
        "show",
        "render",
        "plan",
        "apply",
        "verify",
        "status",
        "pki",
        "pki show",
        "pki issue",
        "connect",
        "env",
        "etcdctl",
        "logs",
        "ssh",
        "reset",
        "explain",
        "schema",
        "flags",
        "serve",
        "completions",
        "man",
    ];
    let mut cli = format!(
        "# Command line\n\nMade by `cargo xtask docs`.\n\n```text\n{}```\n",
        run(&["--help"])?
    );
    for verb in verbs {
        let _ = write!(
            cli,
            "\n## etcdup {verb}\n\n```text\n{}```\n",
            run(&verb.split(' ').chain(["--help"]).collect::<Vec<_>>())?
        );
    }
    Ok(vec![
        (PathBuf::from("docs/checks.md"), checks),
        (PathBuf::from("docs/command-line.md"), cli),
        (
            PathBuf::from("docs/topology.schema.json"),
            run(&["schema"])?,
        ),
    ])
}
