//! A member's data that goes to another directory, whenever that is cut.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests say what they expect, and run the scripts for real"
)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{OBSERVE, STAGE, header, leased, run, shells, stage_of};

/// A data directory with a little in it.
fn data(place: &Path) -> PathBuf {
    let data = place.join("old");
    fs::create_dir_all(data.join("member/wal")).unwrap();
    fs::write(data.join("member/wal/0.wal"), vec![7; 4096]).unwrap();
    fs::write(data.join("member/.etcdup-mark"), "mark\n").unwrap();
    data
}

/// Carries out a move of data; `programs` are found before the host's own.
fn moved(shell: &str, place: &Path, from: &Path, to: &Path, programs: &[(&str, &str)]) -> String {
    moves(shell, place, "", (from, to), programs)
}

/// The same of data or, with `_log`, of a log.
fn moves(
    shell: &str,
    place: &Path,
    held: &str,
    (from, to): (&Path, &Path),
    programs: &[(&str, &str)],
) -> String {
    let directory = place.join("programs");
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in programs {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let with_programs = format!("env PATH={}:{path} {shell}", directory.display());
    let (from, to) = (from.display(), to.display());
    let operations =
        format!("0|room{held}|{from}|{to}\n1|move{held}|{from}|{to}|-|20260101T000000Z\n");
    let said = carried_out(&with_programs, shell, place, &operations);
    fs::remove_dir_all(directory).unwrap();
    said
}

/// What an observer makes of a data directory whose log is in it.
fn observed(shell: &str, place: &Path, path: &Path) -> String {
    let (data, _) = observed_with(shell, place, path, &[&path.join("member")]);
    data
}

/// What an observer answers of a data directory with a log in one of these.
fn answer(shell: &str, place: &Path, path: &Path, logs: &[&Path]) -> String {
    let logs: String = logs
        .iter()
        .map(|log| format!("|{}", log.display()))
        .collect();
    let query = format!("data|{}{logs}\nend\n", path.display());
    let input = header(&place.join("state"), "-", 0) + &query;
    run(shell, &OBSERVE, input.as_bytes()).text()
}

/// Carries out a stage of these operations, with a lease of its own: one is taken once.
fn carried_out(shell: &str, lender: &str, place: &Path, operations: &str) -> String {
    let state = tempfile::tempdir_in(place).unwrap();
    let state = state.path().join("state");
    leased(lender, &state);
    let operations = format!("{operations}end\n");
    run(shell, &STAGE, &stage_of(&state, &operations, &[])).text()
}

/// The same with a log that may be in one of several directories, and what each of them is.
fn observed_with(shell: &str, place: &Path, path: &Path, logs: &[&Path]) -> (String, Vec<String>) {
    let text = answer(shell, place, path, logs);
    let of = |kind: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with(kind));
        lines
            .map(|line| line.split('|').nth(2).unwrap().to_owned())
            .collect()
    };
    (of("data|").pop().unwrap(), of("log-in|"))
}

fn whole(path: &Path) -> bool {
    let wal = fs::read(path.join("member/wal/0.wal"));
    wal.is_ok_and(|wal| wal.len() == 4096) && path.join("member/.etcdup-mark").exists()
}

#[test]
fn within_a_mount_it_is_renamed() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (data(place.path()), place.path().join("a/new"));
        let said = moved(shell, place.path(), &old, &new, &[("cp", "exit 1")]);
        assert!(said.contains("@ok|1"), "{shell}: {said}");
        assert!(whole(&new) && !old.exists(), "{shell}");
        // Once more there is nothing to do.
        let again = moved(shell, place.path(), &new, &new, &[]);
        assert!(again.contains("@fail|0") && whole(&new), "{shell}: {again}");
    }
}

#[test]
fn what_is_there_is_never_written_over() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (data(place.path()), place.path().join("new"));
        fs::create_dir_all(new.join("member")).unwrap();
        fs::write(new.join("member/notes"), "another's").unwrap();
        let said = moved(shell, place.path(), &old, &new, &[]);
        assert!(said.contains("@fail|0"), "{shell}: {said}");
        assert!(whole(&old) && new.join("member/notes").exists(), "{shell}");
        // Nor is a link followed.
        let (linked, elsewhere) = (place.path().join("linked"), place.path().join("elsewhere"));
        fs::create_dir_all(&linked).unwrap();
        fs::rename(old.join("member"), &elsewhere).unwrap();
        symlink(&elsewhere, old.join("member")).unwrap();
        let said = moved(shell, place.path(), &old, &linked, &[]);
        assert!(said.contains("@fail|0"), "{shell}: {said}");
        assert!(elsewhere.join("wal/0.wal").exists(), "{shell}");
    }
}

