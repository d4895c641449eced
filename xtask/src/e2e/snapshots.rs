//! The cluster's store as files: saved, verified, copied, pruned.

use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::context::{Context, Scenario};
use crate::lab::{Lab, archive};
use crate::outcome::{Outcome, ensure, note};
use crate::setup::cache;
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("snapshots-are-kept", snapshots_are_kept),
    ("taken-by-a-timer", taken_by_a_timer),
];

/// What is saved is whole, for etcd's own tool too; what is damaged is found, and it is never the
/// only one that is left.
fn snapshots_are_kept(context: &Context) -> Outcome {
    let lab =
        context.three("snapshots = { keep = { last = 1, hourly = 0, daily = 0, weekly = 0 } }")?;
    lab.etcdup(&["snapshot", "list"])?
        .exits(0)?
        .says("There is no snapshot in")?;
    lab.etcdctl("https://10.77.0.11:2379", &["put", "before", "open-sesame"])?
        .exits(0)?;
    let saved = lab.etcdup(&["snapshot", "save"])?.exits(0)?;
    let file = saved.out.trim().to_owned();
    saved.says("saved and verified")?;
    let path = lab.work.path().join(&file);
    let mode = std::fs::metadata(&path).map_err(|error| error.to_string())?;
    ensure(
        mode.permissions().mode() & 0o777 == 0o600,
        format!("{file} has mode {:o}", mode.permissions().mode()),
    )?;
    let listed = lab
        .etcdup(&["snapshot", "list", "--output", "json"])?
        .exits(0)?;
    let listed: Value = serde_json::from_str(&listed.out).map_err(|error| error.to_string())?;
    let document = &listed["snapshots"][0]["document"];
    // etcd's own tool finds the same in it: at least the revision that it was begun at.
    let tool = lab.etcdctl(
        "https://10.77.0.11:2379",
        &["snapshot", "status", &file, "--write-out", "json"],
    )?;
    let status: Value =
        serde_json::from_str(&tool.exits(0)?.out).map_err(|error| error.to_string())?;
    ensure(
        status["revision"].as_i64() >= document["revision"].as_i64()
            && document["revision"].as_i64() > Some(1),
        format!("{status} and {document}"),
    )?;
    ensure(
        document["etcd"] == context.version.as_str(),
        document.to_string(),
    )?;
    // The leader has enough to do.
    let leader = lab.etcdctl(
        "https://10.77.0.11:2379",
        &["endpoint", "status", "--cluster", "--write-out", "json"],
    )?;
    let views: Value =
        serde_json::from_str(&leader.exits(0)?.out).map_err(|error| error.to_string())?;
    let by_name = |name: &str| {
        let host = name.trim_start_matches('m');
        let url = format!("https://10.77.0.1{host}:2379");
        let mut views = views.as_array().into_iter().flatten();
        views.find(|view| view["Endpoint"] == url.as_str()).cloned()
    };
    let sender = by_name(document["member"].as_str().unwrap_or_default()).unwrap_or_default();
    let header = &sender["Status"]["header"]["member_id"];
    ensure(
        header.is_u64() && *header != sender["Status"]["leader"],
        format!("{document} of {views}"),
    )?;
    let led = lab.etcdup(&["snapshot", "save", "--member", "m9"])?;
    led.exits(64)?.says("no member `m9`")?;
    let second = lab
        .etcdup(&["snapshot", "save", "--member", "m1"])?
        .exits(0)?;
    let second = second.out.trim().to_owned();
    lab.etcdup(&["snapshot", "verify"])?
        .exits(0)?
        .says("whole")?;
    // One byte.
    let newest = lab.work.path().join(&second);
    let mut bytes = std::fs::read(&newest).map_err(|error| error.to_string())?;
    bytes[5000] ^= 1;
    std::fs::write(&newest, &bytes).map_err(|error| error.to_string())?;
    lab.etcdup(&["snapshot", "verify"])?
        .exits(1)?
        .says("is damaged: its SHA-256 is")?
        .says("1 of 2 snapshots damaged")?;
    lab.etcdup(&["snapshot", "get", "latest", "copy.db"])?
        .exits(1)?
        .says("is damaged")?;
    // The newest is kept by the rule, and the only one that is whole whatever the rule says.
    lab.etcdup(&["snapshot", "prune", "--yes"])?
        .exits(0)?
        .says("0 snapshots deleted, 2 snapshots kept")?;
    let name = file
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".db"))
        .unwrap_or_default();
    lab.etcdup(&["snapshot", "get", name, "copy.db"])?
        .exits(0)?;
    lab.etcdup(&["snapshot", "get", name, "copy.db"])?
        .exits(1)?
        .says("exists")?;
    lab.etcdup(&["snapshot", "verify", "copy.db"])?.exits(0)?;
    let third = lab.etcdup(&["snapshot", "save"])?.exits(0)?;
    lab.etcdup(&["snapshot", "prune", "--dry-run"])?
        .exits(0)?
        .says("2 snapshots would be deleted, 1 snapshot kept")?;
    lab.etcdup(&["snapshot", "prune", "--yes"])?.exits(0)?;
    let left = lab.etcdup(&["snapshot", "list"])?.exits(0)?;
    let third = third
        .out
        .trim()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    left.says(third.trim_end_matches(".db"))?.never_says(name)?;
    // It comes back, and what does not is said: a file whose digest is right, and which is nothing.
    lab.etcdup(&["snapshot", "drill"])?
        .exits(0)?
        .says("restored and read back: prod-")?
        .says("1 key,")?;
    let own = cache().join("etcd/bin").join(&context.version);
    lab.inside(&format!("cp -r {} own", own.display()))?
        .exits(0)?;
    let archived = format!(
        "archive = {{ path = \"{}\" }}",
        archive(&context.version).display()
    );
    let directory = "directory = { path = \"own\" }";
    lab.edit(&archived, directory)?;
    lab.etcdup(&["snapshot", "drill"])?
        .exits(0)?
        .says("restored and read back: prod-")?;
    lab.edit(directory, &archived)?;
    lab.inside("cp copy.db torn.db; chmod u+w torn.db; printf x | dd of=torn.db bs=1 seek=5000 conv=notrunc 2>&1")?
        .exits(0)?;
    lab.etcdup(&["snapshot", "drill", "torn.db"])?
        .exits(1)?
        .says("is damaged")?;
    let digest = "import hashlib,sys; d=bytearray(open('copy.db','rb').read()[:-32]); d[4096:]=bytes(len(d)-4096); \
                  open('torn.db','wb').write(bytes(d)+hashlib.sha256(d).digest())";
    lab.inside(&format!("python3 -c \"{digest}\""))?.exits(0)?;
    lab.etcdup(&["snapshot", "drill", "torn.db"])?
        .exits(1)?
        .says("cannot be restored")?;
    let left = lab.inside(
        "ls -Ad .etcdup-drill-* snapshots/prod/.etcdup-drill-*; pgrep -f '^./etcd --name dril[l]'",
    )?;
    ensure(left.out.is_empty(), left.all())?;
    drilled_on_a_host(&lab)?;
    // Whatever becomes of snapshots, clients' writes are there.
    let writer = Writer::start(&lab, 3)?;
    lost_link(&lab)?;
    // Where no more can be written nothing is left: by a limit, and by a disk that fills up while a
    // snapshot of some megabytes comes.
    let program = context.etcdup.display();
    let full = format!("trap '' XFSZ; ulimit -f 8; {program} snapshot save");
    lab.inside(&full)?.exits(1)?.says("File too large")?;
    let full = format!(
        "mkdir full && exec unshare --mount sh -c 'mount -t tmpfs -o size=2m,mode=700 none full && \
         {program} --set snapshots.to=full snapshot save; code=$?; find full -type f ! -name .gitignore; exit $code'"
    );
    let full = lab.inside(&full)?.exits(1)?.says("No space left")?;
    ensure(
        full.out.is_empty(),
        format!("left on the full disk: {}", full.out),
    )?;
    writer.stop()?.tell();
    // Neither logs nor events say what is in it.
    let said = lab.inside("grep -rlF open-sesame . --exclude='*.db'")?;
    ensure(said.out.is_empty(), said.all())?;
    for host in 1..=3 {
        lab.on(host, "! grep -rF open-sesame /var/lib/etcdup")?
            .exits(0)?;
    }
    // Where others may look, nothing is put; where nobody serves, nothing is made.
    lab.inside("chmod 755 snapshots/prod")?.exits(0)?;
    lab.etcdup(&["snapshot", "save"])?
        .exits(1)?
        .says("every user may look into it")?;
    lab.inside("chmod 700 snapshots/prod")?.exits(0)?;
    for host in 1..=3 {
        lab.on(host, "systemctl stop etcd")?.exits(0)?;
    }
    lab.etcdup(&["snapshot", "save"])?
        .exits(1)?
        .says("no member serves")?;
    let pieces = lab.inside("ls -A snapshots/prod | sed 's/prod-.*[.]/*./' | sort -u")?;
    ensure(pieces.out == "*.db\n*.json\n.gitignore\n", pieces.all())
}

