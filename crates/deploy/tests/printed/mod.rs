//! Plans in words.

use std::fmt::Write;

use etcdup_core::observation::Observation;
use etcdup_core::stage::Impact;
use etcdup_deploy::{EndingDocument, Plan, PlanDocument};
use etcdup_planner::Planner;

/// A plan as `etcdup plan` prints it, what it warns of first, without colors; hosts that do the
/// same are printed once.
pub(crate) fn printed(planner: Planner, seen: Observation) -> String {
    let plan = Plan {
        forecast: planner.forecast(&seen),
        warnings: planner.preflight(&seen),
        planner,
        seen,
    };
    let document = PlanDocument::new(&plan);
    let mut text = String::new();
    for finding in &document.warnings {
        let (id, subject) = (&finding.id, &finding.subject);
        writeln!(text, "{id}: {subject}: {}", finding.evidence).unwrap();
    }
    let mut leg = None;
    for stage in &document.stages {
        if stage.leg != leg {
            leg.clone_from(&stage.leg);
            writeln!(text, "== {}", leg.as_deref().unwrap_or("the rest")).unwrap();
        }
        let impact = match &stage.impact {
            Impact::None => String::new(),
            Impact::Restart(member) => format!("   {member} restarts; the others stay available\n"),
            Impact::Pause(member) => {
                format!("   {member} answers nothing meanwhile; the others stay available\n")
            }
            Impact::Outage(what) => format!("   OUTAGE: {what}\n"),
        };
        write!(text, "{}: {}\n{impact}", stage.key, stage.title).unwrap();
        for why in &stage.why {
            writeln!(text, "   because {why}").unwrap();
        }
        let mut on = "";
        for step in &stage.steps {
            if step.on != on {
                writeln!(text, "   on {}", step.on).unwrap();
                on = &step.on;
            }
            writeln!(text, "     {}", step.step).unwrap();
            for line in &step.diff {
                writeln!(text, "       {line}").unwrap();
            }
        }
        for gate in &stage.gates {
            writeln!(text, "   until {gate}").unwrap();
        }
    }
    match document.ending {
        EndingDocument::Done => text.push_str("done\n"),
        EndingDocument::Loop => text.push_str("LOOP\n"),
        EndingDocument::Blocked => {
            for finding in &document.findings {
                let (id, subject) = (&finding.id, &finding.subject);
                writeln!(text, "blocked by {id}: {subject}: {}", finding.evidence).unwrap();
                writeln!(text, "   {}", finding.advice).unwrap();
            }
        }
    }
    text
}
