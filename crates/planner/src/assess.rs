//! How a member's host differs from what should be on it, each difference with its reason and its cost.

use etcdup_core::certificate::CertRequest;
use etcdup_core::file::Binaries;
use etcdup_core::finding::Check;
use etcdup_core::membership::Standing;
use etcdup_core::observation::{DataDir, EtcdProcess, FileKind, FileView, HostView, Observation};
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::Member;

use crate::identity::{Bootstrap, Start, start_of};
use crate::places::standing;
use crate::target::Target;

pub(crate) const CHECKS: &[Check] = &[DRIFT];

/// The check that `etcdup verify` reports differences under.
pub(crate) const DRIFT: Check = Check {
    id: "drift",
    title: "a host differs from the topology",
    about: "A file, a mode, an owner, a certificate, a binary or a flag of a running member is not what the file says. \
            `etcdup plan` shows each difference, `etcdup apply` fixes it, one member at a time where a restart is needed.",
    advice: "run `etcdup plan`, then `etcdup apply`",
};

/// What fixing a difference costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Nothing that etcdup can fix: it is reported, and no stage comes of it.
    ReportOnly,
    /// Nothing that a client sees: certificates are read again at each handshake, modes and owners at each open.
    NoRestart,
    /// A restart that ends the bootstrap: until then no one relies on the cluster.
    EndsBootstrap,
    /// A restart of the member.
    Restart,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs: a path, or a flag.
    pub what: String,
    /// How.
    pub why: String,
    /// What fixing it costs.
    pub cost: Cost,
}

/// How a member stands.
#[derive(Debug)]
pub struct Assessment<'a> {
    /// The member.
    pub member: &'a Member,
    /// Its host.
    pub host: &'a HostView,
    /// Its process, where one runs.
    pub process: Option<&'a EtcdProcess>,
    /// What starts it, as it should be.
    pub start: &'a Artifact,
    /// How it stands with the cluster.
    pub(crate) standing: Standing,
    /// How it may start.
    pub(crate) starts: Start,
    /// Whether it serves.
    pub serves: bool,
    /// Whether it answered at all.
    pub answers: bool,
    /// Whether it counts towards a quorum: it serves, or follows a leader.
    pub(crate) votes: bool,
    /// Whether its binaries must be installed.
    pub binaries: Option<Difference>,
    /// Files that must be written.
    pub files: Vec<(&'a Artifact, Difference)>,
    /// Flags of the running process, its program, and what else needs no file.
    pub running: Vec<Difference>,
}

impl Assessment<'_> {
    /// All differences.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.binaries
            .iter()
            .chain(self.files.iter().map(|(_, difference)| difference))
            .chain(&self.running)
    }

    /// The reasons for a restart.
    pub fn restart_reasons(&self) -> impl Iterator<Item = &Difference> {
        self.differences()
            .filter(|difference| difference.cost >= Cost::EndsBootstrap)
    }

    /// Whether its data directory has data of an etcd member.
    pub(crate) fn has_data(&self) -> bool {
        let data = self.host.data.get(&self.member.layout.data);
        matches!(data, Some(DataDir::Member(_)))
    }

    /// Whether it must restart for nothing but to end the bootstrap.
    pub(crate) fn only_settles(&self) -> bool {
        self.differences()
            .all(|difference| difference.cost != Cost::Restart)
    }
}

/// How a member stands; `None` when its host was not seen.
pub(crate) fn assess<'a>(
    target: &'a Target,
    seen: &'a Observation,
    member: &'a Member,
    bootstrap: Bootstrap,
) -> Option<Assessment<'a>> {
    let starts = start_of(target, seen, bootstrap, member);
    let formed = starts == Start::Existing;
    let host = seen.host(&member.host)?;
    let wanted = target.desired(member);
    let process = host.processes.get(&member.name);
    let start = if formed {
        &wanted.settled
    } else {
        &wanted.fresh
    };
    let mut files = Vec::new();
    for artifact in &wanted.certificates {
        if let Some(difference) = file(target, seen, member, host, artifact) {
            files.push((artifact, difference));
        }
    }
    couple_keys(&wanted.certificates, &mut files);
    if let Some(difference) = start_file(target, member, host, start, formed) {
        files.push((start, difference));
    }
    Some(Assessment {
        member,
        host,
        process,
        start,
        standing: standing(target, seen, bootstrap, member),
        starts,
        serves: seen.serves(&member.name),
        answers: seen.member(&member.name).is_some(),
        votes: seen.is_healthy_voter(&member.name),
        binaries: binaries(target, member, host),
        files,
        running: running(target, member, host, process),
    })
}

