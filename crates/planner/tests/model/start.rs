//! How etcd starts: what it reads, what it refuses, what it makes of a directory.

use std::collections::BTreeSet;

use etcdup_core::flag::FlagSet;
use etcdup_core::path::HostPath;

use super::machine::{Data, Process, bootstrap, flags_of};
use super::{Model, versions};

impl Model {
    /// As etcd starts: with data it goes on; without, its flags say whether it makes a cluster or
    /// joins one.
    pub(super) fn start(&mut self, index: usize) {
        let machine = &self.machines[index];
        let manifest = machine.manifest();
        let text = manifest
            .and_then(|file| file.text.clone())
            .or(machine.loaded.clone());
        let (true, true, None, Some(text)) = (machine.up, machine.wanted, &machine.process, text)
        else {
            return;
        };
        let flags = flags_of(&text);
        if machine.data.is_some() && flags.get("data-dir") != Some(machine.data_at.as_str()) {
            let place = &machine.data_at;
            let lost = format!("etcd starts beside its data, which is in {place}");
            self.lost.push(lost);
            return;
        }
        let log = flags.get("wal-dir").map(|log| log.trim_end_matches("/wal"));
        let is_at = machine.log_at.as_ref().map(HostPath::as_str);
        if machine.data.is_some() && log != is_at {
            let lost =
                format!("etcd begins a log in {log:?} beside its data, whose is in {is_at:?}");
            self.lost.push(lost);
            return;
        }
        // etcd ends at once where a file that it must read is missing.
        let needed = [
            "cert-file",
            "key-file",
            "peer-cert-file",
            "peer-trusted-ca-file",
        ];
        let mut needed = needed.into_iter().filter_map(|flag| flags.get(flag));
        if !needed.all(|path| machine.files.contains_key(&path.parse().unwrap())) {
            return;
        }
        let token = flags.get("initial-cluster-token").unwrap_or("etcd-cluster");
        let own = flags.get("initial-advertise-peer-urls").unwrap_or_default();
        // Whoever knows that it was removed ends at once.
        let removed = |data: &Data| data.list.iter().all(|listed| listed.id != data.id);
        if machine.data.as_ref().is_some_and(removed) {
            return;
        }
        let data = match (&machine.data, flags.get("initial-cluster-state")) {
            (Some(data), _) => data.clone(),
            (None, Some("existing")) => match self.join(own, &flags) {
                Some(data) => data,
                None => return,
            },
            (None, _) => bootstrap(flags.get("initial-cluster").unwrap_or_default(), own, token),
        };
        let version = versions::version_in(&text);
        let pods = manifest.is_some();
        if machine.refuses == Some(version.as_str()) {
            return;
        }
        if !self.starts_with(&version, &data) {
            return;
        }
        let exe = if pods {
            "/usr/local/bin/etcd".to_owned()
        } else {
            text.lines()
                .find_map(|line| line.strip_prefix("ExecStart="))
                .and_then(|line| line.split_whitespace().next())
                .unwrap_or_default()
                .to_owned()
        };
        let since = self.tick();
        let machine = &mut self.machines[index];
        let trusts = machine.held_cas();
        if let Some(place) = flags.get("data-dir").filter(|_| machine.data.is_none()) {
            machine.data_at = place.parse().unwrap();
            let log = flags.get("wal-dir").map(|log| log.trim_end_matches("/wal"));
            machine.log_at = log.map(|log| log.parse().unwrap());
        }
        machine.data = Some(data);
        machine.has_directory = true;
        machine.pids += 1;
        machine.process = Some(Process {
            flags,
            exe,
            version,
            pid: machine.pids,
            pod: pods,
            since,
            trusts,
            ready: false,
        });
    }

    /// Data of a member that joins: it needs a cluster that serves and lists its URL, and must have
    /// been started with the very list of that cluster (`ValidateClusterAndAssignIDs`).
    fn join(&self, url: &str, flags: &FlagSet) -> Option<Data> {
        let initial = flags.get("initial-cluster").unwrap_or_default();
        let initial: BTreeSet<&str> = initial
            .split(',')
            .filter_map(|member| Some(member.split_once('=')?.1))
            .collect();
        let serving = self.machines.iter().filter_map(|machine| {
            let process = machine.process.as_ref().filter(|process| process.ready)?;
            let data = machine
                .data
                .as_ref()
                .filter(|data| self.quorum(data.cluster))?;
            Some((process, data))
        });
        let lists = serving.filter_map(|(_, data)| {
            let urls = data.list.iter().flat_map(|listed| &listed.peer_urls);
            if urls.map(String::as_str).collect::<BTreeSet<_>>() != initial {
                return None;
            }
            let mut list = data.list.iter();
            let own = list.find(|listed| listed.peer_urls.iter().any(|known| known == url))?;
            Some(Data {
                cluster: data.cluster,
                id: own.id,
                log: 0,
                branch: data.branch,
                mark: None,
                old_entries: false,
                snapshot: None,
                list: data.list.clone(),
            })
        });
        lists.into_iter().next()
    }
}
