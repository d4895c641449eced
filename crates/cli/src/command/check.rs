//! `etcdup check`: what can be said without a host.

use etcdup_core::finding::{Verdict, worst};
use etcdup_core::observation::HostFacts;
use etcdup_core::topology::{lint, zone_lines};

use crate::command::Context;
use crate::exit;
use crate::view;

pub(crate) fn run(context: &Context) -> u8 {
    let (document, path) = match context.document() {
        Ok(found) => found,
        Err(error) => return context.fail(&error),
    };
    let mut findings = lint(&document.spec);
    if worst(&findings) < Verdict::Error {
        // The template and the files of certificates can be looked at without a host too.
        findings.extend(render_findings(&document, &path));
    }
    let zone = etcdup_core::topology::resolve(&document.spec, |_| None)
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
            anstream::println!("the zone needs these records:");
            zone.iter().for_each(|line| anstream::println!("  {line}"));
        }
        let members = document.spec.member.len();
        match worst(&findings) {
            Verdict::Error => {}
            Verdict::Warning | Verdict::Pass => anstream::println!(
                "{} is well: {members} member{}, etcd {}",
                path.display(),
                if members == 1 { "" } else { "s" },
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

fn render_findings(
    document: &etcdup_core::topology::Document,
    path: &std::path::Path,
) -> Vec<etcdup_core::finding::Finding> {
    let check = etcdup_deploy::unit_template_check();
    let base = path.parent().unwrap_or(std::path::Path::new("."));
    let at = || etcdup_core::topology::KeyPath::root("layout").key("unit-template");
    let text = match etcdup_deploy::unit_template(&document.spec, base) {
        Ok(None) => return Vec::new(),
        Ok(Some(text)) => text,
        Err(error) => {
            let evidence = etcdup_deploy::chain(&error);
            return vec![check.error("layout", evidence).at(at())];
        }
    };
    // What only hosts know does not matter for the template.
    let somewhere = HostFacts {
        hostname: "host".to_owned(),
        home: "/root".to_owned(),
        ..HostFacts::default()
    };
    let topology = etcdup_core::topology::resolve(&document.spec, |_| None)
        .or_else(|_| etcdup_core::topology::resolve(&document.spec, |_| Some(&somewhere)));
    let Ok(topology) = topology else {
        return Vec::new();
    };
    let goal = etcdup_core::stage::Goal::Converge {
        allow_outage: false,
    };
    match etcdup_planner::Planner::new(topology, goal, Some(&text)) {
        Ok(_) => {
            let weak = etcdup_deploy::unit_weakness_check();
            let weaknesses = text.weaknesses().into_iter();
            weaknesses
                .map(|why| weak.warning("layout", why).at(at()))
                .collect()
        }
        Err(error) => vec![check.error("layout", error.to_string()).at(at())],
    }
}
