//! What a look at a cluster showed.

use std::sync::Arc;

use etcdup_core::finding::Finding;
use etcdup_deploy::{CertificatesDocument, HostsDocument, PlanDocument, StatusDocument};
use jiff::Timestamp;

/// What was seen of a cluster's members and hosts, as documents.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) status: Arc<StatusDocument>,
    pub(crate) certificates: Arc<CertificatesDocument>,
    pub(crate) hosts: Arc<HostsDocument>,
    pub(crate) drift: Arc<PlanDocument>,
    pub(crate) members_at: Timestamp,
    pub(crate) hosts_at: Timestamp,
}

/// The first of several findings in words, and how many more there are.
pub(crate) fn first_of<'a>(mut findings: impl Iterator<Item = &'a Finding>) -> Option<String> {
    let first = findings.next()?;
    let words = first.line();
    Some(match findings.count() {
        0 => words,
        more => format!("{words} (and {more} more)"),
    })
}
