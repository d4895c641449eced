//! The plan as a person reads it: stages, reasons, what each host does, diffs, outages by name.
//! Never a secret.

use crate::view::print::outln;
use std::collections::{BTreeMap, BTreeSet};

use anstyle::{AnsiColor, Style};
use etcdup_core::file::Document;
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{
    Artifact, BinarySource, Content, Goal, HostStep, Impact, Rule, Stage, Work,
};
use etcdup_deploy::{Plan, changed_lines, describe_call, describe_step, operator_words};
use etcdup_planner::Ending;

use crate::view::{self, count, harmless};

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(color)))
}
const GREEN: Style = color(AnsiColor::Green);
const YELLOW: Style = color(AnsiColor::Yellow);
const RED: Style = color(AnsiColor::Red);
const BOLD: Style = Style::new().bold();

/// Prints a plan.
pub(crate) fn print(plan: &Plan, document: &Document) {
    view::error::findings(&plan.warnings, Some(document));
    for set in &document.sets {
        outln!("{YELLOW}~{YELLOW:#} --set {set}");
    }
    // A custom unit is shown in full before it is sent.
    let own_unit = plan.planner.topology().unit_template.is_some();
    let legs = plan.legs().unwrap_or_default();
    let mut named: Vec<&String> = legs.iter().collect();
    named.dedup();
    let mut begun = 0;
    for (index, stage) in plan.forecast.stages.iter().enumerate() {
        let own = legs.get(index);
        if let Some(leg) = own.filter(|leg| named.get(begun) == Some(leg)) {
            begun += 1;
            let stages = plan.forecast.stages[index..].iter().zip(&legs[index..]);
            let stages: Vec<&Stage> = stages
                .take_while(|(_, other)| *other == leg)
                .map(|(stage, _)| stage)
                .collect();
            let cost = cost(plan, &stages).join(", ");
            outln!(
                "{BOLD}Leg {begun} of {}: {leg}{BOLD:#} ({cost})\n",
                named.len()
            );
        }
        stage_lines(index, stage, &plan.seen, own_unit);
    }
    match &plan.forecast.ending {
        Ending::Done if plan.forecast.stages.is_empty() => match plan.planner.goal() {
            Goal::Converge { .. } => outln!("No changes: the cluster matches {}.", document.name),
            Goal::Reset { .. } => outln!(
                "Nothing to reset: no member of cluster {} is on its hosts.",
                document.spec.cluster
            ),
            Goal::Maintain { .. } => outln!(
                "Nothing to do: at least half of every database is in use, and no alarm is raised."
            ),
            Goal::Restore { order } => outln!(
                "Nothing to do: cluster {} was restored from {} already. With --again it is once more, and loses what was written since.",
                document.spec.cluster,
                order.snapshot()
            ),
            Goal::AbortRestore { .. } => outln!(
                "Nothing to do: no restore of cluster {} is under way.",
                document.spec.cluster
            ),
            Goal::Recover { .. } => outln!(
                "Nothing to do: cluster {} has a quorum, or was recovered already. Where the file names members that are gone, change it and run `etcdup apply`.",
                document.spec.cluster
            ),
            Goal::Disarm => outln!("Nothing to do: no alarm that can be disarmed is raised."),
            Goal::MoveLeader { .. } => outln!("Nothing to do: that member leads already."),
        },
        Ending::Done => {
            outln!("{BOLD}Plan:{BOLD:#} {}.", headline(plan));
        }
        Ending::Blocked(findings) => {
            view::error::findings(findings, Some(document));
            if !plan.forecast.stages.is_empty() {
                outln!("The plan is blocked after these stages; see above.");
            }
        }
        Ending::Loop(key) => view::error::plain(&format!(
            "internal error: stage `{key}` repeats; please report this"
        )),
    }
}

