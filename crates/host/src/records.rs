//! The observe script's answer: records of fields, one a line, closed by their count.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use etcdup_core::certificate::CertFacts;
use etcdup_core::flag::FlagSource;
use etcdup_core::host::{Architecture, Init};
use etcdup_core::observation::{
    DataDir, Disk, DropIn, EtcdInstance, EtcdProcess, FileKind, FileView, HostView, LeaseView,
    Listener, UnitView, wal_identity,
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
            return Ok(reader.view);
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
}

impl Reader<'_> {
    fn record(&mut self, fields: &[&str]) -> Option<()> {
        let view = &mut self.view;
        match *fields {
            [
                "sys",
                machine,
                boot,
                uptime,
                clock,
                arch,
                uid,
                hostname,
                system,
                init,
                selinux,
            ] => {
                self.facts = true;
                let facts = &mut view.facts;
                facts.machine_id = machine.to_owned();
                facts.boot_id = boot.to_owned();
                facts.uptime_ms = uptime.parse().ok()?;
                facts.clock_ahead_ms = clock.parse().ok()?;
                facts.architecture = Architecture::from_uname(arch);
                facts.uid = uid.parse().ok()?;
                facts.hostname = text(hostname)?;
                facts.system = text(system)?;
                facts.init = if init == "systemd" {
                    Init::Systemd
                } else {
                    Init::Other(init.to_owned())
                };
                facts.selinux = selinux == "yes";
            }
            ["image", image] => {
                view.images.insert(text(image)?);
            }
            ["resolver", address] => view.facts.resolvers.extend(address.parse::<IpAddr>().ok()),
            ["time", service] => view.facts.time_service = Some(service.to_owned()),
            ["home", home] => view.facts.home = text(home)?,
            ["missing", tool] => view.facts.missing_tools.push(tool.to_owned()),
            ["addr", interface, address] => {
                view.facts
                    .addresses
                    .push((interface.to_owned(), address.parse().ok()?));
            }
            ["user", user] => view.facts.users.push(user.to_owned()),
            ["file", path, kind, mode, owner, size, sum, modified] => {
                let file = FileView {
                    kind: match kind {
                        "file" => FileKind::File,
                        "dir" => FileKind::Directory,
                        "link" => FileKind::Link(text(sum)?.trim_end().to_owned()),
                        _ => FileKind::Other,
                    },
                    mode: mode.parse().ok()?,
                    owner: owner.parse().ok(),
                    size: size.parse().ok()?,
                    sha256: (kind == "file" && sum != "-").then(|| sum.to_owned()),
                    text: None,
                    modified: modified.parse().ok(),
                };
                view.files.insert(path.parse().ok()?, file);
            }
            ["text", path, content] => {
                let content = text(content)?;
                if let Some(file) = view.files.get_mut(&path.parse::<HostPath>().ok()?) {
                    file.text = Some(content);
                }
            }
            ["cert", path, content] => {
                let facts = (self.inspect)(&verbatim(content)?);
                view.certificates.insert(path.parse().ok()?, facts);
            }
            [
                "unit",
                name,
                load,
                active,
                sub,
                enabled,
                result,
                restarts,
                reload,
                drop_ins,
            ] => {
                let unit = UnitView {
                    load: load.to_owned(),
                    active: active.to_owned(),
                    sub: sub.to_owned(),
                    // Units that something else pulls in have words of their own.
                    enabled: [
                        "enabled",
                        "enabled-runtime",
                        "static",
                        "alias",
                        "indirect",
                        "generated",
                    ]
                    .contains(&enabled),
                    result: result.to_owned(),
                    restarts: restarts.parse().unwrap_or(0),
                    needs_reload: reload == "yes",
                    drop_ins: read_drop_ins(&text(drop_ins)?),
                };
                view.units.insert(name.to_owned(), unit);
            }
            ["proc", member, pid, exe, command, environment, age, since] => {
                let read = FlagSource::process(&words(command)?, variables(environment)?);
                let process = EtcdProcess {
                    pid: pid.parse().ok()?,
                    exe: text(exe)?,
                    flags: read.flags,
                    outdated: age == "outdated",
                    since: since.parse().ok(),
                    unknown_flags: read
                        .unknown_flags
                        .into_iter()
                        .map(|stray| stray.0)
                        .collect(),
                };
                view.processes.insert(member.parse().ok()?, process);
            }
            [
                "etcd",
                pid,
                user,
                unit,
                manifest,
                exe,
                command,
                environment,
                version,
                image,
                manifest_text,
            ] => {
                let read = FlagSource::process(&words(command)?, variables(environment)?);
                let exe = text(exe)?;
                view.instances.push(EtcdInstance {
                    pid: pid.parse().ok()?,
                    exe: exe.trim_end_matches(" (deleted)").to_owned(),
                    version: text(version)?,
                    user: user.to_owned(),
                    unit: (!unit.is_empty()).then(|| unit.to_owned()),
                    manifest: manifest.parse().ok(),
                    image: Some(text(image)?).filter(|image| !image.is_empty()),
                    text: Some(text(manifest_text)?).filter(|text| !text.is_empty()),
                    flags: read.flags,
                });
            }
            ["data", path, kind, head] => {
                let data = match kind {
                    "absent" => DataDir::Absent,
                    "empty" => DataDir::Empty,
                    "member" => unhex(head)
                        .and_then(|head| wal_identity(&head))
                        .map_or(DataDir::Foreign, DataDir::Member),
                    _ => DataDir::Foreign,
                };
                view.data.insert(path.parse().ok()?, data);
            }
            ["disk", path, free_kib, device, fsync] => {
                let disk = Disk {
                    free: free_kib.parse::<u64>().ok()?.saturating_mul(1024),
                    device: text(device)?,
                    fsync_us: fsync.parse().ok(),
                };
                view.disks.insert(path.parse().ok()?, disk);
            }
            ["port", port, pid, program] => {
                let listener = Listener {
                    pid: pid.parse().ok(),
                    program: text(program)?,
                };
                view.listeners.insert(port.parse().ok()?, listener);
            }
            ["name", name, addresses] => {
                let addresses = addresses
                    .split_whitespace()
                    .filter_map(|address| address.parse().ok())
                    .collect();
                view.names.insert(name.to_owned(), addresses);
            }
            ["reverse", address, names] => {
                let names = names.split_whitespace().map(str::to_owned).collect();
                view.reverse.insert(address.parse::<IpAddr>().ok()?, names);
            }
            ["log", member, lines] => {
                view.console.insert(
                    member.parse().ok()?,
                    text(lines)?.lines().map(str::to_owned).collect(),
                );
            }
            ["record", content] => {
                view.record = match serde_json::from_str(&text(content)?) {
                    Ok(record) => Observed::Known(Some(record)),
                    Err(error) => Observed::unknown(chain(&error)),
                };
            }
            // A record that cannot be read is its own cluster's trouble.
            ["other", name, content] => {
                let record = serde_json::from_str::<serde_json::Value>(&text(content)?);
                let cluster = record
                    .ok()
                    .and_then(|record| record.get("cluster")?.as_str()?.parse().ok());
                if let Some(cluster) = cluster {
                    view.others.insert(harmless(name), cluster);
                }
            }
            ["mark", path, mark] => {
                view.marks
                    .insert(path.parse().ok()?, text(mark)?.trim().to_owned());
            }
            ["lease", state, operation, verb, epoch, who, since] => {
                view.lease = Some(LeaseView {
                    operation: operation.to_owned(),
                    verb: verb.to_owned(),
                    epoch: epoch.parse().ok()?,
                    who: who.to_owned(),
                    since: since.to_owned(),
                    expired: state == "expired",
                });
            }
            _ => return None,
        }
        Some(())
    }
}

