//! Clusters that a plain shell script made, with no etcdup in it: written down as a topology file
//! whose plan is empty.

use std::path::Path;

use super::context::{Context, Scenario, never_still};
use super::examples::by_hand;
use crate::lab::{CommandOutput, Lab};
use crate::outcome::{Outcome, ensure};
use crate::setup::cache;
use crate::writer::Writer;

pub(super) const ALL: &[Scenario] = &[
    ("adopt-one-vps", one_vps),
    ("adopt-lab-node", lab_node),
    ("adopt-three-controllers", three_controllers),
    ("adopt-tls-clients-plain-peers", tls_clients_plain_peers),
    ("adopt-static-pod", static_pod),
    ("adopt-pod-in-variables", static_pod_in_variables),
    ("adopt-this-machine", here),
    ("adopt-its-own", its_own),
];

const FILES: [&str; 6] = [
    "--ca",
    "ca.pem",
    "--cert",
    "etcd.pem",
    "--key",
    "etcd-key.pem",
];

/// etcd as a person installs it: binaries in /usr/local/bin, files in /etc/etcd, a unit with these
/// flags.
fn install(context: &Context, lab: &Lab, host: u32, flags: &[String]) -> Outcome {
    let bin = cache().join("etcd/bin").join(&context.version);
    for program in ["etcd", "etcdctl"] {
        let put = format!("cat > /usr/local/bin/{program} && chmod 755 /usr/local/bin/{program}");
        lab.send(host, &bin.join(program), &put)?;
    }
    lab.on(host, "mkdir -p /etc/etcd && mkdir -p -m 700 /var/lib/etcd")?
        .exits(0)?;
    for file in ["ca.pem", "etcd.pem", "etcd-key.pem"] {
        if let Ok(text) = lab.read(file) {
            let put = format!("cat > /etc/etcd/{file} <<'E'\n{text}E\nchmod 600 /etc/etcd/{file}");
            lab.on(host, &put)?.exits(0)?;
        }
    }
    if flags.is_empty() {
        return Ok(());
    }
    let unit = format!(
        "[Unit]\nDescription=etcd\n[Service]\nType=notify\nExecStart=/usr/local/bin/etcd \\\n  {}\nRestart=on-failure\nRestartSec=5\n[Install]\nWantedBy=multi-user.target\n",
        flags.join(" \\\n  ")
    );
    let start =
        "systemctl daemon-reload && systemctl -q enable etcd && systemctl start --no-block etcd";
    lab.on(
        host,
        &format!("cat > /etc/systemd/system/etcd.service <<'E'\n{unit}E\n{start}"),
    )?
    .exits(0)
    .map(|_| ())
}

