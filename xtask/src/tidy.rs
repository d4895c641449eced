//! `cargo xtask tidy`: the repository's own rules as code: file sizes, who may use whom, what the
//! planner must not pull in, what the scripts hold.

mod causes;
mod checks;
mod circles;
mod lines;
mod voters;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::Outcome;
use crate::setup::{carry_out, example, root};

/// No file of code is longer.
const MOST_LINES: usize = 600;

/// Who may use whom. `xtask` uses none of them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("etcdup-core", &[]),
    ("etcdup-host", &["etcdup-core"]),
    ("etcdup-render", &["etcdup-core"]),
    ("etcdup-planner", &["etcdup-core", "etcdup-render"]),
    ("etcdup-pki", &["etcdup-core"]),
    ("etcdup-transport", &[]),
    ("etcdup-client", &["etcdup-core"]),
    ("etcdup-verify", &["etcdup-core", "etcdup-client"]),
    (
        "etcdup-deploy",
        &[
            "etcdup-core",
            "etcdup-host",
            "etcdup-render",
            "etcdup-planner",
            "etcdup-pki",
            "etcdup-transport",
            "etcdup-client",
            "etcdup-verify",
        ],
    ),
    ("etcdup-http-api", &["etcdup-core", "etcdup-deploy"]),
    (
        "etcdup",
        &[
            "etcdup-core",
            "etcdup-render",
            "etcdup-planner",
            "etcdup-deploy",
            "etcdup-http-api",
        ],
    ),
];

/// What the pure crates must not have in their trees.
const IMPURE: &[&str] = &["tokio", "russh", "reqwest", "hyper"];

pub(crate) fn run() -> Outcome {
    let mut faults = Vec::new();
    sizes(&mut faults)?;
    edges(&mut faults)?;
    for package in [
        "etcdup-core",
        "etcdup-host",
        "etcdup-render",
        "etcdup-planner",
    ] {
        pure(package, &mut faults)?;
    }
    for directory in sources()? {
        circles::find(&directory, &mut faults)?;
    }
    words::find(&files()?, &mut faults)?;
    voters::find(&files()?, &mut faults);
    causes::find(&files()?, &mut faults);
    checks::find(&files()?, &mut faults)?;
    one_tls_stack(&mut faults)?;
    host_scripts(&mut faults)?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("untidy:\n  {}", faults.join("\n  ")))
    }
}

/// The source directory of every crate.
fn sources() -> Result<Vec<PathBuf>, String> {
    let crates = root().join("crates");
    let failed = |error: std::io::Error| format!("{}: {error}", crates.display());
    let mut found = vec![root().join("xtask/src")];
    for entry in std::fs::read_dir(&crates).map_err(failed)? {
        found.push(entry.map_err(failed)?.path().join("src"));
    }
    found.sort();
    Ok(found)
}

fn files() -> Result<Vec<PathBuf>, String> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .map(PathBuf::from)
        .filter(|path| root().join(path).exists())
        .collect())
}

fn sizes(faults: &mut Vec<String>) -> Outcome {
    for path in files()? {
        if !path
            .extension()
            .is_some_and(|ending| ending == "rs" || ending == "sh")
        {
            continue;
        }
        let text =
            std::fs::read_to_string(root().join(&path)).map_err(|error| error.to_string())?;
        let lines = text.lines().count();
        if lines > MOST_LINES {
            faults.push(format!(
                "{} has {lines} lines; {MOST_LINES} are enough for one idea",
                path.display()
            ));
        }
        let mut in_example = false;
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            in_example ^= comment && line.contains("```");
            // rustfmt wraps code, and leaves comments and texts as they are.
            let most = if comment && !in_example { 100 } else { 180 };
            if line.chars().count() > most {
                let (path, line) = (path.display(), number + 1);
                faults.push(format!("{path}:{line} is longer than {most} columns"));
            }
        }
    }
    Ok(())
}

fn edges(faults: &mut Vec<String>) -> Outcome {
    let output = Command::new("cargo")
        .current_dir(root())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| error.to_string())?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("metadata: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let packages: Vec<_> = packages.collect();
    for (package, allowed) in MAY_USE {
        let found = packages.iter().find(|other| other["name"] == *package);
        let found = found.ok_or_else(|| format!("there is no package {package}"))?;
        let dependencies = found["dependencies"].as_array().into_iter().flatten();
        let used = dependencies.filter(|dependency| dependency["kind"].is_null());
        for name in used.filter_map(|dependency| dependency["name"].as_str()) {
            if name.starts_with("etcdup-") && !allowed.contains(&name) {
                faults.push(format!("{package} must not use {name}"));
            }
        }
    }
    Ok(())
}

fn tree(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("cargo")
        .current_dir(root())
        .args([
            "tree",
            "--prefix",
            "none",
            "--edges",
            "normal",
            "--target",
            "x86_64-unknown-linux-gnu",
        ])
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn pure(package: &str, faults: &mut Vec<String>) -> Outcome {
    let tree = tree(&["--package", package])?;
    for name in IMPURE {
        if tree
            .lines()
            .any(|line| line.starts_with(&format!("{name} ")))
        {
            faults.push(format!(
                "{package} has {name} in its tree: it must stay pure"
            ));
        }
    }
    Ok(())
}

fn one_tls_stack(faults: &mut Vec<String>) -> Outcome {
    let tree = tree(&["--package", "etcdup"])?;
    for name in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "ring",
        "axum",
        "protoc",
    ] {
        if tree
            .lines()
            .any(|line| line.starts_with(&format!("{name} v")))
        {
            faults.push(format!("etcdup has {name} in its tree"));
        }
    }
    Ok(())
}

/// Scripts that run on hosts pass shellcheck as the shells have them: put together, for POSIX sh.
fn host_scripts(faults: &mut Vec<String>) -> Outcome {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    carry_out(Command::new(example("scripts")?).arg(place.path()))?;
    let entries = std::fs::read_dir(place.path()).map_err(|error| error.to_string())?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        shellcheck(&entry.path(), "sh", &name, faults)?;
    }
    for name in [
        "common.sh",
        "root.sh",
        "hosts.sh",
        "fixtures.sh",
        "image.sh",
        "kubelet.sh",
        "vagrant/common.sh",
        "vagrant/setup.sh",
        "vagrant/bed.sh",
    ] {
        shellcheck(
            &root().join("xtask/testbed").join(name),
            "bash",
            name,
            faults,
        )?;
    }
    Ok(())
}

fn shellcheck(path: &Path, shell: &str, name: &str, faults: &mut Vec<String>) -> Outcome {
    let output = Command::new("shellcheck")
        .current_dir(path.parent().unwrap_or(Path::new(".")))
        .args([
            "--shell",
            shell,
            "--format",
            "gcc",
            "--severity",
            "warning",
            "--external-sources",
            "--exclude",
            "SC2034,SC2154",
        ])
        .arg(path)
        .output()
        .map_err(|error| format!("shellcheck: {error}"))?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        faults.push(format!(
            "{name}: {}",
            line.rsplit_once(".sh:").map_or(line, |(_, rest)| rest)
        ));
    }
    Ok(())
}
