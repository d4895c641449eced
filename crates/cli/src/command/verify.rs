//! `etcdup verify`.

use etcdup_core::finding::Verdict;
use etcdup_deploy::Verdicts;

use crate::command::Context;
use crate::exit;
use crate::view;

pub(crate) async fn run(context: &Context) -> u8 {
    let session = match context.session(None, None).await {
        Ok(session) => session,
        Err(error) => return context.fail(&error),
    };
    let verdicts = session.verify().await;
    session.close().await;
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(error) => return context.fail(&error),
    };
    if context.json() {
        view::json::print("verify", &etcdup_deploy::verify_document(&verdicts));
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
pub(crate) fn summary(verdicts: &Verdicts) {
    let count = |verdict: Verdict| {
        verdicts
            .findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let members = verdicts.planner.topology.members.len();
    let cluster = &verdicts.planner.topology.spec.cluster;
    match verdicts.worst() {
        Verdict::Error => {
            let errors: Vec<_> = verdicts
                .findings
                .iter()
                .filter(|finding| finding.verdict == Verdict::Error)
                .cloned()
                .collect();
            view::error::findings(&errors, None);
            anstream::println!(
                "cluster {cluster} is NOT well: {} errors, {} warnings",
                count(Verdict::Error),
                count(Verdict::Warning)
            );
        }
        Verdict::Warning => {
            let warnings: Vec<_> = verdicts
                .findings
                .iter()
                .filter(|finding| finding.verdict == Verdict::Warning)
                .cloned()
                .collect();
            view::error::findings(&warnings, None);
            anstream::println!(
                "cluster {cluster} serves, {members} members verified, {} warnings: etcdup verify",
                count(Verdict::Warning)
            );
        }
        Verdict::Pass => {
            anstream::println!("cluster {cluster} is well: {members} members, verified");
        }
    }
}
