//! `etcdup verify`.

use crate::view::{count, outln};
use etcdup_core::finding::{Finding, Verdict};
use etcdup_deploy::Report;

use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context) -> u8 {
    let session = match context.session().await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let verdicts = session.verify().await;
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(error) => return context.fail(&error),
    };
    if context.json() {
        view::json::document(&etcdup_deploy::VerifyDocument::new(&verdicts));
    } else {
        view::verdicts::print(&verdicts.findings);
        summary(&verdicts);
    }
    if verdicts.worst() == Verdict::Error {
        exit::FAILED
    } else {
        exit::DONE
    }
}

/// One line that says how the cluster stands.
pub(crate) fn summary(verdicts: &Report) {
    let of = |verdict: Verdict| -> Vec<Finding> {
        let findings = verdicts.findings.iter();
        findings
            .filter(|finding| finding.verdict == verdict)
            .cloned()
            .collect()
    };
    let (errors, warnings) = (of(Verdict::Error), of(Verdict::Warning));
    let members = verdicts.planner.topology().members.len();
    let cluster = &verdicts.planner.topology().cluster;
    match verdicts.worst() {
        Verdict::Error => {
            view::error::findings(&errors, None);
            outln!(
                "cluster {cluster} is unhealthy: {}, {}",
                count(errors.len(), "error"),
                count(warnings.len(), "warning")
            );
        }
        Verdict::Warning => {
            view::error::findings(&warnings, None);
            outln!(
                "cluster {cluster} is healthy with {} ({}); run `etcdup verify` for details",
                count(warnings.len(), "warning"),
                count(members, "member")
            );
        }
        Verdict::Pass => {
            outln!(
                "cluster {cluster} is healthy: {} verified",
                count(members, "member")
            );
        }
    }
}
