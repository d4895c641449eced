//! `etcdup check`: what can be said without a host.

use crate::view::{count, outln};
use std::path::Path;

use etcdup_core::file::{Document, KeyPath};
use etcdup_core::finding::{Finding, Verdict, worst};
use etcdup_core::host::HostFacts;
use etcdup_core::lint::lint;
use etcdup_core::observed::Observed;
use etcdup_core::stage::Goal;
use etcdup_core::topology::{resolve, zone_lines};
use etcdup_deploy::inspect_sources;
use etcdup_planner::{Planner, SOURCE_UNREADABLE};

use crate::command::context::Context;
use crate::exit;
use crate::view;

pub(crate) fn run(context: &Context) -> u8 {
    let (document, path) = match context.document() {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    let mut findings = lint(&document.spec);
    if worst(&findings) < Verdict::Error {
        findings.extend(local_findings(&document, &path));
    }
    let zone = resolve(&document.spec, |_| None)
        .map(|topology| zone_lines(&topology))
        .unwrap_or_default();
    if context.json() {
        view::json::print(
            "check",
            &serde_json::json!({
                "findings": view::json::findings(&findings, Some(&document)),
                "records": zone,
            }),
        );
    } else {
        view::error::findings(&findings, Some(&document));
        if !zone.is_empty() {
            outln!("DNS records required:");
            zone.iter().for_each(|line| outln!("  {line}"));
        }
        let members = document.spec.member.len();
        match worst(&findings) {
            Verdict::Error => {}
            Verdict::Warning | Verdict::Pass => outln!(
                "{} is valid: {}, etcd {}",
                path.display(),
                count(members, "member"),
                document.spec.etcd
            ),
        }
    }
    if worst(&findings) == Verdict::Error {
        exit::BLOCKED
    } else {
        exit::DONE
    }
}

/// What can be looked at here: the template of a unit, and files that the topology names.
fn local_findings(document: &Document, path: &Path) -> Vec<Finding> {
    let base = path.parent().unwrap_or(Path::new("."));
    let mut findings = Vec::new();
    // What only hosts know does not matter for these.
    let somewhere = HostFacts {
        hostname: "host".to_owned(),
        home: "/root".to_owned(),
        ..HostFacts::default()
    };
    let topology = resolve(&document.spec, |_| None)
        .or_else(|_| resolve(&document.spec, |_| Some(&somewhere)));
    let sources = inspect_sources(&document.spec, base, topology.as_ref().ok());
    for (file, source) in sources {
        if let Observed::Unknown(unseen) = source {
            findings.push(SOURCE_UNREADABLE.error(file, unseen.why));
        }
    }
    let check = etcdup_deploy::unit_template_check();
    let at = || KeyPath::root("layout").key("unit-template");
    let template =
        match etcdup_deploy::unit_template(document.spec.layout.unit_template.as_deref(), base) {
            Ok(Some(template)) => template,
            Ok(None) => return findings,
            Err(error) => {
                let evidence = etcdup_deploy::chain(&error);
                findings.push(check.error("layout", evidence).at(at()));
                return findings;
            }
        };
    let Ok(topology) = topology else {
        return findings;
    };
    match Planner::new(topology, Goal::CONVERGE, Some(&template)) {
        Ok(_) => {
            let weak = etcdup_deploy::unit_weakness_check();
            let weaknesses = template.weaknesses().into_iter();
            findings.extend(weaknesses.map(|why| weak.warning("layout", why).at(at())));
        }
        Err(error) => findings.push(check.error("layout", error.to_string()).at(at())),
    }
    findings
}
