//! Members that come: from one to five under a writer, cut off anywhere, half done by others.

use std::time::{Duration, Instant};

use super::context::{Context, Killed, Round, STILL, Scenario, finishes_when_killed, never_still};
use super::examples::example;
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::writer::Writer;

pub(super) const ALL: &[Scenario] = &[
    ("grows-from-one-to-five", grows_from_one_to_five),
    ("join-killed-at-any-moment", join_killed_at_any_moment),
    ("grows-to-another-minor", grows_to_another_minor),
    ("new-member-behind-a-closed-port", behind_a_closed_port),
    ("new-member-that-cannot-run", cannot_run),
    ("join-half-done-by-etcdctl", half_done_by_etcdctl),
    ("new-member-that-does-not-start", does_not_start),
];

/// The example's file of one member becomes one of three, then of five, while a client writes.
fn grows_from_one_to_five(context: &Context) -> Outcome {
    let lab = context.named("m", 5)?;
    let places = [
        ("10.0.1.10", "10.77.0.11"),
        ("10.0.1.11", "10.77.0.12"),
        ("10.0.1.12", "10.77.0.13"),
        ("10.0.1.13", "10.77.0.14"),
        ("10.0.1.14", "10.77.0.15"),
    ];
    example(context, &lab, "grow", &places)?;
    lab.inside("cp one.toml etcdup.toml")?.exits(0)?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 1)?;
    for (members, file) in [(3, "three.toml"), (5, "five.toml")] {
        lab.inside(&format!("cp {file} etcdup.toml"))?.exits(0)?;
        lab.etcdup(&["plan"])?
            .exits(0)?
            .says(&format!("add m{members} to the cluster as a learner"))?
            .says("no outage")?;
        lab.apply()?;
        lab.etcdctl_agrees(&Lab::endpoints(members), members as usize)?;
        lab.nothing_to_do()?;
    }
    writer.checks(&[1, 2, 3, 4, 5]);
    never_still(&writer.stop()?)?;
    for host in 1..=5 {
        settled(&lab, host, 5)?;
    }
    lab.etcdup(&["verify"])?.exits(0).map(|_| ())
}

/// The unit says `existing` and every member, and was written without a restart.
fn settled(lab: &Lab, host: u32, members: u32) -> Outcome {
    let unit = lab.on(host, "cat /etc/systemd/system/etcd.service")?;
    let mut unit = unit.says("--initial-cluster-state=existing")?;
    for member in 1..=members {
        let listed = format!("m{member}=https://{}:2380", Lab::address(member));
        unit = unit.says(&listed)?;
    }
    Ok(())
}

/// A lone member grows before it restarts: before the first that joins runs another minor, the
/// cluster is checked and a snapshot is kept.
fn grows_to_another_minor(context: &Context) -> Outcome {
    let versions = crate::setup::versions()?;
    let older = versions.first().ok_or("no etcd at hand")?;
    let lab = context.lab(3)?;
    lab.topology(older, "", 1)?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 1)?;
    lab.topology(&context.version, "", 3)?;
    lab.etcdup(&["plan"])?
        .exits(0)?
        .says("before the first runs")?
        .says("no outage")?;
    let ran = lab.apply()?.all();
    // The plan is printed before; what is kept is kept before anyone votes with the new minor.
    let kept = ran.find("is verified and kept");
    ensure(kept.is_some() && kept < ran.rfind("make m2 a voter"), &ran)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    writer.checks(&[1, 2, 3]);
    never_still(&writer.stop()?)
}

/// `apply` is killed at seeded moments while two members join, each time on hosts of its own; the
/// next run finishes.
fn join_killed_at_any_moment(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_126,
        labs: "j",
        span: Duration::from_millis(12_000),
        gap: STILL,
        sample: 3,
    }
    .series(context, join_killed)
}

fn join_killed(context: &Context, name: &str, after: Duration) -> Result<Round, String> {
    let lab = context.formed(name, 3, 1)?;
    let writer = Writer::start(&lab, 1)?;
    lab.topology(&context.version, "", 3)?;
    finishes_when_killed(&lab, writer, after, &[1, 2, 3])
}

