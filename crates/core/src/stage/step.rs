//! The steps that a stage is made of. Data only; the executor turns them into one script run a
//! host.

use std::fmt;
use std::sync::Arc;

use crate::certificate::CertRequest;
use crate::digest::sha256;
use crate::membership::{ClusterId, MemberId};
use crate::name::{MemberName, UserName};
use crate::observation::{CORRUPT, FailedRelease, NO_SPACE, RosterMember};
use crate::path::{HostPath, Mode, Owner};
use crate::recover::{ForcedMember, RecoverRecord};
use crate::restore::{RestoreRecord, RestoredMember};
use crate::topology::Member;
use crate::url::EtcdUrl;
use crate::version::EtcdVersion;

/// A file that should be on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Where.
    pub path: HostPath,
    /// With which mode.
    pub mode: Mode,
    /// Whose; `None` leaves it to whoever writes.
    pub owner: Option<Owner>,
    /// With what in it.
    pub content: Content,
}

/// What is in a file. A plan cannot express a secret: keys are asked for by request or by source.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// This text. Shared, since a unit is the same in the target, in a plan and in what is
    /// predicted.
    Text(Arc<str>),
    /// The CA's certificate.
    Ca,
    /// A certificate, or its key, that is issued at execution.
    Issued {
        /// What to issue. Parts of one request belong together and are issued at once.
        request: Arc<CertRequest>,
        /// Which part.
        part: Part,
    },
    /// A file on the operator's machine.
    Provided(String),
    /// A file on the host itself.
    OnHost(HostPath),
}

impl Artifact {
    /// Whether it lies on the host at its very place already, so that it is not etcdup's to write.
    #[must_use]
    pub fn lies_in_place(&self) -> bool {
        matches!(&self.content, Content::OnHost(source) if *source == self.path)
    }
}

impl Content {
    /// Its SHA-256 in hex, where it is known before execution.
    #[must_use]
    pub fn sha256(&self) -> Option<String> {
        match self {
            Content::Text(text) => Some(sha256(text.as_bytes())),
            Content::Ca | Content::Issued { .. } | Content::Provided(_) | Content::OnHost(_) => {
                None
            }
        }
    }
}

/// A part of an issued pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The certificate.
    Certificate,
    /// The certificate alone, for the key that lies on the host already: that of the certificate
    /// there (DER). etcd reads a pair file by file, and a handshake between two renames would find
    /// a certificate and a key that do not belong together.
    Renewal(Arc<[u8]>),
    /// The private key.
    Key,
}

/// Where binaries come from, at execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinarySource {
    /// The release archive for the host's architecture, from the operator's cache or disk, pushed.
    Push,
    /// The files of a directory of the operator's, pushed.
    Directory,
    /// Downloaded by the host itself.
    Fetch,
}