fn difference(what: impl ToString, why: impl Into<String>, cost: Cost) -> Difference {
    Difference {
        what: what.to_string(),
        why: why.into(),
        cost,
    }
}

fn is_key(content: &Content) -> bool {
    matches!(
        content,
        Content::Issued {
            part: Part::Key,
            ..
        }
    )
}

/// Mode and owner of a file that is there.
fn place(file: &FileView, artifact: &Artifact) -> Option<String> {
    if file.kind != FileKind::File {
        return Some("is not an ordinary file".to_owned());
    }
    if file.mode != artifact.mode {
        let readable = is_key(&artifact.content) && file.mode.lets_others_read();
        let note = if readable {
            ", so that every user of the host could read it"
        } else {
            ""
        };
        return Some(format!(
            "has mode {}, wanted {}{note}",
            file.mode, artifact.mode
        ));
    }
    match (&artifact.owner, &file.owner) {
        (Some(wanted), Some(found)) if wanted == found => None,
        (Some(wanted), found) => {
            let found = found
                .as_ref()
                .map_or_else(|| "another user".to_owned(), ToString::to_string);
            Some(format!("belongs to {found}, wanted {wanted}"))
        }
        (None, _) => None,
    }
}

/// A certificate, a key or the CA's certificate.
fn file(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
    artifact: &Artifact,
) -> Option<Difference> {
    let path = &artifact.path;
    if matches!(&artifact.content, Content::OnHost(source) if source == path) {
        // It lies there already, and belongs to whoever put it there.
        return None;
    }
    let Some(found) = host.files.get(path) else {
        let cost = if matches!(artifact.content, Content::Authority) {
            Cost::Restart
        } else {
            Cost::NoRestart
        };
        return Some(difference(path, "is missing", cost));
    };
    let is_ca = target
        .ca_artifact(member)
        .is_some_and(|ca| ca.path == *path);
    let content = match &artifact.content {
        Content::Text(_) => (found.sha256.as_deref() != target.desired(member).sum(path))
            .then(|| "differs from the rendered file".to_owned()),
        Content::Authority => authority(seen, host, artifact),
        Content::Issued {
            request,
            part: Part::Certificate,
        } => match host.certificates.get(path) {
            Some(etcdup_core::observed::Observed::Known(facts)) => {
                let issuer = seen
                    .authority
                    .facts()
                    .map_or("", |facts| facts.key_id.as_str());
                // One that would do and is not the one that was issued belongs to another key.
                let unmet = facts.satisfies(request, issuer, seen.at).err();
                unmet.map_or_else(
                    || recorded(host, artifact, found),
                    |unmet| Some(format!("is {unmet}")),
                )
            }
            Some(etcdup_core::observed::Observed::Unknown(unseen)) => {
                Some(format!("cannot be read: {unseen}"))
            }
            None => Some("is not a certificate".to_owned()),
        },
        Content::Issued {
            part: Part::Key, ..
        } => recorded(host, artifact, found),
        Content::Provided(source) => match seen
            .sources
            .get(source)
            .and_then(etcdup_core::observed::Observed::known)
        {
            Some(facts) if found.sha256.as_deref() == Some(&facts.sha256) => None,
            Some(_) => Some(format!("differs from {source}")),
            None => None,
        },
        Content::OnHost(source) => match host.files.get(source) {
            Some(other) if other.sha256 == found.sha256 => None,
            Some(_) => Some(format!("differs from {source}")),
            None => None,
        },
    };
    let process = host.processes.get(&member.name);
    let missed = process.is_some_and(|process| !is_applied(process, found.modified));
    if is_ca && content.is_none() && missed {
        return Some(difference(path, NOT_APPLIED, Cost::Restart));
    }
    match content {
        Some(why) => Some(difference(
            path,
            why,
            if is_ca {
                Cost::Restart
            } else {
                Cost::NoRestart
            },
        )),
        None => place(found, artifact).map(|why| difference(path, why, Cost::NoRestart)),
    }
}

