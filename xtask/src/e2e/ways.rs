//! Ways in and ways of having things: keys and agents, known hosts, a sshd that forwards nothing,
//! binaries from elsewhere.

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("keys-and-agents", keys_and_agents),
    ("no-forwarding", no_forwarding),
    ("binaries-from-elsewhere", binaries_from_elsewhere),
    ("data-on-a-disk-of-its-own", data_on_a_disk_of_its_own),
    ("renewal-in-the-last-third", renewal_in_the_last_third),
];

/// An encrypted key, hashed known hosts, a host key alias from the user's ssh configuration, an
/// agent.
fn keys_and_agents(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    let (key, known) = (lab.state.join("key"), lab.state.join("known_hosts"));
    let (key, known) = (key.display().to_string(), known.display().to_string());
    lab.inside(&format!(
        "cp {key} locked && cp {key}.pub locked.pub && ssh-keygen -q -p -N opensesame -f locked && cp {known} hashed && ssh-keygen -q -H -f hashed"
    ))?
    .exits(0)?;
    lab.edit(
        &known,
        &lab.work.path().join("hashed").display().to_string(),
    )?;
    lab.edit(&key, &lab.work.path().join("locked").display().to_string())?;
    lab.etcdup(&["plan"])?
        .exits(4)?
        .says("needs a passphrase")?;
    lab.etcdup_with(("ETCDUP_SSH_PASSPHRASE", "wrong"), &["plan"])?
        .exits(4)?
        .says("wrong passphrase")?;
    lab.etcdup_with(("ETCDUP_SSH_PASSPHRASE", "opensesame"), &["plan"])?
        .exits(0)?
        .never_says("opensesame")?;
    // The agent has the key: its public half names it, and nobody is asked.
    let socket = lab.work.path().join("agent").display().to_string();
    let agent = lab
        .inside(&format!(
            "ssh-agent -a {socket} | sed -n 's/.*SSH_AGENT_PID=\\([0-9]*\\);.*/\\1/p'; \
            ssh-keygen -q -t ed25519 -N '' -f other; SSH_AUTH_SOCK={socket} ssh-add -q other {key}"
        ))?
        .exits(0)?;
    let outcome = (|| {
        lab.etcdup_with(("SSH_AUTH_SOCK", &socket), &["plan"])?
            .exits(0)?;
        // Without any key named the agent's are offered; the user's own configuration says where
        // and who. ssh reads it from the account's home, whatever HOME says, so that one is
        // replaced for a moment.
        lab.write("config", &format!("Host etcd-one\n  HostName 10.77.0.11\n  User root\n  HostKeyAlias one\n  UserKnownHostsFile {}/aliases\n", lab.work.path().display()))?;
        lab.inside(&format!("sed 's/^[^ ]*/one/' {known} > aliases"))?
            .exits(0)?;
        let text = format!(
            "format = 1\ncluster = \"prod\"\netcd = \"{}\"\n[[member]]\nname = \"m1\"\nhost = \"etcd-one\"\naddress = \"10.77.0.11\"\n",
            context.version
        );
        lab.write("alias.toml", &text)?;
        let etcdup = context.etcdup.display();
        lab.inside(&format!(
            "SSH_AUTH_SOCK={socket} unshare --mount sh -c 'mount -t tmpfs none /root && mkdir /root/.ssh && cp config /root/.ssh/ && {etcdup} -f alias.toml plan'"
        ))
    })();
    lab.inside(&format!("kill {}", agent.out.trim()))?
        .exits(0)?;
    outcome?.exits(0)?.says("install etcd").map(|_| ())
}

