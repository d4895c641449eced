//! Plans, states and verdicts as documents for programs: the one shape that every frontend prints. The first field names
//! the format. A document never holds a secret, for what it is made of cannot express one.

use etcdup_core::certificate::format_sans;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{
    Artifact, BinarySource, ClusterStep, Content, HostStep, OperatorStep, Part, Stage, Work,
};
use etcdup_planner::{Ending, Planner};
use serde_json::{Value, json};

use crate::run::{Plan, Report};

/// A plan for programs.
#[must_use]
pub fn plan_document(plan: &Plan) -> Value {
    let stages: Vec<_> = plan.forecast.stages.iter().map(stage_json).collect();
    let (ending, findings) = match &plan.forecast.ending {
        Ending::Done => ("done", &[][..]),
        Ending::Blocked(findings) => ("blocked", &findings[..]),
        Ending::Loop(_) => ("circle", &[][..]),
    };
    json!({
        "format": "etcdup/plan/1",
        "cluster": plan.planner.topology().cluster,
        "changes": !plan.is_empty(),
        "stages": stages,
        "ending": ending,
        "findings": findings,
        "warnings": plan.warnings,
    })
}

fn stage_json(stage: &Stage) -> Value {
    let steps: Vec<Value> = match &stage.work {
        Work::Operator(steps) => steps
            .iter()
            .map(|step| json!({ "on": "operator", "step": operator_words(step) }))
            .collect(),
        Work::Cluster(ClusterStep::MoveLeader { from, to }) => {
            vec![json!({ "on": "cluster", "step": format!("move leader from {from} to {to}") })]
        }
        Work::Hosts(tasks) => tasks
            .iter()
            .flat_map(|(host, steps)| {
                steps
                    .iter()
                    .map(move |step| json!({ "on": host, "step": describe_step(step).1 }))
            })
            .collect(),
    };
    let gates: Vec<_> = stage
        .postconditions
        .iter()
        .map(|gate| gate.condition.to_string())
        .collect();
    json!({
        "key": stage.key, "title": stage.title, "why": stage.why, "impact": stage.impact, "steps": steps, "settle": gates,
    })
}

/// The members, briefly, as they answer.
#[must_use]
pub fn status_document(planner: &Planner, seen: &Observation) -> Value {
    let one = |member: &etcdup_core::topology::Member| json!({ "name": member.name, "host": member.host, "seen": seen.members.get(&member.name) });
    let members: Vec<_> = planner.topology().members.iter().map(one).collect();
    json!({ "format": "etcdup/status/1", "cluster": planner.topology().cluster, "members": members })
}

/// Every finding and the weightiest verdict.
#[must_use]
pub fn verify_document(verdicts: &Report) -> Value {
    let cluster = &verdicts.planner.topology().cluster;
    json!({ "format": "etcdup/verify/1", "cluster": cluster, "verdict": verdicts.worst(), "findings": verdicts.findings })
}

/// A step on the operator's machine, in words.
#[must_use]
pub fn operator_words(step: &OperatorStep) -> String {
    match step {
        OperatorStep::MakeAuthority => {
            "create the CA (its key stays on this machine, mode 0600)".to_owned()
        }
        OperatorStep::IssueClient(request) => format!("a client certificate for {}", request.name),
    }
}

/// A step as one mark and one line.
#[must_use]
pub fn describe_step(step: &HostStep) -> (&'static str, String) {
    match step {
        HostStep::User { name, .. } => ("+", format!("user {name}")),
        HostStep::Directory { path, mode, .. } => ("+", format!("directory {path}, mode {mode}")),
        HostStep::File(artifact) => ("+", describe_file(artifact)),
        HostStep::Binaries {
            directory, source, ..
        } => {
            let from = match source {
                BinarySource::Push => "from an archive, sent from this machine",
                BinarySource::Directory => "from a directory, sent from this machine",
                BinarySource::Fetch => "downloaded by the host",
            };
            ("+", format!("binaries {directory}, {from}"))
        }
        HostStep::Links { directory, links } => {
            ("~", format!("links {links}/etcd* -> {directory}"))
        }
        HostStep::TimeSync => (
            "+",
            "time synchronization: chrony, ntp or systemd-timesyncd".to_owned(),
        ),
        HostStep::Reload => (">", "systemctl daemon-reload".to_owned()),
        HostStep::Enable(unit) => (">", format!("enable {unit}")),
        HostStep::Restart(unit) => (">", format!("restart {unit}")),
        HostStep::Disable(unit) => ("-", format!("stop and disable {unit}")),
        HostStep::Spawn { member, .. } => (">", format!("start {member}")),
        HostStep::StopProcess { .. } => (">", "stop etcd".to_owned()),
        HostStep::LoadImage { image, .. } => ("+", format!("image {image}, from an archive")),
        HostStep::Pod(artifact) => (">", format!("create pod from {}", describe_file(artifact))),
        HostStep::BouncePod { manifest, .. } => (">", format!("recreate pod from {manifest}")),
        HostStep::StopPod { manifest, .. } => ("-", format!("remove pod {manifest}")),
        HostStep::Note(noted) => (
            "~",
            format!(
                "host record: {} is member {:x} of cluster {:x}",
                noted.member, noted.id, noted.cluster
            ),
        ),
        HostStep::Forget => ("-", "host record: forget the cluster".to_owned()),
        HostStep::MoveAside { path } => ("~", format!("move {path} to {path}.kept-<time>")),
        HostStep::Remove(path) => ("-", format!("delete {path}")),
    }
}

/// What a file will be, in words.
#[must_use]
pub fn describe_file(artifact: &Artifact) -> String {
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
                format_sans(&request.sans)
            )
        }
        Content::Issued {
            part: Part::Key, ..
        } => format!("{path}, mode {mode}: its key"),
        Content::Provided(source) => format!("{path}, mode {mode}: from {source}"),
        Content::OnHost(source) => format!("{path}, mode {mode}: from {source} on the host"),
    }
}
