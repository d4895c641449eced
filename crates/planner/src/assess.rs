//! How a member's host differs from what should be on it, each difference with its reason and its
//! cost.

use std::borrow::Cow;

use etcdup_core::finding::Check;
use etcdup_core::membership::{ClusterView, Standing};
use etcdup_core::observation::{DataDir, EtcdProcess, HostView, Observation};
use etcdup_core::stage::Artifact;
use etcdup_core::topology::Member;

use crate::identity::{Bootstrap, Start, has_data, read_flags, start_of};
use crate::places::{known_members, standing};
use crate::target::Target;

mod binaries;
mod certificates;
mod difference;
mod elsewhere;
mod process;
mod start_file;

pub(crate) use binaries::{LINKED, binaries};
use certificates::{certificate_file, couple_keys};
pub use difference::{Cost, Difference};
pub(crate) use process::overriding;
use process::running;
use start_file::start_file;

pub(crate) const CHECKS: &[Check] = &[DRIFT];

/// The check that `etcdup verify` reports differences under.
pub(crate) const DRIFT: Check = Check {
    id: "drift",
    title: "a host differs from the topology",
    about: "A file, a mode, an owner, a certificate, a binary or a flag of a running member is not what the file says. \
            `etcdup plan` shows each difference, `etcdup apply` fixes it, one member at a time where a restart is needed.",
    advice: "run `etcdup plan`, then `etcdup apply`",
};

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
    pub start: Cow<'a, Artifact>,
    /// How it stands with the cluster.
    pub(crate) standing: Standing,
    /// Whether the cluster has formed without it, so that it must be added before it may start.
    pub(crate) to_join: bool,
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
    pub files: Vec<(Cow<'a, Artifact>, Difference)>,
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

    /// Whether it is, or is to be, a member as it stands: one that lost its data or was removed
    /// must leave the cluster first, and never starts as it is.
    pub(crate) fn takes_part(&self) -> bool {
        match self.standing {
            // Whether one without data was ever a member is for a list to say.
            Standing::Lost { .. } | Standing::Removed { data: true, .. } | Standing::Unknown(_) => {
                false
            }
            Standing::Removed { runs, .. } => !runs,
            Standing::New
            | Standing::Bootstrapped(_)
            | Standing::Added { .. }
            | Standing::Learner { .. }
            | Standing::Voter { .. }
            | Standing::Unmanaged(_) => true,
        }
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

/// The list in a member's start file, or of whom is known to be a member where there is no such
/// file; `None` where it is the topology's.
fn known_list(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
) -> Option<String> {
    let wanted = target.desired(member);
    let list = match host.files.get(&wanted.settled.path) {
        Some(file) => {
            let flags = read_flags(member, file.text.as_deref()?);
            flags.get("initial-cluster")?.to_owned()
        }
        None => {
            let known = known_members(target, seen).into_iter();
            let url = |member: &Member| target.topology.peer_url(member);
            let listed = known.map(|member| format!("{}={}", member.name, url(member)));
            listed.collect::<Vec<_>>().join(",")
        }
    };
    (wanted.flags.get("initial-cluster") != Some(list.as_str())).then_some(list)
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
    let standing = standing(target, seen, bootstrap, member);
    let view = ClusterView::any(seen);
    let joins = view.as_ref().filter(|_| formed && !has_data(seen, member));
    let joining = match joins {
        Some(view) => target.joining(member, view),
        // What its file says of the others is all that is known of them while nobody answers.
        None if formed && view.is_none() => known_list(target, seen, member, host)
            .and_then(|list| target.settled_with(member, &list)),
        None => None,
    };
    let restored = target.restored_with().is_some();
    let start = match joining {
        Some(joining) => Cow::Owned(joining),
        // What is restored is there before it starts, and never begins by itself.
        None if formed || restored => Cow::Borrowed(&wanted.settled),
        None => Cow::Borrowed(&wanted.fresh),
    };
    let mut files = certificates(target, seen, member, host);
    // One that is taken elsewhere is started by another file then, and with other flags.
    let moves = process.is_some() && target.goes(&member.name).is_some();
    let started = start_file(target, member, host, &start, formed || restored);
    if let Some(difference) = started.filter(|_| !moves) {
        files.push((start.clone(), difference));
    }
    let mut running = running(target, member, host, process);
    running.retain(|difference| !moves || difference.is_of_peers() || !difference.is_flag());
    Some(Assessment {
        member,
        host,
        process,
        start,
        to_join: bootstrap == Bootstrap::Complete && standing.is_to_join(),
        standing,
        starts,
        serves: seen.serves(&member.name),
        answers: seen.member(&member.name).is_some(),
        votes: seen.is_healthy_voter(&member.name),
        binaries: binaries(target, member, host),
        files,
        running,
    })
}

/// The certificates and other files that a member's host lacks at this place.
pub(crate) fn certificates_to_write(
    target: &Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
) -> Vec<Artifact> {
    let files = certificates(target, seen, member, host).into_iter();
    files.map(|(artifact, _)| artifact.into_owned()).collect()
}

fn certificates<'a>(
    target: &'a Target,
    seen: &Observation,
    member: &Member,
    host: &HostView,
) -> Vec<(Cow<'a, Artifact>, Difference)> {
    let certificates = &target.desired(member).certificates;
    let mut files = Vec::new();
    for artifact in certificates {
        if let Some(difference) = certificate_file(target, seen, member, host, artifact) {
            files.push((Cow::Borrowed(artifact), difference));
        }
    }
    couple_keys(target, host, certificates, &mut files);
    files
}
