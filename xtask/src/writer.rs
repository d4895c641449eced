//! A writer that records what was acknowledged to it, to run beside whatever might lose it.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::outcome::{Outcome, ensure, note};
use crate::setup::root;

/// By how much a restore raises revisions.
const RAISED: u64 = 1_000_000_000;

/// How long it may take to start.
const STARTS: Duration = Duration::from_secs(20);

/// Where the record of a run lies, in the lab's directory.
const RECORD: &str = "written";

/// A writer that runs.
pub(crate) struct Writer<'a> {
    lab: &'a Lab,
    /// The hosts whose members are asked for what was acknowledged.
    hosts: Vec<u32>,
    running: Child,
}

/// What it saw.
#[derive(Default)]
pub(crate) struct Written {
    /// How many writes were acknowledged.
    pub(crate) count: usize,
    /// The longest time in which no member acknowledged any.
    pub(crate) gap: Duration,
}

impl Written {
    /// Says it, for docs/reliability.md.
    pub(crate) fn tell(&self) {
        let (count, gap) = (self.count, self.gap.as_millis());
        note!("{count} writes, the longest gap {gap} ms");
    }
}

impl<'a> Writer<'a> {
    /// Starts to write to members 1 to `members` of a TLS cluster.
    pub(crate) fn start(lab: &'a Lab, members: u32) -> Result<Self, String> {
        Self::trusting(lab, members, "pki/prod/ca.crt")
    }

    /// The same, with this CA file.
    pub(crate) fn trusting(lab: &'a Lab, members: u32, ca: &str) -> Result<Self, String> {
        Self::to(lab, members, &Lab::endpoints(members), ca)
    }

    /// Starts to write to members 1 to `members` by plain HTTP.
    pub(crate) fn plain(lab: &'a Lab, members: u32) -> Result<Self, String> {
        let urls = Lab::endpoints(members).replace("https:", "http:");
        Self::to(lab, members, &urls, "none")
    }

    fn to(lab: &'a Lab, members: u32, urls: &str, ca: &str) -> Result<Self, String> {
        // Issues the certificate that it shows.
        let health = ["endpoint", "health"];
        lab.etcdctl(urls, &health)?.exits(0)?;
        let program = root().join("xtask/testbed/writer.py");
        let mut arguments = vec![
            program.to_str().unwrap_or_default(),
            RECORD,
            ca,
            "tester.crt",
            "tester.key",
        ];
        arguments.extend(urls.split(','));
        let mut command = lab.command("python3", &arguments);
        let spawned = command.stdout(Stdio::null()).spawn();
        let running = spawned.map_err(|error| format!("the writer: {error}"))?;
        Ok(Self {
            lab,
            hosts: (1..=members).collect(),
            running,
        })
    }

