//! From bare hosts to a cluster, in every shape.

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("one-member", one_member),
    ("three-members", three_members),
    ("five-members", five_members),
    ("three-on-one-host", three_on_one_host),
    ("plain-http-on-loopback", plain_http_on_loopback),
    ("tls-clients-plain-peers", tls_clients_plain_peers),
    ("rsa-ca-from-openssl", rsa_ca_from_openssl),
    ("jump-host", jump_host),
    ("sudo-with-a-password", sudo_with_a_password),
    ("release-from-a-mirror", release_from_a_mirror),
    ("interface-and-host-name", interface_and_host_name),
    ("user-template", user_template),
];

fn one_member(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    // What does not run yet is started; there is nothing to stop.
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("stages on 1 host, no outage; then verify")?
        .says("> start etcd.service")?
        .never_says("restart etcd.service")?;
    let said = lab.apply()?;
    said.says("is healthy")?
        .says("use it: etcdup etcdctl -- member list")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}

/// Three bare hosts, nothing given but their addresses: mutual TLS, verified; a second apply finds
/// nothing to do and takes no lease.
fn three_members(context: &Context) -> Outcome {
    let lab = context.three("")?;
    let second = lab
        .etcdup(&["apply", "--yes"])
        .and_then(|said| said.exits(0)?.says("No changes"));
    second?;
    lab.etcdup(&["plan", "--detailed-exitcode"])?.exits(0)?;
    let lease = lab.on(1, "test ! -e /var/lib/etcdup/lease")?;
    ensure(lease.code == 0, "the lease was not given back")?;
    let unit = lab.on(1, "cat /etc/systemd/system/etcd.service")?;
    ensure(
        unit.out.contains("--initial-cluster-state=existing"),
        "the unit does not say `existing`",
    )?;
    let score = lab.on(1, "systemd-analyze security etcd.service | tail -n 1")?;
    let figure = score
        .out
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok())
        .unwrap_or(10.0);
    ensure(
        figure < 3.0,
        format!("systemd-analyze security says {figure}"),
    )?;
    for (path, mode) in [
        ("/etc/etcd/peer.key", "640 root:etcd"),
        ("/etc/etcd/server.key", "640 root:etcd"),
        ("/var/lib/etcd", "700 etcd:etcd"),
    ] {
        let found = lab.on(2, &format!("stat -c '%a %U:%G' {path}"))?;
        ensure(
            found.out.trim() == mode,
            format!("{path} has {}", found.out.trim()),
        )?;
    }
    let nobody = lab.inside(&format!("curl -sk https://{}:2379/health", Lab::address(1)))?;
    ensure(nobody.code != 0, "an anonymous client was served")?;
    let key = lab.on(
        1,
        "grep -rl 'PRIVATE KEY' / --include='ca.key' 2>/dev/null | head -n 1",
    )?;
    ensure(key.out.is_empty(), "the CA's key is on a host")
}

fn five_members(context: &Context) -> Outcome {
    let lab = context.lab(5)?;
    lab.topology(&context.version, "", 5)?;
    lab.apply()?
        .says("5 members")
        .or_else(|_| lab.etcdup(&["verify"])?.exits(0))?;
    lab.etcdctl_agrees(&Lab::endpoints(5), 5)
}

fn three_on_one_host(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let members: String = (1..=3)
        .map(|n| format!("[[member]]\nname = \"m{n}\"\nhost = \"10.77.0.11\"\nclient-port = {}\npeer-port = {}\n", 2379 + 10 * n, 2380 + 10 * n))
        .collect();
    lab.write(
        "etcdup.toml",
        &format!("{}\n{members}", lab.head(&context.version)),
    )?;
    lab.apply()?;
    let endpoints = (1..=3)
        .map(|n| format!("https://10.77.0.11:{}", 2379 + 10 * n))
        .collect::<Vec<_>>()
        .join(",");
    lab.etcdctl_agrees(&endpoints, 3)?;
    lab.nothing_to_do()
}