/// The plan in one line: what changes, how many stages, hosts and restarts, and whether service is
/// interrupted.
fn headline(plan: &Plan) -> String {
    let stages = &plan.forecast.stages;
    let hosts: BTreeSet<&HostId> = stages
        .iter()
        .filter_map(|stage| match &stage.work {
            Work::Hosts(tasks) => Some(tasks.keys()),
            Work::Cluster(_) | Work::Operator(_) => None,
        })
        .flatten()
        .collect();
    let all: Vec<&Stage> = stages.iter().collect();
    let restarts = restarts(plan, &all);
    let mut parts = Vec::new();
    let wanted = plan.planner.wanted_version().to_string();
    let running: BTreeSet<&str> = plan
        .seen
        .members
        .values()
        .filter_map(|view| Some(view.known()?.version.as_str()))
        .filter(|version| *version != wanted)
        .collect();
    if !running.is_empty() && restarts > 0 {
        let running: Vec<&str> = running.into_iter().collect();
        let mut way = vec![running.join(", ")];
        let between = plan.releases().into_iter().map(ToString::to_string);
        way.extend(between.filter(|release| *release != wanted));
        way.push(wanted);
        parts.push(format!("etcd {}", way.join(" -> ")));
    }
    let mut cost = cost(plan, &all);
    if !hosts.is_empty() {
        cost[0] = format!("{} on {}", cost[0], count(hosts.len(), "host"));
    }
    parts.extend(cost);
    let last = match plan.planner.goal() {
        Goal::Reset { .. } | Goal::Recover { .. } | Goal::AbortRestore { .. } => "",
        Goal::Converge { .. }
        | Goal::Restore { .. }
        | Goal::Maintain { .. }
        | Goal::Disarm
        | Goal::MoveLeader { .. } => "; then verify",
    };
    format!("{}{last}", parts.join(", "))
}

/// What stages cost: how many they are, how many members restart, and whether service is
/// interrupted.
fn cost(plan: &Plan, stages: &[&Stage]) -> Vec<String> {
    let mut parts = vec![count(stages.len(), "stage")];
    let restarts = restarts(plan, stages);
    if restarts > 0 {
        parts.push(count(restarts, "restart"));
    }
    let outage = |stage: &&Stage| matches!(stage.impact, Impact::Outage(_));
    let outage = stages.iter().any(outage);
    parts.push(if outage { "OUTAGE" } else { "no outage" }.to_owned());
    parts
}

/// How many running members the stages stop.
fn restarts(plan: &Plan, stages: &[&Stage]) -> usize {
    let topology = plan.planner.topology();
    let runs = |name: &MemberName| {
        let member = topology.member(name);
        member.is_some_and(|member| {
            let host = plan.seen.host(&member.host);
            host.is_some_and(|host| host.processes.contains_key(name))
        })
    };
    let stages = stages.iter();
    // What was removed has ended by itself.
    let stages = stages.filter(|stage| matches!(stage.work, Work::Hosts(_)));
    let stages = stages.filter(|stage| stage.key.rule != Rule::CleanUp);
    let stopped = stages.flat_map(|stage| stage.stops(topology));
    stopped.filter(|name| runs(name)).count()
}

fn stage_lines(index: usize, stage: &Stage, seen: &Observation, whole: bool) {
    outln!("{BOLD}{}. {}{BOLD:#}", index + 1, stage.title);
    match &stage.impact {
        Impact::None => {}
        Impact::Restart(member) => {
            outln!("   {YELLOW}{member} restarts; the other members stay available{YELLOW:#}");
        }
        Impact::Pause(member) => {
            outln!(
                "   {YELLOW}{member} answers nothing meanwhile; the other members stay available{YELLOW:#}"
            );
        }
        Impact::Outage(what) => outln!("   {RED}OUTAGE: {what}{RED:#}"),
    }
    for why in &stage.why {
        outln!("   because {}", harmless(why));
    }
    match &stage.work {
        Work::Operator(steps) => steps.iter().for_each(|step| {
            outln!("   {GREEN}+{GREEN:#} locally: {}", operator_words(step));
        }),
        Work::Cluster(call) => {
            let (mark, words) = describe_call(call);
            let style = style_of(mark);
            outln!("   {style}{mark}{style:#} cluster: {words}");
        }
        Work::Hosts(tasks) => {
            for (hosts, lines) in folded(tasks, seen, whole) {
                outln!("   on {}", hosts.join(", "));
                lines.iter().for_each(|line| outln!("     {line}"));
            }
        }
    }
    outln!();
}

