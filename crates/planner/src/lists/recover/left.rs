//! Who is left of a cluster that may have lost its quorum, and how far their logs go.

use std::collections::BTreeSet;

use etcdup_core::finding::Finding;
use etcdup_core::membership::{ClusterId, MemberId, quorum_of};
use etcdup_core::name::MemberName;
use etcdup_core::observation::{CORRUPT, ListedMember, Observation, RaftLog};
use etcdup_core::observed::Observed;
use etcdup_core::recover::RecoverRecord;
use etcdup_core::topology::Member;
use jiff::Timestamp;

use super::checks::{
    NOT_LOST, RECOVER_DATA, RECOVER_FILE, RECOVER_GONE, RECOVER_LOG, RECOVER_RELEASE,
    RECOVER_UNSEEN,
};
use crate::generation::recorded_cluster;
use crate::identity::identity_of;
use crate::lists::reset;
use crate::places::known_members;
use crate::recovering::{is_left_behind, is_refilled, last};
use crate::target::Target;

/// A member that could go on, and how far its log goes.
pub(crate) struct Survivor<'a> {
    pub(crate) member: &'a Member,
    pub(crate) log: RaftLog,
    /// Whether etcd says that its data differs from the others'.
    pub(crate) corrupt: bool,
}

/// What the operator says that nobody could see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    /// Members that are lost for good.
    pub(crate) gone: &'a [MemberName],
    /// A cluster whose data is this cluster's.
    pub(crate) cluster: Option<ClusterId>,
}

/// Who is left.
pub(crate) enum Left<'a> {
    /// Enough to agree on something: in words, who.
    Enough(Vec<Finding>),
    /// Too few; whoever's log goes furthest first. There is one.
    Few(Vec<Survivor<'a>>),
    /// It cannot be said, or nobody.
    Unclear(Vec<Finding>),
}

pub(crate) fn left<'a>(target: &'a Target, seen: &Observation, said: Said<'_>) -> Left<'a> {
    let gone = said.gone;
    let served = seen.members.keys().filter(|name| seen.serves(name));
    let served: Vec<Finding> = served
        .map(|name| NOT_LOST.error(name, "it serves"))
        .collect();
    if !served.is_empty() {
        return Left::Enough(served);
    }
    let mut findings = unproven(target, seen, gone);
    findings.extend(reset::foreign(target, seen, said.cluster));
    if !findings.is_empty() {
        return Left::Unclear(findings);
    }
    let survivors = match survivors(target, seen, gone) {
        Ok(survivors) => survivors,
        Err(findings) => return Left::Unclear(findings),
    };
    let Some(first) = survivors.first() else {
        let evidence = "no host that answers has data of one of its voters";
        return Left::Unclear(vec![RECOVER_DATA.error(&target.topology.cluster, evidence)]);
    };
    let voters = voters(target, seen);
    if survivors.len() >= quorum_of(voters) {
        let evidence = format!("{} of {voters} voters have their data", survivors.len());
        return Left::Enough(vec![NOT_LOST.error(&target.topology.cluster, evidence)]);
    }
    if target.topology.leaving(&first.member.name).is_some() {
        let evidence = format!("its data is on {}, and goes furthest", first.member.host);
        return Left::Unclear(vec![RECOVER_FILE.error(&first.member.name, evidence)]);
    }
    match other_release(target, seen, first.member) {
        Some(finding) => Left::Unclear(vec![finding]),
        None => Left::Few(survivors),
    }
}

/// Members whose data differs from the others', as etcd's alarm says.
pub(crate) fn corrupt(seen: &Observation) -> BTreeSet<MemberId> {
    let views = seen.known_members();
    views.flat_map(|view| view.alarms(CORRUPT)).collect()
}

/// Members without a vote, as others say.
pub(crate) fn learners(seen: &Observation) -> BTreeSet<MemberId> {
    let listed = seen.known_members().flat_map(|view| view.listed.iter());
    let learners = listed.filter(|listed| listed.learner);
    learners.map(|listed| listed.id).collect()
}

