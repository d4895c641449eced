//! What verification found, as a document.

use etcdup_core::finding::{Finding, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::Report;

/// The format that reports name.
pub const VERIFY_FORMAT: &str = "etcdup/verify/1";

/// Every finding, and the weightiest verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyDocument {
    /// The format, [`VERIFY_FORMAT`].
    pub format: String,
    /// The cluster's name.
    pub cluster: String,
    /// The weightiest verdict.
    pub verdict: Verdict,
    /// What each check found.
    pub findings: Vec<Finding>,
}

impl VerifyDocument {
    /// A report as a document.
    #[must_use]
    pub fn new(report: &Report) -> Self {
        Self {
            format: VERIFY_FORMAT.to_owned(),
            cluster: report.planner.topology().cluster.to_string(),
            verdict: report.worst(),
            findings: report.findings.clone(),
        }
    }
}
