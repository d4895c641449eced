//! From a snapshot back to a cluster: over one that serves, on other hosts, killed anywhere.

use std::time::Duration;

use crate::e2e::context::{Context, Killed, Round, Scenario};
use crate::e2e::releases::{all_at_hand, newest_of_each};
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::setup::{newest_of, releases};
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("restored-over-a-cluster", over_a_cluster),
    ("restored-on-other-hosts", on_other_hosts),
    ("restored-static-pods", pods),
    ("restored-with-authentication", with_authentication),
    ("restored-and-recovered-on-later-minors", later_minors),
    ("restore-killed-at-any-moment", killed),
];

/// How long a cluster may serve nobody that is restored by a command that is cut and run again.
const AWAY: Duration = Duration::from_secs(90);

/// What is in the store, and must be nowhere else.
pub(crate) const SESAME: &str = "open-sesame";

const RESTORE: [&str; 4] = ["restore", "latest", "--confirm", "prod"];

/// Three members with one key, and a snapshot in which nothing else is.
fn saved(lab: &Lab, version: &str, head: &str) -> Outcome {
    lab.topology(version, head, 3)?;
    lab.apply()?;
    keep_a_snapshot(lab).map(|_| ())
}

/// The revision that it has at least.
fn keep_a_snapshot(lab: &Lab) -> Result<u64, String> {
    lab.etcdctl(&Lab::endpoints(3), &["put", "kept", "yes"])?
        .exits(0)?;
    let saved = lab.etcdup(&["snapshot", "save"])?.exits(0)?.out;
    lab.etcdctl(&Lab::endpoints(3), &["put", "later", "yes"])?
        .exits(0)?;
    let revision = saved.trim().trim_end_matches(".db").rsplit_once("-r");
    let revision = revision.and_then(|(_, revision)| revision.parse().ok());
    revision.ok_or(saved)
}

/// Notes on a host, from now on, at which addresses clients are listened to.
fn note_listeners(lab: &Lab, host: u32) -> Outcome {
    // 2379 is 094B there, and 0A is a socket that listens.
    let script = r#"while :; do
        awk '$2 ~ /:094B$/ && $4 == "0A" { printf "%s ", $2 } END { print "" }' /proc/net/tcp /proc/net/tcp6
        sleep 0.02
    done >/run/listeners"#;
    let note = format!(
        "cat >/run/note.sh <<'END'\n{script}\nEND\nsystemd-run --quiet --unit=noting sh /run/note.sh"
    );
    lab.on(host, &note)?.exits(0).map(|_| ())
}