/// Another machine does it, which gets all that it needs and keeps none of it.
fn drilled_on_a_host(lab: &Lab) -> Outcome {
    lab.etcdup(&["snapshot", "drill", "--on", "nowhere"])?
        .exits(64)?
        .says("no host `nowhere`; the topology has")?;
    let drill = |snapshot| {
        let host = Lab::address(2);
        lab.etcdup(&["snapshot", "drill", snapshot, "--on", &host])
    };
    drill("latest")?
        .exits(0)?
        .says(&format!(
            "restored and read back on {}: prod-",
            Lab::address(2)
        ))?
        .says("1 key,")?;
    drill("torn.db")?.exits(1)?.says("etcdutl")?;
    // As if one had been killed there a moment ago: its directory goes with the next.
    lab.on(2, "mkdir -m 700 /var/lib/etcdup/drill.a-b")?
        .exits(0)?;
    drill("copy.db")?.exits(0)?;
    let left = lab.on(
        2,
        "ls -d /var/lib/etcdup/drill.*-*; pgrep -f '^./etcd --name dril[l]'",
    )?;
    ensure(left.out.is_empty(), left.all())?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

/// Finds what came of a snapshot that is not whole.
const SENT: &str = "find snapshots/prod -type f -size +512k ! -name '*.db' | grep .";

/// Some megabytes, which take seconds over a link that is slow.
fn large(lab: &Lab) -> Outcome {
    let value = "v".repeat(100_000);
    for key in 0..40 {
        let key = format!("large{key}");
        lab.etcdctl("https://10.77.0.11:2379", &["put", &key, &value])?
            .exits(0)?;
    }
    Ok(())
}

fn slow(lab: &Lab, host: u32) -> Outcome {
    let shape = "tc qdisc add dev host0 root tbf rate 10mbit burst 64kb latency 400ms";
    lab.on(host, shape)?.exits(0)?;
    // It serves all the same, once what it was behind has come.
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)
}

