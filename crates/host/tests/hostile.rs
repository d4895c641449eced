//! The host scripts where something is against them: another user's directory, odd names, dead
//! processes, leftovers of a run that was cut off.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect, and run the scripts for real"
)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{LEASE, OBSERVE, STAGE, header, leased, run, shells, stage_of};
use etcdup_core::observation::{DataDir, HostView};
use etcdup_core::observed::Observed;
use etcdup_host::read_answer;

fn observe(shell: &str, state: &Path, queries: &str) -> HostView {
    let input = header(state, "-", 0) + queries + "end\n";
    let said = run(shell, &OBSERVE, input.as_bytes()).text();
    let answer = said.split_once("@observe\n").unwrap().1;
    let read = read_answer(answer, &|_| Observed::unknown("not read"));
    read.unwrap_or_else(|error| panic!("{shell}: {error}\n{answer}"))
}

fn carry_out(shell: &str, state: &Path, operations: &str, files: &[(&str, &[u8])]) -> String {
    leased(shell, state);
    let input = stage_of(state, &format!("{operations}end\n"), files);
    run(shell, &STAGE, &input).text()
}

/// A thread that puts a link to `victim` at `path` again and again, as the owner of a directory
/// can.
fn racing<T>(victim: &Path, path: &Path, work: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, victim, path) = (Arc::clone(&stop), victim.to_owned(), path.to_owned());
    let racer = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            let _ = symlink(&victim, &path);
        }
    });
    let done = work();
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    done
}

/// S2 a: whoever owns the directory must not have root overwrite, or give away, a file of his
/// choice.
#[test]
fn a_file_is_never_written_through_a_link_that_another_user_puts_there() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let before = std::fs::metadata(&victim).unwrap();
        let open = place.path().join("open");
        std::fs::create_dir(&open).unwrap();
        let target = open.join("server.key");
        // The directory where files wait, and the file's own name.
        let staged = open.join(".etcdup-new");
        racing(&victim, &staged, || {
            for attempt in 0..8 {
                let _ = std::fs::remove_file(&target);
                let _ = symlink(&victim, &target);
                let state = place.path().join(format!("state-{attempt}"));
                let operations = format!(
                    "0|file|f/0|600|65534:65534|{}\n1|commit\n",
                    target.display()
                );
                carry_out(shell, &state, &operations, &[("f/0", b"secret\n")]);
            }
        });
        assert_eq!(
            std::fs::read_to_string(&victim).unwrap(),
            "precious",
            "{shell}"
        );
        let after = std::fs::metadata(&victim).unwrap();
        assert_eq!(
            (after.uid(), after.mode()),
            (before.uid(), before.mode()),
            "{shell}"
        );
    }
}

/// S2 b: measuring a disk writes a file of its own or none.
#[test]
fn the_probe_of_a_disk_never_writes_through_a_link() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let data = place.path().join("data");
        std::fs::create_dir(&data).unwrap();
        // Every name that the probe could have, for it holds the script's process ID.
        let next: u32 = std::process::id();
        for pid in next..next + 4000 {
            let _ = symlink(&victim, data.join(format!(".etcdup-fsync.{pid}")));
        }
        let query = format!("disk|{}|measure\n", data.display());
        let view = observe(shell, &place.path().join("state"), &query);
        assert_eq!(view.disks.len(), 1, "{shell}");
        assert_eq!(
            std::fs::read_to_string(&victim).unwrap(),
            "precious",
            "{shell}"
        );
    }
}

#[test]
fn a_disk_is_still_measured() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let query = format!("disk|{}|measure\n", place.path().display());
        let view = observe(shell, &place.path().join("state"), &query);
        let disk = view.disks.values().next().unwrap();
        assert!(disk.fsync_us.is_some(), "{shell}");
        let left = std::fs::read_dir(place.path()).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| name != ".etcdup-fsync"), "{left:?}");
    }
}

