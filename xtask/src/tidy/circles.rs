//! No file may need another that needs it: a newcomer can then read every crate from the ground up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::outcome::Outcome;

/// The files of one crate, by the path of their module: `rules::roll`, or nothing for the crate's
/// own file.
type Modules = BTreeMap<Vec<String>, File>;

struct File {
    path: PathBuf,
    text: String,
    /// What the module passes on from others: a name, and the path that it stands for.
    passed_on: BTreeMap<String, Vec<String>>,
}

/// Finds the import circles of a crate, one line each.
pub(super) fn find(source: &Path, faults: &mut Vec<String>) -> Outcome {
    let modules = read(source)?;
    let mut needs: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for (module, file) in &modules {
        for path in imports(&file.text, module, &modules) {
            let Some(target) = resolve(&modules, &path, 0) else {
                continue;
            };
            if target != file.path {
                needs.entry(&file.path).or_default().insert(target);
            }
        }
    }
    let mut known: BTreeSet<BTreeSet<&Path>> = BTreeSet::new();
    for start in needs.keys() {
        let reach = reachable(&needs, start);
        if !reach.contains(start) {
            continue;
        }
        let back = |file: &&&Path| reachable(&needs, file).contains(start);
        let circle: BTreeSet<&Path> = reach.iter().filter(back).copied().collect();
        if known.insert(circle.clone()) {
            let names: Vec<String> = circle
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            faults.push(format!(
                "these files need one another: {}",
                names.join(", ")
            ));
        }
    }
    Ok(())
}

fn reachable<'a>(
    needs: &BTreeMap<&'a Path, BTreeSet<&'a Path>>,
    start: &Path,
) -> BTreeSet<&'a Path> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Path> = needs.get(start).into_iter().flatten().copied().collect();
    while let Some(next) = open.pop() {
        if let Some((file, _)) = needs.get_key_value(next)
            && found.insert(*file)
        {
            open.extend(needs[file].iter().copied());
        }
    }
    found
}

fn read(source: &Path) -> Result<Modules, String> {
    let mut modules = Modules::new();
    let mut open = vec![source.to_owned()];
    while let Some(directory) = open.pop() {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Tests may look at everything.
            if !name.ends_with(".rs") || name.ends_with("_tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let below = path.strip_prefix(source).unwrap_or(&path);
            let mut module: Vec<String> = below
                .with_extension("")
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            if ["lib", "main", "mod"].contains(&module.last().map_or("", String::as_str)) {
                module.pop();
            }
            let file = File {
                passed_on: passed_on(text, &module),
                text: without_comments(text),
                path,
            };
            modules.insert(module, file);
        }
    }
    Ok(modules)
}

fn without_comments(text: &str) -> String {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(code).collect::<Vec<_>>().join("\n")
}

/// Where a path leads: to the file that has the last module on it, or to the one that this passes
/// the name on from.
fn resolve<'a>(modules: &'a Modules, path: &[String], depth: u8) -> Option<&'a Path> {
    let longest = (0..=path.len())
        .rev()
        .find(|length| modules.contains_key(&path[..*length]))?;
    let file = &modules[&path[..longest]];
    // Two modules that pass a name on to each other would be an error of the compiler's.
    match path.get(longest).and_then(|name| file.passed_on.get(name)) {
        Some(further) if depth < 8 => resolve(modules, further, depth + 1),
        _ => Some(&file.path),
    }
}

/// What a file needs of its own crate. What it only passes on is no need of its own.
fn imports(text: &str, module: &[String], modules: &Modules) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut code = text.to_owned();
    for (statement, public) in uses(text) {
        if public {
            code = code.replace(&statement, "");
        } else {
            found.extend(flatten(&statement, module));
        }
    }
    // Paths that are written out where they are used.
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        // What ends so is the head of a group, which was read as a statement above.
        let Some((first, _)) = word.split_once("::").filter(|_| !word.ends_with("::")) else {
            continue;
        };
        let child = || modules.contains_key(&[module, &[first.to_owned()]].concat());
        if ["crate", "super"].contains(&first) || child() {
            found.extend(flatten(word, module));
        }
    }
    found
}

fn passed_on(text: &str, module: &[String]) -> BTreeMap<String, Vec<String>> {
    let text = without_comments(text);
    let mut found = BTreeMap::new();
    for (statement, _) in uses(&text) {
        for path in flatten(&statement, module) {
            if let Some(name) = path.last() {
                found.insert(name.clone(), path.clone());
            }
        }
    }
    found
}

/// The `use` statements of a file, and whether they are public: the tree between `use` and the
/// semicolon.
fn uses(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let after = &rest[at + 4..];
        let Some(end) = after.find(';') else { break };
        if before.is_empty() || before.starts_with("pub") {
            found.push((after[..end].to_owned(), before.starts_with("pub")));
        }
        rest = &after[end..];
    }
    found
}

/// The paths of a tree such as `super::{a, b::{c, d}}`, from the crate's root; none of other
/// crates.
fn flatten(tree: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    spread(
        &tree.split_whitespace().collect::<Vec<_>>().join(" "),
        &[],
        &mut found,
    );
    found
        .into_iter()
        .filter_map(|path: Vec<String>| from_root(&path, module))
        .collect()
}

fn spread(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let (head, group) = match tree.split_once('{') {
        Some((head, group)) => (head, Some(group.trim_end().trim_end_matches('}'))),
        None => (tree, None),
    };
    let own = head.split(" as ").next().unwrap_or_default();
    let parts = own
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let path: Vec<String> = before
        .iter()
        .cloned()
        .chain(parts.map(str::to_owned))
        .collect();
    let Some(group) = group else {
        if !path.is_empty() {
            found.push(path);
        }
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spread(&group[start..at], &path, found);
                start = at + 1;
            }
            _ => {}
        }
    }
    spread(&group[start..], &path, found);
}

fn from_root(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let mut at = module.to_vec();
    let (first, rest) = path.split_first()?;
    let mut rest = rest;
    match first.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop();
            while let Some((next, further)) = rest.split_first()
                && next == "super"
            {
                at.pop();
                rest = further;
            }
        }
        // A child module, or another crate, of which no file here has the path.
        child => at.push(child.to_owned()),
    }
    at.extend(
        rest.iter()
            .filter(|part| *part != "self" && *part != "*")
            .cloned(),
    );
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut faults = Vec::new();
        find(place.path(), &mut faults).unwrap();
        faults
    }

    #[test]
    fn two_files_that_need_one_another_are_found() {
        let faults = circles(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b::{B,\n    C};\n"),
            ("b.rs", "fn b() -> super::a::A { todo!() }\n"),
        ]);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn a_parent_that_only_passes_names_on_is_no_part_of_a_circle() {
        let faults = circles(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\n"),
            ("a.rs", "mod inner;\npub use inner::A;\n"),
            ("a/inner.rs", "use crate::b::B;\n"),
            ("b.rs", "use std::fmt;\n"),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn a_parent_that_uses_its_children_must_not_be_used_by_them() {
        let faults = circles(&[
            ("lib.rs", "mod a;\n"),
            ("a.rs", "mod inner;\nfn a() { inner::b(); }\n"),
            ("a/inner.rs", "use super::A;\n"),
        ]);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }

    #[test]
    fn a_name_is_followed_to_the_file_that_has_it() {
        let faults = circles(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            (
                "a.rs",
                "mod one;\nmod two;\npub use one::One;\npub use two::Two;\n",
            ),
            ("a/one.rs", "pub struct One;\n"),
            ("a/two.rs", "use crate::b::B;\n"),
            ("b.rs", "use crate::a::One;\n"),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
    }
}