/// Members that may run though nobody sees them, and what is wrong with those that are called gone.
pub(crate) fn unproven(target: &Target, seen: &Observation, gone: &[MemberName]) -> Vec<Finding> {
    let topology = &target.topology;
    let mut findings = Vec::new();
    let unnamed = unnamed(target, seen);
    // Once members are stopped none of them lists the others any more.
    let open = last(topology, seen).is_some_and(RecoverRecord::is_open);
    for name in gone {
        let Some(member) = topology.member(name) else {
            if !open && !unnamed.contains(name.as_str()) {
                findings.push(RECOVER_GONE.error(name, "the file has no member of that name"));
            }
            continue;
        };
        let host = seen.host(&member.host);
        if seen.member(name).is_some() && !host.is_some_and(|host| is_refilled(host, member)) {
            findings.push(RECOVER_GONE.error(name, "it answers"));
        }
    }
    let is_gone = |name: &str| gone.iter().any(|gone| gone.as_str() == name);
    for member in topology.everyone() {
        let why = match seen.hosts.get(&member.host) {
            Some(Observed::Known(_)) => continue,
            Some(Observed::Unknown(unseen)) => unseen.why.clone(),
            None => "it was not asked".to_owned(),
        };
        if !is_gone(member.name.as_str()) {
            let evidence = format!("{}: {why}", member.host);
            findings.push(RECOVER_UNSEEN.error(&member.name, evidence));
        }
    }
    for name in unnamed.iter().filter(|name| !is_gone(name)) {
        let evidence = "a member lists it as a voter, and the file does not name it";
        findings.push(RECOVER_UNSEEN.error(name, evidence));
    }
    findings
}

/// Voters that a member lists and that nothing here leads to, by name, or by ID where they have
/// none.
fn unnamed(target: &Target, seen: &Observation) -> BTreeSet<String> {
    let topology = &target.topology;
    let views = seen.known_members();
    let voters = views.flat_map(|view| view.listed.iter().filter(|listed| !listed.learner));
    let is_known = |listed: &ListedMember| {
        topology.everyone().any(|member| {
            let url = topology.peer_url(member).to_string();
            let data = identity_of(seen, member).map(|data| data.member);
            listed.name == member.etcd_name.as_str()
                || listed.peer_urls.contains(&url)
                || data == Some(listed.id)
        })
    };
    let unknown = voters.filter(|listed| !is_known(listed));
    unknown
        .map(|listed| match listed.name.as_str() {
            "" => listed.id.to_string(),
            name => name.to_owned(),
        })
        .collect()
}

/// How many votes there were: by a list of the cluster as it is, or as the file and the data have
/// it.
pub(crate) fn voters(target: &Target, seen: &Observation) -> usize {
    let left = last(&target.topology, seen).map(RecoverRecord::left_behind);
    let left = left.unwrap_or_default();
    let lists = seen.known_members().map(|view| &view.listed);
    let lists = lists.filter(|listed| !listed.is_empty());
    let current = lists.filter(|listed| listed.iter().all(|one| !left.contains(&one.id)));
    let voters = current.map(|listed| listed.iter().filter(|one| !one.learner).count());
    let known = voters.max().unwrap_or_else(|| {
        let members = known_members(target, seen).into_iter();
        let members = members.filter(|member| !is_left_behind(target, seen, member));
        members.count()
    });
    // Whoever was stopped since lists nobody any more.
    let open = last(&target.topology, seen).filter(|last| last.is_open());
    known.max(open.map_or(0, |open| open.voters))
}

