//! The observe script's answer: records of fields, one a line, closed by their count.

use std::collections::BTreeMap;
use std::net::IpAddr;

use etcdup_core::certificate::CertFacts;
use etcdup_core::flag::{FlagSet, FlagSource};
use etcdup_core::host::{Architecture, Init};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{
    DataDir, DropIn, EtcdInstance, EtcdProcess, FileKind, FileView, HostView, LeaseView, Listener,
    LogDir, UnitView, wal_identity,
};
use etcdup_core::observed::Observed;
use etcdup_core::path::HostPath;
use etcdup_core::plain::chain;
use etcdup_core::plain::harmless;

/// An answer that is not whole or not understood. The host counts as unseen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The closing record is missing: the stream was cut.
    #[error("the host's answer is cut off after {0} records")]
    Cut(usize),
    /// The count in the closing record is not the number of records.
    #[error("the host's answer has {found} records and says {expected}")]
    Count {
        /// What the host says.
        expected: String,
        /// How many came.
        found: usize,
    },
    /// A record does not have its form.
    #[error("the host's answer has a malformed record `{0}`")]
    Malformed(String),
    /// There was no `sys` record.
    #[error("the host's answer does not say what the host is")]
    NoFacts,
}

/// Reads what a certificate in PEM says. Only the caller can: no parser of X.509 belongs here.
pub type Inspect<'a> = &'a (dyn Fn(&str) -> Observed<CertFacts> + Send + Sync);

/// Reads an answer of the observe script, from below its line `@observe`.
///
/// # Errors
/// When the answer is cut off or malformed.
pub fn read_answer(answer: &str, inspect: Inspect<'_>) -> Result<HostView, RecordsError> {
    let mut reader = Reader {
        view: HostView::default(),
        inspect,
        facts: false,
        instances: BTreeMap::new(),
        commands: BTreeMap::new(),
    };
    let mut count = 0;
    for line in answer.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        if fields[0] == "end" {
            if fields.get(1).and_then(|text| text.parse().ok()) != Some(count) {
                let expected = fields.get(1).copied().unwrap_or_default().to_owned();
                return Err(RecordsError::Count {
                    expected,
                    found: count,
                });
            }
            if !reader.facts {
                return Err(RecordsError::NoFacts);
            }
            return Ok(reader.finish());
        }
        count += 1;
        reader
            .record(&fields)
            .ok_or_else(|| RecordsError::Malformed(line.chars().take(80).collect()))?;
    }
    Err(RecordsError::Cut(count))
}

struct Reader<'a> {
    view: HostView,
    inspect: Inspect<'a>,
    facts: bool,
    /// Every etcd of the host, by process ID, until the answer is whole.
    instances: BTreeMap<u32, EtcdInstance>,
    /// Command lines, whose flags are read together with the variables that come after them.
    commands: BTreeMap<String, Vec<String>>,
}

