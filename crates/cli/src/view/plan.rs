//! The plan as a person reads it: stages, reasons, what each host does, diffs, outages by name. Never a secret.

use anstyle::{AnsiColor, Style};
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Artifact, ClusterStep, Content, HostStep, Impact, Stage, Work};
use etcdup_core::topology::{Document, HostId};
use etcdup_deploy::{Plan, operator_words, step_words};
use etcdup_planner::Ending;
use similar::{ChangeTag, TextDiff};

use crate::view;

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(colour)))
}
const GREEN: Style = colour(AnsiColor::Green);
const YELLOW: Style = colour(AnsiColor::Yellow);
const RED: Style = colour(AnsiColor::Red);
const BOLD: Style = Style::new().bold();

/// Prints a plan.
pub(crate) fn print(plan: &Plan, document: &Document) {
    view::error::findings(&plan.warnings, Some(document));
    for set in &document.sets {
        anstream::println!("{YELLOW}~{YELLOW:#} --set {set}");
    }
    // A unit from a template of one's own is shown whole before it is sent.
    let own_unit = plan.planner.topology.spec.layout.unit_template.is_some();
    for (index, stage) in plan.forecast.stages.iter().enumerate() {
        stage_lines(index, stage, &plan.seen, own_unit);
    }
    match &plan.forecast.ending {
        Ending::Done if plan.forecast.stages.is_empty() => {
            anstream::println!("Nothing to do: the cluster is as {} says.", document.name);
        }
        Ending::Done => {
            let hosts = plan.planner.topology.hosts.len();
            let stages = plan.forecast.stages.len();
            anstream::println!(
                "{BOLD}Plan:{BOLD:#} {stages} stage{} on {hosts} host{}, then verify.",
                s(stages),
                s(hosts)
            );
        }
        Ending::Blocked(findings) => {
            view::error::findings(findings, Some(document));
            if !plan.forecast.stages.is_empty() {
                anstream::println!("After these stages the above stands in the way.");
            }
        }
        Ending::Circle(key) => view::error::plain(&format!(
            "the plan goes in a circle at `{key}`: please report this"
        )),
    }
}

fn s(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn stage_lines(index: usize, stage: &Stage, seen: &Observation, whole: bool) {
    anstream::println!("{BOLD}{}. {}{BOLD:#}", index + 1, stage.title);
    match &stage.impact {
        Impact::None => {}
        Impact::Restart(member) => {
            anstream::println!("   {YELLOW}{member} restarts while the others serve{YELLOW:#}");
        }
        Impact::Outage(what) => anstream::println!("   {RED}OUTAGE: {what}{RED:#}"),
    }
    for why in &stage.why {
        anstream::println!("   because {why}");
    }
    match &stage.work {
        Work::Operator(steps) => steps.iter().for_each(|step| {
            anstream::println!("   {GREEN}+{GREEN:#} here: {}", operator_words(step));
        }),
        Work::Cluster(ClusterStep::MoveLeader { from, to }) => {
            anstream::println!("   {YELLOW}~{YELLOW:#} leader: {from} -> {to}");
        }
        Work::Hosts(tasks) => {
            for (host, steps) in tasks {
                anstream::println!("   on {host}");
                steps
                    .iter()
                    .for_each(|step| host_step(host, step, seen, whole));
            }
        }
    }
    anstream::println!();
}

fn host_step(host: &HostId, step: &HostStep, seen: &Observation, whole: bool) {
    let (mark, text) = step_words(step);
    let style = match mark {
        "+" => GREEN,
        "-" => RED,
        _ => YELLOW,
    };
    let exists = |path: &etcdup_core::path::HostPath| {
        seen.host(host)
            .is_some_and(|view| view.files.contains_key(path))
    };
    match step {
        HostStep::File(artifact) if exists(&artifact.path) => {
            anstream::println!("     {YELLOW}~{YELLOW:#} {text}");
            diff(host, artifact, seen);
        }
        HostStep::File(Artifact {
            content: Content::Text(unit),
            ..
        }) if whole => {
            anstream::println!("     {style}{mark}{style:#} {text}");
            for line in unit.lines() {
                anstream::println!("         {GREEN}+ {line}{GREEN:#}");
            }
        }
        _ => anstream::println!("     {style}{mark}{style:#} {text}"),
    }
}

fn diff(host: &HostId, artifact: &Artifact, seen: &Observation) {
    let Content::Text(new) = &artifact.content else {
        return;
    };
    let Some(old) = seen
        .host(host)
        .and_then(|view| view.files.get(&artifact.path))
        .and_then(|file| file.text.as_ref())
    else {
        return;
    };
    for change in TextDiff::from_lines(old.as_str(), new.as_str()).iter_all_changes() {
        let line = change.value().trim_end();
        match change.tag() {
            ChangeTag::Equal => {}
            ChangeTag::Delete => anstream::println!("         {RED}- {line}{RED:#}"),
            ChangeTag::Insert => anstream::println!("         {GREEN}+ {line}{GREEN:#}"),
        }
    }
}