/// The link dies while a member sends its snapshot: nothing is left of it, and the next is whole.
fn lost_link(lab: &Lab) -> Outcome {
    large(lab)?;
    slow(lab, 1)?;
    let mut saving = lab.start(&["snapshot", "save", "--member", "m1"])?;
    saving.until(Duration::from_secs(20), "under way", || {
        Ok(lab.inside(SENT)?.code == 0)
    })?;
    lab.on(1, "pkill -KILL -f 'sshd: root@'")?;
    let status = saving.wait()?;
    ensure(
        status.code() == Some(1),
        format!("it ended with {status}: {}", saving.printed()),
    )?;
    ensure(lab.inside(SENT)?.code != 0, "a piece is left")?;
    lab.on(1, "tc qdisc del dev host0 root")?.exits(0)?;
    lab.etcdup(&["snapshot", "save", "--member", "m1"])?
        .exits(0)?;
    lab.etcdup(&["snapshot", "verify", "latest"])?.exits(0)?;
    Ok(())
}

/// Nothing more comes over a link that nobody closed: it is given up, and nothing is left.
fn silent_link(lab: &Lab) -> Outcome {
    large(lab)?;
    let writer = Writer::start(lab, 3)?;
    slow(lab, 2)?;
    let mut saving = lab.start(&["snapshot", "save", "--member", "m2"])?;
    saving.until(Duration::from_secs(20), "under way", || {
        Ok(lab.inside(SENT)?.code == 0)
    })?;
    let begun = Instant::now();
    // What is sent to it is lost, too: neither side hears of it.
    lab.on(2, "ip link set host0 down")?.exits(0)?;
    let status = saving.wait()?;
    let (took, said) = (begun.elapsed(), saving.printed());
    ensure(
        status.code() == Some(1) && took < Duration::from_secs(80),
        format!("it ended with {status} after {took:?}: {said}"),
    )?;
    note!("a silent link is given up after {} s", took.as_secs());
    ensure(lab.inside(SENT)?.code != 0, "a piece is left")?;
    lab.on(2, "ip link set host0 up && tc qdisc del dev host0 root")?
        .exits(0)?;
    // Peers wait longer and longer before they try again.
    let up = Instant::now();
    while let Err(why) = lab.etcdctl_agrees(&Lab::endpoints(3), 3) {
        ensure(up.elapsed() < Duration::from_secs(40), why)?;
        thread::sleep(Duration::from_secs(1));
    }
    writer.stop()?.tell();
    Ok(())
}

