//! The operations log on a host.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests say what they expect"
)]

mod common;

use common::{HISTORY, LEASE, header, leased, run, shells};
use etcdup_host::{LogEntry, read_log};

/// Who began and how it ended is read back; the log stays small, and whoever cannot write it
/// still gets the lease.
#[test]
fn the_operations_log_is_kept_and_bounded() {
    for shell in shells() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        leased(shell, &state);
        let release = header(&state, "op", 1) + "release|done\n";
        run(shell, &LEASE, release.as_bytes());
        let read = || {
            let asked = header(&state, "-", 0);
            let said = run(shell, &HISTORY, asked.as_bytes());
            read_log(&said.text(), &said.last_stderr_line()).unwrap()
        };
        let lines = read();
        assert_eq!(lines.len(), 2, "{shell}: {lines:?}");
        assert_eq!(
            lines[1].what,
            LogEntry::Ended {
                state: "done".into()
            }
        );
        // A lease that is not ours any more is not given back, and nothing ended by it.
        run(shell, &LEASE, release.as_bytes());
        assert_eq!(read().len(), 2, "{shell}");
        let line = "began|0|prod|op|1|apply|me@here|\n";
        std::fs::write(state.join("operations"), line.repeat(600)).unwrap();
        leased(shell, &state);
        assert_eq!(read().len(), 301, "{shell}");
        // A line that was cut off takes no other with it.
        let torn = format!("{line}began|0|prod|op");
        std::fs::write(state.join("operations"), torn).unwrap();
        run(shell, &LEASE, release.as_bytes());
        assert_eq!(read().len(), 2, "{shell}");
        std::fs::remove_file(state.join("operations")).unwrap();
        std::fs::create_dir(state.join("operations")).unwrap();
        run(shell, &LEASE, release.as_bytes());
        leased(shell, &state);
        assert!(read().is_empty(), "{shell}");
    }
}
