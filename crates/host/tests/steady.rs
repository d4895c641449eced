//! What takes long on a slow disk says that it works, and what stands still is given up.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests say what they expect, and run the scripts for real"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use common::{leased, run, shells, stage_of};
use etcdup_host::scripts;
use etcdup_transport::Script;

/// Restores a snapshot by this program, which stands in for etcd's tool.
fn restored(shell: &str, script: &'static Script, place: &Path, tool: &str) -> String {
    let tools = place.join("tools");
    fs::create_dir(&tools).unwrap();
    let program = tools.join("etcdutl");
    fs::write(&program, format!("#!/bin/sh\n{tool}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let state = place.join("state");
    leased(shell, &state);
    let (data, tools) = (place.join("data"), tools.display());
    let rest = "-|-|m1|prod-g1|https://10.0.0.1:2380|m1=https://10.0.0.1:2380|0";
    let operations = format!("0|restore|/a.db|{tools}|{}|{rest}\nend\n", data.display());
    run(shell, script, &stage_of(&state, &operations, &[])).text()
}

/// The stage script, patient for so many looks.
fn patient_for(looks: u64) -> &'static Script {
    let text = scripts::STAGE.replace("-ge 30 ]; then", &format!("-ge {looks} ]; then"));
    assert_ne!(text, scripts::STAGE);
    let script = Script::new("stage", Box::leak(text.into_boxed_str()));
    Box::leak(Box::new(script))
}

#[test]
fn what_works_for_long_says_so() {
    static STAGE: Script = Script::new("stage", scripts::STAGE);
    std::thread::scope(|scope| {
        for shell in shells() {
            scope.spawn(move || {
                let place = tempfile::tempdir().unwrap();
                let tool = "mkdir -p made/member/wal made/member/snap; for n in 1 2 3 4 5 6 7; do sleep 1; done";
                let said = restored(shell, &STAGE, place.path(), tool);
                assert!(said.contains("@alive\n@ok|0\n"), "{shell}: {said}");
                assert!(place.path().join("data/member/wal").is_dir(), "{shell}");
            });
        }
    });
}

#[test]
fn what_stands_still_is_given_up() {
    let script = patient_for(1);
    std::thread::scope(|scope| {
        for shell in shells() {
            scope.spawn(move || {
                let place = tempfile::tempdir().unwrap();
                let asleep = Instant::now();
                let said = restored(shell, script, place.path(), "exec sleep 100");
                assert!(asleep.elapsed().as_secs() < 60, "{shell}");
                let failed = said.lines().find(|line| line.starts_with("@fail|0|1|"));
                let report = etcdup_host::StageReport::read(&said, &|_| {
                    etcdup_core::observed::Observed::unknown("not read")
                });
                let (_, words) = report.failed.unwrap_or_default();
                assert!(failed.is_some(), "{shell}: {said}");
                assert!(words[0].starts_with("given up: "), "{shell}: {words:?}");
                assert!(!place.path().join("data/member").exists(), "{shell}");
            });
        }
    });
}

/// Nobody else knows of it: the next stage would write into the same place.
#[test]
fn what_works_ends_with_its_shell() {
    std::thread::scope(|scope| {
        for shell in shells() {
            scope.spawn(move || {
                let functions = scripts::STAGE.split("\nmain() {").next().unwrap();
                let script = format!(
                    "{functions}\nexec 7>&1\nsteadily sleep 4321{}\n",
                    shell.len()
                );
                let mut words = shell.split(' ');
                let mut running = std::process::Command::new(words.next().unwrap())
                    .args(words)
                    .args(["-c", &script])
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap();
                let meant = format!("sleep\x004321{}\x00", shell.len());
                let sleeps = || {
                    let mut all = fs::read_dir("/proc").unwrap().flatten();
                    all.any(|process| {
                        let line = fs::read(process.path().join("cmdline"));
                        line.is_ok_and(|line| line == meant.as_bytes())
                    })
                };
                let wait_until = |holds: bool| {
                    let start = Instant::now();
                    while sleeps() != holds {
                        assert!(start.elapsed().as_secs() < 30, "{shell}: {holds}");
                        std::thread::sleep(std::time::Duration::from_millis(50));
                    }
                };
                wait_until(true);
                running.kill().unwrap();
                running.wait().unwrap();
                wait_until(false);
            });
        }
    });
}
