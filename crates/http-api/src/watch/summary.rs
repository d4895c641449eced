//! How a cluster stands, in one line: what a list of clusters and `/metrics` show of it.

use etcdup_core::finding::Finding;
use etcdup_core::operation::{OperationId, OperationRecord, Verb, Who};
use etcdup_core::stage::Rule;
use etcdup_deploy::{
    EndingDocument, MemberHealth, MemberStanding, MemberStatus, PlanDocument, StatusDocument,
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::watch::seen::{Seen, first_of};

/// How near its end a certificate needs attention: etcdup renews its own long before.
const CERTIFICATE_ENDS_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How a cluster is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClusterHealth {
    /// It has no quorum, or its file cannot be used.
    Broken,
    /// It serves, and a person should look at it.
    Attention,
    /// It was not looked at yet, or nothing of it could be seen.
    Unknown,
    /// All is as it should be.
    Well,
}

/// How a cluster stands.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Summary {
    /// How it is.
    pub health: ClusterHealth,
    /// Why, in words, the weightiest reason first.
    pub reasons: Vec<String>,
    /// How many voters it has.
    pub voters: usize,
    /// How many of them are healthy.
    pub healthy: usize,
    /// The leader's name, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The lowest version that a member runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The size of the largest database, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_bytes: Option<i64>,
    /// How large that may become, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// When the first of its certificates ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_ends: Option<Timestamp>,
    /// When the newest snapshot was taken that is kept here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_taken: Option<Timestamp>,
    /// How many stages an apply would carry out; none where that cannot be planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<usize>,
    /// How many hosts could not be looked at.
    pub unseen: usize,
}

/// An operation that is carried out, as a list of clusters shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Underway {
    /// Its ID.
    pub id: OperationId,
    /// What it is for.
    pub verb: Verb,
    /// Who carries it out.
    pub who: Who,
    /// Since when.
    pub begun: Timestamp,
}

impl From<&OperationRecord> for Underway {
    fn from(record: &OperationRecord) -> Self {
        Self {
            id: record.id.clone(),
            verb: record.verb,
            who: record.who.clone(),
            begun: record.begun,
        }
    }
}

impl Summary {
    /// What was seen, in short.
    pub(crate) fn of(seen: &Seen) -> Self {
        let soonest = seen.certificates.certificates.first();
        let soonest = soonest.map(|one| (one.not_after, format!("{} on {}", one.file, one.on)));
        let hosts = seen.hosts.hosts.iter();
        let unseen: Vec<_> = hosts
            .filter_map(|host| Some((host.name.clone(), host.why.clone()?)))
            .collect();
        Self::judged(&seen.status, &seen.drift, &unseen, soonest)
    }

    /// Nothing could be seen, for this reason.
    pub(crate) fn unknown(why: String) -> Self {
        Self {
            health: ClusterHealth::Unknown,
            reasons: vec![why],
            voters: 0,
            healthy: 0,
            leader: None,
            version: None,
            db_bytes: None,
            quota_bytes: None,
            certificate_ends: None,
            snapshot_taken: None,
            drift: None,
            unseen: 0,
        }
    }

    fn judged(
        status: &StatusDocument,
        plan: &PlanDocument,
        unseen: &[(String, String)],
        soonest: Option<(Timestamp, String)>,
    ) -> Self {
        let answers = || {
            let members = status.members.iter();
            members.filter_map(|member| Some((member, member.answer.as_ref()?)))
        };
        // One that is to join, or that was removed, is a change that waits and no illness.
        let is = |health| {
            move |member: &&MemberStatus| {
                let waits = [MemberStanding::New, MemberStanding::Removed];
                member.health == health && !waits.contains(&member.standing)
            }
        };
        let ill = || status.members.iter().filter(is(MemberHealth::Unhealthy));
        let hidden = || status.members.iter().filter(is(MemberHealth::Unknown));
        let (mut reasons, mut health) = (Vec::new(), ClusterHealth::Well);
        let mut found = |worst: ClusterHealth, why: String| {
            health = health.min(worst);
            reasons.push(why);
        };
        let nothing = answers().next().is_none() && ill().next().is_none();
        let makes = |stage: &etcdup_deploy::StageDocument| stage.key.rule == Rule::Bootstrap;
        let is_there = !plan.stages.iter().any(makes);
        if is_there && !nothing && status.healthy < status.quorum {
            let (healthy, voters) = (status.healthy, status.voters);
            let why = format!("no quorum: {healthy} of {voters} serve");
            found(ClusterHealth::Broken, why);
        }
        let worst = if nothing {
            ClusterHealth::Unknown
        } else {
            ClusterHealth::Attention
        };
        // Of a host that is not seen it is said once, for all that is on it.
        let on_unseen = |host: &str| unseen.iter().any(|(name, _)| name == host);
        let members = ill().chain(hidden()).filter(|_| is_there);
        for member in members.filter(|member| !on_unseen(&member.host)) {
            let state = match member.health {
                MemberHealth::Unhealthy => "does not serve",
                MemberHealth::Unknown | MemberHealth::Healthy => "cannot be asked",
            };
            let why = member.why.as_deref().unwrap_or("no reason is known");
            let why = why.strip_prefix("not known: ").unwrap_or(why);
            found(worst, format!("{} {state}: {why}", member.name));
        }
        for (host, why) in unseen {
            found(worst, format!("host {host} cannot be reached: {why}"));
        }
        for (member, answer) in answers() {
            for error in &answer.errors {
                found(
                    ClusterHealth::Attention,
                    format!("{}: {error}", member.name),
                );
            }
        }
        if let Some((ends, what)) = &soonest {
            let left = ends.duration_since(Timestamp::now());
            if left < CERTIFICATE_ENDS_SOON {
                let days = left.as_hours() / 24;
                let why = match left.is_positive() {
                    true => format!("certificate {what} ends in {days} days"),
                    false => format!("certificate {what} has ended"),
                };
                found(ClusterHealth::Attention, why);
            }
        }
        if plan.ending != EndingDocument::Done {
            let is_known = |finding: &&Finding| on_unseen(&finding.subject);
            let new = plan.findings.iter().filter(|finding| !is_known(finding));
            if let Some(why) = first_of(new) {
                found(worst, why);
            }
        } else if !is_there {
            let stages = plan.stages.len();
            let why = format!(
                "not bootstrapped yet: an apply does it in {}",
                counted(stages)
            );
            found(ClusterHealth::Attention, why);
        } else if !plan.stages.is_empty() {
            let stages = plan.stages.len();
            let first = &plan.stages[0].title;
            found(
                ClusterHealth::Attention,
                format!("drift: {} to apply, first: {first}", counted(stages)),
            );
        }
        let largest = answers().max_by_key(|(_, answer)| answer.db_bytes);
        let largest = largest.map(|(_, answer)| answer);
        let leader = answers().find(|(_, answer)| answer.leads);
        Self {
            health,
            reasons,
            voters: status.voters,
            healthy: status.healthy,
            leader: leader.map(|(member, _)| member.name.clone()),
            version: answers().map(|(_, answer)| answer.version.clone()).min(),
            db_bytes: largest.map(|answer| answer.db_bytes),
            quota_bytes: largest.and_then(|answer| answer.quota_bytes),
            certificate_ends: soonest.map(|(ends, _)| ends),
            snapshot_taken: status.snapshot.as_ref().map(|newest| newest.taken),
            drift: (plan.ending == EndingDocument::Done).then_some(plan.stages.len()),
            unseen: unseen.len(),
        }
    }
}