/// What keeps the others from a new member's peer port is found before the member is added.
fn behind_a_closed_port(context: &Context) -> Outcome {
    let lab = context.formed("m", 2, 1)?;
    lab.on(2, "iptables -A INPUT -p tcp --dport 2380 -j DROP")?
        .exits(0)?;
    lab.topology(&context.version, "", 2)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("peer-unreachable")?
        .says("10.77.0.12:2380")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.on(2, "iptables -F INPUT")?.exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)
}

/// No room for its binaries, or a certificate that its peers would refuse: found before the member
/// is added.
fn cannot_run(context: &Context) -> Outcome {
    let lab = context.named("m", 2)?;
    lab.write(
        "make.sh",
        "set -e\nopenssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 9 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE\n\
         issue() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=$1\n\
         printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' $2 > ext\n\
         openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile ext -out $1.crt; }\n\
         issue server IP:10.77.0.11,IP:10.77.0.12,IP:127.0.0.1\nissue peer-m1 IP:10.77.0.11\nissue peer-m2 IP:10.77.0.99\n",
    )?;
    lab.inside("sh make.sh 2>&1")?.exits(0)?;
    let provided = "certificates.provided = { ca = \"ca.crt\", server = { cert = \"server.crt\", key = \"server.key\" }, \
                    peer = { cert = \"peer-{member}.crt\", key = \"peer-{member}.key\" } }";
    lab.topology(&context.version, provided, 1)?;
    lab.apply()?;
    lab.topology(&context.version, provided, 2)?;
    lab.on(2, "mkdir -p /opt && mount -t tmpfs -o size=4m none /opt")?
        .exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("disk-space")?
        .says("cert-refused")?
        .says("10.77.0.99")?;
    let one = || {
        let list = lab.inside(
            "curl -s --cacert ca.crt --cert server.crt --key server.key -X POST https://10.77.0.11:2379/v3/cluster/member/list",
        )?;
        ensure(list.out.matches("peerURLs").count() == 1, list.all())
    };
    one()?;
    lab.on(2, "umount /opt")?.exits(0)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cert-refused")?;
    one()?;
    lab.inside("sed -i s/10.77.0.99/10.77.0.12/ make.sh; sed -i '/req -x509/d; s/issue server.*//; s/issue peer-m1.*//' make.sh; sh make.sh 2>&1")?
        .exits(0)?;
    lab.apply()?;
    lab.etcdup(&["verify"])?.exits(0).map(|_| ())
}

/// Added as a learner by etcdctl and never started: it is started, and made a voter.
fn half_done_by_etcdctl(context: &Context) -> Outcome {
    let lab = context.formed("m", 2, 1)?;
    // What etcdctl shows as a client certificate.
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    let add = [
        "member",
        "add",
        "m2",
        "--learner",
        "--peer-urls=https://10.77.0.12:2380",
    ];
    lab.etcdctl(&Lab::endpoints(1), &add)?.exits(0)?;
    // Nobody's file names it yet.
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("member-not-in-file")?;
    lab.topology(&context.version, "", 2)?;
    lab.apply()?
        .says("start m2, and let it catch up")?
        .says("make m2 a voter")?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    lab.nothing_to_do()
}

/// A learner that does not start is shown with its log; once it can, the next run goes on.
fn does_not_start(context: &Context) -> Outcome {
    if !context.long {
        note!("skipped: it is waited for for a minute, in long runs");
        return Ok(());
    }
    let lab = context.formed("m", 2, 1)?;
    lab.topology(&context.version, "", 2)?;
    let drop_in = "/etc/systemd/system/etcd.service.d/broken.conf";
    let broken = "[Service]\\nExecStart=\\nExecStart=/opt/etcd/v3.5.30/etcd --no-such-flag";
    lab.on(
        2,
        &format!("mkdir -p {drop_in}; rmdir {drop_in}; printf '{broken}\\n' > {drop_in}"),
    )?
    .exits(0)?;
    let start = Instant::now();
    lab.etcdup(&["apply", "--yes"])?
        .exits(1)?
        .says("no-such-flag")?;
    note!("said after {} s", start.elapsed().as_secs());
    lab.on(2, &format!("rm {drop_in}; systemctl daemon-reload"))?
        .exits(0)?;
    lab.apply()?;
    lab.etcdctl_agrees(&Lab::endpoints(2), 2)?;
    lab.nothing_to_do()
}