/// One step on a host.
#[derive(Debug, Clone, PartialEq)]
pub enum HostStep {
    /// A system user with this home, if it is not there.
    User {
        /// Its name.
        name: UserName,
        /// Its home directory.
        home: HostPath,
    },
    /// A directory.
    Directory {
        /// Where.
        path: HostPath,
        /// With which mode.
        mode: Mode,
        /// Whose.
        owner: Option<Owner>,
    },
    /// A file. Files that follow one another are renamed into place together.
    File(Artifact),
    /// The binaries of a version, in a directory of their own, and links to them.
    Binaries {
        /// The directory.
        directory: HostPath,
        /// The version.
        version: EtcdVersion,
        /// Where links go.
        links: Option<HostPath>,
        /// Where they come from.
        source: BinarySource,
    },
    /// Links to the binaries of a version. What is no link stays as it is.
    Links {
        /// The directory of the binaries.
        directory: HostPath,
        /// Where links go.
        links: HostPath,
    },
    /// What keeps the clock right is enabled and started, or chrony installed.
    TimeSync,
    /// systemd reads its units again.
    Reload,
    /// The unit starts at boot.
    Enable(String),
    /// The unit stops and starts, or just starts; nobody waits for it.
    Restart(String),
    /// The unit stops, and does not start at boot any more.
    Disable(String),
    /// A detached process starts.
    Spawn {
        /// The member.
        member: MemberName,
        /// The script that becomes etcd.
        start_file: HostPath,
        /// Where its process id goes.
        pid_file: HostPath,
        /// Where its output goes.
        log_file: HostPath,
        /// What tells its etcd from others: the data directory.
        data: HostPath,
    },
    /// A detached process ends.
    StopProcess {
        /// Where its process id is.
        pid_file: HostPath,
        /// What tells its etcd from others: the data directory.
        data: HostPath,
    },
    /// An image is loaded from an archive of the operator's.
    LoadImage {
        /// Its name.
        image: String,
        /// The archive here.
        archive: String,
    },
    /// A static pod's manifest lands in the kubelet's directory: the pod starts, or is replaced.
    Pod(Artifact),
    /// A static pod's manifest, as it is, is taken away until its etcd has ended, and put back.
    BouncePod {
        /// The manifest.
        manifest: HostPath,
        /// What tells its etcd from others: the data directory.
        data: HostPath,
        /// Whether its etcd has ended: then the kubelet is given time to start it by itself first.
        ended: bool,
    },
    /// A static pod's manifest is taken away, and its etcd has ended.
    StopPod {
        /// The manifest.
        manifest: HostPath,
        /// What tells its etcd from others: the data directory.
        data: HostPath,
    },
    /// The host record notes that the cluster was bootstrapped and that this member is healthy, and
    /// its data directory is marked.
    Note(Noted),
    /// The host record has a release that the member did not come up with.
    NoteFailed {
        /// The member.
        member: MemberName,
        /// What failed.
        failed: FailedRelease,
    },
    /// The host record has the cluster's members and where they are.
    Roster(Vec<RosterMember>),
    /// The host record has where one member is now.
    Place(Box<RosterMember>),
    /// The host record forgets a member, and the cluster with the last.
    ForgetMember(MemberName),
    /// The host record forgets the cluster; nothing else is left of it on the host.
    Forget,
    /// There is room elsewhere for a member's data or log, and nothing in its way; nothing is
    /// changed.
    CheckRoom {
        /// Which of them.
        held: Held,
        /// Where it is.
        from: HostPath,
        /// Where it is to go.
        to: HostPath,
    },
    /// The data of a member that does not run lies elsewhere, or belongs to another user. Between
    /// two file systems it is copied, and what it was copied from is kept.
    ///
    /// A log moves before the data that it belongs to, which it may be inside of.
    MoveData {
        /// Whether it is all of the data, or its log.
        held: Held,
        /// Where it is.
        from: HostPath,
        /// Where it goes; the same where only its owner changes.
        to: HostPath,
        /// Whose it becomes; `None` leaves that.
        owner: Option<Owner>,
    },
    /// The host record has how far a restore is.
    NoteRestore(Box<RestoreRecord>),
    /// Etcd's own tool makes a member's data of the snapshot. Nothing may be there.
    Restore(Box<RestoredMember>),
    /// The host record has how far a recovery is.
    NoteRecover(Box<RecoverRecord>),
    /// There is room for a copy of a member's data, and nothing in its way; nothing is changed.
    CheckForce(Box<ForcedMember>),
    /// A copy of a member's data, made to name it as the only one, takes its place; the data itself
    /// is kept.
    ForceNew(Box<ForcedMember>),
    /// Data is kept under another name.
    MoveAside {
        /// The directory.
        path: HostPath,
    },
    /// A file or directory is deleted.
    Remove(HostPath),
}

/// What a directory of a member's holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Its data, as `member`.
    Data,
    /// Its write-ahead log, as `wal`.
    Log,
}

/// What the host record keeps of a member that was seen healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The member.
    pub member: MemberName,
    /// Its ID.
    pub id: MemberId,
    /// The cluster's ID.
    pub cluster: ClusterId,
    /// The version it runs.
    pub version: String,
    /// Its data directory, which is marked.
    pub data: HostPath,
    /// The directory that holds its log, where that is marked too: it is not in the data.
    pub log: Option<HostPath>,
    /// The mark that is there already: it stays, since a mark and a record that are not written
    /// together must not make a healthy member look like a lost one.
    pub mark: Option<String>,
}

impl Content {
    /// The file on the operator's machine that it comes from, where it comes from one.
    #[must_use]
    pub fn provided(&self) -> Option<&str> {
        match self {
            Self::Provided(source) => Some(source),
            Self::Text(_) | Self::Ca | Self::Issued { .. } | Self::OnHost(_) => None,
        }
    }
}

impl HostStep {
    /// Starts a member that is a detached process.
    #[must_use]
    pub fn spawn(member: &Member) -> Self {
        let layout = &member.layout;
        Self::Spawn {
            member: member.name.clone(),
            start_file: layout.start_file.clone(),
            pid_file: layout.pid_file.clone(),
            log_file: layout.log_file.clone(),
            data: layout.data.clone(),
        }
    }