fn plain_http_on_loopback(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let head = lab.head(&context.version);
    let security = "security = { client = \"plain\", peer = \"plain\" }\n";
    lab.write("etcdup.toml", &format!("{head}{security}\n[[member]]\nname = \"m1\"\nhost = \"10.77.0.11\"\naddress = \"127.0.0.1\"\n"))?;
    lab.apply()?;
    let said = lab.on(
        1,
        "ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:2379 endpoint health",
    )?;
    said.exits(0)?.says("is healthy")?;
    // The same on an address of the network is refused unless it is said explicitly.
    lab.edit("address = \"127.0.0.1\"", "")?;
    lab.etcdup(&["check"])?
        .exits(4)?
        .says("plain-exposed")
        .map(|_| ())
}

fn tls_clients_plain_peers(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "security = { client = \"tls\", peer = \"plain\", allow-plain = true, loopback-http = true }", 3)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.on(1, "curl -s http://127.0.0.1:2379/health")?
        .exits(0)?
        .says("true")
        .map(|_| ())
}

fn rsa_ca_from_openssl(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.inside(
        "mkdir -p pki/prod && cd pki/prod && openssl genrsa -traditional -out ca.key 2048 && \
         openssl req -x509 -new -key ca.key -days 30 -subj '/O=Example/CN=corporate CA' -out ca.crt && chmod 600 ca.key",
    )?
    .exits(0)?;
    let before = lab.read("pki/prod/ca.key")?;
    lab.topology(&context.version, "certificates = { algorithm = \"rsa2048\", shared = true, clients = [{ name = \"kube-apiserver-etcd-client\" }] }", 3)?;
    lab.apply()?
        .says("client certificate for kube-apiserver-etcd-client")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    ensure(
        lab.read("pki/prod/ca.key")? == before,
        "the CA's key was overwritten",
    )?;
    lab.inside("openssl verify -CAfile pki/prod/ca.crt -purpose sslclient pki/prod/kube-apiserver-etcd-client.crt")?.exits(0)?;
    lab.etcdup(&["pki", "show"])?
        .exits(0)?
        .says("corporate CA")?
        .says("kube-apiserver-etcd-client")?;
    lab.nothing_to_do()
}

