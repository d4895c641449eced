//! Checks of the version: known issues, and releases that this etcdup does not know.

use super::rows::{VERSION_HAZARD, VERSION_UNKNOWN};
use crate::file::{KeyPath, Spec};
use crate::finding::Finding;
use crate::known_issue::{Advisory, Severity, advisories};
use crate::version::{EtcdVersion, KNOWN_MINORS, NEWEST_PATCHES};

pub(super) fn versions(spec: &Spec, findings: &mut Vec<Finding>) {
    through(spec, findings);
    let at = || KeyPath::root("etcd");
    let Some(column) = spec.etcd.column() else {
        let known = KNOWN_MINORS.map(|minor| format!("3.{minor}")).join(", ");
        let evidence = format!("{} is of no known minor ({known})", spec.etcd);
        findings.push(VERSION_UNKNOWN.error(&spec.etcd, evidence).at(at()));
        return;
    };
    if !spec.etcd.is_known() {
        let newest = format!("3.{}.{}", KNOWN_MINORS[column], NEWEST_PATCHES[column]);
        let evidence = format!(
            "{} is newer than {newest}, the newest known; its flags are taken to be the same",
            spec.etcd
        );
        findings.push(VERSION_UNKNOWN.warning(&spec.etcd, evidence).at(at()));
    }
    let (refused, warned): (Vec<&Advisory>, Vec<&Advisory>) =
        advisories(&spec.etcd).partition(|advisory| advisory.weight == Severity::Refuse);
    // All at once: a box for each would drown what matters.
    if let Some(evidence) = known_issues(&spec.etcd, &refused) {
        let finding = VERSION_HAZARD.error(&spec.etcd, evidence);
        findings.push(finding.at(at()).advise(way_out(&refused)));
    } else if let Some(evidence) = known_issues(&spec.etcd, &warned) {
        let finding = VERSION_HAZARD.warning(&spec.etcd, evidence);
        findings.push(finding.at(at()).advise(way_out(&warned)));
    }
}

/// Releases to pass through: each of a minor of its own, below the file's or above it.
fn through(spec: &Spec, findings: &mut Vec<Finding>) {
    for (index, version) in spec.through.iter().enumerate() {
        let at = || KeyPath::root("through").index(index);
        let mut others = spec.through[..index].iter().chain([&spec.etcd]);
        if let Some(same) = others.find(|other| other.minor() == version.minor()) {
            let evidence = format!(
                "{version} is of the same minor as {same}, and one of each is passed through"
            );
            let finding = VERSION_UNKNOWN.error(version, evidence).at(at());
            findings
                .push(finding.advise("name one release of each minor in between, and no other"));
        } else if version.column().is_none() {
            let evidence = format!("{version} is of no known minor");
            findings.push(VERSION_UNKNOWN.error(version, evidence).at(at()));
        }
        let refused = |advisory: &&Advisory| advisory.weight == Severity::Refuse;
        let refused: Vec<&Advisory> = advisories(version).filter(refused).collect();
        if let Some(evidence) = known_issues(version, &refused) {
            let finding = VERSION_HAZARD.error(version, evidence);
            findings.push(finding.at(at()).advise(way_out(&refused)));
        }
    }
}

/// The known issues of a release in one line.
fn known_issues(version: &EtcdVersion, advisories: &[&Advisory]) -> Option<String> {
    let what: Vec<String> = advisories
        .iter()
        .map(|advisory| format!("{} ({})", advisory.what, advisory.source))
        .collect();
    (!what.is_empty()).then(|| format!("{version} has known issues: {}", what.join("; ")))
}

/// The first release without any of them.
fn way_out(advisories: &[&Advisory]) -> String {
    let fixed = advisories
        .iter()
        .filter(|advisory| advisory.fixed != u64::MAX);
    match fixed.max_by_key(|advisory| advisory.fixed) {
        Some(last) => format!("use 3.{}.{} or later", last.minor, last.fixed),
        None => "use a newer minor".to_owned(),
    }
}