fn counted(stages: usize) -> String {
    match stages {
        1 => "1 stage".to_owned(),
        _ => format!("{stages} stages"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect")]

    use etcdup_deploy::{MemberAnswer, STATUS_FORMAT};

    use super::*;

    fn answer(leads: bool) -> MemberAnswer {
        MemberAnswer {
            id: "1".parse().unwrap(),
            cluster: "2".parse().unwrap(),
            leader: Some("1".parse().unwrap()),
            leads,
            learner: false,
            version: "3.5.33".to_owned(),
            term: 2,
            raft_index: 9,
            applied_index: 9,
            revision: 4,
            db_bytes: 20480,
            db_in_use_bytes: 20480,
            quota_bytes: Some(2 << 30),
            read_ms: Some(1.0),
            errors: Vec::new(),
        }
    }

    fn member(name: &str, health: MemberHealth) -> MemberStatus {
        let healthy = health == MemberHealth::Healthy;
        MemberStatus {
            name: name.to_owned(),
            host: "10.0.0.1".to_owned(),
            standing: MemberStanding::Voter,
            leaves: false,
            behind: None,
            health,
            why: (!healthy).then(|| "connection refused".to_owned()),
            answer: healthy.then(|| answer(name == "m1")),
        }
    }

    fn status(health: [MemberHealth; 3]) -> StatusDocument {
        let names = ["m1", "m2", "m3"].into_iter();
        let members: Vec<_> = names
            .zip(health)
            .map(|(name, how)| member(name, how))
            .collect();
        let healthy = members.iter().filter(|member| member.answer.is_some());
        StatusDocument {
            format: STATUS_FORMAT.to_owned(),
            cluster: "prod".to_owned(),
            voters: 3,
            quorum: 2,
            healthy: healthy.count(),
            snapshot: None,
            snapshot_unseen: None,
            members,
        }
    }

    fn judged(health: [MemberHealth; 3], ends_in_days: i64) -> Summary {
        let ends = Timestamp::now() + SignedDuration::from_hours(ends_in_days * 24 + 1);
        let soonest = Some((ends, "server.crt on 10.0.0.1".to_owned()));
        Summary::judged(&status(health), &PlanDocument::default(), &[], soonest)
    }

    #[test]
    fn the_weightiest_reason_comes_first_and_nothing_unseen_is_well() {
        use MemberHealth::{Healthy, Unhealthy, Unknown};
        let all = judged([Healthy; 3], 300);
        assert_eq!((all.health, all.reasons.len()), (ClusterHealth::Well, 0));
        assert_eq!(all.leader.as_deref(), Some("m1"));
        let ends = judged([Healthy; 3], 12);
        assert_eq!(ends.health, ClusterHealth::Attention);
        assert_eq!(
            ends.reasons,
            ["certificate server.crt on 10.0.0.1 ends in 12 days"]
        );
        let one_down = judged([Healthy, Healthy, Unhealthy], 300);
        assert_eq!(one_down.health, ClusterHealth::Attention);
        assert_eq!(one_down.reasons, ["m3 does not serve: connection refused"]);
        let two_down = judged([Healthy, Unhealthy, Unknown], 300);
        assert_eq!(two_down.health, ClusterHealth::Broken);
        assert_eq!(two_down.reasons[0], "no quorum: 1 of 3 serve");
        let unseen = judged([Unknown; 3], 300);
        assert_eq!(unseen.health, ClusterHealth::Unknown);
        assert!(unseen.reasons[0].starts_with("m1 cannot be asked"));
    }
}
