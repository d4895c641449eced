//! What `verify` found, a line a finding.

use crate::view::print::outln;
use anstyle::{AnsiColor, Style};
use etcdup_core::finding::{Finding, Verdict};

/// Prints findings in the order of the checks.
pub(crate) fn print(findings: &[Finding]) {
    let width = findings
        .iter()
        .map(|finding| finding.id.as_str().len())
        .max()
        .unwrap_or(0);
    let subjects = findings
        .iter()
        .map(|finding| finding.subject.len())
        .max()
        .unwrap_or(0)
        .min(24);
    for finding in findings {
        let (color, mark) = match finding.verdict {
            Verdict::Pass => (AnsiColor::Green, "ok  "),
            Verdict::Warning => (AnsiColor::Yellow, "warn"),
            Verdict::Error => (AnsiColor::Red, "FAIL"),
        };
        let style = Style::new().fg_color(Some(color.into()));
        outln!(
            "{style}{mark}{style:#}  {:width$}  {:subjects$}  {}",
            finding.id,
            finding.subject,
            finding.evidence
        );
    }
}
