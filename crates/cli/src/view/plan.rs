//! The plan as a person reads it: stages, reasons, what each host does, diffs, outages by name. Never a secret.

use anstyle::{AnsiColor, Style};
use etcdup_core::certificate::print_sans;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{
    Artifact, ClusterStep, Content, HostStep, Impact, OperatorStep, Part, Stage, Work,
};
use etcdup_core::topology::{Document, HostId};
use etcdup_deploy::Plan;
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
    for (index, stage) in plan.forecast.stages.iter().enumerate() {
        stage_lines(index, stage, &plan.seen);
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

fn stage_lines(index: usize, stage: &Stage, seen: &Observation) {
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
        Work::Operator(steps) => steps
            .iter()
            .for_each(|step| anstream::println!("   {GREEN}+{GREEN:#} here: {}", operator(step))),
        Work::Cluster(ClusterStep::MoveLeader { from, to }) => {
            anstream::println!("   {YELLOW}~{YELLOW:#} leader: {from} -> {to}");
        }
        Work::Hosts(tasks) => {
            for (host, steps) in tasks {
                anstream::println!("   on {host}");
                steps.iter().for_each(|step| host_step(host, step, seen));
            }
        }
    }
    anstream::println!();
}

fn operator(step: &OperatorStep) -> String {
    match step {
        OperatorStep::MakeAuthority => {
            "a certificate authority; its key stays here, mode 0600".to_owned()
        }
        OperatorStep::IssueClient(request) => format!("a client certificate for {}", request.name),
    }
}

fn host_step(host: &HostId, step: &HostStep, seen: &Observation) {
    let (mark, text) = step_text(step);
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
        _ => anstream::println!("     {style}{mark}{style:#} {text}"),
    }
}

/// A step as one mark and one line.
pub(crate) fn step_text(step: &HostStep) -> (&'static str, String) {
    match step {
        HostStep::User { name, .. } => ("+", format!("user {name}")),
        HostStep::Directory { path, mode, .. } => ("+", format!("directory {path}, mode {mode}")),
        HostStep::File(artifact) => ("+", file_text(artifact)),
        HostStep::Binaries { directory, .. } => ("+", format!("binaries {directory}")),
        HostStep::Reload => (">", "systemd reads its units again".to_owned()),
        HostStep::Enable(unit) => (">", format!("enable {unit}")),
        HostStep::Start(unit) => (">", format!("start {unit}")),
        HostStep::Restart(unit) => (">", format!("(re)start {unit}")),
        HostStep::Disable(unit) => ("-", format!("stop and disable {unit}")),
        HostStep::Spawn { member, .. } => (">", format!("start {member}")),
        HostStep::Kill { .. } => (">", "stop etcd, if it runs".to_owned()),
        HostStep::Keep { path } => ("~", format!("keep {path} as {path}.kept-<time>")),
        HostStep::Remove(path) => ("-", format!("delete {path}")),
    }
}

fn file_text(artifact: &Artifact) -> String {
    let Artifact {
        path,
        mode,
        content,
        ..
    } = artifact;
    match content {
        Content::Text(_) => format!("{path}, mode {mode}"),
        Content::Authority => format!("{path}, mode {mode}: the CA's certificate"),
        Content::Issued {
            request,
            part: Part::Certificate,
        } => {
            format!(
                "{path}, mode {mode}: {} certificate for {}",
                request.usage,
                print_sans(&request.sans)
            )
        }
        Content::Issued {
            part: Part::Key, ..
        } => format!("{path}, mode {mode}: its key"),
        Content::Provided(source) => format!("{path}, mode {mode}: from {source}"),
        Content::OnHost(source) => format!("{path}, mode {mode}: from {source} on the host"),
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

/// A plan for programs.
pub(crate) fn json(plan: &Plan) -> serde_json::Value {
    let stages: Vec<_> = plan.forecast.stages.iter().map(stage_json).collect();
    let (ending, findings) = match &plan.forecast.ending {
        Ending::Done => ("done", &[][..]),
        Ending::Blocked(findings) => ("blocked", &findings[..]),
        Ending::Circle(_) => ("circle", &[][..]),
    };
    serde_json::json!({
        "cluster": plan.planner.topology.spec.cluster,
        "changes": !plan.is_empty(),
        "stages": stages,
        "ending": ending,
        "findings": findings,
        "warnings": plan.warnings,
    })
}

fn stage_json(stage: &Stage) -> serde_json::Value {
    let steps: Vec<serde_json::Value> = match &stage.work {
        Work::Operator(steps) => steps
            .iter()
            .map(|step| serde_json::json!({ "on": "operator", "step": operator(step) }))
            .collect(),
        Work::Cluster(ClusterStep::MoveLeader { from, to }) => {
            vec![
                serde_json::json!({ "on": "cluster", "step": format!("move leader from {from} to {to}") }),
            ]
        }
        Work::Hosts(tasks) => tasks
            .iter()
            .flat_map(|(host, steps)| {
                steps
                    .iter()
                    .map(move |step| serde_json::json!({ "on": host, "step": step_text(step).1 }))
            })
            .collect(),
    };
    let gates: Vec<_> = stage
        .settle
        .iter()
        .map(|gate| gate.holds.to_string())
        .collect();
    serde_json::json!({
        "key": stage.key, "title": stage.title, "why": stage.why, "impact": stage.impact, "steps": steps, "settle": gates,
    })
}
