//! Differences between a member's host and its target, as values: rules ask what kind one is,
//! people read it as a sentence.

use std::fmt;

use etcdup_core::path::{HostPath, Mode, Owner};

/// What fixing a difference costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Nothing that etcdup can fix: it is reported, and no stage comes of it.
    ReportOnly,
    /// Nothing that a client sees: certificates are read again at each handshake, modes and owners
    /// at each open.
    NoRestart,
    /// A restart that ends the bootstrap: until then no one relies on the cluster.
    EndsBootstrap,
    /// A restart of the member.
    Restart,
}

/// One difference: what it is, and what fixing it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs, and how.
    pub kind: DifferenceKind,
    /// What fixing it costs.
    pub cost: Cost,
}

/// What differs, and how. As text it is a sentence without its subject's member: `/etc/etcd/ca.crt
/// is missing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceKind {
    /// A file, link or binary is not there.
    Missing(HostPath),
    /// Something else lies at a file's place.
    NotAFile(HostPath),
    /// A file has another mode.
    Mode {
        /// The file.
        path: HostPath,
        /// The mode that it has.
        found: Mode,
        /// The mode that it should have.
        wanted: Mode,
        /// Whether it is a private key that every user of the host could read.
        exposes_key: bool,
    },
    /// A file belongs to another user.
    Owner {
        /// The file.
        path: HostPath,
        /// Whose it is; `None` where the name is not one that etcdup would write.
        found: Option<Owner>,
        /// Whose it should be.
        wanted: Owner,
    },
    /// A file has another content.
    Content {
        /// The file.
        path: HostPath,
        /// How it came to that.
        change: Change,
    },
    /// A certificate does not do.
    Certificate {
        /// The file.
        path: HostPath,
        /// Why, as a clause: `is for another name`.
        why: String,
    },
    /// A certificate or key is reissued because the other one of its pair is.
    Reissued(HostPath),
    /// A file that etcd reads only at its start was written after that.
    NotApplied(HostPath),
    /// The pod's image is not loaded.
    ImageNotLoaded(String),
    /// It lies or runs elsewhere on its host.
    Elsewhere {
        /// What of it.
        what: &'static str,
        /// Where that is.
        is: String,
        /// Where it should be.
        wanted: String,
    },
    /// The process runs another file.
    Binary {
        /// The file that runs.
        running: String,
        /// The file that should.
        wanted: HostPath,
    },
    /// The process runs with another value of a flag; `None` is etcd's default.
    Flag {
        /// The flag's name.
        name: String,
        /// The value that it runs with.
        running: Option<String>,
        /// The value that it should run with.
        wanted: Option<String>,
        /// A drop-in that replaces the unit's command, so that a restart would start the same
        /// again.
        overridden_by: Option<String>,
    },
    /// An argument or variable that etcd does not know.
    UnknownFlag(String),
    /// The kubelet has not applied the manifest.
    PodOutdated(HostPath),
    /// A link leads to another version.
    Link {
        /// The link.
        path: HostPath,
        /// Where it leads.
        found: String,
        /// Where it should lead.
        wanted: HostPath,
    },
    /// A program lies where a link would.
    NotOurs(HostPath),
    /// A drop-in overrides the unit.
    DropIn {
        /// The drop-in.
        path: String,
        /// Its directives.
        directives: Vec<String>,
    },
    /// The unit does not start at boot.
    NotEnabled(String),
}

/// How a file came to have another content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is not the one that the target renders.
    Rendered,
    /// It is not the one that etcdup wrote.
    OutsideEtcdup,
    /// It is another than the file that it is a copy of.
    Source(String),
    /// It says that the cluster is still being bootstrapped.
    StillNew,
    /// It differs in flags that count at the first start only.
    BootstrapFlags,
}

impl DifferenceKind {
    /// The difference, with what fixing it costs.
    pub(super) fn costs(self, cost: Cost) -> Difference {
        Difference { kind: self, cost }
    }
}

