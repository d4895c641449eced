//! Phrases that docs/words.md refuses.

use std::path::PathBuf;

use super::lines::lines_of;
use crate::outcome::Outcome;
use crate::setup::root;

const PAGE: &str = "docs/words.md";

/// Reports each refused phrase with its place.
pub(super) fn find(files: &[PathBuf], faults: &mut Vec<String>) -> Outcome {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let refused = refused(&page);
    if refused.is_empty() {
        return Err(format!("{PAGE} has no list of refused phrases"));
    }
    for path in files {
        let kind = path.extension().and_then(|ending| ending.to_str());
        // The page and its own test have to name them.
        let names_them = path.ends_with(PAGE) || path.ends_with("tidy/words.rs");
        if !matches!(kind, Some("rs" | "md" | "sh" | "toml")) || names_them {
            continue;
        }
        for (place, line) in lines_of(path) {
            for phrase in refused.iter().filter(|phrase| contains(&line, phrase)) {
                faults.push(format!("{place}: `{phrase}` is refused by {PAGE}"));
            }
        }
    }
    Ok(())
}

fn refused(page: &str) -> Vec<&str> {
    let list = page.split("## Refused").nth(1).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.strip_prefix("- "))
        .map(str::trim)
        .collect()
}

/// Whether a line has these words, as words of their own, in any case.
fn contains(line: &str, phrase: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let phrase = words(phrase);
    words(line).windows(phrase.len()).any(|part| part == phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_as_words_and_not_within_one() {
        assert!(contains("It waits For ever.", "for ever"));
        assert!(!contains("commended", "mend"));
        assert_eq!(
            refused("# Words\n\n## Refused\n\n- mend\n- for ever\n"),
            ["mend", "for ever"]
        );
    }
}