/// Between what was there and the cluster that was restored and verified, nobody but the host
/// itself was listened to. What was there served everybody, or none.
fn let_nobody_in_before(lab: &Lab, host: u32, before: &str) -> Outcome {
    let noted = lab.on(host, "systemctl stop noting; uniq /run/listeners")?;
    let noted = noted.exits(0)?.out;
    let mut states = Vec::new();
    for line in noted.lines() {
        let state = match line.split_whitespace().collect::<Vec<_>>()[..] {
            [] => "none",
            // 127.0.0.0/8, the least byte first; the same as IPv6 has it has no other ending.
            [one] if one.ends_with("7F:094B") => "itself",
            _ => "everybody",
        };
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    // It may restart between the two, and each start takes one step after another.
    let first = states.iter().position(|state| *state == "itself");
    let since = first.map(|first| &states[first..]).unwrap_or_default();
    let let_in = since.iter().position(|state| *state == "everybody");
    ensure(
        states.first() == Some(&before) && states.contains(&"none") && let_in.is_some(),
        format!("{states:?}: {noted}"),
    )?;
    let before = first.map(|first| &states[1..first]).unwrap_or_default();
    ensure(
        !before.contains(&"everybody"),
        format!("{states:?}: {noted}"),
    )
}

/// What the snapshot holds is there, on every member, and nothing that was written later.
fn holds_the_snapshot(lab: &Lab, hosts: &[u32]) -> Outcome {
    for host in hosts {
        let url = format!("https://{}:2379", Lab::address(*host));
        let get = |key: &str| lab.etcdctl(&url, &["get", key, "--print-value-only"]);
        let kept = get("kept")?.exits(0)?.out;
        let later = get("later")?.exits(0)?.out;
        ensure(
            kept == "yes\n" && later.is_empty(),
            format!("m{host}: kept {kept:?}, later {later:?}"),
        )?;
    }
    Ok(())
}

/// What is in a store is said by no event, no log and no record of etcdup's.
pub(crate) fn says_no_secret(lab: &Lab, hosts: &[u32]) -> Outcome {
    let here = lab.inside(&format!("grep -rlF {SESAME} . --exclude='*.db'"))?;
    ensure(
        here.out.is_empty(),
        format!("on this machine: {}", here.out),
    )?;
    let search = format!(
        "journalctl -q --no-pager | grep -F {SESAME}; grep -rlF {SESAME} /var/lib/etcdup /run /etc 2>/dev/null; true"
    );
    for host in hosts {
        let there = lab.on(*host, &search)?.exits(0)?;
        ensure(
            there.out.is_empty(),
            format!("on host {host}: {}", there.out),
        )?;
    }
    Ok(())
}

fn over_a_cluster(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&newest_of("3.5")?, "", 3)?;
    lab.apply()?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "secret", SESAME])?
        .exits(0)?;
    let earlier = lab.etcdup(&["snapshot", "save"])?.exits(0)?.out;
    let earlier = earlier.trim().trim_end_matches(".db");
    let earlier = earlier.rsplit('/').next().unwrap_or_default();
    let writer = Writer::start(&lab, 3)?;
    let snapshot = keep_a_snapshot(&lab)?;
    let pids = lab.on(1, "pidof etcd")?.out;
    // What a tired operator types.
    lab.etcdup(&["restore", "lates", "--confirm", "prod"])?
        .exits(1)?
        .says("no snapshot `lates`")?;
    lab.etcdup(&["restore", "latest"])?
        .exits(3)?
        .says("--confirm prod")?;
    lab.etcdup(&["restore", "latest", "--confirm", "pord"])?
        .exits(3)?;
    lab.inside("cp \"$(ls snapshots/prod/*.db | tail -n 1)\" broken.db && chmod u+w broken.db && printf x | dd of=broken.db bs=1 seek=6000 conv=notrunc 2>&1")?
        .exits(0)?;
    lab.etcdup(&["restore", "broken.db", "--confirm", "prod"])?
        .exits(1)?
        .says("is damaged")?;
    lab.inside("head -c 5000 broken.db > short.db; : > empty.db")?
        .exits(0)?;
    for file in ["short.db", "empty.db", "etcdup.toml"] {
        lab.etcdup(&["restore", file, "--confirm", "prod"])?
            .exits(1)?;
    }
    // An older minor cannot read what a newer one wrote.
    let older = format!("etcd={}", newest_of("3.4")?);
    lab.etcdup(&["--set", &older, "restore", "latest", "--confirm", "prod"])?
        .exits(4)?
        .says("restore-release")?;
    begun_and_given_up(&lab, earlier)?;
    ensure(lab.on(1, "pidof etcd")?.out == pids, "m1 was restarted")?;
    for host in 1..=3 {
        note_listeners(&lab, host)?;
    }
    let restored = lab.etcdup(&RESTORE)?.exits(0)?;
    restored
        .says("whatever was written since is lost")?
        .says("a snapshot of")?;
    for host in 1..=3 {
        let_nobody_in_before(&lab, host, "everybody")?;
    }
    std::thread::sleep(Duration::from_secs(1));
    writer.stop_at(1)?.restored_from(snapshot)?;
    holds_the_snapshot(&lab, &[1, 2, 3])?;
    // Whoever watched before is not served something else: from before the snapshot, nor from what
    // was written since.
    is_compacted(&lab, "2")?;
    is_compacted(&lab, &(snapshot + 20).to_string())?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "flows", "yes"])?
        .exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    for host in 1..=3 {
        lab.on(
            host,
            "ls -d /var/lib/etcd.kept-*/member /var/lib/etcd/member",
        )?
        .exits(0)?;
        let left = lab.on(host, "ls -A /var/lib/etcd; ls /var/lib/etcdup")?.out;
        ensure(
            !left.contains("etcdup-new") && !left.contains("tools"),
            format!("left on m{host}: {left}"),
        )?;
    }
    says_no_secret(&lab, &[1, 2, 3])?;
    // What was kept before the restore is newer, and nobody means it by `latest`.
    lab.etcdup(&RESTORE)?
        .exits(0)?
        .says("was restored from")?
        .says("--again")?;
    let flows = lab.etcdctl(&Lab::endpoints(1), &["get", "flows"])?;
    flows.exits(0)?.says("yes")?;
    let seen = revision(&lab)?;
    lab.etcdup(&["restore", "latest", "--again", "--confirm", "prod"])?
        .exits(0)?;
    holds_the_snapshot(&lab, &[1, 2, 3])?;
    // Neither is whoever watched the cluster that was restored first.
    let now = revision(&lab)?;
    ensure(now > seen, format!("at revision {now}, and was at {seen}"))?;
    is_compacted(&lab, &(seen + 1).to_string())?;
    lab.etcdup(&["snapshot", "list"])?
        .exits(0)?
        .says("replaced by a restore")?;
    lab.etcdctl(&Lab::endpoints(1), &["get", "flows"])?
        .exits(0)?
        .never_says("yes")?;
    lab.nothing_to_do()
}

