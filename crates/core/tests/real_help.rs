//! The flag table against `etcd --help` of every real binary at hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests ask real programs"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use etcdup_core::flag::{FLAGS, Support, lookup};
use etcdup_core::version::EtcdVersion;

/// The binaries that `cargo xtask fixtures` got: `bin/X.Y.Z/etcd`.
fn binaries() -> Vec<(EtcdVersion, PathBuf)> {
    let Ok(fixtures) = std::env::var("ETCDUP_FIXTURES") else {
        eprintln!(
            "ETCDUP_FIXTURES is not set: run by `cargo xtask test`, this compares with real binaries"
        );
        return Vec::new();
    };
    let mut found: Vec<_> = std::fs::read_dir(PathBuf::from(fixtures).join("bin"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().parse().unwrap(),
                path.join("etcd"),
            )
        })
        .collect();
    assert!(found.len() >= 3, "fixtures hold {} binaries", found.len());
    // Releases that no package brings: `vX.Y.Z/etcd`.
    let further = std::env::var("ETCDUP_RELEASES").ok();
    let further = further.and_then(|place| std::fs::read_dir(place).ok());
    found.extend(further.into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let version = path
            .file_name()?
            .to_str()?
            .strip_prefix('v')?
            .parse()
            .ok()?;
        Some((version, path.join("etcd")))
    }));
    found
}

/// The flags that a binary's help names: lines that begin with blanks and `--name`.
fn help_flags(binary: &PathBuf) -> BTreeSet<String> {
    let output = Command::new(binary).arg("--help").output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .filter_map(|rest| {
            rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                .next()
        })
        .map(str::to_owned)
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn every_flag_of_a_real_help_is_in_the_table_for_that_patch() {
    for (version, binary) in binaries() {
        let flags = help_flags(&binary);
        assert!(
            flags.len() > 50,
            "{version}: the help names {} flags only",
            flags.len()
        );
        // 3.7's help still lists two flags that it refuses: "flag provided but not defined".
        let gone = |name: &String| {
            version.minor() == 7 && ["discovery", "discovery-proxy"].contains(&name.as_str())
        };
        for name in flags.into_iter().filter(|name| !gone(name)) {
            let row =
                lookup(&name).unwrap_or_else(|| panic!("{version}: --{name} is not in the table"));
            assert_ne!(
                row.presence(&version),
                Support::Absent,
                "{version}: --{name} is absent by the table"
            );
        }
    }
}

/// An unknown flag is fatal while arguments are read, so nothing starts: the last argument is one
/// on purpose, and the complaint says whether the first was known.
#[test]
fn every_flag_of_the_table_is_taken_by_the_real_binary() {
    for (version, binary) in binaries() {
        for row in FLAGS.iter().filter(|row| row.name != "version") {
            let asked = format!("--{}=1", row.name);
            let output = Command::new(&binary)
                .args([&asked, "--no-such-flag"])
                .output()
                .unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            let unknown = said.contains(&format!("not defined: -{}", row.name));
            assert_eq!(
                unknown,
                row.presence(&version) == Support::Absent,
                "{version}: {asked}: {said}"
            );
        }
    }
}
