//! What may cost a cluster or its data, tried on real hosts: each was found there, or by a reader
//! who looked for it.

use crate::e2e::context::{Context, Scenario, never_still};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("nothing-of-a-live-cluster-is-taken", nothing_is_taken),
    ("lost-and-copied-data", lost_and_copied_data),
    ("added-by-etcdctl", added_by_etcdctl),
    ("missed-bootstrap", missed_bootstrap),
    ("etcd-auth", etcd_auth),
    ("operators-tools", operators_tools),
    ("further-ca", further_ca),
];

/// A checkout without `pki/`, another CA, another cluster's file, a downgrade and a jump: all
/// refused, nothing written.
fn nothing_is_taken(context: &Context) -> Outcome {
    let lab = context.three("")?;
    let sums = "sha256sum /etc/etcd/* /etc/systemd/system/etcd.service | sort";
    let before = lab.on(1, sums)?.out;
    let pids = lab.on(1, "pidof etcd")?.out;
    let refused = |arguments: &[&str], id: &str| -> Outcome {
        lab.etcdup(arguments)?.exits(4)?.says(id).map(|_| ())
    };
    lab.inside("cat pki/.gitignore")?.exits(0)?.says("*")?;
    lab.inside("mv pki pki.away")?.exits(0)?;
    refused(&["apply", "--yes"], "ca-missing")?;
    lab.inside(
        "mkdir -p pki/prod && cd pki/prod && openssl genrsa -traditional -out ca.key 2048 && \
         openssl req -x509 -new -key ca.key -days 30 -subj /CN=other -out ca.crt && chmod 600 ca.key",
    )?
    .exits(0)?;
    refused(&["apply", "--yes"], "ca-mismatch")?;
    // Without the key: what needs no issuing is still managed, with a client certificate that
    // exists.
    lab.inside("rm -rf pki && mv pki.away pki")?.exits(0)?;
    lab.etcdup(&["env"])?.exits(0)?;
    lab.inside("mv pki/prod/ca.key ca.key.away")?.exits(0)?;
    lab.etcdup(&["plan"])?.exits(0)?.says("No changes")?;
    lab.inside("mv ca.key.away pki/prod/ca.key")?.exits(0)?;
    refused(
        &["apply", "--yes", "--set", "etcd=3.4.45"],
        "version-change",
    )?;
    refused(&["apply", "--yes", "--set", "etcd=3.7.1"], "leg-binaries")?;
    refused(
        &[
            "apply",
            "--yes",
            "--set",
            "security.client=plain",
            "--set",
            "security.allow-plain=true",
        ],
        "security-change",
    )?;
    let text = lab.read("etcdup.toml")?;
    let other = text.replace("cluster = \"prod\"", "cluster = \"other\"");
    lab.write("other.toml", &other)?;
    let wipe_other = ["-f", "other.toml", "reset", "--wipe", "--confirm", "other"];
    refused(&wipe_other, "cluster-of-another-name")?;
    // Without the record that names the cluster, its ID still tells that the file made another.
    let away = "mv /var/lib/etcdup/prod.json /var/lib/etcdup.prod.json";
    let back = "mv /var/lib/etcdup.prod.json /var/lib/etcdup/prod.json";
    (1..=3).try_for_each(|host| lab.on(host, away).map(drop))?;
    refused(&wipe_other, "reset-of-another")?;
    (1..=3).try_for_each(|host| lab.on(host, back).map(drop))?;
    // A copy with a new name, and the same CA: its name confirms nothing.
    let copy = text.replace("cluster = \"prod\"", "cluster = \"copy\"");
    lab.write("copy.toml", &copy)?;
    lab.inside("cp -r pki/prod pki/copy")?.exits(0)?;
    refused(
        &["-f", "copy.toml", "apply", "--yes"],
        "cluster-of-another-name",
    )?;
    refused(
        &["-f", "copy.toml", "reset", "--wipe", "--confirm", "copy"],
        "cluster-of-another-name",
    )?;
    lab.etcdup(&["reset", "--wipe", "--yes"])?
        .exits(3)?
        .says("--confirm prod")?;
    lab.etcdup(&["reset", "--wipe", "--confirm", "pord"])?
        .exits(3)?;
    ensure(lab.on(1, sums)?.out == before, "files were changed")?;
    ensure(lab.on(1, "pidof etcd")?.out == pids, "m1 was restarted")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

/// Provided certificates of a further CA: the CA file that holds both first, then the certificates.
/// Nobody is refused on the way.
fn further_ca(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.write(
        "make.sh",
        "set -e\nca() { openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -out $1.crt -days 9 -subj /CN=$1 \
         -addext basicConstraints=critical,CA:TRUE 2>/dev/null; }\n\
         issue() { openssl req -newkey rsa:2048 -nodes -keyout $2.key -out $2.csr -subj /CN=$2 2>/dev/null\n\
         printf 'subjectAltName=IP:%s,IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' $3 > ext\n\
         openssl x509 -req -in $2.csr -CA $1.crt -CAkey $1.key -CAcreateserial -days 9 -extfile ext -out $2.crt 2>/dev/null; }\n\
         members() { for n in 1 2 3; do issue $1 m$n 10.77.0.1$n; done; }\n",
    )?;
    lab.inside(
        ". ./make.sh; ca old; ca new; cp old.crt ca.crt; members old; issue old me 10.77.0.1; \
         issue old tester 10.77.0.1; cat new.crt old.crt > both.crt; \
         mkdir -p pki/prod; cp both.crt pki/prod/ca.crt",
    )?
    .exits(0)?;
    let provided = "certificates.provided = { ca = \"ca.crt\", server = { cert = \"{member}.crt\", key = \"{member}.key\" }, \
                    operator = { cert = \"me.crt\", key = \"me.key\" } }";
    lab.topology(&context.version, provided, 3)?;
    lab.apply()?;
    let refused = |arguments: &[&str], id: &str| -> Outcome {
        lab.etcdup(arguments)?.exits(4)?.says(id).map(|_| ())
    };
    // New certificates beside the old CA file, and the new CA alone: both would cut everybody off.
    lab.inside(
        "mkdir was next; cp m?.crt m?.key was; . ./make.sh; members new; cp m?.crt m?.key next",
    )?
    .exits(0)?;
    refused(&["apply", "--yes"], "ca-mismatch")?;
    lab.inside("cp new.crt ca.crt")?.exits(0)?;
    refused(&["apply", "--yes"], "ca-mismatch")?;
    // Both at once: members that have not restarted yet would refuse those that have.
    lab.inside("cat new.crt old.crt > ca.crt")?.exits(0)?;
    refused(&["apply", "--yes"], "issuer-untrusted")?;
    let since = lab.on(1, "date +%s")?.out;
    lab.inside("cp was/* .")?.exits(0)?;
    let writer = Writer::trusting(&lab, 3, "both.crt")?;
    lab.apply()?.says("restart m1")?;
    lab.inside("cp next/* .")?.exits(0)?;
    lab.apply()?.says("replace the certificates of m1")?;
    for host in 1..=3 {
        let shown = format!(
            "openssl s_client -connect {}:2380 -CAfile /etc/etcd/ca.crt </dev/null 2>/dev/null | openssl x509 -noout -issuer",
            Lab::address(host)
        );
        lab.on(host, &shown)?.exits(0)?.says("CN = new")?;
        // A peer that restarts hangs up in the middle of a handshake, and the look above shows no
        // certificate.
        let log = format!(
            "journalctl -u etcd -o cat --since @{} | grep -E 'unknown authority|bad certificate'",
            since.trim()
        );
        let rejected = lab.on(host, &log)?.out;
        ensure(rejected.is_empty(), format!("m{host} said:\n{rejected}"))?;
    }
    lab.etcdup(&["plan"])?.exits(0)?.says("No changes")?;
    // Nothing that members show is of the old CA any more; what etcdup shows still is.
    lab.inside("cp new.crt ca.crt")?.exits(0)?;
    refused(&["apply", "--yes"], "client-untrusted")?;
    never_still(&writer.stop()?)?;
    lab.inside(". ./make.sh; issue new me 10.77.0.1; issue new tester 10.77.0.1")?
        .exits(0)?;
    let writer = Writer::trusting(&lab, 3, "both.crt")?;
    lab.apply()?.says("restart m1")?;
    never_still(&writer.stop()?)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// A disk emptied under a running unit, a disk copied from another member, and all disks gone: none
/// is started.
fn lost_and_copied_data(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "acknowledged", "yes"])?
        .exits(0)?;
    lab.on(3, "systemctl stop etcd; rm -rf /var/lib/etcd/member")?;
    let out = lab.work.path().join("m1.tar");
    lab.on(1, "systemctl stop etcd")?;
    lab.inside(&format!(
        "ssh -i {key} -o UserKnownHostsFile={known} root@10.77.0.11 tar -C /var/lib/etcd -cf - member > {out}",
        key = lab.state.join("key").display(),
        known = lab.state.join("known_hosts").display(),
        out = out.display(),
    ))?
    .exits(0)?;
    lab.send(3, &out, "tar -C /var/lib/etcd -xf -")?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("data-other-member")?
        .says("a copy of m1")?;
    ensure(lab.on(3, "pidof etcd")?.code != 0, "the copy was started")?;
    for host in 1..=3 {
        lab.on(
            host,
            "systemctl stop etcd; mv /var/lib/etcd/member /var/lib/etcd.away",
        )?;
    }
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("member-lost-data")?;
    ensure(lab.on(1, "pidof etcd")?.code != 0, "a new cluster was made")?;
    // The disks that are still whole come back: two of three, and what was acknowledged is there.
    for host in 1..=2 {
        lab.on(
            host,
            "mv /var/lib/etcd.away /var/lib/etcd/member; systemctl start --no-block etcd",
        )?;
    }
    lab.inside("sleep 4")?;
    lab.etcdctl(&Lab::endpoints(2), &["get", "acknowledged"])?
        .exits(0)?
        .says("yes")
        .map(|_| ())
}

