//! Bringing a cluster to what the file says: an ordered table of rules, the first that has
//! something to do decides.

use etcdup_core::finding::{Finding, Verdict};
use etcdup_core::host::HostId;
use etcdup_core::membership::ClusterView;
use etcdup_core::observation::Observation;
use etcdup_core::stage::{Next, Rule};

use crate::assess::assess;
use crate::identity::{Bootstrap, bootstrap};
use crate::listed::leaving_entry;
use crate::plan_context::{Decision, LeavingPlace, PlanContext};
use crate::preflight::{preflight, unseen_hosts};
use crate::rules::conflict::{DISPUTED, conflicts};
use crate::rules::transition::VERSION_FAILED;
use crate::rules::{
    clean_up, expired, files, grow, install, moved, operator, provided, record, relocate, roll,
    shrink, start, time, transition, trust, version, wait,
};
use crate::target::Target;

/// A row of the table.
pub struct RuleRow {
    /// Its id, as stage keys and `etcdup explain` have it.
    pub id: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Why it is asked at this place, and what it never does.
    pub why: &'static str,
    /// What its stages are called.
    pub makes: &'static [Rule],
    decide: fn(&PlanContext<'_>) -> Decision,
}

/// The rules of `etcdup apply`, in the order in which they are asked.
///
/// Whether anything may be done at all comes first. Files that may be why a member is unhealthy are
/// written before any member is waited for, members that do not run start before any that runs is
/// restarted, and what cannot be done is reported last, so that it keeps nothing else from being
/// done.
pub const CONVERGE: &[RuleRow] = &[
    RuleRow {
        id: "conflict",
        about: "refuse what belongs to another cluster, and what a start would destroy",
        why: "Comes first: nothing may be written where data is another cluster's, lost or copied, where the \
              CA, the version or the transport security cannot follow what runs, or where preflight fails. \
              Where only single members are disputed and the others with their own data are a quorum, those \
              are started first, since no advice about the rest can be followed before.",
        makes: &[Rule::StartQuorum],
        decide: conflict,
    },
    RuleRow {
        id: "time",
        about: "set up time synchronization, since certificates and leases depend on clocks",
        why: "Comes before anything is issued: certificates are dated by clocks, and etcd's leases expire by \
              them.",
        makes: &[Rule::Time],
        decide: time::synchronize,
    },
    RuleRow {
        id: "operator-clock",
        about: "issue nothing by a clock that the hosts do not share",
        why: "Comes before the CA and every certificate: a certificate that is not valid yet on the hosts \
              locks members and clients out.",
        makes: &[],
        decide: operator::clock,
    },
    RuleRow {
        id: "ca",
        about: "create the CA of a cluster that has none",
        why: "Comes before the files that carry its certificate. Never where a host has a CA certificate or a \
              member runs.",
        makes: &[Rule::Ca],
        decide: operator::ca,
    },
    RuleRow {
        id: "clients",
        about: "issue the client certificates that the file names",
        why: "Comes before members are asked with the certificate that it may issue.",
        makes: &[Rule::Clients],
        decide: operator::clients,
    },
    RuleRow {
        id: "record",
        about: "record on its host that a member was healthy, before anything else can stop it",
        why: "Comes before anything that could stop a member: the host record then knows that the cluster is \
              bootstrapped, whatever happens to its disks.",
        makes: &[Rule::Record],
        decide: record::of_forming,
    },
    RuleRow {
        id: "install",
        about: "write what a member needs before it can start, and start all where none ever ran",
        why: "Comes before any other start; all hosts side by side, since nothing of it is seen by a running \
              member. Of a cluster that never ran, installing and starting is one run a host.",
        makes: &[Rule::Install, Rule::Bootstrap],
        decide: install::install,
    },
    RuleRow {
        id: "refresh-files",
        about: "write files that need no restart",
        why: "Comes before any wait: a missing file may be why a member is unhealthy. etcd reads these files \
              again by itself.",
        makes: &[Rule::RefreshFiles],
        decide: files::refresh_files,
    },
    RuleRow {
        id: "move",
        about: "list a member at its new peer URL where it does not serve at the old one",
        why: "Comes before any start: the others find a member only where the list has it. One that serves is moved \
              right before its own restart. Never a learner: etcd before 3.5.31 and 3.6.12 makes a voter of one whose \
              URLs change.",
        makes: &[Rule::Move],
        decide: moved::move_now,
    },
    RuleRow {
        id: "expired",
        about: "restart all members with a new CA where nothing that they accept can be issued any more",
        why: "Comes before single members are started: none would let another in. Only where all certificates have \
              ended, the old CA's key is not here, every host was seen, and an outage is allowed.",
        makes: &[Rule::Start],
        decide: expired::restart_all,
    },
    RuleRow {
        id: "start",
        about: "start members that do not run, and restart those that only a restart can help",
        why: "All members that do not run start together: etcd is ready only once it has joined a quorum. \
              Members that run are restarted here only if they have no leader, and one at a time unless the \
              others provably have no quorum.",
        makes: &[Rule::Bootstrap, Rule::FinishBootstrap, Rule::Start],
        decide: start::start,
    },
    RuleRow {
        id: "renew",
        about: "replace the certificates of running members, one member at a time",
        why: "One member at a time with all healthy in between: a wrong certificate would cut off every \
              member at once.",
        makes: &[Rule::Renew],
        decide: files::renew,
    },
    RuleRow {
        id: "wait",
        about: "wait for running members to become healthy",
        why: "Comes before any restart of a healthy member: one that is on its way up counts for the quorum \
              only when it has arrived.",
        makes: &[Rule::Wait],
        decide: wait::wait,
    },
    RuleRow {
        id: "clean-up",
        about: "stop what is left of a removed member, and move its data aside",
        why: "Only what the data, the unit or the record proves to be this cluster's, and only while a quorum confirms \
              a list that does not have the member. Comes before a join: a member that is added again starts without \
              data.",
        makes: &[Rule::CleanUp],
        decide: clean_up::clean_up,
    },
    RuleRow {
        id: "remove-dead",
        about: "remove members that lost their data, should go and do not run, or whose host is gone for good",
        why: "Comes before anything that needs all members, and only where the others go on without it. A host that \
              does not answer is never dead by itself: only the file says so. A snapshot is kept first.",
        makes: &[Rule::Remove, Rule::MoveLeader],
        decide: shrink::remove_dead,
    },
    RuleRow {
        id: "join",
        about: "start a member that was added, and let it catch up",
        why: "Comes before any roll: a restart of the leader would begin the learner's snapshot again. One at \
              a time, with the cluster's list as it is: etcd refuses any other.",
        makes: &[Rule::Join],
        decide: grow::join,
    },
    RuleRow {
        id: "promote",
        about: "make a learner that has caught up a voter",
        why: "Comes before any roll, and never before it has nearly all that the others have: a voter that is \
              far behind counts for the quorum and cannot help it.",
        makes: &[Rule::Promote],
        decide: grow::promote,
    },
    RuleRow {
        id: "version-calls",
        about: "begin a downgrade, wait for it, or give it up; have raft snapshots taken before 3.7",
        why: "Comes before the first restart with another minor: etcd lets an older release in only where a downgrade \
              was begun, and 3.7 does not replay what 3.5 has written.",
        makes: &[Rule::Downgrade, Rule::RaftSnapshot],
        decide: version::calls,
    },
    RuleRow {
        id: "move-leader",
        about: "move leadership away before the leader restarts",
        why: "Only when the leader is the last to restart: every other order would elect twice.",
        makes: &[Rule::MoveLeader],
        decide: roll::move_leader,
    },
    RuleRow {
        id: "roll",
        about: "restart members one at a time, followers first",
        why: "One member at a time, each only while the cluster's own voters without it are a quorum; asked \
              again just before.",
        makes: &[Rule::Move, Rule::Roll],
        decide: roll::restart_one,
    },
    RuleRow {
        id: "add",
        about: "add one member to the cluster, as a learner",
        why: "Comes after every roll, with fewer voters at risk; only a roll that would be an outage waits for \
              it. Only while all are healthy and none is joining.",
        makes: &[Rule::Add],
        decide: grow::add,
    },
    RuleRow {
        id: "remove",
        about: "remove a member that serves and should go, after its leadership moved away",
        why: "Comes last of all changes: whoever takes its place votes already. A snapshot is kept first.",
        makes: &[Rule::Remove, Rule::MoveLeader],
        decide: shrink::remove_live,
    },
    RuleRow {
        id: "left",
        about: "report hosts that are unreachable and restarts that wait for them",
        why: "Comes last: what cannot be done keeps nothing else from being done.",
        makes: &[],
        decide: left,
    },
];

pub(crate) fn next(target: &Target, seen: &Observation, allow_outage: bool, retry: bool) -> Next {
    let bootstrap = bootstrap(target, seen);
    let unseen = unseen_hosts(target, seen);
    if !unseen.is_empty() && (is_minority(target, seen) || bootstrap != Bootstrap::Complete) {
        // Whatever else is known to be wrong is reported with it.
        return Next::Blocked(
            unseen
                .into_iter()
                .chain(wrong(target, seen, retry))
                .collect(),
        );
    }
    let members = target.topology.members.iter();
    let members = members
        .filter_map(|member| assess(target, seen, member, bootstrap))
        .collect();
    let view = ClusterView::confirmed(seen);
    let context = PlanContext {
        target,
        seen,
        bootstrap,
        members,
        leaving: leaving(target, seen, view.as_ref()),
        view,
        unseen,
        allow_outage,
        retry,
    };
    for row in CONVERGE {
        match (row.decide)(&context) {
            Decision::Continue => {}
            Decision::Run(stage) => {
                debug_assert!(row.makes.contains(&stage.key.rule), "{}", stage.key);
                return Next::Stage(stage);
            }
            Decision::Block(findings) => return Next::Blocked(findings),
        }
    }
    Next::Done
}

fn leaving<'a>(
    target: &'a Target,
    seen: &'a Observation,
    view: Option<&ClusterView<'a>>,
) -> Vec<LeavingPlace<'a>> {
    let leaving = target.topology.leaving.iter();
    leaving
        .map(|leaving| {
            let listed = view.and_then(|view| leaving_entry(&target.topology, seen, view, leaving));
            let healthy = listed.is_some_and(|listed| {
                let mut views = seen.known_members();
                views.any(|own| {
                    own.id == listed.id && (own.served.known().is_some() || own.leader.is_some())
                })
            });
            LeavingPlace {
                leaving,
                // What was not asked of its host is not known.
                host: seen
                    .host(&leaving.member.host)
                    .filter(|host| host.data.contains_key(&leaving.member.layout.data))
                    .filter(|_| !leaving.gone),
                listed,
                healthy,
            }
        })
        .collect()
}

