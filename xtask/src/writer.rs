//! A writer that records what was acknowledged to it, to run beside whatever might lose it.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::Lab;
use crate::outcome::note;
use crate::setup::root;

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

    /// In the end the members on these hosts are asked for what was acknowledged.
    pub(crate) fn checks(&mut self, hosts: &[u32]) {
        self.hosts = hosts.to_vec();
    }

    /// Stops it. Fails where it wrote nothing, or where a member lacks what was acknowledged.
    pub(crate) fn stop(mut self) -> Result<Written, String> {
        let ask = Command::new("kill")
            .arg(self.running.id().to_string())
            .status();
        ask.map_err(|error| error.to_string())?;
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
        let written: BTreeSet<&str> = lines
            .iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, key)| key)
            .collect();
        if written.is_empty() {
            return Err("no write was acknowledged".to_owned());
        }
        for host in &self.hosts {
            let url = self.lab.client_url(*host)?;
            let get = ["get", "--prefix", "", "--keys-only"];
            let held = self.lab.etcdctl(&url, &get)?.exits(0)?;
            let held: BTreeSet<&str> = held.out.lines().collect();
            let lost: Vec<_> = written.difference(&held).take(5).collect();
            if !lost.is_empty() {
                return Err(format!(
                    "the member on host {host} lacks acknowledged writes, {lost:?} among them"
                ));
            }
        }
        Ok(Written {
            count: written.len(),
            gap,
        })
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