/// Between two mounts: cut in the copy, between the copy and its end, and then carried out.
#[test]
fn a_copy_counts_for_nothing_until_it_is_whole() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let Ok(disk) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let (old, new) = (data(place.path()), disk.path().join("new"));
        let partly = format!(
            "mkdir -p {0}/member/wal; echo x >{0}/member/wal/0.wal; exit 1",
            new.display()
        );
        for program in [("cp", partly.as_str()), ("mv", "exit 1")] {
            let said = moved(shell, place.path(), &old, &new, &[program]);
            assert!(said.contains("@fail|1"), "{shell}: {said}");
            assert!(whole(&old), "{shell}");
            assert_eq!(observed(shell, place.path(), &new), "empty", "{shell}");
            // Its source's disk is away: that is no reason to start on a part of it.
            let away = place.path().join("away");
            fs::rename(&old, &away).unwrap();
            assert_eq!(observed(shell, place.path(), &new), "foreign", "{shell}");
            fs::rename(&away, &old).unwrap();
        }
        let said = moved(shell, place.path(), &old, &new, &[]);
        assert!(said.contains("@ok|1"), "{shell}: {said}");
        assert!(whole(&new), "{shell}");
        assert_eq!(observed(shell, place.path(), &new), "member", "{shell}");
        assert!(old.join("member.kept-20260101T000000Z").exists(), "{shell}");
        assert_eq!(observed(shell, place.path(), &old), "empty", "{shell}");
    }
}

/// The member still runs while room is looked for.
#[test]
fn without_room_nothing_is_copied() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let Ok(disk) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let (old, new) = (data(place.path()), disk.path().join("new"));
        let full = "echo 'Filesystem 1024-blocks Used Available'; echo 'none 1000 990 10 1% /x'";
        let said = moved(shell, place.path(), &old, &new, &[("df", full)]);
        assert!(said.contains("@fail|0"), "{shell}: {said}");
        assert!(whole(&old) && !new.exists(), "{shell}");
    }
}

fn has_log(path: &Path) -> bool {
    let log = fs::read(path.join("wal/0.wal"));
    log.is_ok_and(|log| log.len() == 4096)
}

/// Between two disks and within one, out of the data and back: at every moment the one log there is
/// is found, and an empty one never takes its place.
#[test]
fn a_log_goes_to_a_disk_of_its_own_and_back() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let Ok(disk) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let data = data(place.path());
        let inside = data.join("member");
        for own in [place.path().join("near"), disk.path().join("log")] {
            for (from, to) in [(&inside, &own), (&own, &inside)] {
                let seen = || observed_with(shell, place.path(), &data, &[from, to]);
                let partly = format!(
                    "mkdir -p {0}/wal; echo x >{0}/wal/0.wal; exit 1",
                    to.display()
                );
                for program in [("cp", partly.as_str()), ("mv", "exit 1")] {
                    let said = moves(shell, place.path(), "_log", (from, to), &[program]);
                    if said.contains("@ok|1") {
                        // Within one disk nothing is copied: it went, and goes back.
                        let said = moves(shell, place.path(), "_log", (to, from), &[]);
                        assert!(said.contains("@ok|1"), "{shell}: {said}");
                        continue;
                    }
                    let (found, logs) = seen();
                    assert_eq!(found, "member", "{shell}: {said}");
                    assert_eq!(logs[0], "log", "{shell}: {said}");
                    assert_ne!(logs[1], "log", "{shell}: {said}");
                    assert!(has_log(from), "{shell}: {said}");
                    // Without the one there is no log: not the part of one.
                    let away = from.parent().unwrap().join("away");
                    fs::rename(from.join("wal"), &away).unwrap();
                    assert_eq!(seen().0, "foreign", "{shell}");
                    fs::rename(&away, from.join("wal")).unwrap();
                }
                let said = moves(shell, place.path(), "_log", (from, to), &[]);
                assert!(said.contains("@ok|1"), "{shell}: {said}");
                assert!(has_log(to), "{shell}: {said}");
                let (found, logs) = seen();
                assert_eq!(found, "member", "{shell}: {said}");
                assert_ne!(logs[0], "log", "{shell}: {said}");
                assert_eq!(logs[1], "log", "{shell}: {said}");
                assert!(data.join("member/.etcdup-mark").exists(), "{shell}");
                // Once more there is nothing to do.
                let again = moves(shell, place.path(), "_log", (to, to), &[]);
                assert!(has_log(to), "{shell}: {again}");
            }
        }
    }
}

