//! The steps that a stage is made of. Data only; the executor turns them into one script run a host.

use crate::certificate::CertRequest;
use crate::name::{MemberName, UserName};
use crate::path::{HostPath, Mode, Owner};

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
    /// This text.
    Text(String),
    /// The CA's certificate.
    Authority,
    /// A certificate, or its key, that is issued at execution.
    Issued {
        /// What to issue. Parts of one request belong together and are issued at once.
        request: Box<CertRequest>,
        /// Which part.
        part: Part,
    },
    /// A file on the operator's machine.
    Provided(String),
    /// A file on the host itself.
    OnHost(HostPath),
}

/// A part of an issued pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificate.
    Certificate,
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
        /// Where links go.
        links: Option<HostPath>,
        /// Where they come from.
        source: BinarySource,
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
    },
    /// A detached process ends.
    Kill {
        /// Where its process id is.
        pid_file: HostPath,
    },
    /// An image is loaded from an archive of the operator's.
    Image {
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
    },
    /// A static pod's manifest is taken away, and its etcd has ended.
    StopPod {
        /// The manifest.
        manifest: HostPath,
        /// What tells its etcd from others: the data directory.
        data: HostPath,
    },
    /// Data is kept under another name.
    Keep {
        /// The directory.
        path: HostPath,
    },
    /// A file or directory is deleted.
    Remove(HostPath),
}

/// One step on the operator's own machine.
#[derive(Debug, Clone, PartialEq)]
pub enum OperatorStep {
    /// Makes the certificate authority.
    MakeAuthority,
    /// Issues a client's certificate, beside the CA.
    IssueClient(CertRequest),
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
}
