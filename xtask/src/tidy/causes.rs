//! Causes survive: where an error becomes text, its whole chain does.

use std::path::PathBuf;

use super::lines::lines_of;

/// The crates whose errors wrap those of libraries.
const WRAPPING: [&str; 4] = [
    "crates/deploy/src/",
    "crates/client/src/",
    "crates/host/src/",
    "crates/http-api/src/",
];

/// Errors that are text already, with no cause below them, as the file that has them knows.
const FLAT: [&str; 3] = [
    "crates/client/src/tls.rs",
    "crates/client/src/get.rs",
    "crates/client/src/stream.rs",
];

/// Reports each error that loses its causes.
pub(super) fn find(files: &[PathBuf], faults: &mut Vec<String>) {
    for path in files {
        let name = path.display().to_string();
        let wraps = WRAPPING.iter().any(|of| name.starts_with(of));
        if !wraps || FLAT.contains(&name.as_str()) {
            continue;
        }
        for (place, line) in lines_of(path) {
            if line.contains("#[cfg(test)]") {
                break;
            }
            if line.contains("error.to_string()") {
                faults.push(format!(
                    "{place}: `error.to_string()` drops what caused it: use `chain`"
                ));
            }
        }
    }
}