/// S7: dash's echo reads `\c` and `\n`; names of Winbind and SSSD look like that.
#[test]
fn a_backslash_in_a_name_breaks_nothing() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        let take = header(&state, "op", 0) + "take|apply|CORP\\charlie@host\\nick|now|\n";
        let said = run(shell, &LEASE, take.as_bytes()).text();
        assert!(said.contains("@lease|taken|1"), "{shell}: {said}");
        let view = observe(shell, &state, "");
        let lease = view.lease.unwrap();
        assert_eq!(lease.who, "CORP\\charlie@host\\nick", "{shell}");
        let other = header(&state, "other", 0) + "take|apply|me|later|\n";
        let said = run(shell, &LEASE, other.as_bytes()).text();
        assert!(
            said.contains("@lease|held|op|apply|1|CORP\\charlie@host\\nick|now|"),
            "{said}"
        );
    }
}

/// An operator that knows its own earlier process to be dead does not wait for the lease to run
/// out.
#[test]
fn the_lease_of_a_dead_operation_is_taken_over_at_once() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        leased(shell, &state);
        let other = header(&state, "other", 0) + "take|apply|me|now|op\n";
        let said = run(shell, &LEASE, other.as_bytes()).text();
        assert!(said.contains("@lease|taken|2"), "{shell}: {said}");
        let third = header(&state, "third", 0) + "take|apply|me|now|op\n";
        let said = run(shell, &LEASE, third.as_bytes()).text();
        assert!(said.contains("@lease|held|other"), "{shell}: {said}");
    }
}

/// M1: a successor waits for the last script of the operator before, wherever it runs.
#[test]
fn a_lease_is_not_taken_while_a_script_of_the_holder_before_runs() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    leased("dash", &state);
    let lock = std::fs::File::create(state.join("stage.lock")).unwrap();
    lock.lock().unwrap();
    let other = header(&state, "other", 0) + "take|apply|me|now|op\n";
    let said = run("dash", &LEASE, other.as_bytes()).text();
    assert!(said.contains("@lease|busy|me@here"), "{said}");
    drop(lock);
    let said = run("dash", &LEASE, other.as_bytes()).text();
    assert!(said.contains("@lease|taken|2"), "{said}");
}

/// M2, M3: a process ID that now belongs to something else is left alone, and its file goes.
#[test]
fn a_reused_process_id_is_not_killed() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let mut other = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid_file = place.path().join("m2.pid");
        std::fs::write(&pid_file, format!("{}\n", other.id())).unwrap();
        let operations = format!("0|kill|{}|/var/lib/etcd/m2\n", pid_file.display());
        let said = carry_out(shell, &place.path().join("state"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert!(!pid_file.exists(), "{shell}");
        assert!(
            other.try_wait().unwrap().is_none(),
            "{shell}: it was killed"
        );
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

/// M6: what a cut-off run left behind is in no later run's way; another's program stays as it is.
#[test]
fn links_are_made_over_leftovers_and_never_over_a_program() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (bin, links) = (place.path().join("v1"), place.path().join("bin"));
        std::fs::create_dir(&bin).unwrap();
        std::fs::create_dir(&links).unwrap();
        for program in ["etcd", "etcdctl"] {
            std::fs::write(bin.join(program), "").unwrap();
        }
        symlink("/nowhere", links.join(".etcd.etcdup")).unwrap();
        std::fs::write(links.join("etcdctl"), "mine").unwrap();
        let operations = format!("0|links|{}|{}\n", bin.display(), links.display());
        let said = carry_out(shell, &place.path().join("state"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert_eq!(
            std::fs::read_link(links.join("etcd")).unwrap(),
            bin.join("etcd")
        );
        assert_eq!(
            std::fs::read_to_string(links.join("etcdctl")).unwrap(),
            "mine",
            "{shell}"
        );
    }
}

/// F5: the same content keeps its time, since a newer CA file asks for a restart.
#[test]
fn a_file_that_is_written_again_with_the_same_content_keeps_its_time() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("ca.crt");
        std::fs::write(&target, "ca\n").unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let file = std::fs::File::options().write(true).open(&target).unwrap();
        file.set_modified(old).unwrap();
        let operations = format!("0|file|f/0|644|-|{}\n1|commit\n", target.display());
        carry_out(
            shell,
            &place.path().join("a"),
            &operations,
            &[("f/0", b"ca\n")],
        );
        let meta = std::fs::metadata(&target).unwrap();
        assert_eq!(
            (meta.mtime(), meta.mode() & 0o777),
            (1_000_000, 0o644),
            "{shell}"
        );
        carry_out(
            shell,
            &place.path().join("b"),
            &operations,
            &[("f/0", b"other\n")],
        );
        assert!(
            std::fs::metadata(&target).unwrap().mtime() > 1_000_000,
            "{shell}"
        );
    }
}