const NOT_APPLIED: &str = "is newer than the running etcd, which reads it only when it starts";

/// Whether a process was started after a file was written, as far as both times are known.
pub(crate) fn is_applied(process: &EtcdProcess, modified: Option<i64>) -> bool {
    let times = process.since.zip(modified);
    // A second is as exact as either time is.
    times.is_none_or(|(since, modified)| modified <= since + 1)
}

/// etcd reads CA files at its start only.
fn authority(seen: &Observation, host: &HostView, artifact: &Artifact) -> Option<String> {
    let wanted = seen.authority.facts()?;
    match host
        .certificates
        .get(&artifact.path)
        .and_then(etcdup_core::observed::Observed::known)
    {
        Some(found) if found.fingerprint == wanted.fingerprint => None,
        Some(found) => Some(format!(
            "is the certificate of `{}`, another CA",
            found.name
        )),
        None => Some("is not a certificate".to_owned()),
    }
}

/// A key is compared with the digest in the host record; without a record it is taken as it is.
fn recorded(host: &HostView, artifact: &Artifact, found: &FileView) -> Option<String> {
    let record = host.record()?.files.get(&artifact.path)?;
    (found.sha256.as_deref() != Some(&record.sha256))
        .then(|| "was modified outside etcdup".to_owned())
}

/// A certificate and its key are made together, so when one is reissued the other is too. A file that only has a wrong
/// mode or owner is written again from scratch as well, for its content never leaves the host.
fn couple_keys<'a>(wanted: &'a [Artifact], files: &mut Vec<(&'a Artifact, Difference)>) {
    let touched: Vec<CertRequest> = files
        .iter()
        .filter_map(|(artifact, _)| request(artifact).cloned())
        .collect();
    for artifact in wanted {
        let there = files.iter().any(|(other, _)| other.path == artifact.path);
        if !there && request(artifact).is_some_and(|request| touched.contains(request)) {
            files.push((
                artifact,
                difference(
                    &artifact.path,
                    "is reissued with its key pair",
                    Cost::NoRestart,
                ),
            ));
        }
    }
    files.sort_by(|a, b| a.0.path.cmp(&b.0.path));
}

/// What a certificate or key is issued for: the two of a pair have the same.
fn request(artifact: &Artifact) -> Option<&CertRequest> {
    match &artifact.content {
        Content::Issued { request, .. } => Some(request),
        Content::Text(_) | Content::Authority | Content::Provided(_) | Content::OnHost(_) => None,
    }
}

