//! The script that restores a snapshot into a member that is thrown away, with stand-ins for etcd's
//! programs, in every shell that is here.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests say what they expect"
)]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{DRILL, header, run, shells};
use etcdup_host::{DrillAnswer, DrillPlace, DrillRefused};

/// Serves until it is killed, where it is restored data that it is given.
const ETCD: &str = "#!/bin/sh\n\
                    [ \"$1\" != --version ] || { echo etcd Version: 3.5.30; exit; }\n\
                    [ -f data/member ] || exit 1\n\
                    [ -z \"${OF_THE_CALLER:-}\" ] || exit 2\n\
                    echo ready to serve client requests\n\
                    exec sleep 300\n";
const ETCDUTL: &str = "#!/bin/sh\n\
                       echo '{\"level\":\"info\",\"msg\":\"restoring\"}'\n\
                       [ \"$2\" != status ] || { printf '\"Revision\" : 7\\n\"Keys\" : 9\\n'; exit; }\n\
                       [ \"$(cat \"$3\")\" = whole ] || { echo panic: bad page; echo at 0x1; exit 2; }\n\
                       mkdir data && : >data/member\n";
const COUNTED: &str = "#!/bin/sh\n\
                       [ \"$1\" = --endpoints=unix://client:1 ] || exit 1\n\
                       printf '\"Revision\" : 7\\n\"Key\" : \"a\"\\n\"Count\" : 3\\n'\n";
/// As etcd is with authentication on, since 3.5.30: it says nothing to nobody.
const CLOSED: &str = "#!/bin/sh\n\
                      echo 'Error: etcdserver: user name is empty' >&2; exit 1\n";

fn answer(keys: Option<i64>) -> DrillAnswer {
    DrillAnswer {
        revision: 7,
        keys,
        release: "3.5.30".to_owned(),
    }
}

/// The script's input: its lines, then the programs and the snapshot as a tar.
fn input(state: &Path, place: DrillPlace<'_>, etcdctl: &str, snapshot: &str) -> Vec<u8> {
    input_with(state, place, etcdctl, ETCDUTL, snapshot)
}

