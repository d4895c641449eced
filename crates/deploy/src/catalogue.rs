//! Every check, known issue, error and rule in one place, for `etcdup explain` and the generated
//! pages.

use crate::error::ERRORS;
use etcdup_core::finding::Check;
use etcdup_core::known_issue::ADVISORIES;
use etcdup_core::lint::LINTS;
use etcdup_core::sources::SOURCE_CHECKS;
use etcdup_planner::{CONVERGE, PLANNER_CHECKS, RuleRow};
use etcdup_verify::VERIFY_CHECKS;
use std::fmt::Write;

/// A page about one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The id.
    pub id: &'static str,
    /// One line.
    pub title: &'static str,
    /// What to do, where it is one thing.
    pub advice: Option<&'static str>,
    /// The page's text.
    pub text: String,
}

/// Every page, by id. `further` are checks of the frontend's own.
#[must_use]
pub fn pages(further: &[Check]) -> Vec<Page> {
    let mut pages: Vec<Page> = LINTS
        .iter()
        .chain(PLANNER_CHECKS.iter().flat_map(|checks| checks.iter()))
        .chain(&VERIFY_CHECKS)
        .chain(SOURCE_CHECKS)
        .chain(ERRORS)
        .chain(further)
        .map(page)
        .chain(CONVERGE.iter().enumerate().map(rule_page))
        .collect();
    pages.sort_by_key(|page| page.id);
    pages
}

fn page(check: &Check) -> Page {
    let mut text = format!("{}\n\nWhat to do: {}.\n", check.about, check.advice);
    if check.id == "known-issue" {
        text.push_str("\nKnown issues:\n");
        for row in ADVISORIES {
            let fixed = if row.fixed == u64::MAX {
                "not fixed".to_owned()
            } else {
                format!("fixed in 3.{}.{}", row.minor, row.fixed)
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  3.{} ({fixed}): {} [{}]",
                row.minor, row.what, row.source
            );
        }
    }
    Page {
        advice: Some(check.advice),
        id: check.id,
        title: check.title,
        text,
    }
}

fn rule_page((index, row): (usize, &RuleRow)) -> Page {
    let place = format!("rule {} of {} of `etcdup apply`", index + 1, CONVERGE.len());
    Page {
        id: row.id,
        advice: None,
        title: row.about,
        text: format!(
            "This is {place}. The first that has something to do decides the next stage.\n\n{}\n",
            row.why
        ),
    }
}

/// The page about an id.
#[must_use]
pub fn explain(id: &str, further: &[Check]) -> Option<Page> {
    let is_source = |source: &str| {
        source
            .split([' ', ','])
            .any(|word| word.eq_ignore_ascii_case(id))
    };
    let id = if ADVISORIES.iter().any(|row| is_source(row.source)) {
        "known-issue"
    } else {
        id
    };
    pages(further).into_iter().find(|page| page.id == id)
}

/// The id nearest to a misspelt one.
#[must_use]
pub fn nearest_page(id: &str, further: &[Check]) -> Option<&'static str> {
    pages(further)
        .into_iter()
        .map(|page| (strsim::jaro_winkler(page.id, id), page.id))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_unique_and_kebab_case() {
        let pages = super::pages(&[]);
        assert!(pages.windows(2).all(|pair| pair[0].id != pair[1].id));
        for page in pages {
            assert!(
                page.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{}",
                page.id
            );
        }
    }
}