    /// Waits until something was acknowledged: a busy machine may take seconds to start it.
    pub(crate) fn writes(&self) -> Outcome {
        let urls = Lab::endpoints(1);
        let first = ["get", "--prefix", "0-", "--keys-only", "--limit", "1"];
        let start = Instant::now();
        while self.lab.etcdctl(&urls, &first)?.exits(0)?.out.is_empty() {
            ensure(start.elapsed() < STARTS, "the writer does not write")?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// In the end the members on these hosts are asked for what was acknowledged.
    pub(crate) fn checks(&mut self, hosts: &[u32]) {
        self.hosts = hosts.to_vec();
    }

    /// Stops it. Fails where it wrote nothing, or where a member lacks what was acknowledged.
    pub(crate) fn stop(mut self) -> Result<Written, String> {
        let (acknowledged, gap) = self.record()?;
        for host in self.hosts.clone() {
            let held = self.held(host)?;
            let lost = acknowledged.iter().filter(|one| !held.contains(&one.key));
            let lost: Vec<_> = lost.take(5).collect();
            if !lost.is_empty() {
                return Err(format!(
                    "the member on host {host} lacks acknowledged writes, {lost:?} among them"
                ));
            }
        }
        Ok(Written {
            count: acknowledged.len(),
            gap,
        })
    }

    /// Stops it where some of what was acknowledged must be lost, and says which the member on a
    /// host has: each with its revision.
    pub(crate) fn stop_at(mut self, host: u32) -> Result<Fate, String> {
        let (acknowledged, gap) = self.record()?;
        let held = self.held(host)?;
        let count = acknowledged.len();
        let all = acknowledged.into_iter();
        let (kept, lost) = all.partition(|one| held.contains(&one.key));
        Ok(Fate {
            kept,
            lost,
            written: Written { count, gap },
        })
    }

    /// Ends it before what comes next; what it recorded is asked for later.
    pub(crate) fn end(&mut self) -> Outcome {
        self.record().map(|_| ())
    }

    /// Ends it, and reads what it recorded.
    fn record(&mut self) -> Result<(Vec<Acknowledged>, Duration), String> {
        if let Ok(None) = self.running.try_wait() {
            let ask = Command::new("kill")
                .arg(self.running.id().to_string())
                .status();
            ask.map_err(|error| error.to_string())?;
        }
        let ended = self.running.wait().map_err(|error| error.to_string())?;
        if !ended.success() {
            return Err(format!("the writer ended with {ended}"));
        }
        let record = self.lab.read(RECORD)?;
        let mut lines: Vec<&str> = record.lines().collect();
        let last = lines.pop().and_then(|line| line.rsplit_once(" gap "));
        let gap = last
            .and_then(|(_, gap)| gap.parse().ok())
            .map(Duration::from_millis)
            .ok_or_else(|| format!("the writer's record ends with no gap:\n{record}"))?;
        let one = |line: &&str| {
            let mut words = line.split(' ').skip(1);
            Some(Acknowledged {
                key: words.next()?.to_owned(),
                revision: words.next()?.parse().ok()?,
            })
        };
        let all: Option<Vec<Acknowledged>> = lines.iter().map(one).collect();
        let all = all.ok_or_else(|| format!("a line of the writer's record is torn:\n{record}"))?;
        if all.is_empty() {
            return Err("no write was acknowledged".to_owned());
        }
        Ok((all, gap))
    }

    /// The keys that the member on a host has.
    fn held(&self, host: u32) -> Result<BTreeSet<String>, String> {
        let url = self.lab.client_url(host)?;
        let get = ["get", "--prefix", "", "--keys-only"];
        let held = self.lab.etcdctl(&url, &get)?.exits(0)?;
        Ok(held.out.lines().map(str::to_owned).collect())
    }
}

/// A write that was acknowledged.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    key: String,
    /// The cluster's revision as of it.
    pub(crate) revision: u64,
}

/// What became of what was acknowledged where some of it may be lost.
pub(crate) struct Fate {
    /// What is there.
    pub(crate) kept: Vec<Acknowledged>,
    /// What is not.
    pub(crate) lost: Vec<Acknowledged>,
    /// What the writer saw.
    pub(crate) written: Written,
}

impl Fate {
    /// Fails unless what is lost is the end of what was written: nothing is kept after a gap.
    pub(crate) fn lost_the_end(&self) -> Outcome {
        let kept = self.kept.iter().map(|one| one.revision).max();
        let lost = self.lost.iter().map(|one| one.revision).min();
        note!(
            "{} acknowledged writes are there, {} are lost",
            self.kept.len(),
            self.lost.len()
        );
        ensure(
            kept.is_some() && lost.is_none_or(|lost| kept < Some(lost)),
            format!("the last that is there: {kept:?}, the first that is lost: {lost:?}"),
        )
    }

    /// Fails unless all up to the revision of a snapshot is there, and all that a restored cluster
    /// acknowledged, which raised its revision.
    pub(crate) fn restored_from(&self, snapshot: u64) -> Outcome {
        let after = |one: &&Acknowledged| one.revision > RAISED;
        let (before, since) = (
            self.kept
                .iter()
                .filter(|one| one.revision <= snapshot)
                .count(),
            self.kept.iter().filter(after).count(),
        );
        note!(
            "{before} writes of before the snapshot are there, {since} of after the restore, {} are lost",
            self.lost.len()
        );
        let wrong = |one: &&Acknowledged| one.revision <= snapshot || after(one);
        ensure(
            before > 0 && since > 0 && !self.lost.iter().any(|one| wrong(&one)),
            format!(
                "of a snapshot at {snapshot}: {before}, {since}, lost {:?}",
                self.lost
            ),
        )
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
