//! What lies round the main job: rendering, JSON, the HTTP API, mistakes at the keyboard, a cluster
//! on this machine.

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("process-runtime-here", process_runtime_here),
    ("json-for-programs", json_for_programs),
    ("render-touches-no-host", render_touches_no_host),
    ("mistakes-at-the-keyboard", mistakes_at_the_keyboard),
    ("login-shells", login_shells),
];

/// Three members as detached processes on this machine, everything below one directory, stopped
/// without a trace.
fn process_runtime_here(context: &Context) -> Outcome {
    let lab = context.named("l", 1)?;
    let root = lab.work.path().join("run");
    let members: String = (1..=3)
        .map(|n| {
            format!(
                "[[member]]\nname = \"m{n}\"\nhost = \"local\"\nclient-port = {}\npeer-port = {}\n",
                2379 + 10 * n,
                2380 + 10 * n
            )
        })
        .collect();
    let head = lab.head(&context.version);
    lab.write(
        "etcdup.toml",
        &format!(
            "{head}runtime = \"process\"\nlayout = {{ root = \"{}\" }}\n{members}",
            root.display()
        ),
    )?;
    let outcome: Outcome = (|| {
        lab.apply()?;
        let endpoints = (1..=3)
            .map(|n| format!("https://127.0.0.1:{}", 2379 + 10 * n))
            .collect::<Vec<_>>()
            .join(",");
        lab.etcdctl_agrees(&endpoints, 3)?;
        lab.nothing_to_do()?;
        lab.edit("runtime =", "flags = { snapshot-count = 777 }\nruntime =")?;
        lab.apply()?.says("restart m2")?;
        lab.etcdctl_agrees(&endpoints, 3)?;
        // One after the other goes, until the last has the machine for itself and stays where it
        // is.
        for left in [2, 1] {
            let text = lab.read("etcdup.toml")?;
            let (stays, _) = text.rsplit_once("[[member]]").ok_or("no member")?;
            lab.write("etcdup.toml", stays)?;
            lab.apply()?
                .says(&format!("remove m{} from the cluster", left + 1))?;
            let endpoints: Vec<&str> = endpoints.split(',').take(left).collect();
            lab.etcdctl_agrees(&endpoints.join(","), left)?;
            lab.nothing_to_do()?;
        }
        Ok(())
    })();
    let reset = lab.etcdup(&["reset", "--yes", "--wipe", "--confirm", "prod"])?;
    outcome?;
    reset.exits(0)?;
    let left = lab.inside(&format!("pgrep -f {}", root.display()))?;
    ensure(
        left.out.lines().count() <= 1 && !left.out.contains("etcd"),
        format!("processes are left: {}", left.out),
    )
}

fn json_for_programs(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    let plan = lab.etcdup(&["plan", "--output", "json"])?.exits(0)?;
    let value: serde_json::Value =
        serde_json::from_str(&plan.out).map_err(|error| format!("{error}:\n{}", plan.out))?;
    ensure(
        value["format"] == "etcdup/plan/1" && value["changes"] == true,
        "the plan's JSON is odd",
    )?;
    ensure(!plan.out.contains("PRIVATE KEY"), "the plan holds a secret")?;
    let apply = lab
        .etcdup(&["apply", "--yes", "--output", "json"])?
        .exits(0)?;
    let events: Vec<serde_json::Value> = apply
        .out
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    ensure(
        events.len() == apply.out.lines().count(),
        format!("not every line is JSON:\n{}", apply.out),
    )?;
    // Behind the plan: the first event names the stages, each stage its place in them.
    let started = events.get(1).cloned().unwrap_or_default();
    ensure(
        started["event"] == "started"
            && started["format"] == "etcdup/events/1"
            && started["stages"][0]["key"] == "ca",
        format!("the first event is {started}"),
    )?;
    let stages = events
        .iter()
        .filter(|event| event["event"] == "stage-started");
    ensure(
        stages.clone().all(|stage| {
            let planned = &started["stages"][stage["index"].as_u64().unwrap_or(99) as usize];
            planned["key"] == stage["key"]
        }) && stages.count() >= 3,
        "a stage is not at its place in the plan",
    )?;
    let ends = events
        .iter()
        .rev()
        .take(2)
        .map(|event| event["event"].as_str().or(event["format"].as_str()));
    let ends: Vec<_> = ends.map(|end| end.unwrap_or_default().to_owned()).collect();
    ensure(
        ends == ["etcdup/verify/1", "done"],
        format!("the stream ends with {ends:?}"),
    )?;
    Ok(())
}

fn render_touches_no_host(context: &Context) -> Outcome {
    let lab = context.named("r", 1)?;
    lab.topology(&context.version, "", 3)?;
    lab.power("kill", 1)?;
    lab.etcdup(&["render", "--out", "rendered"])?.exits(0)?;
    ensure(
        lab.read("rendered/m3/etcd.service")?
            .contains("--initial-cluster=m1=https://10.77.0.11:2380"),
        "the unit is not there",
    )?;
    lab.etcdup(&["render", "--stdout", "m1/etcd.service"])?
        .exits(0)?
        .says("[Service]")?;
    lab.etcdup(&["render", "--stdout", "nothing"])?
        .exits(64)?
        .says("m1/etcd.service")?;
    lab.etcdup(&["plan"])?
        .exits(4)?
        .says("host-unseen")
        .map(|_| ())
}

fn mistakes_at_the_keyboard(context: &Context) -> Outcome {
    let lab = context.named("m", 1)?;
    lab.etcdup(&["plan"])?.exits(64)?.says("etcdup.toml")?;
    lab.etcdup(&["aply"])?.exits(64)?.says("apply")?;
    lab.etcdup(&["init", "--target", "root@10.77.0.11"])?
        .exits(0)?;
    lab.etcdup(&["init"])?.exits(1)?.says("--force")?;
    lab.etcdup(&["check"])?.exits(0)?;
    lab.etcdup(&["check", "--set", "etcd=3.5.1"])?
        .exits(4)?
        .says("can lose committed transactions")?;
    lab.etcdup(&["check", "--set", "member[7].name=x"])?
        .exits(64)?
        .says("does not exist")?;
    lab.etcdup(&["explain", "port-taken"])?
        .exits(0)?
        .says("etcd would fail with")?;
    lab.etcdup(&["explain", "nonsense"])?.exits(64)?;
    lab.etcdup(&["flags", "quota"])?
        .exits(0)?
        .says("quota-backend-bytes")?;
    lab.topology(&context.version, "", 1)?;
    lab.etcdup(&["apply"])?.exits(3)?.says("--yes")?;
    lab.edit("cluster = \"prod\"", "clutser = \"prod\"")?;
    lab.etcdup(&["plan"])?
        .exits(64)?
        .says("clutser")?
        .says("etcdup.toml:2")?
        .never_says("\u{1b}[")
        .map(|_| ())
}

/// A login shell may be fish or csh and may print: what counts begins at a marker.
fn login_shells(context: &Context) -> Outcome {
    let lab = context.lab(2)?;
    lab.topology(&context.version, "", 2)?;
    lab.on(1, "chsh -s /usr/bin/fish root && mkdir -p /root/.config/fish && echo 'echo welcome to fish' > /root/.config/fish/config.fish")?.exits(0)?;
    lab.on(
        2,
        "chsh -s /bin/tcsh root && echo 'echo welcome to csh' > /root/.tcshrc",
    )?
    .exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)
}
