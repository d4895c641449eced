//! Whether who must not be served is refused.

use etcdup_core::finding::{Check, Finding};

use super::evidence::Evidence;
use crate::gather::Anonymous;

pub(super) const ANONYMOUS: Check = Check {
    id: "anonymous-refused",
    title: "a client without a certificate is refused",
    about: "A read is tried without a certificate at every member. Where clients must show one and the read is served, \
            anyone can read all data.",
    advice: "see that the member runs with client-cert-auth and trusted-ca-file: `etcdup plan` shows flags that differ",
};

pub(super) fn anonymous(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut refused = 0;
    for (name, member) in evidence.answered() {
        match &member.anonymous {
            Anonymous::Served => {
                findings.push(check.error(name, "served a read without a certificate"));
            }
            Anonymous::Refused(_) => refused += 1,
            Anonymous::Inconclusive(why) => {
                findings.push(check.warning(name, format!("could not be tried: {why}")));
            }
            Anonymous::NotTried => {}
        }
    }
    if findings.is_empty() {
        let words = if refused > 0 {
            match refused {
                1 => "refused by 1 member".to_owned(),
                more => format!("refused by {more} members"),
            }
        } else {
            "clients need no certificate here".to_owned()
        };
        findings.push(check.pass("cluster", words));
    }
    findings
}
