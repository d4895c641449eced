//! A machine: its files, its units, its data directory, the process that runs.

use etcdup_core::membership::{ClusterId, MemberId};
use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::certificate::CertFacts;
use etcdup_core::digest::sha256;
use etcdup_core::flag::FlagSet;
use etcdup_core::host::HostId;
use etcdup_core::observation::{
    EtcdProcess, FileKind, FileView, HostRecord, ListedMember, RecordedFile, UnitView,
};
use etcdup_core::path::{HostPath, Mode};
use etcdup_core::recover::RecoverRecord;
use etcdup_core::restore::RestoreRecord;
use etcdup_core::stage::{Artifact, Content, Part};
use etcdup_core::topology::{Member, MemberLayout, Topology};
use sha1::{Digest, Sha1};

/// A machine with its disk and at most one member.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) member: Member,
    pub(crate) up: bool,
    pub(super) files: BTreeMap<HostPath, FileView>,
    pub(super) certificates: BTreeMap<HostPath, CertFacts>,
    pub(super) users: Vec<String>,
    pub(super) record: Option<HostRecord>,
    pub(super) has_directory: bool,
    /// Where its data directory is.
    pub(super) data_at: HostPath,
    /// The directory that holds its log, where that is not in the data.
    pub(super) log_at: Option<HostPath>,
    pub(crate) data: Option<Data>,
    /// Data that was moved aside.
    pub(crate) aside: Vec<Data>,
    /// The unit as systemd read it last.
    pub(super) loaded: Option<String>,
    pub(super) enabled: bool,
    /// Whether systemd, or the kubelet, wants it to run.
    pub(super) wanted: bool,
    pub(super) process: Option<Process>,
    pub(super) pids: u32,
    /// A release that does not start on it, for whatever reason.
    pub(crate) refuses: Option<&'static str>,
}

#[derive(Clone)]
pub(super) struct Process {
    pub(super) flags: FlagSet,
    pub(super) exe: String,
    pub(super) version: String,
    pub(super) pid: u32,
    /// Whether the kubelet runs it.
    pub(super) pod: bool,
    /// When it started, in seconds.
    pub(super) since: i64,
    /// The CAs whose certificates it accepts.
    pub(super) trusts: Vec<String>,
    /// Whether it has ever joined a quorum: until then it answers nobody, and from then on its
    /// connections stand, whatever the list says of it.
    pub(super) ready: bool,
}

/// What is in a data directory.
#[derive(Clone)]
pub(crate) struct Data {
    pub(crate) cluster: ClusterId,
    pub(crate) id: MemberId,
    /// How many entries of the one log it has.
    pub(crate) log: usize,
    /// Counts what went on without a quorum: who is of an earlier one was left behind.
    pub(crate) branch: usize,
    pub(super) mark: Option<String>,
    /// Whether its log has entries that only 3.6 and before read.
    pub(super) old_entries: bool,
    /// When its last raft snapshot was taken.
    pub(super) snapshot: Option<i64>,
    pub(super) list: Vec<ListedMember>,
}

impl Data {
    /// Whether its own list says that it has no vote.
    pub(super) fn is_learner(&self) -> bool {
        self.list
            .iter()
            .any(|listed| listed.id == self.id && listed.learner)
    }
}

pub(super) fn first_eight(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

/// etcd's `membership.NewMember`: peer URLs in order, then the token.
pub(super) fn id_of(url: &str, token: &str) -> MemberId {
    MemberId::new(first_eight(&Sha1::digest(format!("{url}{token}"))))
}

/// The flags on the command line of a start file, whatever kind of file it is.
pub(super) fn flags_of(text: &str) -> FlagSet {
    let mut flags = FlagSet::default();
    let words = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"));
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        flags.set(name, value.trim_matches(['"', '\'']));
    }
    flags
}

