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

use common::{OBSERVE, STAGE, header, leased, run, shells, stage_of};

/// A data directory with a little in it.
fn data(place: &Path) -> PathBuf {
    let data = place.join("old");
    fs::create_dir_all(data.join("member/wal")).unwrap();
    fs::write(data.join("member/wal/0.wal"), vec![7; 4096]).unwrap();
    fs::write(data.join("member/.etcdup-mark"), "mark\n").unwrap();
    data
}

/// Carries out a move; `programs` are found before the host's own.
fn moved(shell: &str, place: &Path, from: &Path, to: &Path, programs: &[(&str, &str)]) -> String {
    let directory = place.join("programs");
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in programs {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let with_programs = format!("env PATH={}:{path} {shell}", directory.display());
    // A lease is taken once.
    let state = tempfile::tempdir_in(place).unwrap();
    let state = state.path().join("state");
    leased(shell, &state);
    let (from, to) = (from.display(), to.display());
    let operations = format!("0|room|{from}|{to}\n1|move|{from}|{to}|-|20260101T000000Z\nend\n");
    let said = run(&with_programs, &STAGE, &stage_of(&state, &operations, &[])).text();
    fs::remove_dir_all(directory).unwrap();
    said
}

/// What an observer makes of a directory.
fn observed(shell: &str, place: &Path, path: &Path) -> String {
    let state = place.join("state");
    let query = format!("data|{}\nend\n", path.display());
    let input = header(&state, "-", 0) + &query;
    let text = run(shell, &OBSERVE, input.as_bytes()).text();
    let line = text.lines().find(|line| line.starts_with("data|"));
    let mut fields = line.unwrap().split('|');
    fields.nth(2).unwrap().to_owned()
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
        assert!(said.contains("@fail|1"), "{shell}: {said}");
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