    /// The file that it writes, where it writes one.
    #[must_use]
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            Self::File(artifact) | Self::Pod(artifact) => Some(artifact),
            Self::User { .. }
            | Self::Directory { .. }
            | Self::Binaries { .. }
            | Self::Links { .. }
            | Self::TimeSync
            | Self::Reload
            | Self::Enable(_)
            | Self::Restart(_)
            | Self::Disable(_)
            | Self::Spawn { .. }
            | Self::StopProcess { .. }
            | Self::LoadImage { .. }
            | Self::BouncePod { .. }
            | Self::StopPod { .. }
            | Self::Note(_)
            | Self::NoteFailed { .. }
            | Self::Roster(_)
            | Self::Place(_)
            | Self::ForgetMember(_)
            | Self::Forget
            | Self::CheckRoom { .. }
            | Self::MoveData { .. }
            | Self::NoteRestore(_)
            | Self::Restore(_)
            | Self::NoteRecover(_)
            | Self::CheckForce(_)
            | Self::ForceNew(_)
            | Self::MoveAside { .. }
            | Self::Remove(_) => None,
        }
    }

    /// Whether this step stops the member, if only for a moment.
    ///
    /// Exhaustive on purpose: the quorum is checked again for exactly these steps, so a new step
    /// does not compile before this question is answered.
    #[must_use]
    pub fn stops(&self, member: &Member) -> bool {
        let layout = &member.layout;
        match self {
            Self::Restart(unit) | Self::Disable(unit) => *unit == layout.unit,
            Self::StopProcess { pid_file, .. } => *pid_file == layout.pid_file,
            Self::StopPod { manifest, .. } | Self::BouncePod { manifest, .. } => {
                *manifest == layout.manifest
            }
            Self::Pod(artifact) => artifact.path == layout.manifest,
            // A directory that goes away under a running member stops it too.
            Self::MoveAside { path } | Self::Remove(path) | Self::MoveData { from: path, .. } => {
                let member = layout.holds_log();
                layout.data.is_within(path) || member.is_ok_and(|log| log.is_within(path))
            }
            Self::ForceNew(forced) => forced.data == layout.data,
            Self::User { .. }
            | Self::Directory { .. }
            | Self::File(_)
            | Self::Binaries { .. }
            | Self::Links { .. }
            | Self::TimeSync
            | Self::Reload
            | Self::Enable(_)
            | Self::Spawn { .. }
            | Self::LoadImage { .. }
            | Self::Note(_)
            | Self::NoteFailed { .. }
            | Self::Roster(_)
            | Self::Place(_)
            | Self::ForgetMember(_)
            | Self::Forget
            | Self::NoteRestore(_)
            | Self::Restore(_)
            | Self::NoteRecover(_)
            | Self::CheckForce(_)
            | Self::CheckRoom { .. } => false,
        }
    }

    /// Whether this step deletes or moves data or files.
    #[must_use]
    pub fn destroys(&self) -> bool {
        matches!(
            self,
            Self::MoveAside { .. } | Self::Remove(_) | Self::ForceNew(_)
        )
    }
}

/// One step on the operator's own machine.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorStep {
    /// Makes the certificate authority.
    CreateCa,
    /// Issues a client's certificate, beside the CA.
    IssueClient(CertRequest),
}

/// An alarm of etcd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// A database is full: the cluster takes no more writes.
    NoSpace,
    /// Data differs between members: the cluster takes no more writes.
    Corrupt,
}

impl Alarm {
    /// As etcd spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => NO_SPACE,
            Self::Corrupt => CORRUPT,
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One call to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterStep {
    /// The leader hands over.
    MoveLeader {
        /// Who leads.
        from: MemberName,
        /// Who shall lead.
        to: MemberName,
    },
    /// A member is added to the list, as a learner.
    AddLearner {
        /// The member.
        member: MemberName,
        /// Where the others will find it.
        peer_url: EtcdUrl,
    },
    /// A learner that has caught up becomes a voter.
    Promote {
        /// The member.
        member: MemberName,
        /// Its ID in the list.
        id: MemberId,
    },
    /// The list has another peer URL for a member.
    MovePeer {
        /// The member.
        member: MemberName,
        /// Its ID in the list.
        id: MemberId,
        /// Where the others will find it.
        peer_url: EtcdUrl,
    },
    /// So much is agreed on that every member takes a raft snapshot, and needs nothing of its log
    /// from before.
    RaftSnapshot {
        /// How many entries, none of which changes anything.
        entries: u64,
    },
    /// Members that run this older minor are let in from now on.
    EnableDowngrade {
        /// The minor, `3.6`.
        minor: String,
    },
    /// A downgrade is given up.
    CancelDowngrade,
    /// Every member forgets what keys were before this revision.
    Compact {
        /// The first revision that can still be read.
        revision: i64,
    },
    /// A member writes its database again, without what it does not use. It answers nothing
    /// meanwhile.
    Defragment {
        /// The member.
        member: MemberName,
    },
    /// An alarm is disarmed.
    Disarm {
        /// Which.
        alarm: Alarm,
        /// Whose it is.
        members: Vec<MemberId>,
    },
    /// A member is removed from the list, after a snapshot was kept where it had a vote.
    Remove {
        /// The member.
        member: MemberName,
        /// Its ID in the list, which is never valid again.
        id: MemberId,
        /// Whether a snapshot is kept first.
        snapshot: bool,
    },
}

impl ClusterStep {
    /// The member that this call stops, if only for a moment.
    ///
    /// Exhaustive on purpose, as [`HostStep::stops`] is.
    #[must_use]
    pub fn stops(&self) -> Option<MemberName> {
        match self {
            Self::Defragment { member } => Some(member.clone()),
            // Whoever is removed is judged by its own gate.
            Self::MoveLeader { .. }
            | Self::AddLearner { .. }
            | Self::Promote { .. }
            | Self::MovePeer { .. }
            | Self::RaftSnapshot { .. }
            | Self::EnableDowngrade { .. }
            | Self::CancelDowngrade
            | Self::Compact { .. }
            | Self::Disarm { .. }
            | Self::Remove { .. } => None,
        }
    }
}