/// A new cluster of these members.
pub(super) fn bootstrap(cluster: &str, own: &str, token: &str) -> Data {
    let mut list: Vec<ListedMember> = cluster
        .split(',')
        .filter_map(|member| member.split_once('='))
        .map(|(name, url)| ListedMember {
            id: id_of(url, token),
            name: name.into(),
            peer_urls: vec![url.into()],
            client_urls: Vec::new(),
            learner: false,
        })
        .collect();
    list.sort_by_key(|listed| listed.id);
    let ids: Vec<u8> = list
        .iter()
        .flat_map(|listed| listed.id.get().to_be_bytes())
        .collect();
    Data {
        cluster: ClusterId::new(first_eight(&Sha1::digest(ids))),
        id: id_of(own, token),
        log: 0,
        branch: 0,
        mark: None,
        old_entries: false,
        snapshot: None,
        list,
    }
}

pub(super) fn file(mode: Mode, content: Option<&str>, at: i64) -> FileView {
    FileView {
        kind: FileKind::File,
        mode,
        owner: None,
        size: 0,
        sha256: content.map(|content| sha256(content.as_bytes())),
        text: content.map(str::to_owned),
        modified: Some(at),
    }
}

impl Machine {
    /// Whether whatever starts its member by itself starts it as one of a cluster that exists.
    pub(crate) fn is_settled(&self) -> bool {
        let text = self
            .manifest()
            .or(self.unit_file())
            .and_then(|file| file.text.as_ref());
        let recorded = self
            .record
            .as_ref()
            .is_some_and(|record| record.cluster.is_some());
        recorded && text.is_some_and(|text| text.contains("initial-cluster-state=existing"))
    }

    /// Whether a restore or a recovery is under way as far as it remembers.
    pub(crate) fn record_is_open(&self) -> bool {
        let record = self.record.iter().filter(|_| self.up);
        let mut open = record.map(|record| {
            let restore = record.restore.as_ref();
            let recover = record.recover.as_ref();
            restore.is_some_and(RestoreRecord::is_open)
                || recover.is_some_and(RecoverRecord::is_open)
        });
        open.any(|open| open)
    }

    /// Whether nothing of a member is left.
    pub(crate) fn is_clean(&self) -> bool {
        self.process.is_none() && self.data.is_none() && !self.wanted && !self.enabled
    }

    /// Where its record's roster has members.
    pub(crate) fn roster_hosts(&self) -> BTreeSet<HostId> {
        let roster = self.record.iter().flat_map(|record| &record.roster);
        roster.map(|known| known.place.host.clone()).collect()
    }

    /// The one unit on it, whatever its name.
    pub(super) fn unit_file(&self) -> Option<&FileView> {
        self.unit_of_any_name().map(|(_, file)| file)
    }

    /// The one manifest on it, whatever its name.
    pub(super) fn manifest(&self) -> Option<&FileView> {
        let mut files = self.files.iter();
        files
            .find(|(path, _)| path.as_str().ends_with(".yaml"))
            .map(|(_, file)| file)
    }

    fn unit_of_any_name(&self) -> Option<(&HostPath, &FileView)> {
        let mut files = self.files.iter();
        files.find(|(path, _)| path.as_str().ends_with(".service"))
    }

    /// Whether it runs where this file has it, and nothing that starts it is left elsewhere.
    pub(crate) fn is_at(&self, file: &Topology) -> bool {
        let mut members = file.members.iter();
        let member = members
            .find(|member| member.host == self.member.host)
            .unwrap();
        let starts = |path: &&HostPath| {
            let path = path.as_str();
            path.ends_with(".service") || path.ends_with(".yaml")
        };
        let found: Vec<&HostPath> = self.files.keys().filter(starts).collect();
        self.is_run_by(&member.layout)
            && self.data_at == member.layout.data
            && self.log_at == member.layout.wal
            && found == [&member.layout.start().unwrap()]
    }

    /// Certificates that lie beside the key of another.
    pub(crate) fn unpaired(&self) -> Vec<&HostPath> {
        let apart = |(path, facts): &(&HostPath, &CertFacts)| {
            let key = path.as_str().replace(".crt", ".key").parse().unwrap();
            let made_with = format!("key {}", facts.key_id);
            let made_with = file(Mode::CLOSED, Some(&made_with), 0).sha256;
            let key: Option<&FileView> = self.files.get::<HostPath>(&key);
            key.is_some_and(|key| key.sha256 != made_with)
        };
        let certificates = self.certificates.iter();
        certificates.filter(apart).map(|(path, _)| path).collect()
    }

