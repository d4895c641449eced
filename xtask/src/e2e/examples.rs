//! The examples, each as it stands in `examples/` with the testbed's addresses put in.

use std::process::{Child, Stdio};

use super::context::{Context, Scenario};
use crate::lab::{CommandOutput, Lab, archive};
use crate::outcome::{Outcome, ensure};
use crate::setup::{cache, newest_of, root, suggested};

pub(super) const ALL: &[Scenario] = &[
    ("example-three-hosts", three_hosts),
    ("example-one-vps", one_vps),
    ("example-lab-node", lab_node),
    ("example-three-controllers", three_controllers),
    ("example-this-machine", this_machine),
    ("example-two-clusters", two_clusters),
    ("peer-certificate-of-names-only", names_only),
];

/// Copies an example into the operator's directory; its topology files get the way in, the version
/// at hand, and these addresses. Binaries come from the archive unless the example says otherwise.
pub(super) fn example(
    context: &Context,
    lab: &Lab,
    name: &str,
    places: &[(&str, &str)],
) -> Outcome {
    let from = root().join("examples").join(name);
    let entries = std::fs::read_dir(&from).map_err(|error| format!("{name}: {error}"))?;
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let mut text = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
        if file.ends_with(".toml") {
            for (old, new) in places {
                text = text.replace(old, new);
            }
            let mut head = format!(
                "etcd = \"{}\"\nssh = {{ user = \"root\", key = \"{}\", known-hosts = \"{}\" }}\n",
                context.version,
                lab.state.join("key").display(),
                lab.state.join("known_hosts").display()
            );
            if !text.contains("[binaries") {
                let archive = archive(&context.version);
                head.push_str(&format!(
                    "binaries = {{ archive = {{ path = \"{}\" }} }}\n",
                    archive.display()
                ));
            }
            text = text.replace(&format!("etcd = \"{}\"\n", suggested()), &head);
        }
        lab.write(&file, &text)?;
    }
    Ok(())
}

/// A release mirror in upstream's layout, which a host can reach; ends when dropped.
struct Mirror(Child);