/// A watch from this revision is refused, and its client lists again.
fn is_compacted(lab: &Lab, from: &str) -> Outcome {
    let watch = lab.etcdctl(&Lab::endpoints(1), &["watch", "kept", "--rev", from])?;
    ensure(
        watch.all().contains("compacted"),
        format!("a watch from revision {from}: {}", watch.all()),
    )
}

/// The revision that m1 is at.
fn revision(lab: &Lab) -> Result<u64, String> {
    let got = lab.etcdctl(&Lab::endpoints(1), &["get", "kept", "-w", "fields"])?;
    let said = got.exits(0)?.out;
    let line = said.lines().find(|line| line.contains("\"Revision\""));
    let revision = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    revision.ok_or(said)
}

/// A restore that is cut before anything was stopped is given up, and the cluster serves on.
fn begun_and_given_up(lab: &Lab, earlier: &str) -> Outcome {
    let abort = ["restore", "--abort", "--confirm", "prod"];
    lab.etcdup(&abort)?
        .exits(0)?
        .says("Nothing to do: no restore")?;
    // What is there is kept before the first member stops, which takes a while here.
    let slowly = r#"snapshots.encrypt=["sh", "-c", "sleep 20; cat"]"#;
    let mut restore = lab.start(&[&["--set", slowly], &RESTORE[..]].concat())?;
    restore.until(Duration::from_secs(60), "begun", || {
        let record = "grep -q setting-aside /var/lib/etcdup/prod.json";
        Ok(lab.on(3, record)?.code == 0)
    })?;
    lab.inside(&format!("kill -INT {}", restore.id()))?
        .exits(0)?;
    let ended = restore.wait()?;
    ensure(ended.code() == Some(130), restore.printed())?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("restore-open")?
        .says("--abort")?;
    lab.etcdup(&["restore", earlier, "--confirm", "prod"])?
        .exits(4)?
        .says("restore-other")?;
    lab.etcdup(&["snapshot", "save"])?
        .exits(1)?
        .says("is being restored")?;
    let keep = [
        "--set",
        "snapshots.keep={last=1}",
        "snapshot",
        "prune",
        "--yes",
    ];
    lab.etcdup(&keep)?.exits(1)?.says("is being restored")?;
    lab.etcdup(&["restore", "--abort"])?
        .exits(3)?
        .says("--confirm prod")?;
    lab.etcdup(&["restore", "latest", "--abort", "--confirm", "prod"])?
        .exits(64)?;
    lab.etcdup(&abort)?.exits(0)?.says("give up restoring")?;
    lab.nothing_to_do()
}