/// A line starting with `#` names a drop-in, those below it are its directives.
fn read_drop_ins(text: &str) -> Vec<DropIn> {
    let mut found: Vec<DropIn> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (line.strip_prefix("# "), found.last_mut()) {
            (Some(path), _) => found.push(DropIn {
                path: path.to_owned(),
                directives: Vec::new(),
            }),
            (None, Some(last)) => last.directives.push(line.to_owned()),
            (None, None) => {}
        }
    }
    found
}

fn words(field: &str) -> Option<Vec<String>> {
    Some(text(field)?.lines().map(str::to_owned).collect())
}

fn variables(field: &str) -> Option<Vec<(String, String)>> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Some(
        text(field)?
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(owned)
            .collect(),
    )
}

/// A text as people may see it. What is compared with it never holds what is replaced here, so it
/// stays a difference.
fn text(field: &str) -> Option<String> {
    Some(harmless(&verbatim(field)?))
}

/// A text for programs.
fn verbatim(field: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(field).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
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

    const SYS: &str = "sys|m|b|1000|0|x86_64|0|aG9zdA==|RGViaWFu|systemd|no\n";

    #[test]
    fn a_whole_answer_is_read() {
        let answer = format!(
            "{SYS}file|/etc/etcd|dir|755|etcd:etcd|4096|-|1700000000\nport|2379|12|ZXRjZA==\nend|3\n"
        );
        let view = read_answer(&answer, &|_| Observed::unknown("not read")).unwrap();
        assert_eq!(view.facts.hostname, "host");
        assert_eq!(view.listeners[&2379].program, "etcd");
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
