//! Quorum is computed in one place, from the cluster's own list: nothing else may count members as
//! voters.

use std::path::PathBuf;

use super::lines::lines_of;

/// The one place.
const HOME: &str = "crates/core/src/membership/electorate.rs";

/// Passes on what the one place has.
const FACE: &str = "crates/core/src/membership.rs";

/// Who may ask for the quorum of a bootstrap: before there is a list, or where no member answers
/// with one.
const BOOTSTRAPS: [&str; 3] = [
    "crates/planner/src/identity.rs",
    "crates/planner/src/rules/start.rs",
    "crates/planner/src/predict.rs",
];

/// Reports each other place that counts voters.
pub(super) fn find(files: &[PathBuf], faults: &mut Vec<String>) {
    for path in files {
        let name = path.display().to_string();
        if !name.starts_with("crates/")
            || !name.contains("/src/")
            || [HOME, FACE].contains(&name.as_str())
        {
            continue;
        }
        for (place, line) in lines_of(path) {
            if let Some(what) = counts(&line, BOOTSTRAPS.contains(&name.as_str())) {
                faults.push(format!(
                    "{place}: `{what}`: quorum is counted in {HOME} alone"
                ));
            }
        }
    }
}

/// What in a line counts voters, if anything does.
fn counts(line: &str, bootstraps: bool) -> Option<&'static str> {
    let majority = ["/ 2 + 1", "/ 2) + 1", "quorum_size"];
    let found = majority.into_iter().find(|what| line.contains(what));
    found.or((!bootstraps && line.contains("bootstrap_quorum")).then_some("bootstrap_quorum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_files_members_is_found() {
        assert_eq!(
            counts("let quorum = topology.members.len() / 2 + 1;", true),
            Some("/ 2 + 1")
        );
        assert_eq!(
            counts("bootstrap_quorum(topology)", false),
            Some("bootstrap_quorum")
        );
        assert_eq!(counts("bootstrap_quorum(topology)", true), None);
        assert_eq!(counts("electorate.quorum()", false), None);
    }
}