/// A sshd that forwards nothing: members are asked directly, and what could not be tried is said.
fn no_forwarding(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    for host in 1..=3 {
        lab.on(host, "echo 'AllowTcpForwarding no' >> /etc/ssh/sshd_config.d/testbed.conf && systemctl reload ssh")?
            .exits(0)?;
    }
    lab.apply()?
        .says("reach-unknown")?
        .says("does not allow TCP forwarding")?
        .says("cluster prod")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

/// A directory the operator has, then what is on the host already; the topology in YAML.
fn binaries_from_elsewhere(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let archive = crate::lab::archive(&context.version).display().to_string();
    lab.inside(&format!(
        "mkdir mine && tar -xzf {archive} -C mine --strip-components=1"
    ))?
    .exits(0)?;
    lab.topology(&context.version, "", 1)?;
    let archived = format!("{{ archive = {{ path = \"{archive}\" }} }}");
    lab.edit(&archived, "{ directory = { path = \"mine\" } }")?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("from a directory, sent from this machine (")?
        .says(" MiB)")?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.etcdup(&["reset", "--yes"])?.exits(0)?;
    lab.on(1, &format!("mkdir -p /srv/bin && mv /opt/etcd/v{0}/etcd* /srv/bin/ && rm -rf /opt/etcd /usr/local/bin/etcd*", context.version))?
        .exits(0)?;
    let yaml = format!(
        "format: 1\ncluster: prod\netcd: {}\nbinaries:\n  host:\n    directory: /srv/bin\nssh:\n  user: root\n  key: {}\n  known-hosts: {}\n\
         member:\n- name: m1\n  host: 10.77.0.11\n",
        context.version,
        lab.state.join("key").display(),
        lab.state.join("known_hosts").display(),
    );
    lab.write("etcdup.yaml", &yaml)?;
    lab.etcdup(&["-f", "etcdup.yaml", "apply", "--yes"])?
        .exits(0)?;
    lab.on(1, "readlink /proc/$(pidof etcd)/exe")?
        .says("/srv/bin/etcd")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.etcdup(&["-f", "etcdup.yaml", "apply", "--yes"])?
        .exits(0)?
        .says("No changes")?;
    lab.write(
        "etcdup.yaml",
        &yaml.replace("member:\n- name", "member:\n- nmae"),
    )?;
    lab.etcdup(&["-f", "etcdup.yaml", "check"])?
        .exits(64)?
        .says("etcdup.yaml:12")
        .map(|_| ())
}

/// The data directory is a mount point on one host and a link on another: kept data stays on that
/// disk.
fn data_on_a_disk_of_its_own(context: &Context) -> Outcome {
    let lab = context.lab(2)?;
    lab.topology(&context.version, "", 2)?;
    lab.on(1, "mkdir -p /var/lib/etcd && mount -t tmpfs -o size=3g none /var/lib/etcd && mkdir /var/lib/etcd/lost+found")?
        .exits(0)?;
    lab.on(2, "mkdir -p /srv/etcd && ln -s /srv/etcd /var/lib/etcd")?
        .exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    lab.etcdup(&["plan"])?.exits(0)?.says("No changes")?;
    lab.etcdup(&["reset", "--yes"])?.exits(0)?;
    lab.on(
        1,
        "mountpoint /var/lib/etcd && ls -d /var/lib/etcd/etcd.kept-*/member",
    )?
    .exits(0)?;
    lab.on(
        2,
        "test -L /var/lib/etcd && ls -d /srv/etcd/etcd.kept-*/member",
    )?
    .exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    let unit = lab.on(1, "cat /etc/systemd/system/etcd.service")?;
    unit.says("--initial-cluster-token=prod-g1")?;
    // The record is a hint: without it nothing restarts.
    lab.on(1, "rm /var/lib/etcdup/prod.json")?;
    lab.on(2, "rm /var/lib/etcdup/prod.json")?;
    let before = lab.on(1, "pidof etcd")?.out;
    lab.apply()?;
    ensure(
        lab.on(1, "pidof etcd")?.out == before,
        "a lost record cost a restart",
    )
}

/// A certificate with less than a third of its life left is reissued, without a restart.
fn renewal_in_the_last_third(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.etcdup(&["plan"])?.exits(0)?.says("No changes")?;
    lab.on(2, "cat /etc/etcd/server.key")?;
    let key = lab.on(2, "cat /etc/etcd/server.key")?.out;
    lab.write("server.key", &key)?;
    // Sixty days of ninety are gone: ten more than two thirds.
    lab.write("make.sh", "set -e\nmkdir -p ca/new; : > ca/index.txt; echo 77 > ca/serial\n\
        printf '[ca]\\ndefault_ca=c\\n[c]\\ndir=ca\\ndatabase=ca/index.txt\\nnew_certs_dir=ca/new\\n' > ca/cnf\n\
        printf 'serial=ca/serial\\npolicy=p\\ndefault_md=sha256\\n[p]\\ncommonName=supplied\\n[e]\\n' >> ca/cnf\n\
        printf 'subjectAltName=IP:10.77.0.12,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1,DNS:localhost\\n' >> ca/cnf\n\
        printf 'extendedKeyUsage=serverAuth,clientAuth\\nkeyUsage=critical,digitalSignature\\n' >> ca/cnf\n\
        printf 'authorityKeyIdentifier=keyid\\n' >> ca/cnf\n\
        openssl req -new -key server.key -subj /CN=m2 -out m2.csr\n\
        openssl ca -batch -notext -config ca/cnf -extensions e -cert pki/prod/ca.crt -keyfile pki/prod/ca.key -in m2.csr -out m2.crt \
        -startdate $(date -u -d '70 days ago' +%Y%m%d%H%M%SZ) -enddate $(date -u -d '20 days' +%Y%m%d%H%M%SZ) 2>/dev/null\n")?;
    lab.inside("sh make.sh")?.exits(0)?;
    let old = lab.read("m2.crt")?;
    lab.on(2, &format!("cat > /etc/etcd/server.crt <<'E'\n{old}E\n"))?
        .exits(0)?;
    let pid = lab.on(2, "pidof etcd")?.out;
    lab.etcdup(&["verify"])?.says("certificates-end")?;
    lab.apply()?.says("server.crt")?.says("less than a third")?;
    ensure(
        lab.on(2, "pidof etcd")?.out == pid,
        "a renewal cost a restart",
    )?;
    ensure(
        lab.on(2, "cat /etc/etcd/server.crt")?.out != old,
        "it was not renewed",
    )?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}