impl Reader<'_> {
    fn finish(mut self) -> HostView {
        self.view.instances = self.instances.into_values().collect();
        self.view
    }

    fn record(&mut self, fields: &[&str]) -> Option<()> {
        let (kind, fields) = fields.split_first()?;
        match *kind {
            "sys" | "hostname" | "image" | "resolver" | "time" | "home" | "missing" | "addr"
            | "user" => self.of_host(kind, fields),
            "file" | "text" | "cert" | "data" | "log-in" | "raft-snapshot" | "mark" | "disk"
            | "fsync" => self.of_files(kind, fields),
            "unit" | "drop-in" | "proc" | "exe" | "command" | "variables" | "since" | "log" => {
                self.of_member(kind, fields)
            }
            "port" | "name" | "reverse" => self.of_network(kind, fields),
            "record" | "other" | "lease" | "last" => self.of_etcdup(kind, fields),
            _ => self.of_instance(kind, fields),
        }
    }

    fn of_host(&mut self, kind: &str, fields: &[&str]) -> Option<()> {
        let facts = &mut self.view.facts;
        match (kind, fields) {
            ("sys", [machine, boot, clock, arch, uid, init]) => {
                self.facts = true;
                (*machine).clone_into(&mut facts.machine_id);
                (*boot).clone_into(&mut facts.boot_id);
                facts.clock_ahead_ms = clock.parse().ok()?;
                facts.architecture = Architecture::from_uname(arch);
                facts.uid = uid.parse().ok()?;
                facts.init = match *init {
                    "systemd" => Init::Systemd,
                    other => Init::Other(other.to_owned()),
                };
            }
            ("hostname", [hostname]) => facts.hostname = text(hostname),
            ("image", [image]) => {
                self.view.images.insert(text(image));
            }
            ("resolver", [address]) => facts.resolvers.extend(address.parse::<IpAddr>().ok()),
            ("time", [service]) => facts.time_service = Some((*service).to_owned()),
            ("home", [home]) => facts.home = text(home),
            ("missing", [tool]) => facts.missing_tools.push((*tool).to_owned()),
            ("addr", [interface, address]) => {
                let address = address.parse().ok()?;
                facts.addresses.push(((*interface).to_owned(), address));
            }
            ("user", [user]) => facts.users.push((*user).to_owned()),
            _ => return None,
        }
        Some(())
    }

    fn of_files(&mut self, kind: &str, fields: &[&str]) -> Option<()> {
        let view = &mut self.view;
        match (kind, fields) {
            ("file", [path, kind, mode, owner, size, sum, modified]) => {
                let file = FileView {
                    kind: match *kind {
                        "file" => FileKind::File,
                        "dir" => FileKind::Directory,
                        "link" => FileKind::Link(text(sum)),
                        _ => FileKind::Other,
                    },
                    mode: mode.parse().ok()?,
                    owner: owner.parse().ok(),
                    size: size.parse().ok()?,
                    sha256: (*kind == "file" && *sum != "-").then(|| (*sum).to_owned()),
                    text: None,
                    modified: modified.parse().ok(),
                };
                view.files.insert(path.parse().ok()?, file);
            }
            ("text", [path, content]) => {
                if let Some(file) = view.files.get_mut(&path.parse::<HostPath>().ok()?) {
                    file.text = Some(text(content));
                }
            }
            ("cert", [path, content]) => {
                let facts = (self.inspect)(&verbatim(content));
                view.certificates.insert(path.parse().ok()?, facts);
            }
            ("data", [path, kind, head]) => {
                let data = match *kind {
                    "absent" => DataDir::Absent,
                    "empty" => DataDir::Empty,
                    "member" => unhex(&verbatim(head))
                        .and_then(|head| wal_identity(&head))
                        .map_or(DataDir::Foreign, DataDir::Member),
                    _ => DataDir::Foreign,
                };
                view.data.insert(path.parse().ok()?, data);
            }
            ("log-in", [path, state]) => {
                let log = match *state {
                    "absent" => LogDir::Absent,
                    "empty" => LogDir::Empty,
                    "log" => LogDir::Log,
                    _ => LogDir::Foreign,
                };
                view.logs.insert(path.parse().ok()?, log);
            }
            ("raft-snapshot", [path, taken]) => {
                let taken = taken.parse().ok()?;
                view.raft_snapshots.insert(path.parse().ok()?, taken);
            }
            ("mark", [path, mark]) => {
                let mark = text(mark).trim().to_owned();
                view.marks.insert(path.parse().ok()?, mark);
            }
            ("disk", [path, free_kib, device]) => {
                let disk = view.disks.entry(path.parse().ok()?).or_default();
                disk.free = free_kib.parse::<u64>().ok()?.saturating_mul(1024);
                disk.device = text(device);
            }
            ("fsync", [path, micros]) => {
                let disk = view.disks.entry(path.parse().ok()?).or_default();
                disk.fsync_us = micros.parse().ok();
            }
            _ => return None,
        }
        Some(())
    }

    fn of_member(&mut self, kind: &str, fields: &[&str]) -> Option<()> {
        let view = &mut self.view;
        if let ("unit", [name, sub, enabled, restarts, reload]) = (kind, fields) {
            let unit = UnitView {
                sub: (*sub).to_owned(),
                // Units that something else pulls in have words of their own.
                enabled: [
                    "enabled",
                    "enabled-runtime",
                    "static",
                    "alias",
                    "indirect",
                    "generated",
                ]
                .contains(enabled),
                restarts: restarts.parse().unwrap_or(0),
                needs_reload: *reload == "yes",
                drop_ins: Vec::new(),
            };
            view.units.insert((*name).to_owned(), unit);
            return Some(());
        }
        if let ("drop-in", [unit, path, content]) = (kind, fields) {
            let content = text(content);
            let lines = content.lines().map(str::trim);
            let directives = lines.filter(|line| !line.is_empty()).map(str::to_owned);
            view.units.get_mut(*unit)?.drop_ins.push(DropIn {
                path: (*path).to_owned(),
                directives: directives.collect(),
            });
            return Some(());
        }
        let member: MemberName = fields.first()?.parse().ok()?;
        if let ("proc", [_, pid]) = (kind, fields) {
            let process = EtcdProcess {
                pid: pid.parse().ok()?,
                exe: String::new(),
                flags: FlagSet::default(),
                outdated: false,
                since: None,
                unknown_flags: Vec::new(),
            };
            view.processes.insert(member, process);
            return Some(());
        }
        if let ("log", [_, lines]) = (kind, fields) {
            let lines = text(lines);
            let lines = lines.lines().map(str::to_owned).collect();
            view.console.insert(member, lines);
            return Some(());
        }
        let process = view.processes.get_mut(&member)?;
        match (kind, fields) {
            ("exe", [_, exe]) => process.exe = text(exe),
            ("command", [name, command]) => {
                self.commands.insert((*name).to_owned(), words(command));
            }
            ("variables", [name, environment]) => {
                let command = self.commands.remove(*name)?;
                let read = FlagSource::process(&command, variables(environment));
                process.flags = read.flags;
                let unknown = read.unknown_flags.into_iter();
                process.unknown_flags = unknown.map(|stray| stray.0).collect();
            }
            ("since", [_, since, age]) => {
                process.since = since.parse().ok();
                process.outdated = *age == "outdated";
            }
            _ => return None,
        }
        Some(())
    }

    fn of_network(&mut self, kind: &str, fields: &[&str]) -> Option<()> {
        let view = &mut self.view;
        match (kind, fields) {
            ("port", [port, pid, program, unit]) => {
                let listener = Listener {
                    pid: pid.parse().ok(),
                    program: text(program),
                    unit: Some(text(unit)).filter(|unit| !unit.is_empty()),
                };
                view.listeners.insert(port.parse().ok()?, listener);
            }
            // A line of `getent`: an address, then words.
            ("name", [name, lines]) => {
                let mut addresses: Vec<IpAddr> = Vec::new();
                for line in text(lines).lines() {
                    let word = line.split_whitespace().next();
                    let address = word.and_then(|word| word.parse().ok());
                    addresses.extend(address.filter(|address| !addresses.contains(address)));
                }
                view.names.insert((*name).to_owned(), addresses);
            }
            ("reverse", [address, lines]) => {
                let lines = text(lines);
                let names = lines
                    .lines()
                    .flat_map(|line| line.split_whitespace().skip(1));
                let names = names.map(str::to_owned).collect();
                view.reverse.insert(address.parse::<IpAddr>().ok()?, names);
            }
            _ => return None,
        }
        Some(())
    }

    fn of_etcdup(&mut self, kind: &str, fields: &[&str]) -> Option<()> {
        let view = &mut self.view;
        match (kind, fields) {
            ("record", [content]) => {
                view.record = match serde_json::from_str(&text(content)) {
                    Ok(record) => Observed::Known(Some(record)),
                    Err(error) => Observed::unknown(chain(&error)),
                };
            }
            // A record that cannot be read is its own cluster's trouble.
            ("other", [name, content]) => {
                let record = serde_json::from_str::<serde_json::Value>(&text(content));
                let cluster = record
                    .ok()
                    .and_then(|record| record.get("cluster")?.as_str()?.parse().ok());
                if let Some(cluster) = cluster {
                    view.others.insert(harmless(name), cluster);
                }
            }
            ("last", [last]) => view.last_stage = text(last),
            ("lease", [state, lease]) => {
                let lease = text(lease);
                let fields: Vec<&str> = lease.split('|').collect();
                let [operation, verb, epoch, who, since] = fields[..] else {
                    return None;
                };
                view.lease = Some(LeaseView {
                    operation: operation.to_owned(),
                    verb: verb.to_owned(),
                    epoch: epoch.parse().ok()?,
                    who: who.to_owned(),
                    since: since.to_owned(),
                    expired: *state == "expired",
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn of_instance(&mut self, kind: &str, fields: &[&str]) -> Option<()> {
        let pid: u32 = fields.first()?.parse().ok()?;
        if let ("etcd", [_, user, manifest]) = (kind, fields) {
            let instance = EtcdInstance {
                pid,
                exe: String::new(),
                version: String::new(),
                user: (*user).to_owned(),
                unit: None,
                manifest: manifest.parse().ok(),
                image: None,
                text: None,
                flags: FlagSet::default(),
            };
            self.instances.insert(pid, instance);
            return Some(());
        }
        let [_, content] = fields else { return None };
        let instance = self.instances.get_mut(&pid)?;
        let some = || Some(text(content)).filter(|text| !text.is_empty());
        match kind {
            "etcd-unit" => instance.unit = some(),
            "etcd-exe" => {
                let exe = text(content);
                exe.trim_end_matches(" (deleted)")
                    .clone_into(&mut instance.exe);
            }
            "etcd-command" => {
                self.commands.insert(pid.to_string(), words(content));
            }
            "etcd-variables" => {
                let command = self.commands.remove(&pid.to_string())?;
                instance.flags = FlagSource::process(&command, variables(content)).flags;
            }
            "etcd-version" => instance.version = text(content),
            "etcd-image" => instance.image = some(),
            "etcd-manifest" => instance.text = some(),
            _ => return None,
        }
        Some(())
    }
}

fn words(field: &str) -> Vec<String> {
    text(field).lines().map(str::to_owned).collect()
}

fn variables(field: &str) -> Vec<(String, String)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let text = text(field);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(owned).collect()
}

/// A text as people may see it. What is compared with it never holds what is replaced here, so it
/// stays a difference.
fn text(field: &str) -> String {
    harmless(&verbatim(field))
}

/// A text for programs.
fn verbatim(field: &str) -> String {
    let bytes = percent_encoding::percent_decode_str(field);
    bytes.decode_utf8_lossy().into_owned()
}

fn unhex(field: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = field.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYS: &str = "sys|m|b|0|x86_64|0|systemd\n";

    #[test]
    fn a_whole_answer_is_read() {
        let answer = format!(
            "{SYS}hostname|ho%7Cst%0A\nfile|/etc/etcd|dir|755|etcd:etcd|4096|-|1700000000\nport|2379|12|etcd|etcd.service\nend|4\n"
        );
        let view = read_answer(&answer, &|_| Observed::unknown("not read")).unwrap();
        assert_eq!(view.facts.hostname, "ho|st\n");
        assert_eq!(view.listeners[&2379].program, "etcd");
        assert_eq!(view.listeners[&2379].unit.as_deref(), Some("etcd.service"));
    }

    #[test]
    fn an_answer_cut_anywhere_is_no_answer() {
        let answer = format!("{SYS}missing|curl\nend|2\n");
        for end in 0..answer.len() - 1 {
            assert!(
                read_answer(&answer[..end], &|_| Observed::unknown("not read")).is_err(),
                "cut at {end} passed"
            );
        }
        assert!(read_answer(&answer, &|_| Observed::unknown("not read")).is_ok());
    }

    #[test]
    fn an_unknown_record_is_refused() {
        let answer = format!("{SYS}surprise|1\nend|2\n");
        assert_eq!(
            read_answer(&answer, &|_| Observed::unknown("not read")).unwrap_err(),
            RecordsError::Malformed("surprise|1".into())
        );
    }
}