/// M4: a first start that failed leaves a database and no log: nothing is in it. Anything more is
/// not taken for empty.
#[test]
fn a_first_start_that_failed_left_an_empty_directory() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let query = format!("data|{}\n", data.display());
        let kind = || {
            let view = observe(shell, &place.path().join("state"), &query);
            view.data.values().next().unwrap().clone()
        };
        assert_eq!(kind(), DataDir::Absent, "{shell}");
        std::fs::create_dir_all(data.join("member/snap")).unwrap();
        std::fs::write(data.join("member/snap/db"), vec![0; 20480]).unwrap();
        assert_eq!(kind(), DataDir::Empty, "{shell}");
        std::fs::write(
            data.join("member/snap/0000000000000002-0000000000000005.snap"),
            "x",
        )
        .unwrap();
        assert_eq!(kind(), DataDir::Foreign, "{shell}: a raft snapshot is data");
        std::fs::remove_file(data.join("member/snap/0000000000000002-0000000000000005.snap"))
            .unwrap();
        // Its size says nothing: bbolt allocates a file before it fills it.
        std::fs::write(data.join("member/snap/db"), vec![0; 1 << 24]).unwrap();
        assert_eq!(kind(), DataDir::Empty, "{shell}");
        std::fs::write(
            data.join("member/snap/db"),
            br#"{"id":1,"peerURLs":["https://a:2380"]}"#,
        )
        .unwrap();
        assert_eq!(
            kind(),
            DataDir::Foreign,
            "{shell}: a member that is named is data"
        );
        std::fs::write(data.join("member/snap/db"), vec![0; 20480]).unwrap();
        std::fs::write(data.join("member/.etcdup-mark"), "m").unwrap();
        assert_eq!(kind(), DataDir::Foreign, "{shell}: it has been a member");
    }
}

/// A link that leads nowhere may lead to a disk that is not mounted yet.
#[test]
fn a_link_that_leads_nowhere_is_not_an_empty_directory() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        std::fs::create_dir(&data).unwrap();
        symlink("/nowhere", data.join("member")).unwrap();
        let query = format!("data|{}\n", data.display());
        let view = observe(shell, &place.path().join("state"), &query);
        assert_eq!(
            view.data.values().next(),
            Some(&DataDir::Foreign),
            "{shell}"
        );
    }
}

/// What would be waited for without end, in the place of a file that is read or written, ends
/// nothing.
#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let open = place.path().join("open");
        std::fs::create_dir(&open).unwrap();
        let pipe = place.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let key = open.join("server.key");
        symlink(&pipe, &key).unwrap();
        symlink(&pipe, open.join(".etcdup-new")).unwrap();
        let queries = format!(
            "file|{0}\ncert|{0}\ndisk|{1}|measure\n",
            key.display(),
            open.display()
        );
        let begun = std::time::Instant::now();
        observe(shell, &place.path().join("state"), &queries);
        let operations = format!("0|file|f/0|600|-|{}\n1|commit\n", key.display());
        let said = carry_out(
            shell,
            &place.path().join("state"),
            &operations,
            &[("f/0", b"secret\n")],
        );
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(20),
            "{shell}: {said}"
        );
        assert!(said.contains("@fail|1"), "{shell}: {said}");
    }
}

