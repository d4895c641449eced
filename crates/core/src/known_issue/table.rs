//! Known issues of etcd releases, each with its source.

use crate::version::EtcdVersion;

/// How severe an issue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// New clusters are refused.
    Refuse,
    /// The plan warns.
    Warn,
}

/// One known issue: which patches have it, in which minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advisory {
    /// The minor it is about.
    pub minor: u64,
    /// The first patch that has it.
    pub first: u64,
    /// The first patch without it.
    pub fixed: u64,
    /// How much it weighs.
    pub weight: Severity,
    /// What can happen.
    pub what: &'static str,
    /// Where that is written.
    pub source: &'static str,
}

use Severity::{Refuse, Warn};

const fn issue(
    minor: u64,
    first: u64,
    fixed: u64,
    weight: Severity,
    what: &'static str,
    source: &'static str,
) -> Advisory {
    Advisory {
        minor,
        first,
        fixed,
        weight,
        what,
        source,
    }
}

/// Every issue that this release knows.
#[rustfmt::skip]
pub const ADVISORIES: &[Advisory] = &[
    //     3.x from fixed
    issue(5,  0,   3,  Refuse, "can lose committed transactions when killed under load", "etcd issue 13766"),
    issue(5,  0,   5,  Warn,   "a single member may lose acknowledged writes in a crash", "CHANGELOG-3.5, 3.5.5"),
    issue(5,  0,   6,  Warn,   "a crash while defragmenting can make members differ", "etcd pull request 14685"),
    issue(4,  0,  38,  Warn,   "defragmenting while a snapshot is taken can corrupt it", "CHANGELOG-3.4, 3.4.38"),
    issue(5,  0,  23,  Warn,   "defragmenting while a snapshot is taken can corrupt it", "CHANGELOG-3.5, 3.5.23"),
    issue(6,  0,   5,  Warn,   "defragmenting while a snapshot is taken can corrupt it", "CHANGELOG-3.6, 3.6.5"),
    issue(4,  0,  42,  Warn,   "a linearizable read may return stale data", "CHANGELOG-3.4, 3.4.42"),
    issue(5,  0,  28,  Warn,   "a linearizable read may return stale data", "CHANGELOG-3.5, 3.5.28"),
    issue(6,  0,   9,  Warn,   "a linearizable read may return stale data", "CHANGELOG-3.6, 3.6.9"),
    issue(5,  0,  32,  Warn,   "a revoked client certificate may pass (CRL bypass)", "CHANGELOG-3.5, 3.5.32"),
    issue(6,  0,  13,  Warn,   "a revoked client certificate may pass (CRL bypass)", "CHANGELOG-3.6, 3.6.13"),
    issue(5,  0,  33,  Warn,   "stalled TLS handshakes can exhaust a member", "GHSA-6vch-q96h-7gc3"),
    issue(6,  0,  14,  Warn,   "stalled TLS handshakes can exhaust a member", "GHSA-6vch-q96h-7gc3"),
    issue(7,  0,   1,  Warn,   "stalled TLS handshakes can exhaust a member", "GHSA-6vch-q96h-7gc3"),
    issue(4,  0, u64::MAX, Warn, "etcd 3.4 is end of life and no longer receives fixes", "etcd releases"),
];

/// The known issues of one release.
pub fn advisories(version: &EtcdVersion) -> impl Iterator<Item = &'static Advisory> {
    let (minor, patch) = (version.minor(), version.patch());
    ADVISORIES
        .iter()
        .filter(move |row| row.minor == minor && (row.first..row.fixed).contains(&patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_that_loses_transactions_is_refused() {
        let refused =
            |text: &str| advisories(&text.parse().unwrap()).any(|row| row.weight == Refuse);
        assert!(refused("3.5.2"));
        assert!(!refused("3.5.3"));
        assert!(!refused("3.6.2"));
    }

    #[test]
    fn the_newest_patches_have_no_known_issue() {
        for newest in ["3.5.33", "3.6.16", "3.7.3"] {
            assert_eq!(advisories(&newest.parse().unwrap()).count(), 0, "{newest}");
        }
    }
}