fn flags(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// TLS on both planes, one certificate for both, as the walk-throughs have it.
fn secured(host: u32, name: &str, cluster: &str) -> Vec<String> {
    let ip = Lab::address(host);
    flags(&format!(
        "--name {name} --cert-file=/etc/etcd/etcd.pem --key-file=/etc/etcd/etcd-key.pem --peer-cert-file=/etc/etcd/etcd.pem \
         --peer-key-file=/etc/etcd/etcd-key.pem --trusted-ca-file=/etc/etcd/ca.pem --peer-trusted-ca-file=/etc/etcd/ca.pem \
         --peer-client-cert-auth --client-cert-auth --initial-advertise-peer-urls https://{ip}:2380 \
         --listen-peer-urls https://{ip}:2380 --listen-client-urls https://{ip}:2379,https://127.0.0.1:2379 \
         --advertise-client-urls https://{ip}:2379 --initial-cluster-token etcd-cluster-0 --initial-cluster {cluster} \
         --initial-cluster-state new --data-dir=/var/lib/etcd"
    ))
}

fn adopt(lab: &Lab, hosts: u32, more: &[&str]) -> Result<CommandOutput, String> {
    let key = format!("ssh.key={}", lab.state.join("key").display());
    let known = format!(
        "ssh.known-hosts={}",
        lab.state.join("known_hosts").display()
    );
    let targets: Vec<String> = (1..=hosts)
        .map(|n| format!("root@{}", Lab::address(n)))
        .collect();
    let mut arguments = vec!["adopt", "--set", &key, "--set", &known];
    for target in &targets {
        arguments.extend(["--target", target]);
    }
    arguments.extend(more);
    lab.etcdup(&arguments)
}

fn until_it_serves(lab: &Lab, host: u32) -> Outcome {
    lab.on(
        host,
        "for i in $(seq 100); do systemctl is-active -q etcd && exit; sleep 0.2; done; exit 1",
    )?
    .exits(0)
    .map(|_| ())
}

/// Verified, and a changed flag rolls: the unit is etcdup's own from then on, the data what it was.
fn lives_on(lab: &Lab, outage: bool) -> Outcome {
    lab.etcdup(&["verify"])?.exits(0)?;
    let text = lab.read("etcdup.toml")?;
    let (head, members) = text
        .split_once("[[member]]")
        .ok_or("no member was written")?;
    let head = match head.split_once("[flags]\n") {
        Some((before, after)) => format!("{before}[flags]\nsnapshot-count = 4321\n{after}"),
        None => format!("{head}[flags]\nsnapshot-count = 4321\n\n"),
    };
    lab.write("etcdup.toml", &format!("{head}[[member]]{members}"))?;
    let mut arguments = vec!["apply", "--yes"];
    if outage {
        arguments.push("--allow-outage");
    }
    lab.etcdup(&arguments)?.exits(0)?.says("--snapshot-count")?;
    lab.nothing_to_do()
}

fn one_vps(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    by_hand(&lab, "etcd", "IP:10.77.0.11,IP:127.0.0.1")?;
    let cluster = "control-plane-1=https://10.77.0.11:2380";
    install(context, &lab, 1, &secured(1, "control-plane-1", cluster))?;
    until_it_serves(&lab, 1)?;
    adopt(&lab, 1, &FILES)?.exits(0)?.says("No changes")?;
    adopt(&lab, 1, &FILES)?.exits(1)?.says("already exists")?;
    lives_on(&lab, true)?;
    restored_without_a_tool(context, &lab)
}

/// A host whose etcd came without its tools gets one for as long as a restore takes.
fn restored_without_a_tool(context: &Context, lab: &Lab) -> Outcome {
    let bin = cache().join("etcd/bin").join(&context.version);
    let tools = format!(
        "tools = {{ directory = {{ path = \"{}\" }} }}",
        bin.display()
    );
    lab.edit(
        "directory = \"/usr/local/bin\"",
        &format!("directory = \"/usr/local/bin\"\n{tools}"),
    )?;
    lab.on(1, "rm /usr/local/bin/etcdctl")?.exits(0)?;
    lab.etcdup(&["etcdctl", "--", "put", "kept", "yes"])?
        .exits(0)?;
    lab.etcdup(&["snapshot", "save"])?.exits(0)?;
    lab.etcdup(&["snapshot", "drill"])?
        .exits(0)?
        .says("1 key,")?;
    lab.etcdup(&["etcdctl", "--", "put", "later", "yes"])?
        .exits(0)?;
    let document = lab.read("etcdup.toml")?;
    let cluster = document
        .split_once("cluster = \"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let (cluster, _) = cluster.ok_or("the file names no cluster")?;
    let restore = ["restore", "latest", "--dry-run"];
    lab.etcdup(&restore)?
        .exits(0)?
        .says("whatever was written since is lost")?;
    lab.etcdup(&["restore", "latest", "--confirm", cluster])?
        .exits(0)?;
    let read = |key: &str| lab.etcdup(&["etcdctl", "--", "get", key, "--print-value-only"]);
    let (kept, later) = (read("kept")?.exits(0)?.out, read("later")?.exits(0)?.out);
    ensure(
        kept == "yes\n" && later.is_empty(),
        format!("kept {kept:?}, later {later:?}"),
    )?;
    lab.on(1, "ls /var/lib/etcdup /usr/local/bin")?
        .exits(0)?
        .never_says("tools")?
        .never_says("etcdutl")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

fn lab_node(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let plain = flags(
        "--name controller --initial-advertise-peer-urls http://127.0.0.1:2380 --listen-peer-urls http://127.0.0.1:2380 \
         --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
         --initial-cluster-token etcd-cluster-0 --initial-cluster controller=http://127.0.0.1:2380 --initial-cluster-state new \
         --data-dir=/var/lib/etcd",
    );
    install(context, &lab, 1, &plain)?;
    until_it_serves(&lab, 1)?;
    adopt(&lab, 1, &["--cluster", "lab"])?
        .exits(0)?
        .says("No changes")?;
    lives_on(&lab, true)?;
    lab.on(1, "etcdctl member list")?
        .exits(0)?
        .says("controller")
        .map(|_| ())
}

fn three_controllers(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    by_hand(
        &lab,
        "etcd",
        "IP:10.77.0.11,IP:10.77.0.12,IP:10.77.0.13,IP:127.0.0.1",
    )?;
    let one = |n: u32| format!("controller-{}=https://{}:2380", n - 1, Lab::address(n));
    let cluster = (1..=3).map(one).collect::<Vec<_>>().join(",");
    for host in 1..=3 {
        install(
            context,
            &lab,
            host,
            &secured(host, &format!("controller-{}", host - 1), &cluster),
        )?;
    }
    (1..=3).try_for_each(|host| until_it_serves(&lab, host))?;
    adopt(&lab, 3, &FILES)?.exits(0)?.says("No changes")?;
    // What differs is told: a member whose flag is another's.
    lives_on(&lab, false)?;
    // From a unit of whoever made it to one of etcdup's.
    lab.edit("unit = \"etcd\"", "unit = \"kv\"")?;
    // The writer shows what the hand-made cluster's clients show.
    lab.inside(
        "mkdir -p pki/prod && cp ca.pem pki/prod/ca.crt && cp etcd.pem tester.crt && \
         cp etcd-key.pem tester.key",
    )?
    .exits(0)?;
    let writer = Writer::start(&lab, 3)?;
    lab.apply()?
        .says("what runs it is etcd.service, wanted kv.service")?;
    never_still(&writer.stop()?)?;
    for host in 1..=3 {
        let left = lab.on(
            host,
            "systemctl is-active etcd; systemctl is-enabled kv; pidof etcd | wc -w",
        )?;
        ensure(left.out == "inactive\nenabled\n1\n", left.all())?;
    }
    lab.nothing_to_do()?;
    // One goes: it is etcdup's by its data, and its package's files stay.
    lab.edit(
        "name = \"controller-2\"\n",
        "name = \"controller-2\"\nabsent = true\n",
    )?;
    lab.apply()?.says("remove controller-2 from the cluster")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    let left = lab.on(3, "pidof etcd; ls -d /var/lib/etcd.kept-*")?;
    ensure(
        left.out.trim().starts_with("/var/lib/etcd.kept-"),
        left.all(),
    )?;
    lab.nothing_to_do()?;
    // And comes back as a new member.
    lab.edit("absent = true\n", "")?;
    lab.apply()?
        .says("add controller-2 to the cluster as a learner")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// As on this very machine: TLS for clients, plain peers.
fn tls_clients_plain_peers(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    by_hand(&lab, "etcd", "IP:10.77.0.11,IP:127.0.0.1")?;
    let mixed = flags(
        "--name etcd --cert-file=/etc/etcd/etcd.pem --key-file=/etc/etcd/etcd-key.pem --trusted-ca-file=/etc/etcd/ca.pem \
         --client-cert-auth --initial-advertise-peer-urls http://10.77.0.11:2380 --listen-peer-urls http://10.77.0.11:2380 \
         --listen-client-urls https://10.77.0.11:2379 --advertise-client-urls https://10.77.0.11:2379 \
         --initial-cluster etcd=http://10.77.0.11:2380 --data-dir=/var/lib/etcd --quota-backend-bytes=4294967296",
    );
    install(context, &lab, 1, &mixed)?;
    until_it_serves(&lab, 1)?;
    adopt(&lab, 1, &FILES)?.exits(0)?.says("No changes")?;
    let text = lab.read("etcdup.toml")?;
    ensure(
        text.contains("quota-backend-bytes = \"4294967296\"") && text.contains("peer = \"plain\""),
        text,
    )?;
    lives_on(&lab, true)
}

fn static_pod(context: &Context) -> Outcome {
    let lab = context.pods(1)?;
    let arguments: String = pod_flags()
        .iter()
        .map(|(flag, value)| format!("    - --{flag}={value}\n"))
        .collect();
    run_pod(
        context,
        &lab,
        &format!("  - command:\n    - etcd\n{arguments}"),
        "",
        "",
    )?;
    let lab = lab.0;
    adopt(&lab, 1, &FILES)?.exits(0)?.says("No changes")?;
    changed_pod(&lab, "snapshot-count=4321").map(|_| ())
}

/// As the Vagrant walk-through has it: flags as variables, a log in a file, the host's own table of
/// names.
fn static_pod_in_variables(context: &Context) -> Outcome {
    let lab = context.pods(1)?;
    let variables: String = pod_flags()
        .iter()
        .map(|(flag, value)| (flag.to_uppercase().replace('-', "_"), value))
        .map(|(name, value)| format!("    - name: ETCD_{name}\n      value: \"{value}\"\n"))
        .collect();
    let log = "    - name: ETCD_LOG_OUTPUTS\n      value: \"stderr,/var/log/etcd.log\"\n";
    let container = format!("  - command:\n    - etcd\n    env:\n{variables}{log}");
    let mounts = "    - mountPath: /var/log/etcd.log\n      name: log\n    - mountPath: /etc/hosts\n      name: hosts\n";
    let volumes = "  - hostPath:\n      path: /var/log/etcd.log\n      type: FileOrCreate\n    name: log\n\
                   \x20 - hostPath:\n      path: /etc/hosts\n    name: hosts\n";
    run_pod(context, &lab, &container, mounts, volumes)?;
    let lab = lab.0;
    adopt(&lab, 1, &FILES)?.exits(0)?.says("No changes")?;
    let manifest = changed_pod(&lab, "ETCD_SNAPSHOT_COUNT")?;
    // What was there beside the flags is there still.
    manifest
        .says("path: /etc/hosts")?
        .says("path: /var/log/etcd.log")
        .map(|_| ())
}

/// What kubeadm gives an etcd, roughly.
fn pod_flags() -> Vec<(&'static str, &'static str)> {
    let tls = [
        ("cert-file", "/etc/etcd/etcd.pem"),
        ("client-cert-auth", "true"),
        ("key-file", "/etc/etcd/etcd-key.pem"),
        ("peer-cert-file", "/etc/etcd/etcd.pem"),
        ("peer-client-cert-auth", "true"),
        ("peer-key-file", "/etc/etcd/etcd-key.pem"),
        ("peer-trusted-ca-file", "/etc/etcd/ca.pem"),
        ("trusted-ca-file", "/etc/etcd/ca.pem"),
    ];
    let rest = [
        ("advertise-client-urls", "https://10.77.0.11:2379"),
        ("data-dir", "/var/lib/etcd"),
        ("initial-advertise-peer-urls", "https://10.77.0.11:2380"),
        ("initial-cluster", "cp1=https://10.77.0.11:2380"),
        (
            "listen-client-urls",
            "https://127.0.0.1:2379,https://10.77.0.11:2379",
        ),
        ("listen-metrics-urls", "http://127.0.0.1:2381"),
        ("listen-peer-urls", "https://10.77.0.11:2380"),
        ("name", "cp1"),
        ("snapshot-count", "10000"),
    ];
    tls.into_iter().chain(rest).collect()
}

/// A pod with this container, made by hand.
fn run_pod(
    context: &Context,
    pods: &(Lab, String),
    container: &str,
    mounts: &str,
    volumes: &str,
) -> Outcome {
    let (lab, image) = pods;
    by_hand(lab, "etcd", "IP:10.77.0.11,IP:127.0.0.1")?;
    install(context, lab, 1, &[])?;
    lab.send(
        1,
        Path::new(image),
        "cat > /root/i.tar && podman load -q -i /root/i.tar",
    )?;
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: etcd\n  namespace: kube-system\nspec:\n  containers:\n{container}\
         \x20   image: registry.k8s.io/etcd:{}-0\n    name: etcd\n    volumeMounts:\n    - mountPath: /var/lib/etcd\n      name: etcd-data\n\
         \x20   - mountPath: /etc/etcd\n      name: etcd-certs\n{mounts}  hostNetwork: true\n  volumes:\n\
         \x20 - hostPath:\n      path: /etc/etcd\n      type: DirectoryOrCreate\n    name: etcd-certs\n\
         \x20 - hostPath:\n      path: /var/lib/etcd\n      type: DirectoryOrCreate\n    name: etcd-data\n{volumes}",
        context.version
    );
    let place = "chmod 600 /root/m && mv /root/m /etc/kubernetes/manifests/etcd.yaml";
    lab.on(1, &format!("cat > /root/m <<'E'\n{manifest}E\n{place}"))?
        .exits(0)?;
    lab.on(
        1,
        "for i in $(seq 100); do pidof etcd && sleep 2 && exit 0; sleep 0.2; done; exit 1",
    )?
    .exits(0)
    .map(|_| ())
}

/// A flag is changed: the new pod runs with it. Its manifest.
fn changed_pod(lab: &Lab, shows: &str) -> Result<CommandOutput, String> {
    lab.edit("snapshot-count = \"10000\"", "snapshot-count = \"4321\"")?;
    lab.etcdup(&["apply", "--yes", "--allow-outage"])?
        .exits(0)?
        .says("new pod of cp1 is running")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    lab.on(1, "cat /etc/kubernetes/manifests/etcd.yaml")?
        .exits(0)?
        .says("4321")?
        .says(shows)
}

/// On this very machine: etcdup runs on the host itself.
fn here(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    by_hand(&lab, "etcd", "IP:10.77.0.11,IP:127.0.0.1")?;
    install(
        context,
        &lab,
        1,
        &secured(1, "etcd", "etcd=https://10.77.0.11:2380"),
    )?;
    until_it_serves(&lab, 1)?;
    lab.send(
        1,
        &context.etcdup,
        "cat > /usr/bin/etcdup && chmod 755 /usr/bin/etcdup",
    )?;
    let files = "--ca /etc/etcd/ca.pem --cert /etc/etcd/etcd.pem --key /etc/etcd/etcd-key.pem";
    lab.on(
        1,
        &format!("cd /root && HOME=/root etcdup adopt --target local {files}"),
    )?
    .exits(0)?
    .says("No changes")?;
    lab.on(1, "cd /root && HOME=/root etcdup verify")?
        .exits(0)
        .map(|_| ())
}

/// A cluster of etcdup's own whose file was lost.
fn its_own(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.inside("mv etcdup.toml old.toml")?.exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    let own = [
        "--ca",
        "pki/prod/ca.crt",
        "--cert",
        "tester.crt",
        "--key",
        "tester.key",
    ];
    adopt(&lab, 3, &own)?.exits(0)?.says("No changes")?;
    lab.etcdup(&["verify"])?.exits(0).map(|_| ())
}