/// A directory in the place of a file is named, and the file is not put inside it.
#[test]
fn a_directory_in_the_place_of_a_file_is_refused() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("etcd.yaml");
        std::fs::create_dir(&target).unwrap();
        let operations = format!("0|file|f/0|600|-|{}\n1|commit\n", target.display());
        let state = place.path().join("state");
        let said = carry_out(shell, &state, &operations, &[("f/0", b"x\n")]);
        assert!(said.contains("@fail|1"), "{shell}: {said}");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "{shell}");
        let left = std::fs::read_dir(place.path()).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 2, "{shell}: nothing waits any more: {left:?}");
    }
}

/// A lease file that is not of our making holds nothing, and a request that was cut off asks for
/// nothing.
#[test]
fn a_lease_file_of_another_making_holds_nothing() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let take = header(&state, "op", 0) + "take|apply|me|now|\n";
        for text in [
            "op|apply|x|me|now|boot|y\n",
            "\n",
            "||||||\n",
            "a|b|c\n",
            "A|apply|x",
            "A|apply|08|me|now|boot|09\n",
        ] {
            std::fs::write(state.join("lease"), text).unwrap();
            let said = run(shell, &LEASE, take.as_bytes()).text();
            assert!(said.contains("@lease|taken|1"), "{shell}: {text:?}: {said}");
        }
        let cut = header(&state, "op2", 0) + "take|apply|me";
        let said = run(shell, &LEASE, cut.as_bytes()).text();
        assert!(said.contains("@refused"), "{shell}: {said}");
    }
}

/// Anyone can name a program `etcd` and set a variable: it is not taken for the member, so it is
/// neither killed nor waited for.
#[test]
fn another_users_process_is_not_taken_for_the_member() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let data = place.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let program = place.path().join("etcd");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut other = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg("60")
            .env("ETCD_DATA_DIR", &data)
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let pid_file = place.path().join("m.pid");
        std::fs::write(&pid_file, format!("{}\n", other.id())).unwrap();
        let query = format!(
            "member|m1|file|{}|{1}\nmember|m2|pod|{1}|/nowhere\n",
            pid_file.display(),
            data.display()
        );
        let view = observe(shell, &place.path().join("state"), &query);
        assert!(view.processes.is_empty(), "{shell}: {:?}", view.processes);
        let operations = format!("0|kill|{}|{}\n", pid_file.display(), data.display());
        let said = carry_out(shell, &place.path().join("state"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert!(other.try_wait().unwrap().is_none(), "{shell}: {said}");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}

/// K1: the mark is inside `member`, so whoever deletes that deletes the mark.
#[test]
fn a_mark_is_written_and_read_back_and_goes_with_the_data() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (data, state) = (place.path().join("data"), place.path().join("state"));
        std::fs::create_dir_all(data.join("member/wal")).unwrap();
        std::fs::write(data.join("member/wal/0.wal"), vec![1; 64]).unwrap();
        let operations = format!("0|mark|{}|0198-mark\n", data.display());
        let said = carry_out(shell, &state, &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        let query = format!("data|{}\n", data.display());
        let view = observe(shell, &state, &query);
        assert_eq!(view.marks.values().next().unwrap(), "0198-mark", "{shell}");
        std::fs::remove_dir_all(data.join("member")).unwrap();
        assert!(observe(shell, &state, &query).marks.is_empty(), "{shell}");
        let said = carry_out(shell, &place.path().join("b"), &operations, &[]);
        assert!(
            said.contains("@fail|0"),
            "{shell}: there is nothing to mark: {said}"
        );
    }
}