/// The members that could go on, whoever's log goes furthest first.
fn survivors<'a>(
    target: &'a Target,
    seen: &Observation,
    gone: &[MemberName],
) -> Result<Vec<Survivor<'a>>, Vec<Finding>> {
    let recorded = recorded_cluster(&target.topology, seen);
    let open = last(&target.topology, seen).filter(|last| last.is_open());
    let mut without_vote = learners(seen);
    without_vote.extend(open.iter().flat_map(|open| open.learners.iter()));
    let mut differs = corrupt(seen);
    differs.extend(open.iter().flat_map(|open| open.corrupt.iter()));
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for member in target.topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let Some(data) = identity_of(seen, member) else {
            continue;
        };
        let view = seen.member(&member.name);
        let learner = view.is_some_and(|view| view.learner) || without_vote.contains(&data.member);
        let other = recorded.is_some_and(|recorded| recorded != data.cluster);
        let useless = is_left_behind(target, seen, member) || is_refilled(host, member);
        if learner || other || useless || gone.contains(&member.name) {
            continue;
        }
        match host.raft_logs.get(&member.layout.data) {
            Some(Observed::Known(log)) if log.damaged => {
                let evidence = format!("it is damaged after entry {}", log.last);
                unknown.push(RECOVER_LOG.error(&member.name, evidence));
            }
            Some(Observed::Known(log)) => {
                // While it runs the end of its log is in its memory.
                let answered = view.map_or(0, |view| view.raft_index);
                let log = RaftLog {
                    committed: log.committed.max(answered),
                    last: log.last.max(answered),
                    revision: log.revision.or_else(|| Some(view?.revision)),
                    ..*log
                };
                let corrupt = differs.contains(&data.member);
                found.push(Survivor {
                    member,
                    log,
                    corrupt,
                });
            }
            Some(Observed::Unknown(unseen)) => {
                unknown.push(RECOVER_LOG.error(&member.name, unseen.why.clone()));
            }
            None => unknown.push(RECOVER_LOG.error(&member.name, "it was not read")),
        }
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    // What is not known to be committed is dropped by etcd, so that only the rest counts. Of equals
    // the first in the file; and of all those first whose data is right. The revision of a store
    // says no more than how much of the log was on the disk already: it is only shown.
    found.sort_by_key(|one| std::cmp::Reverse((!one.corrupt, one.log.committed, one.log.term)));
    Ok(found)
}

/// The member's release is not the file's.
fn other_release(target: &Target, seen: &Observation, member: &Member) -> Option<Finding> {
    let record = seen.host(&member.host)?.record()?;
    let ran = &record.members.get(&member.etcd_name)?.version;
    let wanted = target.topology.version.to_string();
    (*ran != wanted).then(|| {
        let evidence = format!("it ran etcd {ran}, and the file asks for {wanted}");
        RECOVER_RELEASE.error(&member.name, evidence)
    })
}

/// What a person must know before it.
pub(crate) fn reasons(survivors: &[Survivor<'_>], gone: &[MemberName]) -> Vec<String> {
    let mut why = Vec::new();
    for Survivor {
        member,
        log,
        corrupt,
    } in survivors
    {
        let differs = match corrupt {
            true => "; the alarm CORRUPT is raised for it: its data differs from the others'",
            false => "",
        };
        let written = log.written.and_then(|at| Timestamp::from_second(at).ok());
        let written = written.map(|at| format!(", last written {}", at.strftime("%F %T UTC")));
        let dropped = match log.last.saturating_sub(log.committed) {
            0 => String::new(),
            1 => "; 1 later entry is not known to be committed, and is dropped".to_owned(),
            more => {
                format!("; {more} later entries are not known to be committed, and are dropped")
            }
        };
        let revision = log
            .revision
            .map(|at| format!(", its store at revision {at} or later"));
        why.push(format!(
            "{} on {}: committed up to entry {} in term {}{}{}{dropped}{differs}",
            member.name,
            member.host,
            log.committed,
            log.term,
            revision.unwrap_or_default(),
            written.unwrap_or_default()
        ));
    }
    if let Some(Survivor { member, log, .. }) = survivors.first() {
        why.push(format!(
            "{} goes on: whatever was acknowledged after entry {} is lost",
            member.name, log.committed
        ));
    }
    if !gone.is_empty() {
        let names: Vec<&str> = gone.iter().map(MemberName::as_str).collect();
        why.push(format!(
            "you say that these are gone: {}; one that starts again with its data divides the cluster",
            names.join(", ")
        ));
    }
    why
}
