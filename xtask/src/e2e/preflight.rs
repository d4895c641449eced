//! What is refused before anything changes.

use super::context::{Context, Scenario};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};

pub(super) const ALL: &[Scenario] = &[
    ("every-problem-at-once", every_problem_at_once),
    ("filtered-port", filtered_port),
    ("wrong-host-key", wrong_host_key),
    (
        "peer-certificate-lacks-its-address",
        peer_certificate_lacks_its_address,
    ),
    ("name-does-not-resolve", name_does_not_resolve),
    ("data-of-another-cluster", data_of_another_cluster),
    ("wrong-checksum", wrong_checksum),
    ("clocks-apart", clocks_apart),
    ("slow-disk", slow_disk),
];

fn untouched(lab: &Lab, hosts: u32) -> Outcome {
    for host in 1..=hosts {
        let changed = lab.on(host, "test ! -e /opt/etcd && test ! -e /etc/systemd/system/etcd.service && test ! -e /var/lib/etcdup")?;
        ensure(changed.code == 0, format!("host {host} was changed"))?;
    }
    Ok(())
}

/// A host without space, a taken port and a missing tool, on three hosts, are named in one answer.
fn every_problem_at_once(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    lab.on(
        1,
        "mkdir -p /var/lib/etcd && mount -t tmpfs -o size=50m none /var/lib/etcd",
    )?
    .exits(0)?;
    lab.on(
        2,
        "systemd-run -q systemd-socket-activate -l 2380 /bin/cat && sleep 0.5",
    )?
    .exits(0)?;
    lab.on(3, "mv /usr/bin/flock /usr/bin/flock.away")?
        .exits(0)?;
    let said = lab.etcdup(&["apply", "--yes"])?.exits(4)?;
    let said = said
        .says("disk-space")?
        .says("port 2380 of 10.77.0.12 is taken by systemd-socket")?;
    said.says("host-tools")?.says("flock")?;
    untouched(&lab, 3)
}

fn filtered_port(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    lab.on(3, "iptables -A INPUT -p tcp --dport 2380 -j DROP")?
        .exits(0)?;
    let said = lab.etcdup(&["apply", "--yes"])?.exits(4)?;
    said.says("peer-unreachable")?.says("10.77.0.13:2380")?;
    untouched(&lab, 3)
}

fn wrong_host_key(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    let known = std::fs::read_to_string(lab.state.join("known_hosts"))
        .map_err(|error| error.to_string())?;
    let fresh = lab
        .inside("ssh-keygen -q -t ed25519 -N '' -f other && cut -d' ' -f1,2 other.pub")?
        .exits(0)?;
    lab.write("known", &format!("10.77.0.11 {}", fresh.out))?;
    let path = lab.work.path().join("known").display().to_string();
    lab.edit(&lab.state.join("known_hosts").display().to_string(), &path)?;
    let said = lab
        .etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("HAS CHANGED")?;
    ensure(
        said.all().matches("SHA256:").count() >= 2,
        format!("both fingerprints are not named:\n{}", said.all()),
    )?;
    lab.write("known", "")?;
    lab.etcdup(&["plan"])?.exits(4)?.says("accept-new")?;
    lab.edit("known-hosts", "host-key = \"accept-new\", known-hosts")?;
    lab.etcdup(&["plan"])?.exits(0)?;
    ensure(
        lab.read("known")?
            .contains(known.split_whitespace().nth(2).unwrap_or("?")),
        "the new key was not written down",
    )?;
    untouched(&lab, 1)
}

