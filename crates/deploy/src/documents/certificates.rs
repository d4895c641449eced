//! Certificates and when they end, as a document. Private keys are in none.

use etcdup_core::certificate::CertFacts;
use etcdup_core::observation::Observation;
use etcdup_core::observed::Observed;
use etcdup_planner::Planner;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format that lists of certificates name.
pub const CERTIFICATES_FORMAT: &str = "etcdup/certificates/1";

/// The certificates of a cluster, the first to end first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CertificatesDocument {
    /// The format, [`CERTIFICATES_FORMAT`].
    pub format: String,
    /// The cluster's name.
    pub cluster: String,
    /// The certificates.
    pub certificates: Vec<CertificateDocument>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateDocument {
    /// The host that has it; `operator` for this machine.
    pub on: String,
    /// Its file on that host; the client's name for one of this machine.
    pub file: String,
    /// The common name.
    pub name: String,
    /// The issuer's common name.
    pub issuer: String,
    /// Whether it is a CA.
    pub ca: bool,
    /// Whether another CA issued it than the one that issues now: it is refused once members stop
    /// trusting that CA.
    pub of_another_ca: bool,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
}

impl CertificatesDocument {
    /// The certificates that were seen.
    #[must_use]
    pub fn new(planner: &Planner, seen: &Observation) -> Self {
        let mut certificates = Vec::new();
        let one = |on: String, file: String, facts: &CertFacts| CertificateDocument {
            on,
            file,
            name: facts.name.clone(),
            issuer: facts.issuer.clone(),
            ca: facts.is_ca,
            of_another_ca: seen.is_of_another_ca(facts),
            not_before: facts.not_before,
            not_after: facts.not_after,
            fingerprint: facts.fingerprint.clone(),
        };
        for (host, view) in &seen.hosts {
            let Some(view) = view.known() else { continue };
            for (path, facts) in &view.certificates {
                if let Observed::Known(facts) = facts {
                    certificates.push(one(host.to_string(), path.to_string(), facts));
                }
            }
        }
        let here = || "operator".to_owned();
        for (client, facts) in &seen.clients {
            if let Observed::Known(facts) = facts {
                certificates.push(one(here(), client.clone(), facts));
            }
        }
        if let Some(facts) = seen.ca.facts() {
            certificates.push(one(here(), "ca".to_owned(), facts));
        }
        let trusted = planner.topology().certificates.trust.iter();
        for (path, view) in trusted.zip(&seen.trusted) {
            if let Some(facts) = view.facts() {
                certificates.push(one(here(), path.to_string(), facts));
            }
        }
        certificates.sort_by_key(|one| (one.not_after, one.on.clone(), one.file.clone()));
        Self {
            format: CERTIFICATES_FORMAT.to_owned(),
            cluster: planner.topology().cluster.to_string(),
            certificates,
        }
    }
}