fn input_with(
    state: &Path,
    place: DrillPlace<'_>,
    etcdctl: &str,
    etcdutl: &str,
    snapshot: &str,
) -> Vec<u8> {
    let head = header(state, "-", 0) + &place.line(5).unwrap();
    let mut archive = tar::Builder::new(head.into_bytes());
    let sent = (place == DrillPlace::Sent).then_some(("snapshot.db", snapshot));
    let programs = [("etcd", ETCD), ("etcdctl", etcdctl), ("etcdutl", etcdutl)];
    for (name, text) in programs.into_iter().chain(sent).chain([("end", "end\n")]) {
        let mut entry = tar::Header::new_ustar();
        entry.set_size(text.len() as u64);
        entry.set_mode(0o600);
        archive
            .append_data(&mut entry, name, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

fn drill(shell: &str, input: &[u8]) -> Result<DrillAnswer, DrillRefused> {
    let output = run(shell, &DRILL, input);
    DrillAnswer::read(&output.text(), &output.last_stderr_line())
}

/// The script, at work.
fn started(shell: &str, input: &[u8]) -> std::process::Child {
    let mut words = shell.split(' ');
    let mut child = std::process::Command::new(words.next().unwrap())
        .args(words)
        .args(["-c", DRILL.text()])
        .env("OF_THE_CALLER", "anything")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, input).unwrap();
    child
}

/// What is in a directory, etcdup's lock left out.
fn left_in(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "drill.lock").collect()
}

#[test]
fn a_snapshot_is_read_back_and_nothing_is_left() {
    for shell in shells() {
        let state = tempfile::tempdir().unwrap();
        let sent = DrillPlace::Sent;
        let counted = drill(shell, &input(state.path(), sent, COUNTED, "whole"));
        assert_eq!(counted, Ok(answer(Some(3))), "{shell}");
        let closed = drill(shell, &input(state.path(), sent, CLOSED, "whole"));
        assert_eq!(closed, Ok(answer(None)), "{shell}");
        let torn = drill(shell, &input(state.path(), sent, COUNTED, "torn"));
        let (name, why) = ("etcdutl".to_owned(), "panic: bad page".to_owned());
        let refused = DrillRefused::Program { name, why };
        assert_eq!(torn, Err(refused), "{shell}");
        assert_eq!(left_in(state.path()), Vec::<String>::new(), "{shell}");
    }
}

/// On the machine that etcdup runs on the snapshot is read where it lies.
#[test]
fn a_file_of_this_machine_is_not_copied() {
    for shell in shells() {
        let here = tempfile::tempdir().unwrap();
        let place = here.path().join("a place");
        std::fs::create_dir(&place).unwrap();
        let snapshot = here.path().join("my snapshot.db");
        std::fs::write(&snapshot, "whole").unwrap();
        let line = DrillPlace::Here {
            place: place.to_str().unwrap(),
            snapshot: snapshot.to_str().unwrap(),
        };
        let read = drill(shell, &input(Path::new("-"), line, COUNTED, ""));
        assert_eq!(read, Ok(answer(Some(3))), "{shell}");
        assert!(!place.exists() && snapshot.exists(), "{shell}");
    }
}

#[test]
fn what_is_cut_off_is_refused_and_nothing_is_left() {
    for shell in shells() {
        let state = tempfile::tempdir().unwrap();
        let whole = input(state.path(), DrillPlace::Sent, COUNTED, "whole");
        // The two blocks of zeros at its end say nothing.
        for cut in (0..whole.len() - 2048).step_by(499) {
            let refused = drill(shell, &whole[..cut]);
            assert!(
                matches!(refused, Err(DrillRefused::Script(_))),
                "{shell}, cut at {cut}: {refused:?}"
            );
        }
        assert_eq!(left_in(state.path()), Vec::<String>::new(), "{shell}");
    }
}

/// Where the script itself is killed, etcd and all secrets are gone a moment later.
#[test]
fn a_killed_one_is_cleaned_up_after() {
    for shell in shells() {
        let state = tempfile::tempdir().unwrap();
        let answers_never = "#!/bin/sh\nexec sleep 5\n";
        let whole = input(state.path(), DrillPlace::Sent, answers_never, "whole");
        let mut child = started(shell, &whole);
        let console = |place: &String| state.path().join(place).join("console");
        let served = || {
            left_in(state.path())
                .iter()
                .any(|place| console(place).exists())
        };
        within("etcd was never started", served);
        child.kill().unwrap();
        child.wait().unwrap();
        within("something is left", || left_in(state.path()).is_empty());
    }
}

/// Its directory is deleted by others before anything is seen of that: what works there stands in
/// it still.
#[test]
fn whatever_works_in_a_directory_that_is_gone_is_ended() {
    for shell in shells() {
        let here = tempfile::tempdir().unwrap();
        let place = here.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let pid = here.path().join("pid");
        let works_on = format!("#!/bin/sh\necho $$ >{}\nexec sleep 300\n", pid.display());
        let line = DrillPlace::Here {
            place: place.to_str().unwrap(),
            snapshot: "/none",
        };
        let whole = input_with(Path::new("-"), line, COUNTED, &works_on, "");
        let mut child = started(shell, &whole);
        let written = || std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
        within("etcdutl was never started", written);
        child.kill().unwrap();
        std::fs::remove_dir_all(&place).unwrap();
        child.wait().unwrap();
        let worker = std::fs::read_to_string(&pid).unwrap();
        let worker = Path::new("/proc").join(worker.trim());
        within("it works on", || !worker.join("exe").exists());
    }
}

/// Whoever else may write there could put another program in the place of what was sent.
#[test]
fn a_directory_that_others_may_write_in_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    for shell in shells() {
        let here = tempfile::tempdir().unwrap();
        let place = here.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let open = std::fs::Permissions::from_mode(0o770);
        std::fs::set_permissions(&place, open).unwrap();
        let line = DrillPlace::Here {
            place: place.to_str().unwrap(),
            snapshot: "/none",
        };
        let refused = drill(shell, &input(Path::new("-"), line, COUNTED, ""));
        assert!(
            matches!(&refused, Err(DrillRefused::Script(why)) if why.contains("others may write")),
            "{shell}: {refused:?}"
        );
    }
}

/// Two at once on a host would take its disk; what a killed one left goes with the next.
#[test]
fn one_at_a_time_sweeps_what_another_left() {
    let state = tempfile::tempdir().unwrap();
    std::fs::create_dir(state.path().join("drill.a-b")).unwrap();
    let whole = input(state.path(), DrillPlace::Sent, COUNTED, "whole");
    let lock = state.path().join("drill.lock");
    let mut holds = std::process::Command::new("flock")
        .arg(&lock)
        .args(["sleep", "300"])
        .spawn()
        .unwrap();
    within("there is no lock", || lock.exists());
    let why = "a snapshot is being restored on this host already".to_owned();
    within("it is never refused", || {
        drill("sh", &whole) == Err(DrillRefused::Script(why.clone()))
    });
    let held = std::process::Command::new("pkill")
        .args(["-P", &holds.id().to_string()])
        .status();
    assert!(held.unwrap().success());
    holds.wait().unwrap();
    assert!(drill("sh", &whole).is_ok());
    assert_eq!(left_in(state.path()), Vec::<String>::new());
}

fn within(why: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{why}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
