//! Steps and files in words, for plans and progress.

use etcdup_core::certificate::format_sans;
use etcdup_core::host::HostId;
use etcdup_core::observation::Observation;
use etcdup_core::recover::RecoverPhase;
use etcdup_core::restore::RestorePhase;
use etcdup_core::stage::{
    Artifact, BinarySource, ClusterStep, Content, Held, HostStep, OperatorStep, Part,
};
use similar::{ChangeTag, TextDiff};

/// A step on the operator's machine, in words.
#[must_use]
pub fn operator_words(step: &OperatorStep) -> String {
    match step {
        OperatorStep::CreateCa => {
            "create the CA (its key stays on this machine, mode 0600)".to_owned()
        }
        OperatorStep::IssueClient(request) => format!("a client certificate for {}", request.name),
    }
}

/// A step as one mark and one line.
#[must_use]
pub fn describe_step(step: &HostStep) -> (&'static str, String) {
    match step {
        HostStep::User { name, .. } => ("+", format!("user {name}")),
        HostStep::Directory { path, mode, .. } => ("+", format!("directory {path}, mode {mode}")),
        HostStep::File(artifact) => ("+", describe_file(artifact)),
        HostStep::Binaries {
            directory, source, ..
        } => {
            let from = match source {
                BinarySource::Push => "from an archive, sent from this machine",
                BinarySource::Directory => "from a directory, sent from this machine",
                BinarySource::Fetch => "downloaded by the host",
            };
            ("+", format!("binaries {directory}, {from}"))
        }
        HostStep::Links { directory, links } => {
            ("~", format!("links {links}/etcd* -> {directory}"))
        }
        HostStep::TimeSync => (
            "+",
            "time synchronization: chrony, ntp or systemd-timesyncd".to_owned(),
        ),
        HostStep::Reload => (">", "systemctl daemon-reload".to_owned()),
        HostStep::Enable(unit) => (">", format!("enable {unit}")),
        HostStep::Restart(unit) => (">", format!("restart {unit}")),
        HostStep::Disable(unit) => ("-", format!("stop and disable {unit}")),
        HostStep::Spawn { member, .. } => (">", format!("start {member}")),
        HostStep::StopProcess { .. } => (">", "stop etcd".to_owned()),
        HostStep::LoadImage { image, .. } => ("+", format!("image {image}, from an archive")),
        HostStep::Pod(artifact) => (">", format!("create pod from {}", describe_file(artifact))),
        HostStep::BouncePod { manifest, .. } => (">", format!("recreate pod from {manifest}")),
        HostStep::StopPod { manifest, .. } => ("-", format!("remove pod {manifest}")),
        HostStep::Note(noted) => (
            "~",
            format!(
                "host record: {} is member {} of cluster {}",
                noted.member, noted.id, noted.cluster
            ),
        ),
        HostStep::Roster(roster) => {
            let names: Vec<String> = roster
                .iter()
                .map(|one| one.place.name.to_string())
                .collect();
            let names = names.join(", ");
            ("~", format!("host record: the members are {names}"))
        }
        HostStep::Place(known) => (
            "~",
            format!("host record: {} is where the file has it", known.place.name),
        ),
        HostStep::NoteFailed { member, failed } => (
            "~",
            format!(
                "host record: {member} did not come up with etcd {}",
                failed.version
            ),
        ),
        HostStep::ForgetMember(name) => ("-", format!("host record: forget {name}")),
        HostStep::Forget => ("-", "host record: forget the cluster".to_owned()),
        HostStep::CheckRoom { held, from, to } => (
            ">",
            format!(
                "make sure that {to} has room for the {} in {from}",
                name_of(*held)
            ),
        ),
        HostStep::MoveData {
            held,
            from,
            to,
            owner,
        } => {
            let what = name_of(*held);
            let owner = owner.as_ref().map(|owner| format!(", owned by {owner}"));
            let owner = owner.unwrap_or_default();
            match from == to {
                true => ("~", format!("{what} in {to}{owner}")),
                false => ("~", format!("move the {what} in {from} to {to}{owner}")),
            }
        }
        HostStep::NoteRestore(restore) => (
            "~",
            match restore.phase {
                RestorePhase::SettingAside => {
                    format!("host record: {} is being restored", restore.snapshot)
                }
                RestorePhase::Restoring => format!(
                    "host record: the cluster is {}, restored from {}",
                    restore.cluster, restore.snapshot
                ),
                RestorePhase::Ended => "host record: the restore has ended".to_owned(),
                RestorePhase::Aborted => "host record: the restore was given up".to_owned(),
            },
        ),
        HostStep::Restore(restored) => {
            ("+", format!("data in {}, from the snapshot", restored.data))
        }
        HostStep::NoteRecover(recover) => ("~", {
            let by = recover.by.as_ref();
            let member = by.map_or("", |by| by.member.as_str());
            match recover.phase {
                RecoverPhase::Stopping => "host record: the cluster is being recovered".to_owned(),
                RecoverPhase::Forcing => format!("host record: {member} goes on alone"),
                RecoverPhase::Forced => format!("host record: {member} is the only member"),
                RecoverPhase::Ended => "host record: the recovery has ended".to_owned(),
                RecoverPhase::GivenUp => "host record: the recovery was given up".to_owned(),
            }
        }),
        HostStep::CheckForce(forced) => (
            ">",
            format!("make sure that there is room for a copy of {}", forced.data),
        ),
        HostStep::ForceNew(forced) => (
            "~",
            format!(
                "data in {}, with {} as the only member; what was there is kept",
                forced.data, forced.member
            ),
        ),
        HostStep::MoveAside { path } => ("~", format!("move {path} to {path}.kept-<time>")),
        HostStep::Remove(path) => ("-", format!("delete {path}")),
    }
}