/// A member that was removed and added again by etcdctl starts as `existing` and joins.
fn added_by_etcdctl(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.on(3, "systemctl stop etcd; rm -rf /var/lib/etcd/member")?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("remove m3 from the cluster")?;
    let list = lab
        .etcdctl(&Lab::endpoints(2), &["member", "list"])?
        .exits(0)?;
    let line = list.out.lines().find(|line| line.contains(", m3,"));
    let id = line
        .and_then(|line| line.split(',').next())
        .ok_or_else(|| list.all())?
        .to_owned();
    lab.etcdctl(&Lab::endpoints(2), &["member", "remove", &id])?
        .exits(0)?;
    // etcd refuses an addition until peers have been connected for five seconds.
    lab.inside("sleep 6")?;
    let add = ["member", "add", "m3", "--peer-urls=https://10.77.0.13:2380"];
    lab.etcdctl(&Lab::endpoints(2), &add)?.exits(0)?;
    lab.apply()?;
    let unit = lab.on(3, "cat /etc/systemd/system/etcd.service")?;
    unit.says("--initial-cluster-state=existing")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.nothing_to_do()
}

/// One of three cannot start at the bootstrap. Once it can, the next run finishes it.
fn missed_bootstrap(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    let drop_in = "/etc/systemd/system/etcd.service.d/broken.conf";
    lab.on(3, &format!("mkdir -p /etc/systemd/system/etcd.service.d; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {drop_in}"))?
        .exits(0)?;
    lab.etcdup(&["apply", "--yes"])?.exits(1)?.says("m3")?;
    lab.etcdctl(&Lab::endpoints(2), &["put", "early", "yes"])?
        .exits(0)?;
    // The drop-in is named, since nothing else explains why the unit does not do what it says.
    lab.etcdup(&["verify"])?
        .exits(1)?
        .says("broken.conf")?
        .says("ExecStart=/bin/false")?;
    // Stopped, or systemd would start it in its own time.
    lab.on(
        3,
        &format!("systemctl stop etcd; rm {drop_in}; systemctl daemon-reload"),
    )?
    .exits(0)?;
    lab.apply()?.says("finish the bootstrap")?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdctl(&Lab::endpoints(3), &["get", "early"])?
        .exits(0)?
        .says("yes")?;
    lab.nothing_to_do()
}

