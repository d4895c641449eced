//! Too few members are left: one of them goes on, whatever is cut, and grows again.

use std::time::Duration;

use crate::e2e::context::{Context, Killed, Round, STILL, Scenario};
use crate::e2e::restored::{SESAME, says_no_secret};
use crate::e2e::trust::expire;
use crate::lab::Lab;
use crate::outcome::{Outcome, ensure};
use crate::setup::newest_of;
use crate::writer::Writer;

pub(crate) const ALL: &[Scenario] = &[
    ("recovered-by-one-of-three", by_one_of_three),
    ("recovered-by-the-better-of-two", by_the_better_of_two),
    ("recovered-static-pod", pod),
    ("recovered-with-ended-certificates", with_ended_certificates),
    ("recover-killed-at-any-moment", killed),
];

const GONE: [&str; 5] = ["recover", "--gone", "m2,m3", "--confirm", "prod"];

/// Members by number, each with its host's.
fn members(of: &[(u32, u32)]) -> String {
    let one = |(n, host): &(u32, u32)| {
        let address = Lab::address(*host);
        format!("[[member]]\nname = \"m{n}\"\nhost = \"{address}\"\n")
    };
    of.iter().map(one).collect()
}

fn holds(lab: &Lab, host: u32, key: &str) -> Outcome {
    let url = format!("https://{}:2379", Lab::address(host));
    let found = lab.etcdctl(&url, &["get", key, "--print-value-only"])?;
    let found = found.exits(0)?;
    ensure(
        found.out == "yes\n",
        format!("m{host} has {key}: {}", found.all()),
    )
}

fn put(lab: &Lab, host: u32, key: &str) -> Outcome {
    let url = format!("https://{}:2379", Lab::address(host));
    lab.etcdctl(&url, &["put", key, "yes"])?.exits(0)?;
    Ok(())
}

/// Two of three are powered off for good; the third is restarted meanwhile, so that it does not
/// even answer. Two other hosts take their place.
fn by_one_of_three(context: &Context) -> Outcome {
    let lab = context.lab(5)?;
    let version = newest_of("3.5")?;
    lab.topology(&version, "", 3)?;
    lab.apply()?;
    put(&lab, 1, "kept")?;
    lab.etcdctl(&Lab::endpoints(3), &["put", "secret", SESAME])?
        .exits(0)?;
    // What a tired operator types while nothing is lost.
    lab.etcdup(&["recover", "--confirm", "prod"])?
        .exits(4)?
        .says("quorum-not-lost")?;
    let mut writer = Writer::start(&lab, 3)?;
    writer.writes()?;
    std::thread::sleep(Duration::from_secs(1));
    lab.power("kill", 2)?;
    lab.power("kill", 3)?;
    writer.end()?;
    lab.on(1, "systemctl restart --no-block etcd")?.exits(0)?;
    lab.etcdup(&["recover"])?
        .exits(4)?
        .says("recover-unseen")?
        .says("--gone")?;
    let shown = lab.etcdup(&["recover", "--gone", "m2", "--gone", "m3"])?;
    let shown = shown
        .exits(3)?
        .says("committed up to entry")?
        .says("--confirm prod")?
        .all();
    lab.etcdup(&GONE)?
        .exits(0)?
        .says("m1 goes on: whatever was acknowledged after entry")?
        .says("serves again, with one member")?;
    holds(&lab, 1, "kept")?;
    let fate = writer.stop_at(1)?;
    fate.lost_the_end()?;
    let entry = shown.split("committed up to entry ").nth(1);
    let entry = entry.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let entry = entry.and_then(|entry| entry.parse::<usize>().ok());
    // Each write is an entry of the log, and there are few others.
    let writes = fate.kept.len();
    ensure(
        entry.is_some_and(|entry| (writes..writes + 60).contains(&entry)),
        format!("up to {entry:?}, with {writes} writes: {shown}"),
    )?;
    put(&lab, 1, "alone")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
    lab.on(1, "ls -d /var/lib/etcd/etcd.kept-*/member/wal")?
        .exits(0)?;
    lab.on(1, "ls -A /var/lib/etcd")?
        .exits(0)?
        .never_says("etcdup-new")?;
    says_no_secret(&lab, &[1])?;
    // Once more changes nothing.
    lab.etcdup(&GONE)?.exits(0)?.says("Nothing to do")?;
    let head = lab.head(&version);
    let file = format!("{head}{}", members(&[(1, 1), (4, 4), (5, 5)]));
    lab.write("etcdup.toml", &file)?;
    lab.etcdup(&["apply", "--yes"])?.exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints_of(&[1, 4, 5]), 3)?;
    for host in [1, 4, 5] {
        holds(&lab, host, "kept")?;
        holds(&lab, host, "alone")?;
    }
    lab.etcdup(&["verify"])?.exits(0)?;
    lab.nothing_to_do()?;
    // Those that were called gone come back after all, with their old list and the cluster's ID.
    lab.power("start", 2)?;
    lab.power("start", 3)?;
    std::thread::sleep(Duration::from_secs(5));
    let file = format!("{head}{}", members(&[(1, 1), (2, 2), (3, 3)]));
    lab.write("etcdup.toml", &file)?;
    lab.etcdup(&["apply", "--yes"])?
        .exits(4)?
        .says("came-back")?;
    lab.etcdup(&["recover", "--confirm", "prod"])?
        .exits(0)?
        .says("move the data of the other members aside")?;
    lab.etcdup(&["apply", "--yes"])?.exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints(3), 3)?;
    for host in 1..=3 {
        holds(&lab, host, "alone")?;
    }
    lab.nothing_to_do()
}