/// What each host does, with hosts that do the very same in one: a change of nine members is read
/// once, not nine times.
fn folded(
    tasks: &BTreeMap<HostId, Vec<HostStep>>,
    seen: &Observation,
    whole: bool,
) -> Vec<(Vec<String>, Vec<String>)> {
    let mut groups: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for (host, steps) in tasks {
        let mut lines = Vec::new();
        for step in steps {
            host_step(host, step, seen, whole, &mut lines);
        }
        match groups.iter_mut().find(|(_, known)| *known == lines) {
            Some((hosts, _)) => hosts.push(host.to_string()),
            None => groups.push((vec![host.to_string()], lines)),
        }
    }
    groups
}

fn host_step(
    host: &HostId,
    step: &HostStep,
    seen: &Observation,
    whole: bool,
    lines: &mut Vec<String>,
) {
    let (mark, text) = describe_step(step);
    // What does not run yet is started, and there is nothing to stop.
    let runs = seen
        .host(host)
        .is_some_and(|view| !view.processes.is_empty());
    let text = match step {
        HostStep::StopProcess { .. } if !runs => return,
        HostStep::Restart(unit) if !runs => format!("start {unit}"),
        HostStep::Binaries {
            source: BinarySource::Push | BinarySource::Directory,
            ..
        } => match binaries_size(seen) {
            Some(size) => format!("{text} ({} MiB)", size >> 20),
            None => text,
        },
        _ => text,
    };
    let style = style_of(mark);
    let exists = |path: &etcdup_core::path::HostPath| {
        seen.host(host)
            .is_some_and(|view| view.files.contains_key(path))
    };
    match step {
        HostStep::File(artifact) | HostStep::Pod(artifact) if exists(&artifact.path) => {
            lines.push(format!("{YELLOW}~{YELLOW:#} {text}"));
            diff(host, artifact, seen, lines);
        }
        HostStep::File(Artifact {
            content: Content::Text(unit),
            ..
        }) if whole => {
            lines.push(format!("{style}{mark}{style:#} {text}"));
            let unit = unit.lines();
            lines.extend(unit.map(|line| format!("    {GREEN}+ {line}{GREEN:#}")));
        }
        _ => lines.push(format!("{style}{mark}{style:#} {text}")),
    }
}

fn style_of(mark: &str) -> Style {
    match mark {
        "+" => GREEN,
        "-" => RED,
        _ => YELLOW,
    }
}

/// How much is sent to a host that gets binaries, where they are here already: a release's archive
/// is not, before the first apply has downloaded it.
fn binaries_size(seen: &Observation) -> Option<u64> {
    let sources = seen.sources.values().filter_map(|source| source.known());
    let binaries = sources.filter(|source| source.version.is_some());
    binaries.map(|source| source.size).next()
}

fn diff(host: &HostId, artifact: &Artifact, seen: &Observation, lines: &mut Vec<String>) {
    lines.extend(changed_lines(host, artifact, seen).into_iter().map(|line| {
        let color = if line.starts_with('-') { RED } else { GREEN };
        format!("    {color}{line}{color:#}")
    }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use etcdup_core::observation::{FileKind, FileView, HostView};
    use etcdup_core::observed::Observed;
    use etcdup_core::path::Mode;

    use super::*;

    /// K7: a manifest that changes shows its lines, as a unit does.
    #[test]
    fn a_manifest_that_changes_shows_the_lines_that_do() {
        let host = HostId::new("10.0.0.1");
        let artifact = Artifact {
            path: "/etc/kubernetes/manifests/etcd.yaml".parse().unwrap(),
            mode: Mode::PRIVATE,
            owner: None,
            content: Content::Text("same\nnew\n".into()),
        };
        let there = FileView {
            kind: FileKind::File,
            mode: Mode::PRIVATE,
            owner: None,
            size: 0,
            sha256: None,
            text: Some("same\nold\n".to_owned()),
            modified: None,
        };
        let mut view = HostView::default();
        view.files.insert(artifact.path.clone(), there);
        let mut seen = Observation::new(jiff::Timestamp::UNIX_EPOCH);
        seen.hosts.insert(host.clone(), Observed::Known(view));
        let mut lines = Vec::new();
        host_step(&host, &HostStep::Pod(artifact), &seen, false, &mut lines);
        let changed: Vec<&String> = lines[1..].iter().collect();
        assert_eq!(changed.len(), 2, "{changed:?}");
        assert!(changed[0].contains("- old"), "{changed:?}");
        assert!(changed[1].contains("+ new"), "{changed:?}");
    }
}
