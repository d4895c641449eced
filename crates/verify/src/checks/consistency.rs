//! Whether members agree with each other, and have room.

use etcdup_core::membership::MemberId;
use std::collections::BTreeSet;

use etcdup_core::finding::{Check, Finding};
use etcdup_core::flag::quota_of;
use etcdup_core::observed::{Cause, Observed};
use etcdup_core::version::minor_of;

use super::evidence::Evidence;

pub(super) const HASH: Check = Check {
    id: "hash",
    title: "the stores are equal",
    about: "The hash of every member's store at one revision is the same. A different hash indicates data corruption (etcd issue 13766).",
    advice: "stop writing to the cluster, keep its data, and replace the member that differs from the majority",
};
pub(super) const PEERS: Check = Check {
    id: "peers-active",
    title: "every pair of peers is connected",
    about: "A peer that is refused in one direction leaves health green; only `etcd_network_active_peers` at 0 on the refused \
            member shows it. One more loss would then cost the quorum.",
    advice: "compare the certificate's names with the addresses peers come from; look for `rejected connection` in the log",
};
pub(super) const ALARMS: Check = Check {
    id: "alarms",
    title: "no alarm is raised",
    about: "With NOSPACE or CORRUPT the cluster takes no writes.",
    advice: "NOSPACE: `etcdup maintain` compacts, defragments and disarms it. \
             CORRUPT: see `etcdup explain corrupt`",
};
pub(super) const SIZE: Check = Check {
    id: "db-size",
    title: "the database is well below its quota",
    about: "At the quota (2 GiB unless quota-backend-bytes says otherwise) all writes stop. 80 % is a warning, 95 % an error.",
    advice: "`etcdup maintain --compact`, or raise quota-backend-bytes (etcd warns above 8 GiB and takes it)",
};
pub(super) const FRAGMENTED: Check = Check {
    id: "fragmented",
    title: "at least half of the database is in use",
    about: "Space that deletions and compaction freed is used again, and stays in the file until a member is defragmented. It counts \
            towards the quota.",
    advice: "run `etcdup maintain`, which defragments one member at a time",
};
pub(super) const SKEW: Check = Check {
    id: "version-skew",
    title: "all members run the version of the file",
    about: "Members of different versions are fine during an upgrade, and nothing to stay with.",
    advice: "run `etcdup apply`",
};

pub(super) const CLUSTER_VERSION: Check = Check {
    id: "cluster-version",
    title: "the cluster is of its members' version",
    about: "The cluster's own version is the lowest minor of its members. It follows a few seconds after the last of them; until \
            then nothing of the newer minor is in use, and the minor after it is not let in.",
    advice: "verify again in a moment; where it stays, a member of the list does not run or runs an older minor",
};

pub(super) fn cluster_version(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let of_members: BTreeSet<String> = evidence
        .answered()
        .map(|(_, member)| minor_of(&member.view.version))
        .collect();
    let mut findings = Vec::new();
    for (name, member) in evidence.answered() {
        let of_cluster = member.metrics.known();
        let of_cluster = of_cluster.and_then(|metrics| metrics.cluster_version.as_deref());
        // What its metrics say is for another check to complain of.
        if let Some(of_cluster) = of_cluster
            && of_members.len() == 1
            && !of_members.contains(of_cluster)
        {
            let of_members: Vec<&str> = of_members.iter().map(String::as_str).collect();
            let evidence = format!(
                "holds that the cluster is of {of_cluster}, and all members run {}",
                of_members.join(", ")
            );
            findings.push(check.warning(name, evidence));
        }
    }
    if findings.is_empty() {
        findings.push(check.pass("cluster", "no member holds otherwise"));
    }
    findings
}

/// What etcd answers where a revision is forgotten already (api/v3rpc/rpctypes/error.go).
const COMPACTED: &str = "required revision has been compacted";