/// The unit or start file. What counts at first start only is no reason to restart; anything else is, unless systemd
/// has not even read the file that was changed by hand.
fn start_file(
    target: &Target,
    member: &Member,
    host: &HostView,
    wanted: &Artifact,
    formed: bool,
) -> Option<Difference> {
    let found = host.files.get(&wanted.path);
    if target.topology.keep_unit {
        let process = host.processes.get(&member.name);
        let flags = &target.desired(member).flags;
        let keeps = match process {
            Some(process) => process.flags.differences(flags).is_empty(),
            None => found.is_some(),
        };
        // A unit of a package's lies below /usr/lib: what runs as it should is kept, wherever its unit is.
        if keeps {
            return None;
        }
    }
    let Some(found) = found else {
        return Some(difference(&wanted.path, "is missing", Cost::NoRestart));
    };
    let sum = found.sha256.as_deref().unwrap_or_default();
    let right = target.desired(member).sum(&wanted.path);
    // Until the bootstrap has ended both files are right for a member with data: etcd ignores the state once it has any.
    let has_data = matches!(host.data.get(&member.layout.data), Some(DataDir::Member(_)));
    let same = if formed {
        Some(sum) == right
    } else {
        target.desired(member).is_fresh(sum) || has_data && Some(sum) == right
    };
    if same {
        return place(found, wanted).map(|why| difference(&wanted.path, why, Cost::NoRestart));
    }
    if formed && target.desired(member).is_fresh(sum) {
        // The kubelet restarts a pod whose manifest changes. It is worth that: until then an emptied directory would come up
        // as a new cluster (kubespray issue 13261).
        let cost = if target.is_pod() {
            Cost::EndsBootstrap
        } else {
            Cost::NoRestart
        };
        let why = "still has initial-cluster-state=new";
        return Some(difference(&wanted.path, why, cost));
    }
    if let (Some(text), Content::Text(wanted_text)) = (&found.text, &wanted.content)
        && lasting(text) == lasting(wanted_text)
    {
        if target.is_pod() {
            // Writing it would restart the pod: it is brought up to date with its next real change.
            return None;
        }
        let why = "differs only in bootstrap flags";
        return Some(difference(&wanted.path, why, Cost::NoRestart));
    }
    let ours = host
        .record()
        .and_then(|record| record.files.get(&wanted.path));
    let by_hand = ours.is_some_and(|ours| ours.sha256 != sum);
    let unread = host
        .units
        .get(&member.layout.unit)
        .is_some_and(|unit| unit.needs_reload);
    let why = if by_hand {
        "was modified outside etcdup"
    } else {
        "differs from the rendered file"
    };
    let cost = if by_hand && unread || !host.processes.contains_key(&member.name) {
        Cost::NoRestart
    } else {
        Cost::Restart
    };
    Some(difference(&wanted.path, why, cost))
}

/// A start file without its lines of the first start: `--initial-cluster...`, `--discovery-srv...` and their variables.
fn lasting(text: &str) -> Vec<&str> {
    let mut of_first_start = false;
    text.lines()
        .filter(|line| {
            let low = line.to_ascii_lowercase().replace('_', "-");
            // A manifest has a variable's value in the line below its name.
            let value = of_first_start && low.trim_start().starts_with("value:");
            of_first_start = low.contains("initial-cluster") || low.contains("discovery-srv");
            !of_first_start && !value
        })
        .collect()
}

/// Whether a member's binaries must be installed.
pub(crate) fn binaries(target: &Target, member: &Member, host: &HostView) -> Option<Difference> {
    let etcd = &target.desired(member).etcd;
    if target.is_pod() {
        let image = etcdup_render::image(&target.topology);
        let loads = target.topology.pod.archive.is_some() && !host.images.contains(&image);
        return loads.then(|| difference(image, "is not loaded", Cost::NoRestart));
    }
    if matches!(target.topology.binaries, Binaries::Host(_)) {
        return None;
    }
    let Some(found) = host.files.get(etcd) else {
        return Some(difference(etcd, "is missing", Cost::NoRestart));
    };
    let record = host.record().and_then(|record| record.files.get(etcd));
    if record.is_some_and(|record| Some(record.sha256.as_str()) != found.sha256.as_deref()) {
        return Some(difference(
            etcd,
            "was modified outside etcdup",
            Cost::Restart,
        ));
    }
    None
}