    /// The directory that holds its log.
    pub(super) fn holds_log(&self) -> HostPath {
        let inside = || self.data_at.join("member").unwrap();
        self.log_at.clone().unwrap_or_else(inside)
    }

    /// Whether this is what runs its etcd, or would.
    pub(super) fn is_run_by(&self, layout: &MemberLayout) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        let unit = self.unit_of_any_name();
        let named = unit.is_some_and(|(path, _)| path.file_name() == layout.unit);
        process.pod == layout.is_pod() && (process.pod || named)
    }

    pub(super) fn unit(&self) -> UnitView {
        let text = self.unit_file().and_then(|file| file.text.clone());
        let runs = self.process.as_ref().is_some_and(|process| !process.pod);
        UnitView {
            sub: if runs { "running" } else { "dead" }.to_owned(),
            enabled: self.enabled,
            restarts: 0,
            needs_reload: self.loaded.is_some() && self.loaded != text,
            drop_ins: Vec::new(),
        }
    }

    pub(super) fn write(
        &mut self,
        artifact: &Artifact,
        (ca, issued): (&CertFacts, Option<CertFacts>),
        at: i64,
    ) {
        let content = match &artifact.content {
            Content::Text(text) => text.to_string(),
            Content::Ca => format!("{:?}", ca.file()),
            Content::Issued {
                part: Part::Key, ..
            } => format!("key {}", issued.as_ref().unwrap().key_id),
            Content::Issued {
                part: Part::Renewal(key),
                ..
            } => {
                let key = format!("key {}", str::from_utf8(key).unwrap());
                let key = file(Mode::CLOSED, Some(&key), at).sha256;
                let mut files = self.files.values();
                assert!(files.any(|file| file.sha256 == key), "no such key");
                issued.as_ref().unwrap().fingerprint.clone()
            }
            Content::Issued { .. } => issued.as_ref().unwrap().fingerprint.clone(),
            Content::Provided(_) | Content::OnHost(_) => panic!("not modelled"),
        };
        let view = FileView {
            owner: artifact.owner.clone(),
            ..file(artifact.mode, Some(&content), at)
        };
        let record = self.record.get_or_insert_default();
        let sha256 = view.sha256.clone().unwrap();
        record
            .files
            .insert(artifact.path.clone(), RecordedFile { sha256 });
        self.files.insert(artifact.path.clone(), view);
        match (&artifact.content, issued) {
            (Content::Ca, _) => {
                self.certificates.insert(artifact.path.clone(), ca.clone());
            }
            (
                Content::Issued {
                    part: Part::Certificate | Part::Renewal(_),
                    ..
                },
                Some(facts),
            ) => {
                self.certificates.insert(artifact.path.clone(), facts);
            }
            _ => {}
        }
    }

    pub(super) fn link(&mut self, binaries: &HostPath, at: i64) {
        let layout = &self.member.layout;
        let Some(links) = &layout.links else { return };
        for name in ["etcd", "etcdctl"] {
            let target = binaries.join(name).unwrap();
            let view = FileView {
                kind: FileKind::Link(target.to_string()),
                ..file(Mode::PROGRAM, None, at)
            };
            self.files.insert(links.join(name).unwrap(), view);
        }
    }
}

impl Process {
    pub(super) fn peer_port(&self) -> u16 {
        let url = self.flags.get("listen-peer-urls").unwrap_or_default();
        let port = url.rsplit_once(':').map(|(_, port)| port.parse());
        port.and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn view(&self) -> EtcdProcess {
        EtcdProcess {
            pid: self.pid,
            exe: self.exe.clone(),
            flags: self.flags.clone(),
            outdated: false,
            since: Some(self.since),
            unknown_flags: Vec::new(),
        }
    }
}

/// The list in a member's own data, to be forced.
pub(crate) fn list_of(data: &mut Data) -> &mut Vec<ListedMember> {
    &mut data.list
}