impl Mirror {
    fn serve(lab: &Lab) -> Result<Self, String> {
        let directory = cache().join("etcd/mirror");
        let directory = directory.to_string_lossy();
        let server = [
            "-m",
            "http.server",
            "8000",
            "--bind",
            "10.77.0.1",
            "--directory",
            &*directory,
        ];
        let child = lab
            .command("python3", &server)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        lab.inside("for i in 1 2 3 4 5 6 7 8 9; do curl -s http://10.77.0.1:8000/ >/dev/null && exit; sleep 0.2; done")?;
        Ok(Self(child))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Certificates as a person makes them: a CA, and one certificate valid for these names, beside the
/// topology file.
pub(super) fn by_hand(lab: &Lab, name: &str, sans: &str) -> Outcome {
    lab.write(
        "make.sh",
        &format!(
            "set -e\n[ -e ca.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 9 -subj /CN=CA 2>/dev/null\n\
             openssl req -newkey rsa:2048 -nodes -keyout {name}-key.pem -out csr -subj /CN={name} 2>/dev/null\n\
             printf 'subjectAltName={sans}\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext\n\
             openssl x509 -req -in csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 9 -extfile ext -out {name}.pem 2>/dev/null\n"
        ),
    )?;
    lab.inside("sh make.sh")?.exits(0).map(|_| ())
}

/// A real etcdctl with the files of an example.
fn etcdctl(
    lab: &Lab,
    endpoints: &str,
    files: [&str; 3],
    arguments: &str,
) -> Result<CommandOutput, String> {
    let tool = cache()
        .join("etcd/bin")
        .join(newest_of("3.5")?)
        .join("etcdctl");
    let [ca, cert, key] = files;
    lab.inside(&format!(
        "{} --endpoints {endpoints} --cacert {ca} --cert {cert} --key {key} {arguments}",
        tool.display()
    ))
}

/// Puts a file of the operator's on a host, as somebody did earlier.
fn put(lab: &Lab, host: u32, file: &str, to: &str) -> Outcome {
    let text = lab.read(file)?;
    lab.on(
        host,
        &format!("mkdir -p \"$(dirname {to})\" && cat > {to} <<'E'\n{text}E\n"),
    )?
    .exits(0)
    .map(|_| ())
}

fn three_hosts(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let places = [
        ("10.0.1.10", "10.77.0.11"),
        ("\"10.0.1.11", "\"10.77.0.12"),
        ("\"10.0.1.12", "\"10.77.0.13"),
    ];
    example(context, &lab, "three-hosts", &places)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

fn one_vps(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    example(context, &lab, "one-vps", &[("10.0.0.4", "10.77.0.11")])?;
    lab.edit(
        "download = \"host\"",
        &format!(
            "download = \"host\"\nmirror = \"http://10.77.0.1:8000\"\n{}",
            crate::setup::release_sum(&context.version)?
        ),
    )?;
    let _mirror = Mirror::serve(&lab)?;
    by_hand(&lab, "etcd", "IP:10.77.0.11,IP:127.0.0.1")?;
    for file in ["ca.pem", "etcd.pem", "etcd-key.pem"] {
        put(&lab, 1, file, &format!("/root/{file}"))?;
    }
    lab.etcdup(&["check"])?
        .exits(0)?
        .says("unit-template-weak")?
        .says("etcd runs as root")?
        .says("initial-cluster-state=new permanently")?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("+   --name control-plane-1 \\")?
        .says("--initial-advertise-peer-urls https://10.77.0.11:2380")?;
    lab.apply()?;
    let key = lab.on(
        1,
        "stat -c %a /etc/etcd/etcd-key.pem && stat -c %a /var/lib/etcd",
    )?;
    ensure(key.out == "640\n700\n", format!("modes are {}", key.out))?;
    let files = ["ca.pem", "etcd.pem", "etcd-key.pem"];
    let url = "https://10.77.0.11:2379";
    etcdctl(&lab, url, files, "member list")?
        .exits(0)?
        .says("control-plane-1")?;
    etcdctl(&lab, url, files, "endpoint health")?
        .exits(0)?
        .says("successfully committed proposal: took =")?;
    lab.on(1, "tr '\\0' ' ' < /proc/$(pidof etcd)/cmdline")?
        .says("--initial-cluster-token etcd-cluster-k8s")?
        .says("https://127.0.0.1:2379")?;
    lab.nothing_to_do()?;
    // A variable that envsubst would silently leave empty.
    lab.write(
        "etcd.service.tpl",
        &lab.read("etcd.service.tpl")?
            .replace("${ETCD_NAME} \\", "${ETCD_NAMES} \\"),
    )?;
    lab.etcdup(&["check"])?
        .exits(4)?
        .says("there is no $ETCD_NAMES")
        .map(|_| ())
}

fn lab_node(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    example(
        context,
        &lab,
        "lab-node",
        &[("root@server", "root@10.77.0.11")],
    )?;
    let archive = archive(&context.version);
    lab.inside(&format!(
        "mkdir -p downloads/controller downloads/client all && tar -xzf {} -C all --strip-components=1 && mv all/etcd downloads/controller/ && mv all/etcdctl downloads/client/",
        archive.display()
    ))?
    .exits(0)?;
    by_hand(&lab, "kube-api-server", "DNS:kubernetes")?;
    lab.inside("mv ca.pem ca.crt; mv kube-api-server.pem kube-api-server.crt; mv kube-api-server-key.pem kube-api-server.key")?
        .exits(0)?;
    lab.on(1, "hostname controller")?.exits(0)?;
    lab.apply()?;
    lab.on(1, "etcdctl member list")?
        .exits(0)?
        .says("controller, http://127.0.0.1:2380, http://127.0.0.1:2379")?;
    let modes = lab.on(
        1,
        "stat -c %a /etc/etcd/ca.crt /etc/etcd/kube-api-server.key /var/lib/etcd",
    )?;
    ensure(
        modes.out == "644\n600\n700\n",
        format!("modes are {}", modes.out),
    )?;
    lab.nothing_to_do()?;
    // A file that is changed there is drift, fixed without a restart.
    lab.on(1, "echo more >> /etc/etcd/ca.crt")?.exits(0)?;
    let before = lab.on(1, "pidof etcd")?.out;
    lab.apply()?.says("/etc/etcd/ca.crt differs from ca.crt")?;
    ensure(
        lab.on(1, "pidof etcd")?.out == before,
        "a file beside etcd cost a restart",
    )
}

fn three_controllers(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let places = [
        ("10.0.1.10", "10.77.0.11"),
        ("root@10.0.1.11", "root@10.77.0.12"),
        ("root@10.0.1.12", "root@10.77.0.13"),
    ];
    example(context, &lab, "three-controllers", &places)?;
    // A hosts list that forgot one, then the whole.
    by_hand(
        &lab,
        "kubernetes",
        "IP:10.77.0.11,IP:10.77.0.12,IP:127.0.0.1",
    )?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cert-refused")?
        .says("controller-2")?;
    by_hand(
        &lab,
        "kubernetes",
        "IP:10.77.0.11,IP:10.77.0.12,IP:10.77.0.13,IP:127.0.0.1",
    )?;
    lab.apply()?;
    let files = ["ca.pem", "kubernetes.pem", "kubernetes-key.pem"];
    let all = Lab::endpoints(3);
    let health = etcdctl(&lab, &all, files, "endpoint health")?.exits(0)?;
    ensure(
        health.all().matches("is healthy").count() == 3,
        health.all(),
    )?;
    let nobody = lab.inside("curl -s --cacert ca.pem https://10.77.0.11:2379/health")?;
    ensure(nobody.code != 0, "an anonymous client was served")?;
    lab.inside("curl -s --cacert ca.pem --cert kubernetes.pem --key kubernetes-key.pem https://10.77.0.11:2379/health")?
        .exits(0)?
        .says("true")?;
    lab.etcdup(&["verify", "--output", "json"])?
        .exits(0)?
        .says("refused by 3 members")?;
    lab.nothing_to_do()?;
    // As advised: another file, on the same hosts made bare again.
    lab.etcdup(&["reset", "--yes", "--wipe", "--confirm", "kubernetes"])?
        .exits(0)?;
    lab.etcdup(&["-f", "separate.toml", "apply", "--yes"])?
        .exits(0)?;
    let own = "pki/kubernetes/kube-apiserver-etcd-client";
    let (cert, key) = (format!("{own}.crt"), format!("{own}.key"));
    etcdctl(
        &lab,
        &all,
        ["pki/kubernetes/ca.crt", &cert, &key],
        "endpoint health",
    )?
    .exits(0)
    .map(|_| ())
}

/// etcdup runs on the host itself, as somebody sitting there would.
fn this_machine(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    example(context, &lab, "this-machine", &[])?;
    let text = lab.read("etcdup.toml")?;
    let binaries = text
        .lines()
        .find(|line| line.starts_with("binaries"))
        .unwrap_or_default();
    lab.edit(
        binaries,
        &format!(
            "binaries = {{ release = {{ mirror = \"http://10.77.0.1:8000\", {} }} }}",
            crate::setup::release_sum(&context.version)?
        ),
    )?;
    let _mirror = Mirror::serve(&lab)?;
    for file in [
        "etcdup.toml",
        "ca-config.json",
        "ca-csr.json",
        "kubernetes-csr.json",
    ] {
        put(&lab, 1, file, &format!("/root/k/{file}"))?;
    }
    lab.send(
        1,
        &context.etcdup,
        "cat > /usr/bin/etcdup && chmod 755 /usr/bin/etcdup",
    )?;
    let here = |command: &str| lab.on(1, &format!("cd /root/k && HOME=/root {command}"));
    here("etcdup apply --yes")?.exits(0)?.says("is healthy")?;
    here("etcdup apply --yes")?.exits(0)?.says("No changes")?;
    here("eval \"$(etcdup env)\" && etcdctl member list")?
        .exits(0)?
        .says("controller, http://127.0.0.1:2380, https://127.0.0.1:2379")?;
    let places = here(
        "stat -c %a /var/lib/etcd && readlink /usr/local/bin/etcd && systemctl is-enabled etcd",
    )?;
    places.exits(0)?.says("700\n/opt/etcd/v")?.says("enabled")?;
    here("cat /etc/etcd/server.crt > /tmp/c; cat pki/kubernetes/ca.crt")?;
    lab.write("server.crt", &here("cat /etc/etcd/server.crt")?.out)?;
    lab.inside("openssl x509 -in server.crt -noout -subject -ext subjectAltName")?
        .exits(0)?
        .says("OU = Kubernetes The Hard Way")?
        .says("IP Address:10.32.0.1")?
        .says("DNS:kubernetes.default")
        .map(|_| ())
}

fn two_clusters(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let places = [
        ("10.0.1.10", "10.77.0.11"),
        ("root@10.0.1.11", "root@10.77.0.12"),
        ("root@10.0.1.12", "root@10.77.0.13"),
    ];
    example(context, &lab, "two-clusters", &places)?;
    lab.apply()?.says("cluster main")?;
    lab.etcdup(&["-f", "events.toml", "apply", "--yes"])?
        .exits(0)?
        .says("cluster events")?;
    for (file, cluster, port) in [
        ("etcdup.toml", "main", 2379),
        ("events.toml", "events", 2382),
    ] {
        lab.etcdup(&["-f", file, "apply", "--yes"])?
            .exits(0)?
            .says("No changes")?;
        let connect = lab
            .etcdup(&["-f", file, "env"])?
            .exits(0)?
            .says(&format!(":{port}"))?;
        let tool = cache()
            .join("etcd/bin")
            .join(newest_of("3.5")?)
            .join("etcdctl");
        let health = lab.inside(&format!(
            "{}\n{} endpoint health && {} put of {cluster}",
            connect.out,
            tool.display(),
            tool.display()
        ))?;
        ensure(
            health.exits(0)?.all().matches("is healthy").count() == 3,
            "not all are healthy",
        )?;
    }
    // A second cluster that forgets to name its unit would replace the first.
    lab.inside("sed '/^unit = /d; /^certificates = /d' events.toml > clash.toml")?
        .exits(0)?;
    lab.etcdup(&["-f", "clash.toml", "plan"])?
        .exits(4)?
        .says("unit-of-another")?;
    // What programs are told, and that a scrape with it works.
    lab.etcdup(&[
        "-f",
        "events.toml",
        "connect",
        "kubeadm",
        "--directory",
        "/etc/kubernetes/pki/etcd",
    ])?
    .exits(0)?
    .says("    - https://10.77.0.13:2382\n    caFile: /etc/kubernetes/pki/etcd/ca.crt")?;
    lab.etcdup(&["connect", "prometheus"])?
        .exits(0)?
        .says("'10.77.0.11:2379'")?;
    lab.inside("curl -s --cacert pki/main/ca.crt --cert pki/main/prometheus.crt --key pki/main/prometheus.key https://10.77.0.12:2379/metrics")?
        .exits(0)?
        .says("etcd_server_has_leader 1")?;
    // One goes, the other stays.
    lab.etcdup(&["-f", "events.toml", "reset", "--yes"])?
        .exits(0)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.on(1, "ls -d /var/lib/etcd-events.kept-*")?
        .exits(0)
        .map(|_| ())
}

/// A peer's certificate that holds names alone is accepted where they resolve to the peer, refused
/// where they do not: predicted, and forced.
fn names_only(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let names = "DNS:m1.lab,DNS:m2.lab,DNS:*.rack.lab";
    let addresses = "IP:10.77.0.11,IP:10.77.0.12,IP:10.77.0.13,IP:127.0.0.1";
    by_hand(&lab, "server", &format!("{names},{addresses}"))?;
    by_hand(&lab, "peer", names)?;
    let provided = "certificates.provided = { ca = \"ca.pem\", server = { cert = \"server.pem\", key = \"server-key.pem\" }, \
                    peer = { cert = \"peer.pem\", key = \"peer-key.pem\" } }";
    lab.topology(&context.version, provided, 3)?;
    // Peers that call each other by address refuse a certificate without it.
    lab.etcdup(&["plan"])?
        .exits(4)?
        .says("whoever connects to https://10.77.0.13:2380 refuses it")?;
    for (host, name) in [("11", "m1.lab"), ("12", "m2.lab"), ("13", "m3.rack.lab")] {
        let line = format!("host = \"10.77.0.{host}\"");
        lab.edit(&line, &format!("{line}\naddress = \"{name}\""))?;
    }
    // m1 and m2 by exact names, looked up forward; m3 by a wildcard, which counts only in reverse:
    // m1 has it wrong.
    for host in 1..=3 {
        let third = if host == 1 {
            "10.77.0.99"
        } else {
            "10.77.0.13"
        };
        let lines = format!("10.77.0.11 m1.lab\n10.77.0.12 m2.lab\n{third} m3.rack.lab\n");
        lab.on(host, &format!("printf '{lines}' >> /etc/hosts"))?
            .exits(0)?;
    }
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cert-refused")?
        .says("m1 would refuse m3")?;
    let point = |to: &str| {
        let edit = format!(
            "sed 's/.* m3.rack.lab/{to} m3.rack.lab/' /etc/hosts > /tmp/h && cat /tmp/h > /etc/hosts"
        );
        lab.on(1, &edit)?.exits(0).map(|_| ())
    };
    point("10.77.0.13")?;
    lab.apply()?;
    lab.etcdup(&["verify"])?
        .exits(0)?
        .says("6 connections, both ways")?;
    // Go reads the hosts file again after five seconds.
    point("10.77.0.99")?;
    lab.on(3, "sleep 6; systemctl restart --no-block etcd; sleep 4")?
        .exits(0)?;
    lab.on(
        1,
        "journalctl -u etcd -o cat | grep 'rejected connection on peer endpoint' | tail -n 1",
    )?
    .exits(0)?
    .says("10.77.0.13")?;
    lab.etcdup(&["verify"])?
        .exits(1)?
        .says("peers-active")
        .map(|_| ())
}