/// Hosts 2 and 3 are reached through host 1 alone.
fn jump_host(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    for host in [2, 3] {
        lab.on(
            host,
            "iptables -A INPUT -p tcp --dport 22 ! -s 10.77.0.11 -j DROP",
        )?
        .exits(0)?;
    }
    let head = lab
        .head(&context.version)
        .replace("known-hosts", "jump = \"root@10.77.0.11\", known-hosts");
    let members: String = (2..=3)
        .map(|n| {
            format!(
                "[[member]]\nname = \"m{n}\"\nhost = \"{}\"\n",
                Lab::address(n)
            )
        })
        .collect();
    let first = "[[member]]\nname = \"m1\"\nhost = { ssh = \"10.77.0.11\", jump = \"\" }\n";
    lab.write("etcdup.toml", &format!("{head}\n{first}{members}"))?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

fn sudo_with_a_password(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.edit("user = \"root\"", "user = \"ops\", sudo = \"password\"")?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("password")?;
    lab.etcdup_with(("ETCDUP_SUDO_PASSWORD", "wrong"), &["apply", "--yes"])?
        .exits(4)?
        .says("sudo")?;
    let said = lab
        .etcdup_with(("ETCDUP_SUDO_PASSWORD", "secret"), &["apply", "--yes"])?
        .exits(0)?;
    said.never_says("secret")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    // Where sudo asks for nothing the password goes nowhere: it would be read as the first line of
    // what is run.
    lab.on(
        1,
        "echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-ops",
    )?
    .exits(0)?;
    lab.etcdup_with(("ETCDUP_SUDO_PASSWORD", "secret"), &["plan"])?
        .exits(0)?
        .says("No changes")?;
    // Without the right to become root it says so before anything changes.
    lab.edit("sudo = \"password\"", "sudo = \"never\"")?;
    lab.etcdup(&["plan"])?
        .exits(4)?
        .says("host-root")
        .map(|_| ())
}

/// A mirror in upstream's layout; downloaded here once, and by the host itself.
fn release_from_a_mirror(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let mirror = crate::setup::cache().join("etcd/mirror");
    let mut server = lab
        .command(
            "python3",
            &[
                "-m",
                "http.server",
                "8000",
                "--bind",
                "10.77.0.1",
                "--directory",
                &mirror.to_string_lossy(),
            ],
        )
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let outcome = from_mirror(context, &lab);
    let _ = server.kill();
    let _ = server.wait();
    outcome?;
    // The server is gone: the cache serves the next cluster.
    lab.etcdup(&["reset", "--yes", "--wipe", "--confirm", "prod"])?
        .exits(0)?;
    lab.on(1, "rm -rf /opt/etcd")?;
    lab.edit("download = \"host\"", "download = \"operator\"")?;
    lab.apply().map(|_| ())
}

fn from_mirror(context: &Context, lab: &Lab) -> Outcome {
    lab.inside("for i in 1 2 3 4 5 6 7 8 9; do curl -s http://10.77.0.1:8000/ >/dev/null && exit; sleep 0.2; done")?;
    lab.topology(&context.version, "", 1)?;
    let text = lab.read("etcdup.toml")?;
    let line = text
        .lines()
        .find(|line| line.starts_with("binaries"))
        .unwrap_or_default()
        .to_owned();
    // Over plain HTTP the checksum cannot come from the mirror itself.
    let bare =
        "binaries = { release = { mirror = \"http://10.77.0.1:8000\", download = \"operator\" } }";
    lab.edit(&line, bare)?;
    lab.etcdup(&["check"])?.exits(4)?.says("mirror-url")?;
    let sum = crate::setup::release_sum(&context.version)?;
    let right = format!(
        "binaries = {{ release = {{ mirror = \"http://10.77.0.1:8000\", download = \"operator\", {sum} }} }}"
    );
    lab.edit(bare, &right)?;
    // A wrong checksum stops before anything changed.
    let wrong = format!(
        "binaries = {{ release = {{ mirror = \"http://10.77.0.1:8000\", sha256 = {{ amd64 = \"{}\" }} }} }}",
        "0".repeat(64)
    );
    lab.edit(&right, &wrong)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(1)?
        .says("expected 0000")?;
    ensure(
        lab.on(1, "test ! -e /opt/etcd && test ! -e /etc/etcd")?
            .code
            == 0,
        "something changed before the checksum was known",
    )?;
    lab.edit(&wrong, &right)?;
    lab.apply()?;
    lab.etcdup(&["reset", "--yes", "--wipe", "--confirm", "prod"])?
        .exits(0)?;
    lab.on(1, "rm -rf /opt/etcd")?;
    lab.edit("download = \"operator\"", "download = \"host\"")?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}

/// The name is the host's own, the address an interface's.
fn interface_and_host_name(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.write(
        "etcdup.toml",
        &format!(
            "{}\n[[member]]\nhost = \"10.77.0.11\"\naddress = {{ interface = \"host0\" }}\n",
            lab.head(&context.version)
        ),
    )?;
    lab.apply()?;
    lab.etcdctl(&Lab::endpoints(1), &["member", "list"])?
        .exits(0)?
        .says(&format!("{}-1", lab.name()))?;
    lab.edit("host0", "eth9")?;
    lab.etcdup(&["plan"])?.exits(4)?.says("eth9").map(|_| ())
}

fn user_template(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(
        &context.version,
        "layout = { unit-template = \"my.service\" }",
        1,
    )?;
    let unit = |exec: &str| {
        format!(
            "[Unit]\nDescription=mine\n[Service]\nType=notify\nUser={{{{ user }}}}\nExecStart={exec}\n[Install]\nWantedBy=multi-user.target\n"
        )
    };
    lab.write("my.service", &unit("/opt/etcd/v3/etcd --name=x"))?;
    lab.etcdup(&["check"])?.exits(4)?.says("is missing")?;
    lab.write("my.service", &unit("{{ exec }}"))?;
    lab.apply()?;
    lab.on(1, "systemctl cat etcd")?.says("Description=mine")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}