/// Two operators on either side of a partition must not both act, so half of the members' hosts is
/// never enough; and a bootstrap needs every one of them.
fn is_minority(target: &Target, seen: &Observation) -> bool {
    let of_members = |host: &&HostId| target.topology.has_member_on(host);
    let all = target.topology.hosts.keys().filter(of_members).count();
    let observed = target.topology.hosts.keys().filter(of_members);
    let observed = observed.filter(|host| seen.host(host).is_some()).count();
    observed * 2 <= all
}

/// Everything that stands in the way, each with its way out.
fn wrong(target: &Target, seen: &Observation, retry: bool) -> Vec<Finding> {
    conflicts(target, seen)
        .into_iter()
        .chain(relocate::conflicts(target, seen))
        .chain(transition::conflicts(target, seen))
        .chain(version::members_during_downgrade(target, seen))
        .chain(trust::conflicts(target, seen))
        .chain(provided::conflicts(target, seen))
        .chain(errors(preflight(target, seen)))
        .filter(|finding| !(retry && finding.is_of(&[VERSION_FAILED.id])))
        .collect()
}

fn conflict(context: &PlanContext<'_>) -> Decision {
    let wrong = wrong(context.target, context.seen, context.retry);
    let disputed = wrong.iter().all(|finding| finding.is_of(&DISPUTED));
    if wrong.is_empty() || !disputed {
        return block(wrong);
    }
    let names = wrong
        .iter()
        .map(|finding| finding.subject.clone())
        .collect();
    // Until the members with intact data serve, no advice about the others can be followed.
    match start::start_undisputed(context, &names) {
        Decision::Continue => block(wrong),
        decided @ (Decision::Run(_) | Decision::Block(_)) => decided,
    }
}

fn left(context: &PlanContext<'_>) -> Decision {
    let waiting = roll::waiting(context)
        .into_iter()
        .chain(grow::waiting(context))
        .chain(shrink::waiting(context))
        .chain(trust::waiting(context));
    block(context.unseen.iter().cloned().chain(waiting).collect())
}

fn block(findings: Vec<Finding>) -> Decision {
    if findings.is_empty() {
        Decision::Continue
    } else {
        Decision::Block(findings)
    }
}

fn errors(findings: Vec<Finding>) -> Vec<Finding> {
    findings
        .into_iter()
        .filter(|finding| finding.verdict == Verdict::Error)
        .collect()
}
