//! Plans that are carried out later, and the library in a server: operations that are watched,
//! cancelled, and taken over.

use super::context::{Context, Scenario};
use crate::lab::{CommandOutput, Lab};
use crate::outcome::{Outcome, ensure};
use crate::setup::example;

pub(super) const ALL: &[Scenario] = &[
    ("plan-in-a-file", plan_in_a_file),
    ("embedded-in-a-server", embedded_in_a_server),
];

/// A plan is approved by whoever has it carried out, and no further than it reaches.
fn plan_in_a_file(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    lab.etcdup(&["plan", "--out", "plan.json"])?
        .exits(0)?
        .says("etcdup apply plan.json")?;
    let plan = lab.read("plan.json")?;
    ensure(!plan.contains("PRIVATE KEY"), "the plan holds a secret")?;
    // Edited, of another cluster, or no plan at all: nothing is begun.
    lab.write("edited.json", &plan.replace("10.77.0.13", "10.77.0.14"))?;
    lab.etcdup(&["apply", "edited.json"])?
        .exits(64)?
        .says("was changed after it was written")?;
    lab.etcdup(&["apply", "etcdup.toml"])?
        .exits(64)?
        .says("is not a plan")?;
    lab.etcdup(&["apply", "nothing.json"])?.exits(64)?;
    let text = lab.read("etcdup.toml")?;
    let other = text.replace("cluster = \"prod\"", "cluster = \"test\"");
    lab.write("other.toml", &other)?;
    lab.etcdup(&["-f", "other.toml", "apply", "plan.json"])?
        .exits(64)?
        .says("a plan for cluster `prod`")?;
    lab.etcdup(&["apply", "plan.json"])?
        .exits(0)?
        .says("is healthy")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["apply", "plan.json"])?
        .exits(0)?
        .says("No changes")?;
    // Approved for one member; meanwhile the file asks for a restart of all.
    lab.on(2, "chmod 600 /etc/etcd/ca.crt")?.exits(0)?;
    lab.etcdup(&["plan", "--out", "plan.json"])?.exits(0)?;
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    lab.etcdup(&["apply", "plan.json"])?
        .exits(3)?
        .says("the plan changed")?;
    let pids = lab.on(1, "pidof etcd")?.out;
    lab.etcdup(&["plan", "--out", "plan.json"])?.exits(0)?;
    lab.etcdup(&["apply", "plan.json"])?.exits(0)?;
    ensure(lab.on(1, "pidof etcd")?.out != pids, "m1 was not restarted")?;
    // What was done is recorded beside the file, out of git's sight.
    let recorded = lab.inside("cat .etcdup/.gitignore; cat .etcdup/operations/*/operation.json")?;
    ensure(
        recorded.out.matches("\"state\": \"done\"").count() == 2,
        format!("not two operations are recorded:\n{}", recorded.out),
    )
}

fn server(lab: &Lab, arguments: &[&str]) -> Result<CommandOutput, String> {
    let program = example("server")?;
    Lab::run(lab.command(&program.to_string_lossy(), arguments))
}

/// The library's example of a server, on two clusters: killed, taken over by the next process,
/// cancelled, gone on with.
fn embedded_in_a_server(context: &Context) -> Outcome {
    let lab = context.lab(2)?;
    lab.topology(&context.version, "", 2)?;
    let text = lab.read("etcdup.toml")?;
    let members: Vec<&str> = text.split("[[member]]").collect();
    let [head, one, two] = members.as_slice() else {
        return Err(format!("not two members: {text}"));
    };
    lab.write("a.toml", &format!("{head}[[member]]{one}"))?;
    let other = head.replace("cluster = \"prod\"", "cluster = \"other\"");
    lab.write("b.toml", &format!("{other}[[member]]{two}"))?;
    let crashed = server(&lab, &["crash", "a.toml", "b.toml"])?;
    crashed
        .exits(9)?
        .says("planned: 3 and 3 stages")?
        .says("StageDone")?;
    // The lease of the dead process is still on the host; the next one is the same operation, so it
    // need not wait.
    let resumed = server(&lab, &["a.toml", "b.toml"])?
        .exits(0)?
        .says("resuming")?
        .says("Resumed { epoch: 2")?
        .says("done")?;
    ensure(
        resumed.out.contains("0 Started"),
        format!("the events do not begin with the first:\n{}", resumed.out),
    )?;
    lab.etcdup(&["-f", "a.toml", "verify"])?.exits(0)?;
    let events = lab.inside("cat .etcdup/operations/*/events.jsonl")?.out;
    let seqs: Vec<u64> = events
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    ensure(
        seqs.iter().enumerate().all(|(at, seq)| at as u64 == *seq),
        format!("the events are not numbered one by one: {seqs:?}"),
    )?;
    // The second cluster first: cancelled after a stage, and gone on with by a new operation.
    server(&lab, &["cancel", "b.toml", "a.toml"])?
        .exits(0)?
        .says("ended: stopped after")?;
    let lease = lab.on(2, "test ! -e /var/lib/etcdup/lease")?;
    ensure(lease.code == 0, "the lease was not given back")?;
    server(&lab, &["b.toml", "a.toml"])?
        .exits(0)?
        .never_says("resuming")?
        .says("done")?;
    lab.etcdup(&["-f", "b.toml", "verify"])?
        .exits(0)
        .map(|_| ())
}
