//! Single operations of the stage script where the host is not as it should be. Programs that a
//! test must not really run are replaced by others of their name.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests say what they expect, and run the scripts for real"
)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{STAGE, leased, run, shells, stage_of};

/// A shell that finds these programs first.
fn with_programs(shell: &str, place: &Path, programs: &[(&str, &str)]) -> String {
    let directory = place.join("programs");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in programs {
        let path = directory.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    format!("env PATH={}:{path} {shell}", directory.display())
}

fn carry_out(shell: &str, state: &Path, operations: &str, files: &[(&str, &[u8])]) -> String {
    leased(shell, state);
    let input = stage_of(state, &format!("{operations}end\n"), files);
    run(shell, &STAGE, &input).text()
}

/// A process that passes for the etcd of this data directory.
fn etcd(place: &Path, data: &Path) -> Child {
    let program = place.join("etcd");
    if !program.exists() {
        // Not by this process: another test's child, born in the middle of it, would hold the file
        // open for writing, and what is written to does not start (ETXTBSY).
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status();
        assert!(copied.unwrap().success());
    }
    let child = Command::new(&program)
        .arg("60")
        .env("ETCD_DATA_DIR", data)
        .spawn()
        .unwrap();
    // Until it has begun to run its program it is still the test's own process.
    let exe = format!("/proc/{}/exe", child.id());
    while std::fs::read_link(&exe).ok().as_deref() != Some(program.as_path()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// M2: a parent that does not reap leaves a zombie, which takes signals without end.
#[test]
fn a_process_that_ended_and_was_not_reaped_is_not_waited_for() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let mut member = etcd(place.path(), &data);
        let pid_file = place.path().join("m1.pid");
        std::fs::write(&pid_file, format!("{}\n", member.id())).unwrap();
        let operations = format!("0|kill|{}|{}\n", pid_file.display(), data.display());
        let began = Instant::now();
        let said = carry_out(shell, &place.path().join("state"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert!(began.elapsed() < Duration::from_secs(20), "{shell}");
        // This test is the parent, and only now does it look.
        assert!(!member.wait().unwrap().success(), "{shell}");
        assert!(!pid_file.exists(), "{shell}");
    }
}

/// M3: after a reboot a pid file may hold the process ID of another member's etcd.
#[test]
fn another_members_etcd_behind_the_pid_file_is_left_alone() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let mut other = etcd(place.path(), &place.path().join("m1"));
        let pid_file = place.path().join("m2.pid");
        std::fs::write(&pid_file, format!("{}\n", other.id())).unwrap();
        let data = place.path().join("m2");
        let operations = format!("0|kill|{}|{}\n", pid_file.display(), data.display());
        let said = carry_out(shell, &place.path().join("state"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert!(
            other.try_wait().unwrap().is_none(),
            "{shell}: it was killed"
        );
        assert!(!pid_file.exists(), "{shell}");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

/// M6: what a run that was cut off had unpacked is not mixed with what the next one brings.
#[test]
fn binaries_are_not_mixed_with_those_of_a_run_that_was_cut_off() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("v3");
        let part = place.path().join("v3.part");
        std::fs::create_dir(&part).unwrap();
        std::fs::write(part.join("etcdutl"), "of another version").unwrap();
        let program = b"#!/bin/sh\necho 'etcd Version: 3.5.33'\n";
        let operations = format!(
            "0|binary_file|f/0|{0}|etcd\n1|binary_file|f/0|{0}|etcdctl\n2|binaries_done|{0}|3.5.33\n",
            directory.display()
        );
        let state = place.path().join("state");
        let said = carry_out(shell, &state, &operations, &[("f/0", program)]);
        assert!(said.contains("@ok|2"), "{shell}: {said}");
        let mut found: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, ["etcd", "etcdctl"], "{shell}");
        assert!(!part.exists(), "{shell}");
    }
}

/// M7: data that could not be moved is not reported as kept.
#[test]
fn data_that_cannot_be_moved_aside_is_a_failure() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        std::fs::create_dir_all(data.join("member/wal")).unwrap();
        std::fs::write(data.join("backup.db"), "precious").unwrap();
        let failing = "echo 'mv: No space left on device' >&2; exit 1";
        let with_failing = with_programs(shell, place.path(), &[("mv", failing)]);
        let state = place.path().join("state");
        leased(shell, &state);
        let operations = format!("0|keep|{0}|{0}.kept-1\nend\n", data.display());
        let said = run(&with_failing, &STAGE, &stage_of(&state, &operations, &[])).text();
        assert!(said.contains("@fail|0"), "{shell}: {said}");
        assert!(data.join("member/wal").exists(), "{shell}");
    }
}

/// M8: a package that was removed leaves its group behind, which `useradd` then refuses to make.
#[test]
fn a_user_whose_group_exists_is_added_to_it() {
    for (group, expected, never) in [
        ("exit 0", "--gid etcd", "--user-group"),
        ("exit 2", "--user-group", "--gid"),
    ] {
        for shell in shells() {
            let place = tempfile::tempdir().unwrap();
            let asked = place.path().join("asked");
            let useradd = format!("echo \"$*\" >{}", asked.display());
            let programs = [
                ("id", "exit 1"),
                ("getent", group),
                ("useradd", useradd.as_str()),
            ];
            let with_programs = with_programs(shell, place.path(), &programs);
            let state = place.path().join("state");
            leased(shell, &state);
            let input = stage_of(&state, "0|user|etcd|/var/lib/etcd\nend\n", &[]);
            let said = run(&with_programs, &STAGE, &input).text();
            assert!(said.contains("@ok|0"), "{shell}: {said}");
            let asked = std::fs::read_to_string(&asked).unwrap();
            assert!(asked.contains(expected), "{shell}: {asked}");
            assert!(!asked.contains(never), "{shell}: {asked}");
        }
    }
}

/// K6: a kubelet that restarts an etcd which has just ended is given the time to.
#[test]
fn a_pod_that_comes_back_by_itself_is_not_recreated() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (data, manifest) = (place.path().join("data"), place.path().join("etcd.yaml"));
        std::fs::write(&manifest, "a manifest").unwrap();
        let inode = std::fs::metadata(&manifest).unwrap().ino();
        let kubelet = {
            let (place, data) = (place.path().to_owned(), data.clone());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(1500));
                etcd(&place, &data)
            })
        };
        let operations = format!(
            "0|bounce_pod|{}|{}|ended\n",
            manifest.display(),
            data.display()
        );
        let said = carry_out(shell, &place.path().join("state"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        let after = std::fs::metadata(&manifest).unwrap().ino();
        assert_eq!(inode, after, "{shell}: the pod was recreated");
        let mut member = kubelet.join().unwrap();
        member.kill().unwrap();
        member.wait().unwrap();
    }
}