/// Provided certificates: a peer's lacks its address. It is predicted; forced, it is really
/// rejected.
fn peer_certificate_lacks_its_address(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.write(
        "make.sh",
        "set -e\nopenssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 9 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null\n\
         issue() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=$1 2>/dev/null\n\
         printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' $2 > ext\n\
         openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile ext -out $1.crt 2>/dev/null; }\n\
         issue server IP:10.77.0.11,IP:10.77.0.12,IP:10.77.0.13,IP:127.0.0.1\n\
         for n in 1 2 3; do issue peer-m$n IP:10.77.0.1$n; done\nissue bad IP:10.77.0.99\n\
         openssl req -newkey rsa:2048 -nodes -keyout oneway.key -out oneway.csr -subj /CN=oneway 2>/dev/null\n\
         printf 'subjectAltName=IP:10.77.0.13\\nextendedKeyUsage=serverAuth\\n' > ext\n\
         openssl x509 -req -in oneway.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile ext -out oneway.crt 2>/dev/null\n",
    )?;
    lab.inside("sh make.sh")?.exits(0)?;
    let provided = "certificates.provided = { ca = \"ca.crt\", server = { cert = \"server.crt\", key = \"server.key\" }, \
                    peer = { cert = \"peer-{member}.crt\", key = \"peer-{member}.key\" } }";
    lab.topology(&context.version, provided, 3)?;
    lab.inside("cp peer-m3.crt good.crt; cp peer-m3.key good.key; cp bad.crt peer-m3.crt; cp bad.key peer-m3.key")?.exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cert-refused")?
        .says("10.77.0.99")?;
    // Nor would one that is no client's do, nor another's key.
    lab.inside("cp oneway.crt peer-m3.crt; cp good.key peer-m3.key")?
        .exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("not meant for clients")?
        .says("peer-m3.key is not the key of peer-m3.crt")?;
    untouched(&lab, 3)?;
    lab.inside("cp good.crt peer-m3.crt; cp good.key peer-m3.key")?
        .exits(0)?;
    lab.apply()?;
    // Forced, behind etcdup's back: etcd itself refuses what was predicted.
    let put = |name: &str| -> Result<(), String> {
        for ending in ["crt", "key"] {
            let text = lab.read(&format!("{name}.{ending}"))?;
            lab.on(
                3,
                &format!("cat > /etc/etcd/peer.{ending} <<'E'\n{text}E\n"),
            )?
            .exits(0)?;
        }
        lab.on(3, "systemctl restart --no-block etcd; sleep 3")
            .map(|_| ())
    };
    put("bad")?;
    let log = lab.on(
        1,
        "journalctl -u etcd -o cat | grep 'rejected connection on peer endpoint' | tail -n 1",
    )?;
    log.exits(0)?.says("10.77.0.13")?;
    lab.etcdup(&["verify"])?.exits(1)?.says("m3")?;
    lab.apply()?;
    // Valid for a server and not for a client: m3 is refused by the others, which it accepts.
    // Health stays green.
    put("oneway")?;
    lab.inside(
        "curl -s --cacert ca.crt --cert server.crt --key server.key https://10.77.0.13:2379/health",
    )?
    .exits(0)?
    .says("\"health\":\"true\"")?;
    lab.etcdup(&["verify"])?
        .exits(1)?
        .says("peers-active")?
        .says("m3")?;
    lab.apply()?;
    lab.etcdup(&["verify"])?
        .exits(0)?
        .says("6 connections, both ways")
        .map(|_| ())
}

fn name_does_not_resolve(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    let names: String = (1..=3)
        .map(|n| {
            format!(
                "[[member]]\nname = \"m{n}\"\nhost = \"{}\"\naddress = \"m{n}.lab\"\n",
                Lab::address(n)
            )
        })
        .collect();
    lab.write(
        "etcdup.toml",
        &format!("{}\n{names}", lab.head(&context.version)),
    )?;
    for host in 1..=3 {
        lab.on(
            host,
            "printf '10.77.0.11 m1.lab\\n10.77.0.12 m2.lab\\n' >> /etc/hosts",
        )?;
    }
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("name-unresolved")?
        .says("m3.lab")?;
    untouched(&lab, 3)?;
    for host in 1..=3 {
        lab.on(host, "echo 10.77.0.13 m3.lab >> /etc/hosts")?;
    }
    lab.apply()?;
    lab.etcdup(&["env"])?
        .exits(0)?
        .says("https://m3.lab:2379")?;
    // One deleted record would stop a restart: it is noticed before.
    lab.on(
        1,
        "sed '/m3.lab/d' /etc/hosts > /tmp/h && cat /tmp/h > /etc/hosts",
    )?
    .exits(0)?;
    lab.edit("etcd = \"", "flags = { snapshot-count = 4321 }\netcd = \"")?;
    let before = lab.on(1, "pidof etcd")?.out;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("name-unresolved")?;
    ensure(lab.on(1, "pidof etcd")?.out == before, "it was restarted")
}