/// All three hosts are gone, with what was written since; three others get the snapshot at once.
/// The release is the next minor by then. Then on fewer, and on more again.
fn on_other_hosts(context: &Context) -> Outcome {
    let lab = context.lab(6)?;
    lab.topology(&newest_of("3.4")?, "", 3)?;
    lab.apply()?;
    let mut writer = Writer::start(&lab, 3)?;
    std::thread::sleep(Duration::from_secs(1));
    let snapshot = keep_a_snapshot(&lab)?;
    for host in 1..=3 {
        lab.power("kill", host)?;
    }
    writer.end()?;
    let version = newest_of("3.5")?;
    let member = |n: u32, host: u32| {
        format!(
            "[[member]]\nname = \"m{n}\"\nhost = \"{}\"\n",
            Lab::address(host)
        )
    };
    let head = lab.head(&version);
    lab.etcdup(&["snapshot", "drill"])?
        .exits(0)?
        .says("by etcd 3.4.")?;
    let two = format!("{}{}", member(1, 4), member(2, 5));
    lab.write("etcdup.toml", &format!("{head}{two}{}", member(3, 6)))?;
    // It would be an empty cluster.
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("cluster-elsewhere")?;
    for host in 4..=6 {
        note_listeners(&lab, host)?;
    }
    lab.etcdup(&RESTORE)?.exits(0)?;
    for host in 4..=6 {
        let_nobody_in_before(&lab, host, "none")?;
    }
    holds_the_snapshot(&lab, &[4, 5, 6])?;
    let fate = writer.stop_at(4)?;
    fate.lost_the_end()?;
    let first = fate.lost.iter().map(|one| one.revision).min();
    ensure(
        first.is_none_or(|first| first > snapshot),
        format!("a snapshot at {snapshot} lacks {first:?}"),
    )?;
    lab.etcdctl_agrees(&Lab::endpoints_of(&[4, 5, 6]), 3)?;
    lab.nothing_to_do()?;
    // An old member that comes back is another cluster's, and takes no part.
    lab.power("start", 1)?;
    std::thread::sleep(Duration::from_secs(3));
    lab.etcdup(&["verify"])?.exits(0)?;
    // 3.4 before 3.4.27 cannot raise revisions. Its etcdctl restores, on fewer members than before.
    let head = lab.head(&newest_of("3.4")?);
    lab.write("etcdup.toml", &format!("{head}{}", member(1, 4)))?;
    let mut again = vec!["restore", "latest", "--again", "--confirm", "prod"];
    lab.etcdup(&again)?.exits(4)?.says("restore-revision")?;
    again.push("--no-bump-revision");
    lab.etcdup(&again)?.exits(0)?;
    holds_the_snapshot(&lab, &[4])?;
    for host in [5, 6] {
        let runs = lab.on(host, "pidof etcd")?;
        ensure(runs.out.is_empty(), format!("etcd runs on host {host}"))?;
    }
    lab.write("etcdup.toml", &format!("{head}{two}"))?;
    lab.etcdup(&again)?.exits(0)?;
    lab.etcdup(&["status"])?.exits(0)?.says("3.4.")?;
    holds_the_snapshot(&lab, &[4, 5])?;
    lab.nothing_to_do()
}

/// A snapshot of one minor is restored to the next; then two of the three are lost, one goes on,
/// and those that come back join it.
fn later_minors(context: &Context) -> Outcome {
    let further = releases();
    let Some([five, six, seven]) = newest_of_each(&further, ["3.5", "3.6", "3.7"]) else {
        note!("skipped: ETCDUP_RELEASES names no directory with etcd 3.5, 3.6 and 3.7");
        return Ok(());
    };
    for (name, from, to) in [("s", five, six), ("t", six, seven)] {
        let lab = context.named(name, 3)?;
        lab.topology(&from.version, "", 3)?;
        all_at_hand(&lab, &further)?;
        lab.apply()?;
        keep_a_snapshot(&lab)?;
        lab.etcdup(&["snapshot", "drill"])?
            .exits(0)?
            .says(&from.version)?;
        lab.edit(
            &format!("etcd = \"{}\"", from.version),
            &format!("etcd = \"{}\"", to.version),
        )?;
        lab.etcdup(&RESTORE)?.exits(0)?;
        holds_the_snapshot(&lab, &[1, 2, 3])?;
        lab.nothing_to_do()?;
        lab.power("kill", 2)?;
        lab.power("kill", 3)?;
        lab.etcdup(&["recover", "--gone", "m2,m3", "--confirm", "prod"])?
            .exits(0)?
            .says("serves again, with one member")?;
        holds_the_snapshot(&lab, &[1])?;
        lab.power("start", 2)?;
        lab.power("start", 3)?;
        lab.etcdup(&["recover", "--confirm", "prod"])?.exits(0)?;
        lab.apply()?;
        lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
        holds_the_snapshot(&lab, &[1, 2, 3])?;
        lab.nothing_to_do()?;
        note!("{} to {}", from.version, to.version);
    }
    Ok(())
}

/// A pod's image has no tool that a host could run: it comes from `[binaries]`, and goes again.
fn pods(context: &Context) -> Outcome {
    let (lab, image) = context.pods(3)?;
    let head = format!(
        "runtime = \"static-pod\"\npod = {{ archive = \"{image}\" }}\n[layout]\nwal = \"/var/lib/wal\""
    );
    saved(&lab, &context.version, &head)?;
    let restore = [
        "restore",
        "latest",
        "--no-bump-revision",
        "--confirm",
        "prod",
    ];
    for host in 1..=3 {
        note_listeners(&lab, host)?;
    }
    lab.etcdup(&restore)?
        .exits(0)?
        .says("clients that watch miss what changed")?;
    for host in 1..=3 {
        let_nobody_in_before(&lab, host, "everybody")?;
    }
    holds_the_snapshot(&lab, &[1, 2, 3])?;
    let tools = lab.on(
        1,
        "ls /var/lib/etcdup; ls -d /var/lib/wal/wal /var/lib/wal.kept-*/wal",
    )?;
    tools.exits(0)?.never_says("tools")?;
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()
}