fn running(
    target: &Target,
    member: &Member,
    host: &HostView,
    process: Option<&EtcdProcess>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let wanted = target.desired(member);
    if let Some(process) = process {
        let of_host = matches!(target.topology.binaries, Binaries::Host(_));
        if process.exe != wanted.etcd.as_str() && !of_host && !target.is_pod() {
            found.push(difference(
                "binary",
                format!("{} runs, wanted {}", process.exe, wanted.etcd),
                Cost::Restart,
            ));
        }
        for flag in process.flags.differences(&wanted.flags) {
            let shown = |value: &Option<String>| {
                value.clone().unwrap_or_else(|| "etcd's default".to_owned())
            };
            let why = format!(
                "runs with {}, wanted {}",
                shown(&flag.running),
                shown(&flag.wanted)
            );
            // A restart would start the same command again.
            let (why, cost) = match overriding(member, host) {
                Some(path) => (
                    format!("{why}; {path} overrides ExecStart"),
                    Cost::ReportOnly,
                ),
                None => (why, Cost::Restart),
            };
            found.push(difference(format!("--{}", flag.name), why, cost));
        }
    }
    // A CA file that lies at its place already is not etcdup's to write, and still read only at a start.
    let in_place = target
        .ca_artifact(member)
        .filter(|ca| matches!(&ca.content, Content::OnHost(source) if *source == ca.path));
    if let (Some(process), Some(ca)) = (process, in_place) {
        let modified = host.files.get(&ca.path).and_then(|file| file.modified);
        if !is_applied(process, modified) {
            found.push(difference(&ca.path, NOT_APPLIED, Cost::Restart));
        }
    }
    if process.is_some_and(|process| process.outdated) {
        let manifest = &member.layout.manifest;
        let why = "is newer than the running pod: the kubelet has not applied it";
        found.push(difference(manifest, why, Cost::Restart));
    }
    if !target.is_pod() {
        found.extend(links(member, host));
    }
    found.extend(drop_ins(member, host));
    for stray in process.iter().flat_map(|process| &process.unknown_flags) {
        let why = "is not an etcd flag or variable and has no effect";
        found.push(difference(stray, why, Cost::ReportOnly));
    }
    let enabled = host
        .units
        .get(&member.layout.unit)
        .is_some_and(|unit| unit.enabled);
    if target.is_systemd() && !enabled {
        found.push(difference(
            &member.layout.unit,
            "is not enabled at boot",
            Cost::NoRestart,
        ));
    }
    found
}

/// The programs that are linked to from a directory on PATH and that every release has.
pub(crate) const LINKED: [&str; 2] = ["etcd", "etcdctl"];

/// Links to binaries that lead to another version, or are missing.
fn links(member: &Member, host: &HostView) -> Vec<Difference> {
    let Some(links) = &member.layout.links else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for name in LINKED {
        let (Ok(link), Ok(target)) = (links.join(name), member.layout.binaries.join(name)) else {
            continue;
        };
        match host.files.get(&link).map(|file| &file.kind) {
            Some(FileKind::Link(to)) if *to == target.as_str() => {}
            Some(FileKind::Link(to)) => {
                let why = format!("links to {to}, wanted {target}");
                found.push(difference(&link, why, Cost::NoRestart));
            }
            Some(FileKind::File | FileKind::Directory | FileKind::Other) => {
                let why = "was not installed by etcdup, so it stays as it is";
                found.push(difference(&link, why, Cost::ReportOnly));
            }
            None => found.push(difference(&link, "is missing", Cost::NoRestart)),
        }
    }
    found
}

/// The drop-in that replaces the command of the unit, if there is one.
fn overriding<'a>(member: &Member, host: &'a HostView) -> Option<&'a str> {
    let unit = host.units.get(&member.layout.unit)?;
    let mut drop_ins = unit.drop_ins.iter();
    let found = drop_ins.find(|drop_in| {
        let mut directives = drop_in.directives.iter();
        directives.any(|directive| directive.starts_with("ExecStart="))
    });
    found.map(|drop_in| drop_in.path.as_str())
}

/// Directives of a drop-in that override what the unit says: etcdup leaves them, and says so.
fn drop_ins(member: &Member, host: &HostView) -> Vec<Difference> {
    let unit = host.units.get(&member.layout.unit);
    let drop_ins = unit.into_iter().flat_map(|unit| &unit.drop_ins);
    let directives = drop_ins.filter(|drop_in| !drop_in.directives.is_empty());
    directives
        .map(|drop_in| {
            let why = format!("overrides the unit: {}", drop_in.directives.join(", "));
            difference(&drop_in.path, why, Cost::ReportOnly)
        })
        .collect()
}