/// Member and cluster ID are read from the head of the WAL.
fn data_of_another_cluster(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.apply()?;
    lab.on(
        1,
        "systemctl disable -q --now etcd; rm /etc/systemd/system/etcd.service",
    )?;
    let id = lab.on(
        1,
        "od -An -v -tx1 -N 56 /var/lib/etcd/member/wal/*.wal | head -n 1",
    )?;
    ensure(!id.out.is_empty(), "there is no WAL")?;
    // The host record would know the cluster by its ID, whatever the file says of its token.
    lab.on(1, "rm /var/lib/etcdup/prod.json")?.exits(0)?;
    lab.edit("etcd = \"", "token = \"another\"\netcd = \"")?;
    // The only data there is may be the cluster's own: it is not called another's.
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cluster-not-known")?;
    lab.edit("token = \"another\"", "token = \"prod\"")?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.on(1, "systemctl stop etcd; rm -rf /var/lib/etcd/member; echo hello > /var/lib/etcd/diary.txt; rm /etc/systemd/system/etcd.service")?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("data-foreign")
        .map(|_| ())
}

fn wrong_checksum(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.edit(
        "tar.gz\"",
        &format!("tar.gz\", sha256 = \"{}\"", "ab".repeat(32)),
    )?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(1)?
        .says("expected abab")?
        .says("nothing was changed")?;
    let changed = lab.on(1, "test ! -e /opt/etcd && test ! -e /etc/etcd")?;
    ensure(changed.code == 0, "something changed")?;
    // An archive of another version is noticed before anyone is asked to approve it.
    let other = crate::setup::versions()?
        .into_iter()
        .find(|version| *version != context.version)
        .unwrap_or_default();
    lab.topology(&context.version, "", 1)?;
    lab.edit(
        &crate::lab::archive(&context.version).display().to_string(),
        &crate::lab::archive(&other).display().to_string(),
    )?;
    lab.etcdup(&["apply", "--yes"])?.exits(4)?.says(&format!(
        "is etcd {other}, and {} is wanted",
        context.version
    ))?;
    let changed = lab.on(
        1,
        "test ! -e /opt/etcd && test ! -e /etc/etcd && ! id -u etcd",
    )?;
    ensure(changed.code == 0, "something changed for a wrong binary")
}

fn clocks_apart(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&context.version, "", 3)?;
    // All hosts share one clock here, so one of them gets a `date` that is five seconds ahead.
    lab.on(2, "mv /usr/bin/date /usr/bin/date.real; cat > /usr/bin/date <<'E'
#!/bin/sh
if [ \"$1\" = +%s%N ]; then echo $(($(/usr/bin/date.real +%s%N) + 5000000000)); else exec /usr/bin/date.real \"$@\"; fi
E
chmod 755 /usr/bin/date")?.exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("clock-apart")?
        .says("10.77.0.12")?;
    untouched(&lab, 3)
}

/// A disk that takes long to write is warned of by name, and a cluster is made all the same.
fn slow_disk(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    lab.topology(&context.version, "", 1)?;
    lab.on(
        1,
        "mv /usr/bin/dd /usr/bin/dd.real; \
         printf '#!/bin/sh\\n/usr/bin/dd.real \"$@\" 2>/dev/null\\necho \"204800 bytes copied, 1.2 s, 171 kB/s\" >&2\\n' > /usr/bin/dd; chmod 755 /usr/bin/dd",
    )?
    .exits(0)?;
    lab.apply()?
        .says("disk-slow")?
        .says("a write with fsync takes 2")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}