/// What the survivor shows has ended, so that nobody can ask it anything.
fn with_ended_certificates(context: &Context) -> Outcome {
    let lab = context.lab(3)?;
    lab.topology(&newest_of("3.5")?, "", 3)?;
    lab.apply()?;
    put(&lab, 1, "kept")?;
    expire(&lab)?;
    lab.power("kill", 2)?;
    lab.power("kill", 3)?;
    let pids = lab.on(1, "pidof etcd")?.out;
    lab.inside("mv pki/prod/ca.key elsewhere")?.exits(0)?;
    lab.etcdup(&GONE)?
        .exits(4)?
        .says("ca-without-key")?
        .says("ended at")?;
    ensure(lab.on(1, "pidof etcd")?.out == pids, "m1 was stopped")?;
    lab.inside("mv elsewhere pki/prod/ca.key")?.exits(0)?;
    lab.etcdup(&GONE)?.exits(0)?;
    holds(&lab, 1, "kept")?;
    put(&lab, 1, "alone")?;
    lab.etcdctl_agrees(&Lab::endpoints(1), 1)
}

/// Two of five are left, and one of the two was away while more was written. Their logs have
/// directories of their own.
fn by_the_better_of_two(context: &Context) -> Outcome {
    let lab = context.lab(5)?;
    let version = newest_of("3.4")?;
    lab.topology(&version, "[layout]\nwal = \"/var/lib/wal\"", 5)?;
    lab.apply()?;
    lab.on(1, "systemctl stop etcd")?.exits(0)?;
    for n in 0..20 {
        put(&lab, 2, &format!("later-{n}"))?;
    }
    std::thread::sleep(Duration::from_secs(1));
    for host in 3..=5 {
        lab.power("kill", host)?;
    }
    // Of m2, which runs, its own answer counts; of m1 the store that it left.
    lab.etcdup(&["recover", "--gone", "m3,m4,m5", "--dry-run"])?
        .exits(0)?
        .says("m1 on 10.77.0.11: committed up to entry")?
        .says("its store at revision 0 or later")?
        .says("its store at revision 21 or later")?;
    lab.etcdup(&["recover", "--gone", "m3,m4,m5", "--confirm", "prod"])?
        .exits(0)?
        .says("m2 goes on")?;
    holds(&lab, 2, "later-19")?;
    lab.on(
        1,
        "systemctl is-enabled etcd; ls -d /var/lib/etcd.kept-*/member",
    )?
    .says("/member")?
    .never_says("enabled")?;
    lab.on(
        2,
        "ls -d /var/lib/wal/wal /var/lib/wal/wal.kept-* /var/lib/etcd/etcd.kept-*/member",
    )?
    .exits(0)?;
    let file = format!(
        "{}[layout]\nwal = \"/var/lib/wal\"\n{}",
        lab.head(&version),
        members(&[(1, 1), (2, 2)])
    );
    lab.write("etcdup.toml", &file)?;
    lab.etcdup(&["apply", "--yes"])?.exits(0)?;
    lab.etcdctl_agrees(&Lab::endpoints_of(&[1, 2]), 2)?;
    holds(&lab, 1, "later-19")?;
    lab.nothing_to_do()
}

/// A pod's image has no etcd that a host could run.
fn pod(context: &Context) -> Outcome {
    let (lab, image) = context.pods(3)?;
    let head = format!("runtime = \"static-pod\"\npod = {{ archive = \"{image}\" }}");
    lab.topology(&context.version, &head, 3)?;
    lab.apply()?;
    put(&lab, 1, "kept")?;
    lab.power("kill", 2)?;
    lab.power("kill", 3)?;
    lab.etcdup(&GONE)?.exits(0)?;
    holds(&lab, 1, "kept")?;
    lab.on(1, "ls /var/lib/etcdup")?
        .exits(0)?
        .never_says("tools")?;
    Ok(())
}

/// `recover` is killed at seeded moments, each time on hosts of its own; the same command goes on,
/// and whatever was acknowledged before is there.
fn killed(context: &Context) -> Outcome {
    Killed {
        seed: 20_261_210,
        labs: "h",
        span: Duration::from_millis(9_000),
        gap: STILL,
        sample: 1,
    }
    .series(context, |context, name, after| {
        let lab = context.named(name, 3)?;
        lab.topology(&newest_of("3.5")?, "", 3)?;
        lab.apply()?;
        put(&lab, 1, "kept")?;
        let mut writer = Writer::start(&lab, 3)?;
        writer.writes()?;
        std::thread::sleep(Duration::from_secs(1));
        lab.power("kill", 2)?;
        lab.power("kill", 3)?;
        writer.end()?;
        let mut running = lab.start(&GONE)?;
        std::thread::sleep(after);
        let cut = running.kill()?;
        lab.etcdup(&GONE)?.exits(0)?;
        holds(&lab, 1, "kept")?;
        let fate = writer.stop_at(1)?;
        fate.lost_the_end()?;
        put(&lab, 1, "after")?;
        lab.etcdctl_agrees(&Lab::endpoints(1), 1)?;
        let file = format!("{}{}", lab.head(&newest_of("3.5")?), members(&[(1, 1)]));
        lab.write("etcdup.toml", &file)?;
        lab.etcdup(&["apply", "--yes"])?.exits(0)?;
        lab.nothing_to_do()?;
        Ok(Round {
            written: fate.written,
            cut,
        })
    })
}