pub(super) fn hash(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut hashes = BTreeSet::new();
    let mut findings = Vec::new();
    let mut forgotten = false;
    for (name, member) in evidence.answered() {
        match &member.hash {
            Observed::Known(hash) => {
                hashes.insert(*hash);
            }
            // The last revision itself was compacted, as `maintain` does: 3.4 has no hash of that.
            Observed::Unknown(unseen) if unseen.to_string().contains(COMPACTED) => forgotten = true,
            Observed::Unknown(unseen) => {
                let finding = check.warning(name, format!("not known: {unseen}"));
                // What could not be asked is no sign of corruption, and calls for nothing so
                // drastic.
                findings.push(finding.advise(match unseen.cause {
                    Cause::Denied => {
                        "let the operator's certificate in: `etcdup etcdctl -- --user root user add etcdup-operator \
                         --no-password`, then `etcdup etcdctl -- --user root user grant-role etcdup-operator root`"
                    }
                    _ => "see why the member does not answer, then verify again",
                }));
            }
        }
    }
    let revisions: BTreeSet<i64> = evidence
        .answered()
        .map(|(_, member)| member.view.revision)
        .collect();
    let at_one_revision = revisions.len() == 1;
    let compacted: BTreeSet<i64> = hashes.iter().map(|(_, compacted)| *compacted).collect();
    if hashes.len() > 1 && compacted.len() == 1 {
        let each = evidence
            .answered()
            .filter_map(|(name, member)| Some(format!("{name} {:08x}", member.hash.known()?.0)));
        findings.push(check.error("cluster", each.collect::<Vec<_>>().join(", ")));
    } else if hashes.len() > 1 {
        let words = "members were compacted at different revisions just now; verify again";
        findings.push(check.warning("cluster", words));
    } else if findings.is_empty() && forgotten && !(hashes.is_empty() && at_one_revision) {
        let words = "members were compacted beyond where others are; verify again";
        findings.push(check.warning("cluster", words));
    } else if findings.is_empty() && forgotten {
        let words = "nothing was written since all was compacted: compared once something is";
        findings.push(check.pass("cluster", words));
    } else if findings.is_empty() {
        findings.push(check.pass("cluster", "equal hashes at one revision"));
    }
    findings
}

pub(super) fn peers(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let answers = |id: MemberId| evidence.answered().any(|(_, member)| member.view.id == id);
    let mut pairs = 0;
    for (name, member) in evidence.answered() {
        let others = member
            .view
            .listed
            .iter()
            .filter(|listed| listed.id != member.view.id);
        match &member.metrics {
            Observed::Unknown(unseen) => findings
                .push(check.warning(name, format!("its metrics could not be read: {unseen}"))),
            Observed::Known(metrics) => {
                for other in others {
                    pairs += 1;
                    if metrics.peers.get(&other.id).copied().unwrap_or(0) < 1 {
                        let known = evidence.name_of(other);
                        let why = format!("has no active connection with {known}");
                        // A member that is down refuses nobody: no certificate is to blame.
                        findings.push(if answers(other.id) {
                            check.error(name, why)
                        } else {
                            check
                                .error(name, format!("{why}, which does not answer"))
                                .advise(format!("start {known} first: `etcdup apply`"))
                        });
                    }
                }
            }
        }
    }
    if findings.is_empty() {
        findings.push(check.pass("cluster", format!("{pairs} connections, both ways")));
    }
    findings
}

pub(super) fn alarms(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut raised = BTreeSet::new();
    let mut findings = Vec::new();
    for (name, member) in evidence.answered() {
        match &member.alarms {
            Observed::Known(alarms) => raised.extend(alarms.iter().copied()),
            Observed::Unknown(unseen) => {
                findings.push(check.warning(name, format!("could not be read: {unseen}")));
            }
        }
    }
    findings.extend(
        raised
            .into_iter()
            .map(|(id, alarm)| check.error(evidence.name_of_id(id), alarm)),
    );
    if findings.is_empty() {
        findings.push(check.pass("cluster", "none"));
    }
    findings
}

pub(super) fn size(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, member) in evidence.answered() {
        let given = evidence.topology.member(name).map(|member| {
            let state = etcdup_core::topology::ClusterState::Existing;
            quota_of(&evidence.topology.flags(member, state))
        });
        let Some(quota) = given.flatten() else {
            findings.push(check.pass(name, "not limited"));
            continue;
        };
        let percent = member.view.db_size.saturating_mul(100) / quota;
        let words = format!(
            "{} KiB of {} MiB ({percent} %)",
            member.view.db_size >> 10,
            quota >> 20
        );
        findings.push(match percent {
            95.. => check.error(name, words),
            80.. => check.warning(name, words),
            _ => check.pass(name, words),
        });
    }
    findings
}

pub(super) fn fragmented(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, member) in evidence.answered() {
        let view = &member.view;
        let words = format!(
            "{} of {} MiB are in use",
            view.db_in_use >> 20,
            view.db_size >> 20
        );
        findings.push(match view.is_fragmented() {
            true => check.warning(name, words),
            false => check.pass(name, words),
        });
    }
    findings
}

pub(super) fn skew(check: &Check, evidence: &Evidence<'_>) -> Vec<Finding> {
    let wanted = evidence.topology.version.to_string();
    let mut findings: Vec<Finding> = evidence
        .answered()
        .filter(|(_, member)| member.view.version != wanted)
        .map(|(name, member)| {
            check.warning(
                name,
                format!("runs {}, the file says {wanted}", member.view.version),
            )
        })
        .collect();
    if findings.is_empty() {
        findings.push(check.pass("cluster", format!("all run {wanted}")));
    }
    findings
}
