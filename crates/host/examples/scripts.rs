//! Writes the scripts into a directory, put together as hosts get them: for whoever wants to read
//! what runs as root, and for shellcheck.

use std::path::PathBuf;
use std::process::ExitCode;

use etcdup_host::scripts;

#[allow(clippy::disallowed_methods, reason = "the caller writes files")]
fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("name a directory to write the scripts into");
        return ExitCode::FAILURE;
    };
    let all = [
        ("observe.sh", scripts::OBSERVE),
        ("stage.sh", scripts::STAGE),
        ("lease.sh", scripts::LEASE),
        ("logs.sh", scripts::LOGS),
    ];
    for (name, script) in all {
        let path = directory.join(name);
        if let Err(error) = std::fs::write(&path, script) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
