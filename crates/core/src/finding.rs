//! What a check found: a stable id, a verdict, the evidence, and what to do.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::file::KeyPath;
use crate::plain::harmless;

/// How much a finding weighs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All is as it should be.
    Pass,
    /// Worth knowing, nothing to stop for.
    Warning,
    /// Nothing goes on before this is fixed.
    Error,
}

/// A row of a table of checks. The page that `etcdup explain` prints is made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Its id: kebab-case, never changed once released.
    pub id: &'static str,
    /// One line that says what it is about.
    pub title: &'static str,
    /// What it means, why it matters, and where that is known from.
    pub about: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// The id of a check: a constant of this program, or read from a document that another one wrote.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct CheckId(Cow<'static, str>);

impl CheckId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl PartialEq<&str> for CheckId {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// What one check found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The check's id.
    pub id: CheckId,
    /// How much it weighs.
    pub verdict: Verdict,
    /// What it is about: a member, a host, a flag, the cluster.
    pub subject: String,
    /// What was found, with both sides of a comparison.
    pub evidence: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
    /// The place in the topology file that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<KeyPath>,
}

impl Finding {
    /// What it is about and what was found, in a line.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.subject, self.evidence)
    }
}

impl Check {
    /// A finding of this check with its standing advice.
    #[must_use]
    pub fn finding(
        &self,
        verdict: Verdict,
        subject: impl ToString,
        evidence: impl Into<String>,
    ) -> Finding {
        Finding {
            id: CheckId(Cow::Borrowed(self.id)),
            verdict,
            subject: subject.to_string(),
            // Hosts and members have their say in it.
            evidence: harmless(&evidence.into()),
            advice: if verdict == Verdict::Pass {
                String::new()
            } else {
                self.advice.to_owned()
            },
            at: None,
        }
    }

    /// A finding that stops.
    #[must_use]
    pub fn error(&self, subject: impl ToString, evidence: impl Into<String>) -> Finding {
        self.finding(Verdict::Error, subject, evidence)
    }

    /// A finding that warns.
    #[must_use]
    pub fn warning(&self, subject: impl ToString, evidence: impl Into<String>) -> Finding {
        self.finding(Verdict::Warning, subject, evidence)
    }

    /// A finding that all is well.
    #[must_use]
    pub fn pass(&self, subject: impl ToString, evidence: impl Into<String>) -> Finding {
        self.finding(Verdict::Pass, subject, evidence)
    }
}

impl Finding {
    /// Whether it is of one of these checks.
    #[must_use]
    pub fn is_of(&self, ids: &[&str]) -> bool {
        ids.contains(&self.id.as_str())
    }

    /// Names the place in the topology file.
    #[must_use]
    pub fn at(mut self, path: KeyPath) -> Self {
        self.at = Some(path);
        self
    }

    /// Replaces the standing advice with one for this very case.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// The weightiest verdict of several findings.
#[must_use]
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Verdict {
    findings
        .into_iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Pass)
}