/// The timer that `etcdup snapshot timer` installs, on a machine with systemd: it takes one.
fn taken_by_a_timer(context: &Context) -> Outcome {
    let lab = context.three("")?;
    lab.etcdup(&["snapshot", "timer"])?
        .exits(1)?
        .says("add `every = \"6h\"` under [snapshots]")?;
    lab.edit("etcd = \"", "snapshots = { every = \"6h\" }\netcd = \"")?;
    lab.etcdup(&["verify"])?.exits(0)?.says("none is kept")?;
    // A place that cannot be read is not an empty one.
    let elsewhere = ["--set", "snapshots.to=/proc/nowhere", "verify"];
    lab.etcdup(&elsewhere)?
        .exits(0)?
        .says("not known: cannot use /proc/nowhere")?;
    lab.etcdup(&["--set", "snapshots.to=/proc/nowhere", "status"])?
        .says("newest snapshot: not known")?;
    lab.etcdup(&["snapshot", "timer"])?
        .exits(0)?
        .says("OnUnitActiveSec=360min")?;
    // A host stands in for the operator's machine: this one has no systemd.
    let program = "cat >/usr/local/bin/etcdup && chmod 755 /usr/local/bin/etcdup";
    lab.send(1, &context.etcdup, program)?;
    let text = lab.read("etcdup.toml")?;
    let quoted = |name: &str| {
        let rest = text.split_once(&format!("{name} = \""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    for name in ["key", "known-hosts"] {
        let path = quoted(name).ok_or_else(|| format!("no {name} in {text}"))?;
        let command = format!("umask 077 && mkdir -p /srv/clusters && cat >/srv/clusters/{name}");
        lab.send(1, path.as_ref(), &command)?;
        lab.edit(&path, &format!("/srv/clusters/{name}"))?;
    }
    lab.inside("tar cf operator.tar etcdup.toml pki")?
        .exits(0)?;
    lab.write("etcdup.toml", &text)?;
    let files = lab.work.path().join("operator.tar");
    lab.send(1, &files, "tar xf - -C /srv/clusters")?;
    let there = |command: &str| lab.on(1, &format!("cd /srv/clusters && {command}"));
    there(
        "sed -i 's/every = \"6h\"/every = \"1m\"/' etcdup.toml && etcdup snapshot timer --install",
    )?
    .exits(0)?
    .says("installed and started")?;
    there("systemctl is-active etcdup-snapshot-prod.timer")?.exits(0)?;
    there("systemctl is-enabled etcdup-snapshot-prod.timer")?.exits(0)?;
    // It fires by itself a minute after it was installed. Meanwhile another member's link falls
    // silent.
    let installed = Instant::now();
    silent_link(&lab)?;
    let taken = || there("ls snapshots/prod/*.json");
    while taken()?.code != 0 {
        let logs =
            "systemctl list-timers --no-pager; journalctl --no-pager -u etcdup-snapshot-prod";
        if installed.elapsed() > Duration::from_secs(100) {
            return Err(there(logs)?.all());
        }
        thread::sleep(Duration::from_secs(1));
    }
    there("etcdup snapshot verify latest")?
        .exits(0)?
        .says("whole")?;
    there("etcdup status")?
        .exits(0)?
        .says("newest snapshot: prod-")
        .map(|_| ())
}