/// etcd's own authentication is on, and etcdup has no user: members are healthy, and none is
/// restarted.
fn etcd_auth(context: &Context) -> Outcome {
    let lab = context.three("security = { client = \"tls\" }")?;
    let pids = |lab: &Lab| -> Result<Vec<String>, String> {
        (1..=3)
            .map(|host| lab.on(host, "pidof etcd").map(|said| said.out))
            .collect()
    };
    let before = pids(&lab)?;
    let file = lab.etcdctl(&Lab::endpoints(3), &["put", "kept", "yes"])?;
    file.exits(0)?;
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        lab.etcdctl(&Lab::endpoints(3), arguments)?.exits(0)?;
    }
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("etcd-auth-denied")?;
    ensure(pids(&lab)? == before, "members were restarted")?;
    // Nobody may count its keys, and it can be restored all the same.
    let save = ["--user", "root:secret", "snapshot", "save", "auth.db"];
    lab.etcdctl("https://10.77.0.11:2379", &save)?.exits(0)?;
    lab.etcdup(&["snapshot", "drill", "auth.db"])?
        .exits(0)?
        .says("authentication is on")
        .map(|_| ())
}

/// `etcdctl`, `env`, `logs` and `ssh` go where the topology says, with client ports closed to this
/// machine.
fn operators_tools(context: &Context) -> Outcome {
    let lab = context.three("")?;
    for host in 1..=3 {
        let close = "iptables -I INPUT -p tcp --dport 2379 -s 10.77.0.1 -j DROP";
        lab.on(host, close)?.exits(0)?;
    }
    let list = lab.etcdup(&["etcdctl", "--", "member", "list"])?.exits(0)?;
    ensure(list.out.matches(", started, m").count() == 3, list.all())?;
    let health = ["etcdctl", "--", "endpoint", "health"];
    lab.etcdup(&health)?.exits(0)?.says("is healthy")?;
    lab.etcdup(&["etcdctl", "--", "get", "nothing", "--no-such-flag"])?
        .exits(1)?;
    let left = lab.inside("ls /tmp | grep -c client.key")?;
    ensure(left.out.trim() == "0", "the client's key was left behind")?;
    // One member for a snapshot, a flag of one's own, and URLs that only the hosts reach.
    lab.etcdup(&["etcdctl", "--", "snapshot", "save", "backup.db"])?
        .exits(0)?;
    lab.inside("test -s backup.db")?.exits(0)?;
    lab.etcdup(&["etcdctl", "--member", "m2", "--", "endpoint", "status"])?
        .exits(0)?;
    lab.etcdup(&["etcdctl", "--", "endpoint", "health", "--cluster"])?
        .exits(0)?
        .says("--cluster is left out")?;
    lab.etcdup(&[
        "etcdctl",
        "--",
        "--endpoints=https://127.0.0.1:1",
        "version",
    ])?
    .exits(0)?;
    lab.etcdup(&["env"])?
        .exits(0)?
        .says("export ETCDCTL_ENDPOINTS=https://10.77.0.11:2379")?
        .never_says("ETCDCTL_API")?;
    lab.etcdup(&["logs", "m2", "--lines", "2000"])?
        .exits(0)?
        .says("ready to serve client requests")?;
    lab.etcdup(&["ssh", "m2", "--", "hostname"])?
        .exits(0)?
        .says(&format!("{}-2", lab.name()))?;
    lab.etcdup(&["logs", "m9"])?
        .exits(64)?
        .says("the topology has m1, m2, m3")?;
    lab.etcdup(&["status"])?
        .exits(0)?
        .says("has quorum: 3 of 3 voters healthy")?
        .says("no changes pending")
        .map(|_| ())
}