/// A snapshot with etcd's own authentication turned on, and without a user for etcdup: it says so
/// while clients are kept out, and leads the operator in.
fn with_authentication(context: &Context) -> Outcome {
    let lab = context.lab(1)?;
    let small = "mkdir /srv/small && mount -t tmpfs -o size=1200m small /srv/small";
    lab.on(1, small)?.exits(0)?;
    let head = "[layout]\ndata = \"/srv/small/etcd\"";
    lab.topology(&context.version, head, 1)?;
    lab.apply()?;
    let etcdctl = |arguments: &[&str]| {
        let all = [&["etcdctl", "--"], arguments].concat();
        lab.etcdup(&all)?.exits(0)
    };
    etcdctl(&["put", "kept", "yes"])?;
    etcdctl(&["user", "add", "root:sesame"])?;
    etcdctl(&["user", "grant-role", "root", "root"])?;
    etcdctl(&["auth", "enable"])?;
    let root = "--user=root:sesame";
    etcdctl(&[root, "snapshot", "save", "full.db"])?;
    lab.inside("chmod 600 full.db")?.exits(0)?;
    let restore = ["restore", "full.db", "--confirm", "prod"];
    // Nor is anything stopped for which there is no room.
    lab.on(1, "fallocate -l 900m /srv/small/filler")?.exits(0)?;
    lab.etcdup(&restore)?.exits(4)?.says("restore-room")?;
    lab.on(1, "pidof etcd && rm /srv/small/filler")?.exits(0)?;
    // Nor is anything moved aside of which nobody can say whose it is.
    let hide = "systemctl stop etcd && mv /srv/small/etcd/member/wal /srv/small";
    lab.on(1, hide)?.exits(0)?;
    lab.etcdup(&restore)?.exits(4)?.says("restore-unreadable")?;
    let show = "mv /srv/small/wal /srv/small/etcd/member && systemctl start etcd";
    lab.on(1, show)?.exits(0)?;
    lab.etcdup(&restore)?
        .exits(4)?
        .says("etcd-auth-denied")?
        .says("etcdup etcdctl -- --user root")?;
    etcdctl(&[root, "user", "add", "etcdup-operator", "--no-password"])?;
    etcdctl(&[root, "user", "grant-role", "etcdup-operator", "root"])?;
    lab.etcdup(&restore)?.exits(0)?;
    etcdctl(&[root, "get", "kept"])?.says("yes")?;
    lab.nothing_to_do()
}

/// `restore` is killed at seeded moments, each time on hosts of its own; the same command goes on,
/// and whatever a client could write meanwhile is still there.
fn killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_209,
        labs: "q",
        span: Duration::from_millis(14_000),
        gap: AWAY,
        sample: 1,
    }
    .series(context, |context, name, after| {
        let lab = context.named(name, 3)?;
        lab.topology(&newest_of("3.5")?, "", 3)?;
        lab.apply()?;
        let writer = Writer::start(&lab, 3)?;
        let snapshot = keep_a_snapshot(&lab)?;
        let mut running = lab.start(&RESTORE)?;
        std::thread::sleep(after);
        let cut = running.kill()?;
        // Once the restore has let clients in, what they wrote stays.
        let apply = lab.etcdup(&["apply", "--yes"])?;
        let open = apply.all().contains("restore-open");
        let ended = !open
            && lab
                .on(1, "grep -q ended /var/lib/etcdup/prod.json; echo $?")?
                .out
                == "0\n";
        if ended {
            lab.etcdctl(&Lab::endpoints(3), &["put", "between", "yes"])?
                .exits(0)?;
        }
        lab.etcdup(&RESTORE)?.exits(0)?;
        holds_the_snapshot(&lab, &[1, 2, 3])?;
        std::thread::sleep(Duration::from_millis(500));
        let fate = writer.stop_at(1)?;
        fate.restored_from(snapshot)?;
        let between = lab
            .etcdctl(&Lab::endpoints(1), &["get", "between"])?
            .exits(0)?;
        ensure(
            between.out.contains("yes") == ended,
            format!("ended {ended}, and then {}", between.all()),
        )?;
        lab.etcdup(&["verify"])?.exits(0)?;
        lab.nothing_to_do()?;
        let written = fate.written;
        Ok(Round { written, cut })
    })
}