fn name_of(held: Held) -> &'static str {
    match held {
        Held::Data => "data",
        Held::Log => "log",
    }
}

/// A call to the cluster as one mark and one line.
#[must_use]
pub fn describe_call(step: &ClusterStep) -> (&'static str, String) {
    match step {
        ClusterStep::MoveLeader { from, to } => ("~", format!("move leader from {from} to {to}")),
        ClusterStep::AddLearner { member, peer_url } => {
            ("+", format!("add learner {member} at {peer_url}"))
        }
        ClusterStep::Promote { member, .. } => ("~", format!("promote {member}")),
        ClusterStep::MovePeer {
            member, peer_url, ..
        } => ("~", format!("list {member} at {peer_url}")),
        ClusterStep::RaftSnapshot { entries } => (
            "~",
            format!("agree on {entries} entries that change nothing"),
        ),
        ClusterStep::EnableDowngrade { minor } => ("~", format!("downgrade to {minor}")),
        ClusterStep::CancelDowngrade => ("~", "downgrade no further".to_owned()),
        // Without the revision: what is approved is the same while clients write.
        ClusterStep::Compact { .. } => ("-", "all revisions of keys before that".to_owned()),
        ClusterStep::Defragment { member } => ("~", format!("defragment {member}")),
        ClusterStep::Disarm { alarm, members } => {
            let members: Vec<String> = members.iter().map(ToString::to_string).collect();
            ("~", format!("disarm {alarm} of {}", members.join(", ")))
        }
        ClusterStep::Remove {
            member,
            id,
            snapshot: true,
        } => (
            "-",
            format!("remove {member} ({id}), after a snapshot was kept"),
        ),
        ClusterStep::Remove { member, id, .. } => ("-", format!("remove {member} ({id})")),
    }
}

/// What a file will be, in words.
#[must_use]
pub fn describe_file(artifact: &Artifact) -> String {
    let Artifact {
        path,
        mode,
        content,
        ..
    } = artifact;
    match content {
        Content::Text(_) => format!("{path}, mode {mode}"),
        Content::Ca => format!("{path}, mode {mode}: the CA's certificate"),
        Content::Issued {
            request,
            part: Part::Certificate | Part::Renewal(_),
        } => {
            format!(
                "{path}, mode {mode}: {} certificate for {}",
                request.usage,
                format_sans(&request.sans)
            )
        }
        Content::Issued {
            part: Part::Key, ..
        } => format!("{path}, mode {mode}: its key"),
        Content::Provided(source) => format!("{path}, mode {mode}: from {source}"),
        Content::OnHost(source) => format!("{path}, mode {mode}: from {source} on the host"),
    }
}

/// The lines of a file on a host that a stage changes, each behind `-` or `+`; nothing where the
/// file is not there yet, or its content is not to be seen.
#[must_use]
pub fn changed_lines(host: &HostId, artifact: &Artifact, seen: &Observation) -> Vec<String> {
    let Content::Text(new) = &artifact.content else {
        return Vec::new();
    };
    let file = seen
        .host(host)
        .and_then(|view| view.files.get(&artifact.path));
    let Some(old) = file.and_then(|file| file.text.as_ref()) else {
        return Vec::new();
    };
    let diff = TextDiff::from_lines(old.as_str(), new);
    let lines = diff.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        Some(format!("{sign} {}", change.value().trim_end()))
    });
    lines.collect()
}