/// An etcd whose unit or pid file is gone still runs: its data is neither moved nor deleted under
/// it.
#[test]
fn data_that_an_etcd_runs_on_is_neither_moved_nor_deleted() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        std::fs::create_dir_all(data.join("member/wal")).unwrap();
        let program = place.path().join("etcd");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut running = Command::new(&program)
            .arg("60")
            .env("ETCD_DATA_DIR", &data)
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        for (state, verb) in [("a", "keep"), ("b", "remove")] {
            let aside = if verb == "keep" {
                format!("|{}.kept-1", data.display())
            } else {
                String::new()
            };
            let operations = format!("0|{verb}|{}{aside}\n", data.display());
            let said = carry_out(shell, &place.path().join(state), &operations, &[]);
            assert!(said.contains("@fail|0"), "{shell}: {verb}: {said}");
            assert!(data.join("member/wal").exists(), "{shell}: {verb}");
        }
        running.kill().unwrap();
        running.wait().unwrap();
        let operations = format!("0|keep|{0}|{0}.kept-1\n", data.display());
        let said = carry_out(shell, &place.path().join("c"), &operations, &[]);
        assert!(said.contains("@ok|0"), "{shell}: {said}");
        assert!(!data.exists(), "{shell}");
    }
}

/// What else lies in a data directory, such as a backup or the data of another cluster, is neither
/// deleted nor moved.
#[test]
fn what_lies_beside_the_data_stays() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("etcd");
        for (state, verb) in [("a", "keep"), ("b", "remove")] {
            std::fs::create_dir_all(data.join("member/wal")).unwrap();
            std::fs::create_dir_all(data.join("events/member")).unwrap();
            std::fs::write(data.join("backup.db"), "precious").unwrap();
            let aside = format!("|{}.kept-1", data.display());
            let aside = if verb == "keep" { aside.as_str() } else { "" };
            let operations = format!("0|{verb}|{}{aside}\n", data.display());
            let said = carry_out(shell, &place.path().join(state), &operations, &[]);
            assert!(said.contains("@ok|0"), "{shell}: {verb}: {said}");
            assert!(!data.join("member").exists(), "{shell}: {verb}");
            assert!(data.join("events/member").exists(), "{shell}: {verb}");
            assert!(data.join("backup.db").exists(), "{shell}: {verb}");
            let kept = data.join("etcd.kept-1/member/wal").exists();
            assert!(kept, "{shell}: {verb}");
        }
    }
}

/// The records of other clusters here are seen, and one that is broken is nobody else's trouble.
#[test]
fn other_clusters_records_are_seen() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::write(
            state.join("events.json"),
            r#"{"format":1,"cluster":"ff","files":{}}"#,
        )
        .unwrap();
        std::fs::write(state.join("broken.json"), "{").unwrap();
        let view = observe(shell, &state, "");
        assert_eq!(
            view.other_name_of(etcdup_core::membership::ClusterId::new(255)),
            Some("events"),
            "{shell}: {:?}",
            view.others
        );
        assert_eq!(view.others.len(), 1, "{shell}");
    }
}

/// Every user may read the arguments of a process: what tells records from text is none of them.
#[test]
fn what_tells_records_from_text_is_no_argument() {
    let program = etcdup_host::scripts::OBSERVE;
    assert!(program.contains("awk \"$report\""));
    assert!(!program.contains("awk -v"));
}

/// A key in the file of a certificate stays on its host, however the two are mixed.
#[test]
fn no_key_leaves_with_a_certificate() {
    let body = "MIIBszCCAVmgAwIBAgIUQ2FuIHlvdSByZWFkIHRoaXM=";
    let begin = "-----BEGIN CERTIFICATE-----";
    let end = "-----END CERTIFICATE-----";
    let secret = "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----";
    for shell in shells() {
        for text in [
            format!("{begin}\n{body}\n{secret}\n"),
            format!("{begin}\r{body}\r{end}\r{}", secret.replace('\n', "\r")),
            format!("{begin}\n{body}\n {end}\n{secret}\n"),
            format!("{secret}\n{begin}\n{body}\n{end}\n{secret}\n"),
        ] {
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join("both.pem");
            std::fs::write(&file, &text).unwrap();
            let state = place.path().join("state");
            let input = format!("{}cert|{}\nend\n", header(&state, "-", 0), file.display());
            let said = run(shell, &OBSERVE, input.as_bytes()).text();
            assert!(!said.contains("U0VDUkVU"), "{shell}: {text:?}: {said}");
        }
    }
}