impl Difference {
    /// Whether it is a link on PATH.
    pub(crate) fn is_link(&self, links: &HostPath) -> bool {
        match &self.kind {
            DifferenceKind::Link { path, .. }
            | DifferenceKind::NotOurs(path)
            | DifferenceKind::Missing(path) => path.is_within(links),
            DifferenceKind::NotAFile(_)
            | DifferenceKind::Mode { .. }
            | DifferenceKind::Owner { .. }
            | DifferenceKind::Content { .. }
            | DifferenceKind::Certificate { .. }
            | DifferenceKind::Reissued(_)
            | DifferenceKind::NotApplied(_)
            | DifferenceKind::ImageNotLoaded(_)
            | DifferenceKind::Elsewhere { .. }
            | DifferenceKind::Binary { .. }
            | DifferenceKind::Flag { .. }
            | DifferenceKind::UnknownFlag(_)
            | DifferenceKind::PodOutdated(_)
            | DifferenceKind::DropIn { .. }
            | DifferenceKind::NotEnabled(_) => false,
        }
    }

    /// Whether a start file differs in nothing but what counts at the first start.
    pub(crate) fn is_of_first_start(&self) -> bool {
        let change = Change::BootstrapFlags;
        matches!(&self.kind, DifferenceKind::Content { change: found, .. } if *found == change)
    }

    /// Whether it is a flag of the running process.
    pub(crate) fn is_flag(&self) -> bool {
        matches!(self.kind, DifferenceKind::Flag { .. })
    }

    /// Whether it is a flag that says how other members reach it.
    pub(crate) fn is_of_peers(&self) -> bool {
        matches!(&self.kind, DifferenceKind::Flag { name, .. } if name.contains("peer"))
    }

    /// Whether the unit must be enabled.
    pub(crate) fn is_not_enabled(&self) -> bool {
        matches!(self.kind, DifferenceKind::NotEnabled(_))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(out)
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(out, "{path} is missing"),
            Self::NotAFile(path) => write!(out, "{path} is not an ordinary file"),
            Self::Mode {
                path,
                found,
                wanted,
                exposes_key,
            } => {
                write!(out, "{path} has mode {found}, wanted {wanted}")?;
                if *exposes_key {
                    out.write_str(", so that every user of the host could read it")?;
                }
                Ok(())
            }
            Self::Owner {
                path,
                found: Some(found),
                wanted,
            } => write!(out, "{path} belongs to {found}, wanted {wanted}"),
            Self::Owner {
                path,
                found: None,
                wanted,
            } => write!(out, "{path} belongs to another user, wanted {wanted}"),
            Self::Content { path, change } => write!(out, "{path} {change}"),
            Self::Certificate { path, why } => write!(out, "{path} {why}"),
            Self::Reissued(path) => write!(out, "{path} is reissued with its key pair"),
            Self::NotApplied(path) => write!(
                out,
                "{path} is newer than the running etcd, which reads it only when it starts"
            ),
            Self::ImageNotLoaded(image) => write!(out, "{image} is not loaded"),
            Self::Elsewhere { what, is, wanted } => write!(out, "{what} is {is}, wanted {wanted}"),
            Self::Binary { running, wanted } => {
                write!(out, "binary {running} runs, wanted {wanted}")
            }
            Self::Flag {
                name,
                running,
                wanted,
                overridden_by,
            } => {
                let shown = |value: &Option<String>| {
                    value.clone().unwrap_or_else(|| "etcd's default".to_owned())
                };
                let (running, wanted) = (shown(running), shown(wanted));
                write!(out, "--{name} runs with {running}, wanted {wanted}")?;
                if let Some(path) = overridden_by {
                    write!(out, "; {path} overrides ExecStart")?;
                }
                Ok(())
            }
            Self::UnknownFlag(flag) => write!(
                out,
                "{flag} is not an etcd flag or variable and has no effect"
            ),
            Self::PodOutdated(manifest) => write!(
                out,
                "{manifest} is newer than the running pod: the kubelet has not applied it"
            ),
            Self::Link {
                path,
                found,
                wanted,
            } => write!(out, "{path} links to {found}, wanted {wanted}"),
            Self::NotOurs(path) => write!(
                out,
                "{path} was not installed by etcdup, so it stays as it is"
            ),
            Self::DropIn { path, directives } => {
                write!(out, "{path} overrides the unit: {}", directives.join(", "))
            }
            Self::NotEnabled(unit) => write!(out, "{unit} is not enabled at boot"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rendered => out.write_str("differs from the rendered file"),
            Self::OutsideEtcdup => out.write_str("was modified outside etcdup"),
            Self::Source(source) => write!(out, "differs from {source}"),
            Self::StillNew => out.write_str("still has initial-cluster-state=new"),
            Self::BootstrapFlags => out.write_str("differs only in bootstrap flags"),
        }
    }
}
