//! Whatever a finding names, `etcdup explain` knows: every check of the code is in its catalogue.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::lines::lines_of;
use crate::setup::root;

/// The catalogue as it was last written out: `cargo xtask docs` does, and a test compares the two.
const PAGES: &str = "docs/checks.md";

/// Reports each check that has no page.
pub(super) fn find(files: &[PathBuf], faults: &mut Vec<String>) -> Result<(), String> {
    let path = root().join(PAGES);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{PAGES}: {error}"))?;
    let pages: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let code = files.iter().filter(|path| {
        let name = path.display().to_string();
        name.starts_with("crates/") && name.contains("/src/") && name.ends_with(".rs")
    });
    for path in code {
        let mut begun = false;
        for (place, line) in lines_of(path) {
            let id = line.trim().strip_prefix("id: \"");
            let id = id.and_then(|rest| rest.split('"').next());
            if let Some(id) = id.filter(|id| begun && !pages.contains(id)) {
                faults.push(format!(
                    "{place}: `{id}` has no page in {PAGES}: put it among the checks of its module"
                ));
            }
            begun = line.trim_end().ends_with(": Check = Check {");
        }
    }
    Ok(())
}
