//! Members as static pods, run by a stand-in for a kubelet.

use super::context::{Context, Scenario, never_still};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::setup::testbed;
use crate::writer::Writer;

pub(super) const ALL: &[Scenario] = &[
    ("static-pods", static_pods),
    ("static-pod-in-variables", in_variables),
    ("static-pods-join", pods_join),
    ("static-pods-change-release", pods_change_release),
    ("time-synchronization", time_synchronization),
];

/// Pods change to another release, whose image comes from an archive of its own: `{version}`.
fn pods_change_release(context: &Context) -> Outcome {
    let older = crate::setup::versions()?.remove(0);
    let (lab, newer) = context.pods(3)?;
    let made = testbed("image.sh").arg(&older).output();
    let made = made.map_err(|error| error.to_string())?;
    ensure(made.status.success(), String::from_utf8_lossy(&made.stderr))?;
    let archive = newer.replace(&context.version, "{version}");
    let head = format!("runtime = \"static-pod\"\npod = {{ archive = \"{archive}\" }}");
    lab.topology(&older, &head, 3)?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 3)?;
    lab.edit(&older, &context.version)?;
    lab.etcdup(&["plan"])?.exits(0)?.says("no outage")?;
    lab.apply()?.says("is verified and kept")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// Two pods join one, and one goes again; the first is not replaced for it.
fn pods_join(context: &Context) -> Outcome {
    let (lab, image) = context.pods(3)?;
    let head = format!("runtime = \"static-pod\"\npod = {{ archive = \"{image}\" }}");
    lab.topology(&context.version, &head, 1)?;
    lab.apply()?;
    let before = lab.on(1, "pidof etcd")?.exits(0)?.out;
    lab.topology(&context.version, &head, 3)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let after = lab.on(1, "pidof etcd")?.exits(0)?.out;
    ensure(before == after, "the pod was replaced for a longer list")?;
    lab.nothing_to_do()?;
    // And one goes again.
    lab.topology(&context.version, &head, 2)?;
    lab.apply()?
        .says("clean up after m3, moving its data aside")?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    let left = lab.on(
        3,
        "pidof etcd; ls /etc/kubernetes/manifests; ls -d /var/lib/etcd; ls -d /var/lib/etcd.kept-*",
    )?;
    let kept = left.out.trim();
    ensure(
        kept.starts_with("/var/lib/etcd.kept-") && kept.lines().count() == 1,
        format!("left on host 3:\n{}", left.all()),
    )?;
    let after = lab.on(1, "pidof etcd")?.exits(0)?.out;
    ensure(before == after, "the pod was replaced for a shorter list")?;
    lab.nothing_to_do()
}

/// Three members in kubeadm's shape from an image archive: formed, changed one at a time, repaired,
/// reset.
fn static_pods(context: &Context) -> Outcome {
    let (lab, image) = context.pods(3)?;
    lab.topology(
        &context.version,
        &format!("runtime = \"static-pod\"\npod = {{ archive = \"{image}\" }}"),
        3,
    )?;
    lab.apply()?.says("cluster prod")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let inside = "exec etcd-etcd etcdctl --cacert /etc/etcd/ca.crt --cert /etc/etcd/server.crt --key /etc/etcd/server.key";
    let list = lab.podman(1, &format!("{inside} member list"))?.exits(0)?;
    ensure(list.out.matches(", started, ").count() == 3, list.all())?;
    let place = lab.on(2, "stat -c '%a %U' /etc/kubernetes/manifests/etcd.yaml /var/lib/etcd; ls -A /etc/kubernetes/manifests")?;
    ensure(
        place.out == "600 root\n700 root\netcd.yaml\n",
        format!("the manifest lies there as {}", place.out),
    )?;
    lab.nothing_to_do()?;
    // A kubelet that is slow to see a change: gates wait for the new pod, not for the file.
    for host in 1..=3 {
        lab.on(
            host,
            "echo DELAY=4 > /etc/default/kubelet && systemctl restart kubelet",
        )?
        .exits(0)?;
    }
    let pids = |lab: &Lab| -> Result<Vec<String>, String> {
        (1..=3)
            .map(|n| lab.on(n, "pidof etcd").map(|said| said.out))
            .collect()
    };
    let before = pids(&lab)?;
    lab.edit("runtime =", "flags = { snapshot-count = 4321 }\nruntime =")?;
    lab.apply()?
        .says("move leadership from")?
        .says("new pod of m1 is running")?;
    let after = pids(&lab)?;
    ensure(
        before.iter().zip(&after).all(|(old, new)| old != new),
        format!("not every pod was renewed: {before:?}, {after:?}"),
    )?;
    lab.on(3, "tr '\\0' '\\n' < /proc/$(pidof etcd)/cmdline")?
        .says("--snapshot-count=4321")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()?;
    // A manifest that somebody took away comes back.
    lab.on(
        2,
        "rm /etc/kubernetes/manifests/etcd.yaml; while pidof etcd; do sleep 0.2; done",
    )?;
    lab.apply()?.says("start unhealthy members")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["reset", "--yes"])?.exits(0)?;
    let kept = lab.on(
        1,
        "ls -d /var/lib/etcd.kept-*/member && ! pidof etcd && ls -A /etc/kubernetes/manifests",
    )?;
    ensure(kept.code == 0, format!("it is not reset:\n{}", kept.all()))
}

/// Flags as variables, a log file, more mounts, more of one's own merged in.
fn in_variables(context: &Context) -> Outcome {
    let (lab, image) = context.pods(1)?;
    let pod = format!(
        "runtime = \"static-pod\"\n[pod]\narchive = \"{image}\"\nenvironment = true\nlog = \"/var/log/etcd.log\"\nmounts = [\"/etc/hosts\"]\n\
         [pod.extra.metadata.labels]\nteam = \"platform\"\n"
    );
    lab.topology(&context.version, &pod, 1)?;
    lab.etcdup(&["render", "--stdout", "m1/etcd.yaml"])?
        .exits(0)?
        .says("ETCD_INITIAL_CLUSTER")?
        .says("team: platform")?
        .says("path: /livez")?
        .says("priorityClassName: system-node-critical")?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.on(
        1,
        "grep -c 'ready to serve client requests' /var/log/etcd.log",
    )?
    .exits(0)?;
    lab.on(1, "tr '\\0' '\\n' < /proc/$(pidof etcd)/environ")?
        .says("ETCD_NAME=m1")?;
    lab.nothing_to_do()
}

/// Where nothing keeps the clock right it is set up first, on a worker that is no member too.
fn time_synchronization(context: &Context) -> Outcome {
    let (lab, _) = context.pods(2)?;
    lab.topology(&context.version, "time = { hosts = [\"10.77.0.12\"] }", 1)?;
    lab.apply()?
        .says("set up time synchronization")?
        .says("10.77.0.12: no time synchronization service is running")?;
    for host in [1, 2] {
        lab.on(
            host,
            "systemctl is-active chrony && systemctl is-enabled chrony",
        )?
        .exits(0)?;
    }
    let worker = lab.on(2, "test ! -e /opt/etcd && test ! -e /etc/etcd")?;
    ensure(worker.code == 0, "a worker was given etcd")?;
    lab.nothing_to_do()
}