/// Not over another's log, nor into a directory with anything in it, nor under an etcd.
#[test]
fn a_log_is_put_over_nothing_and_moved_under_nobody() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = data(place.path());
        let (inside, own) = (data.join("member"), place.path().join("own"));
        // A directory of that name may be the archive of some other database.
        for what in [
            "wal/1.wal",
            "wal/000000010000000000000001",
            "wal.tmp/notes",
            "notes",
        ] {
            let path = own.join(what);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "another's").unwrap();
            let said = moves(shell, place.path(), "_log", (&inside, &own), &[]);
            assert!(said.contains("@fail|0"), "{shell}: {said}");
            assert!(has_log(&inside) && path.exists(), "{shell}");
            fs::remove_dir_all(&own).unwrap();
        }
        // What a first start leaves that was cut before it wrote a log is in nobody's way.
        fs::create_dir_all(own.join("wal.tmp")).unwrap();
        let said = moves(shell, place.path(), "_log", (&inside, &own), &[]);
        assert!(said.contains("@ok|1"), "{shell}: {said}");
        let program = place.path().join("etcd");
        fs::copy("/bin/sleep", &program).unwrap();
        let running = |name: &str, path: &Path| {
            let mut program = Command::new(&program);
            let running = program.arg("60").env(name, path).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(200));
            running
        };
        let mut etcd = running("ETCD_WAL_DIR", &own.join("wal"));
        let said = moves(shell, place.path(), "_log", (&own, &inside), &[]);
        assert!(said.contains("@fail|1") && has_log(&own), "{shell}: {said}");
        let said = kept(shell, place.path(), &own);
        assert!(said.contains("@fail|0"), "{shell}: {said}");
        etcd.kill().unwrap();
        etcd.wait().unwrap();
        let said = moves(shell, place.path(), "_log", (&own, &inside), &[]);
        assert!(said.contains("@ok|1"), "{shell}: {said}");
        let mut etcd = running("ETCD_DATA_DIR", &data);
        let said = moves(shell, place.path(), "_log", (&inside, &own), &[]);
        assert!(
            said.contains("@fail|1") && has_log(&inside),
            "{shell}: {said}"
        );
        etcd.kill().unwrap();
        etcd.wait().unwrap();
        let said = moves(shell, place.path(), "_log", (&inside, &own), &[]);
        assert!(said.contains("@ok|1"), "{shell}: {said}");
        let said = kept(shell, place.path(), &own);
        assert!(said.contains("@ok|0") && !own.exists(), "{shell}: {said}");
        assert!(has_log(&place.path().join("own.kept-1")), "{shell}");
    }
}

/// Keeps a directory under another name.
fn kept(shell: &str, place: &Path, path: &Path) -> String {
    let keep = format!("0|keep|{0}|{0}.kept-1\n", path.display());
    carried_out(shell, shell, place, &keep)
}

/// What a run that was killed left of its own is in nobody's way, and a log that lies elsewhere
/// already is not moved from there: its member goes on running.
#[test]
fn what_a_killed_run_left_is_in_nobodys_way() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = data(place.path());
        let (inside, own) = (data.join("member"), place.path().join("own"));
        fs::create_dir_all(&own).unwrap();
        for left in [".etcdup-probe", ".etcdup-copy.new"] {
            fs::write(own.join(left), "").unwrap();
            fs::write(inside.join(left), "").unwrap();
        }
        let (_, logs) = observed_with(shell, place.path(), &data, &[&inside, &own]);
        assert_eq!(logs, ["log", "empty"], "{shell}");
        // A rename, and no copy.
        let said = moves(
            shell,
            place.path(),
            "_log",
            (&inside, &own),
            &[("cp", "exit 1")],
        );
        assert!(said.contains("@ok|1") && has_log(&own), "{shell}: {said}");
        let elsewhere = place.path().join("elsewhere");
        fs::rename(own.join("wal"), &elsewhere).unwrap();
        symlink(&elsewhere, own.join("wal")).unwrap();
        let said = moves(shell, place.path(), "_log", (&own, &inside), &[]);
        assert!(said.contains("@fail|0"), "{shell}: {said}");
    }
}

/// etcd would begin an empty log beside old data, on a disk that was replaced, and an old copy of a
/// log looks like a log: the mark is in both.
#[test]
fn a_log_elsewhere_has_the_mark_of_its_data() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = data(place.path());
        let (inside, own) = (data.join("member"), place.path().join("own"));
        let marked = |logs: &[&Path]| {
            let text = answer(shell, place.path(), &data, logs);
            text.lines().any(|line| line.starts_with("mark|"))
        };
        assert!(marked(&[&inside]), "{shell}");
        // It goes along.
        let said = moves(shell, place.path(), "_log", (&inside, &own), &[]);
        assert!(said.contains("@ok|1"), "{shell}: {said}");
        assert!(marked(&[&own]), "{shell}");
        fs::write(own.join("wal/.etcdup-mark"), "another\n").unwrap();
        assert!(!marked(&[&own]), "{shell}");
        fs::remove_file(own.join("wal/.etcdup-mark")).unwrap();
        assert!(!marked(&[&own]), "{shell}");
        // And a member that is noted has both.
        let mark = format!("0|mark|{}|0198-mark|{}\n", data.display(), own.display());
        let said = carried_out(shell, shell, place.path(), &mark);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert!(marked(&[&own]), "{shell}");
    }
}
