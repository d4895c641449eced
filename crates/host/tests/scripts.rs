//! The host scripts under dash, bash and busybox, cut at every few bytes of their input.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect, and run the scripts for real"
)]

mod common;

use std::path::Path;

use common::{LEASE, OBSERVE, STAGE, header, leased, run, runtime, shells, stage_of};
use etcdup_core::observed::Observed;
use etcdup_host::read_answer;
use etcdup_transport::{Fault, FaultyTransport, Local, Transport};

/// A stage that writes two files and makes a directory.
fn stage(state: &Path, target: &Path) -> Vec<u8> {
    let target = target.display();
    let operations = format!(
        "0|dir|755|-|{target}/d\n1|file|f/0|600|-|{target}/d/one\n2|file|f/1|644|-|{target}/d/two\n3|commit\nend\n"
    );
    let files: [(&str, &[u8]); 2] = [("f/0", b"first\n"), ("f/1", b"second | 'quoted' $x\n")];
    stage_of(state, &operations, &files)
}

#[test]
fn a_whole_stage_is_carried_out_and_nothing_is_left_behind() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (state, target) = (place.path().join("state"), place.path().join("t"));
        leased(shell, &state);
        let said = run(shell, &STAGE, &stage(&state, &target)).text();
        assert!(said.contains("@ok|3\n@observe\nsys|"), "{shell}: {said}");
        assert!(
            said.trim_end().lines().last().unwrap().starts_with("end|"),
            "{shell}: {said}"
        );
        assert_eq!(
            std::fs::read_to_string(target.join("d/two")).unwrap(),
            "second | 'quoted' $x\n",
            "{shell}"
        );
        let left: Vec<_> = std::fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().starts_with("in.")),
            "{shell}: {left:?}"
        );
    }
}

#[test]
fn a_stage_cut_anywhere_changes_nothing() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (state, target) = (place.path().join("state"), place.path().join("t"));
        leased(shell, &state);
        let whole = stage(&state, &target);
        // The last blocks of a tar are padding: a stage cut within them is whole.
        let padding = whole.iter().rev().take_while(|byte| **byte == 0).count();
        for cut in (0..whole.len() - padding).step_by(97) {
            let link = FaultyTransport::new(Local::new(shell), Fault::CutAfter(cut as u64));
            let said = runtime()
                .block_on(link.run(&STAGE, Box::new(&whole[..])))
                .unwrap()
                .text();
            assert!(!said.contains("@ok"), "{shell} at {cut}: {said}");
            assert!(
                !target.exists(),
                "{shell}: cut at {cut} and changed something"
            );
        }
    }
}

#[test]
fn a_damaged_stage_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (state, target) = (place.path().join("state"), place.path().join("t"));
    leased("dash", &state);
    let mut damaged = stage(&state, &target);
    let at = damaged
        .windows(5)
        .position(|bytes| bytes == b"first")
        .unwrap();
    damaged[at] = b'F';
    assert!(run("dash", &STAGE, &damaged).text().contains("@refused"));
    assert!(!target.exists());
}

#[test]
fn a_stage_without_the_lease_is_refused() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let (state, target) = (place.path().join("state"), place.path().join("t"));
        let input = header(&state, "somebody", 0) + "take|apply|they@there|now\n";
        run(shell, &LEASE, input.as_bytes());
        assert!(
            run(shell, &STAGE, &stage(&state, &target))
                .text()
                .contains("@refused"),
            "{shell}"
        );
        assert!(!target.exists(), "{shell}");
    }
}

#[test]
fn the_lease_is_held_by_one_and_fenced_by_its_epoch() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        leased(shell, &state);
        let other = header(&state, "other", 0) + "take|apply|they@there|later\n";
        assert!(
            run(shell, &LEASE, other.as_bytes())
                .text()
                .contains("@lease|held|op|test|1|me@here|now|"),
            "{shell}"
        );
        let renewed = header(&state, "op", 1) + "renew\n";
        assert!(
            run(shell, &LEASE, renewed.as_bytes())
                .text()
                .contains("@lease|kept"),
            "{shell}"
        );
        // Another boot, and the lease has run out.
        let lease = std::fs::read_to_string(state.join("lease")).unwrap();
        let mut fields: Vec<&str> = lease.trim().split('|').collect();
        fields[5] = "another-boot";
        std::fs::write(state.join("lease"), fields.join("|") + "\n").unwrap();
        assert!(
            run(shell, &LEASE, other.as_bytes())
                .text()
                .contains("@lease|taken|2"),
            "{shell}"
        );
        assert!(
            run(shell, &LEASE, renewed.as_bytes())
                .text()
                .contains("@lease|held|other"),
            "{shell}"
        );
    }
}

#[test]
fn a_cut_observation_is_never_whole() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let input = header(place.path(), "-", 0) + "file|/etc/passwd\ndata|/etc/passwd\nend\n";
        let said = run(shell, &OBSERVE, input.as_bytes()).text();
        let answer = said.split_once("@observe\n").unwrap().1;
        assert!(
            read_answer(answer, &|_| Observed::unknown("not read")).is_ok(),
            "{shell}: {answer}"
        );
        for cut in (0..answer.len() - 2).step_by(7) {
            assert!(
                read_answer(&answer[..cut], &|_| Observed::unknown("not read")).is_err(),
                "{shell}: cut at {cut} passed"
            );
        }
    }
}
