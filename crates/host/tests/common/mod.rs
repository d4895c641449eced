//! Running host scripts as etcdup does, in every shell that is here.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "each test file uses what it needs, and says what it expects"
)]

use std::fmt::Write;
use std::path::Path;

use etcdup_host::scripts;
use etcdup_transport::{Local, Output, Script, Transport};
use sha2::{Digest, Sha256};

pub(crate) static OBSERVE: Script = Script::new("observe", scripts::OBSERVE);
pub(crate) static STAGE: Script = Script::new("stage", scripts::STAGE);
pub(crate) static LEASE: Script = Script::new("lease", scripts::LEASE);
pub(crate) static HISTORY: Script = Script::new("history", scripts::HISTORY);
pub(crate) static LOGS: Script = Script::new("logs", scripts::LOGS);
pub(crate) static DRILL: Script = Script::new("drill", scripts::DRILL);

/// The shells that are here. `cargo xtask test` installs all three.
pub(crate) fn shells() -> Vec<&'static str> {
    let there = |shell: &&str| {
        let program = shell.split(' ').next().unwrap_or_default();
        std::process::Command::new(program)
            .arg("--help")
            .output()
            .is_ok()
    };
    let found: Vec<_> = ["dash", "bash", "busybox sh"]
        .into_iter()
        .filter(there)
        .collect();
    assert!(!found.is_empty());
    found
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn run(shell: &str, script: &'static Script, input: &[u8]) -> Output {
    runtime()
        .block_on(Local::new(shell).run(script, Box::new(input)))
        .unwrap()
}

pub(crate) fn header(state: &Path, operation: &str, epoch: u64) -> String {
    format!("etcdup|1|{}|prod|{operation}|{epoch}|0\n", state.display())
}

/// Takes the lease, so that stages are ours to run.
pub(crate) fn leased(shell: &str, state: &Path) {
    let input = header(state, "op", 0) + "take|test|me@here|now\n";
    assert!(
        run(shell, &LEASE, input.as_bytes())
            .text()
            .contains("@lease|taken|1")
    );
}

/// A stage of these operations and files.
pub(crate) fn stage_of(state: &Path, operations: &str, payloads: &[(&str, &[u8])]) -> Vec<u8> {
    let mut files: Vec<(&str, &[u8])> = vec![("ops", operations.as_bytes()), ("queries", b"end\n")];
    files.extend(payloads);
    let mut sums = String::new();
    for (name, bytes) in &files {
        let sum: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(sums, "{sum}  {name}").unwrap();
    }
    sums.push_str("end\n");
    let mut archive = tar::Builder::new(header(state, "op", 1).into_bytes());
    let all = std::iter::once(("sums", sums.as_bytes())).chain(files);
    for (name, bytes) in all {
        let mut entry = tar::Header::new_ustar();
        entry.set_size(bytes.len() as u64);
        entry.set_mode(0o600);
        archive.append_data(&mut entry, name, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}
