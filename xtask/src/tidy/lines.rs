//! The lines of a file, for rules that name the place of a fault.

use std::path::Path;

use crate::setup::root;

/// Each line of a file of the repository with its place, `path:number`.
pub(super) fn lines_of(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let place = |number: usize| format!("{}:{}", path.display(), number + 1);
    let lines = text.lines().enumerate();
    lines
        .map(|(number, line)| (place(number), line.to_owned()))
        .collect()
}
