//! Going on with one member where too few are left to agree on anything: the one whose log goes
//! furthest is made the only one, and `etcdup apply` gives it others again.
//!
//! Nothing of any data is changed before every member is stopped, and the data of the others is
//! moved aside only once the one serves: until then another can go on in its stead.

mod checks;
mod left;
mod reach;

use std::collections::{BTreeMap, BTreeSet};

use etcdup_core::finding::Finding;
use etcdup_core::host::HostId;
use etcdup_core::name::MemberName;
use etcdup_core::observation::{HostView, ListedMember, Observation};
use etcdup_core::path::HostPath;
use etcdup_core::recover::{ForcedMember, RecoverPhase, RecoverRecord, RecoveredBy};
use etcdup_core::stage::{ClusterStep, Gate, HostStep, Impact, Next, Rule, Stage, StageKey, Work};
use etcdup_core::topology::Member;

use self::checks::{CAME_BACK, RECOVER_FILE, RECOVER_OPEN, RECOVER_UNSEEN};
use self::left::{Left, corrupt, left, reasons, unproven};
use crate::assess::assess;
use crate::identity::{Bootstrap, identity_of};
use crate::lists::on_hosts::{on_hosts, stage};
use crate::recovering::{came_back, known_ids, last, recovered_serves};
use crate::rules::clean_up::{stop_and_keep, stop_for_good};
use crate::rules::restart::{serves, start_steps};
use crate::rules::restored::fetch_tools;
use crate::target::Target;

pub(crate) use self::checks::CHECKS;
pub(crate) use self::left::{Said, learners, voters};

/// Whether a recovery of the cluster is under way, or was undone by members that came back, where
/// anything else is asked for.
pub(crate) fn open(target: &Target, seen: &Observation) -> Vec<Finding> {
    let topology = &target.topology;
    if let Some(record) = last(topology, seen).filter(|last| last.is_open()) {
        let hosts = topology.hosts.keys().filter(|host| {
            let known = seen.host(host).and_then(HostView::record);
            let known = known.and_then(|known| known.recover.as_ref());
            known.is_some_and(|known| known.is_same(record))
        });
        let evidence = || match &record.by {
            Some(by) => format!("{} is the only member", by.member),
            None => "every member stops; nothing was changed yet".to_owned(),
        };
        return hosts
            .map(|host| RECOVER_OPEN.error(host, evidence()))
            .collect();
    }
    let back = came_back(target, seen).into_iter();
    back.map(|member| {
        let evidence = format!("{} on {} has data of before", member.name, member.host);
        CAME_BACK.error(&member.name, evidence)
    })
    .collect()
}

/// Hosts that did not hear how the last recovery ended, or joined since.
pub(crate) fn agree(target: &Target, seen: &Observation) -> Option<Next> {
    let topology = &target.topology;
    let last = last(topology, seen).filter(|last| !last.is_open())?;
    let differs = |host: &&HostId| {
        let record = seen.host(host).and_then(HostView::record);
        record.is_some_and(|own| own.cluster.is_some() && own.recover.as_ref() != Some(last))
    };
    let hosts = topology.hosts.keys();
    let hosts = hosts
        .filter(|host| topology.has_member_on(host))
        .filter(differs);
    let note = || vec![HostStep::NoteRecover(Box::new(last.clone()))];
    let tasks: BTreeMap<HostId, Vec<HostStep>> = hosts.map(|host| (host.clone(), note())).collect();
    (!tasks.is_empty()).then(|| {
        let title = "note on every host how the recovery ended".to_owned();
        let why = vec!["another host knows it".to_owned()];
        stage(Rule::EndRecover, title, why, Impact::None, tasks)
    })
}

pub(crate) fn next(target: &Target, seen: &Observation, said: Said<'_>) -> Next {
    let last = last(&target.topology, seen);
    match (last, last.map(|last| last.phase)) {
        (Some(last), Some(RecoverPhase::Stopping)) => stopping(target, seen, last, said),
        (Some(last), Some(RecoverPhase::Forcing | RecoverPhase::Forced)) => match &last.by {
            // One that is lost meanwhile cannot go on: another does.
            Some(by) if !said.gone.contains(&by.member) => go_on(target, seen, last, by, said.gone),
            Some(_) | None => begin(target, seen, Some(last), said),
        },
        _ => begin(target, seen, last, said),
    }
}

fn begin(
    target: &Target,
    seen: &Observation,
    last: Option<&RecoverRecord>,
    said: Said<'_>,
) -> Next {
    let back: BTreeSet<&MemberName> = came_back(target, seen)
        .into_iter()
        .map(|member| &member.name)
        .collect();
    let was_recovered =
        |last: &RecoverRecord| last.phase == RecoverPhase::Ended || !last.earlier.is_empty();
    if last.is_some_and(|last| was_recovered(last) && recovered_serves(seen, last)) {
        let aside = set_aside(target, seen, |member| back.contains(&member.name));
        return aside.unwrap_or(Next::Done);
    }
    let open = last.filter(|last| last.is_open());
    let survivors = match (left(target, seen, said), open) {
        // The one that was to go on is lost, and meanwhile enough of the others are back.
        (Left::Enough(found), Some(open)) => {
            let unproven = unproven(target, seen, said.gone);
            return match unproven.is_empty() {
                true => give_up(target, seen, open, found),
                false => Next::Blocked(unproven),
            };
        }
        // Some of those may be what a recovery left behind: which of the two is the cluster is for
        // a person to say.
        (Left::Enough(_), None) if !back.is_empty() => {
            let evidence = "the cluster that was recovered does not serve";
            let advice = "start the members of the recovered cluster on their hosts, and run `etcdup recover` again";
            let found = back.into_iter();
            let found = found.map(|name| CAME_BACK.error(name, evidence).advise(advice));
            return Next::Blocked(found.collect());
        }
        (Left::Enough(_), None) if last.is_some_and(|last| last.phase == RecoverPhase::GivenUp) => {
            return Next::Done;
        }
        (Left::Enough(findings), None) | (Left::Unclear(findings), _) => {
            return Next::Blocked(findings);
        }
        (Left::Few(survivors), _) => survivors,
    };
    let Some((first, data)) = survivors
        .first()
        .and_then(|first| Some((first, identity_of(seen, first.member)?)))
    else {
        return Next::Done;
    };
    let unfit = reach::unfit(target, seen, first.member);
    if !unfit.is_empty() {
        return Next::Blocked(unfit);
    }
    let record = RecoverRecord {
        count: last.map_or(1, |last| last.count + 1),
        begun: seen.at,
        cluster: data.cluster,
        by: None,
        members: known_ids(target, seen),
        candidates: survivors
            .iter()
            .map(|one| one.member.name.clone())
            .collect(),
        corrupt: corrupt(seen),
        voters: voters(target, seen),
        learners: learners(seen),
        earlier: last.map(RecoverRecord::left_behind).unwrap_or_default(),
        phase: RecoverPhase::Stopping,
    };
    let note = || HostStep::NoteRecover(Box::new(record.clone()));
    let hosts = answering(target, seen);
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> =
        hosts.map(|host| (host.clone(), Vec::new())).collect();
    // What would keep it from going on is known before any is stopped.
    let task = tasks.entry(first.member.host.clone()).or_default();
    task.push(HostStep::CheckForce(Box::new(as_forced(
        first.member,
        None,
    ))));
    tasks.values_mut().for_each(|task| task.push(note()));
    let title = format!("begin to recover the cluster by {}", first.member.name);
    let why = reasons(&survivors, said.gone);
    stage(Rule::BeginRecover, title, why, Impact::None, tasks)
}

/// Nothing was changed yet, so that all is judged once more: a quorum may be back, or one that
/// knows more; and only once a member is stopped its log is all there.
fn stopping(target: &Target, seen: &Observation, open: &RecoverRecord, said: Said<'_>) -> Next {
    let survivors = match left(target, seen, said) {
        Left::Enough(found) => {
            let unheard = unheard(target, seen, open, said.gone);
            return match unheard.is_empty() {
                true => give_up(target, seen, open, found),
                false => Next::Blocked(unheard),
            };
        }
        Left::Unclear(findings) => return Next::Blocked(findings),
        Left::Few(survivors) => survivors,
    };
    if let Some(stop) = stop_all(target, seen) {
        return stop;
    }
    let Some(first) = survivors.first() else {
        return Next::Done;
    };
    // It may be another than the one that went furthest while members ran.
    let unfit = reach::unfit(target, seen, first.member);
    if !unfit.is_empty() {
        return Next::Blocked(unfit);
    }
    let by = RecoveredBy {
        member: first.member.name.clone(),
        index: first.log.committed,
        before: {
            let known = known_ids(target, seen).into_iter();
            let known = known.chain(open.members.iter().copied());
            let own = identity_of(seen, first.member);
            known
                .filter(|id| own.is_none_or(|own| own.member != *id))
                .collect()
        },
    };
    let record = RecoverRecord {
        by: Some(by),
        ..open.at(RecoverPhase::Forcing)
    };
    // From here on it is this one, whatever is cut: its data may be on its way from one place to
    // the other.
    let name = &first.member.name;
    let mut choose = Stage {
        title: format!("{name} goes on"),
        why: reasons(&survivors, said.gone),
        ..on_hosts(Rule::Choose, note(target, seen, &record))
    };
    choose.key.subject = Some(name.clone());
    Next::Stage(Box::new(choose))
}

/// Enough members are left after all: `apply` starts them.
fn give_up(target: &Target, seen: &Observation, open: &RecoverRecord, found: Vec<Finding>) -> Next {
    let why = found.into_iter();
    let why = why.map(|found| format!("{}: {}", found.subject, found.evidence));
    let title = if open.phase == RecoverPhase::Stopping {
        "give the recovery up: nothing was changed"
    } else {
        "give the recovery up: the member that was to go on is gone"
    };
    stage(
        Rule::EndRecover,
        title.to_owned(),
        why.collect(),
        Impact::None,
        note(target, seen, &open.at(RecoverPhase::GivenUp)),
    )
}

/// Members of which one may have been made the only one already, and whose hosts do not say.
fn unheard(
    target: &Target,
    seen: &Observation,
    open: &RecoverRecord,
    gone: &[MemberName],
) -> Vec<Finding> {
    let candidates = open.candidates.iter().filter(|name| !gone.contains(name));
    let silent = candidates.filter(|name| {
        let member = target.topology.member(name);
        member.is_none_or(|member| seen.host(&member.host).is_none())
    });
    silent
        .map(|name| {
            let evidence = "it may have been made the only member, and its host does not say";
            RECOVER_UNSEEN.error(name, evidence)
        })
        .collect()
}

/// What every host of a member that answers comes to know.
fn note(
    target: &Target,
    seen: &Observation,
    record: &RecoverRecord,
) -> BTreeMap<HostId, Vec<HostStep>> {
    let steps = || vec![HostStep::NoteRecover(Box::new(record.clone()))];
    let hosts = answering(target, seen);
    hosts.map(|host| (host.clone(), steps())).collect()
}

/// The hosts of members that answer.
fn answering<'a>(target: &'a Target, seen: &'a Observation) -> impl Iterator<Item = &'a HostId> {
    let topology = &target.topology;
    let hosts = topology.hosts.keys();
    hosts.filter(|host| topology.on_host(host).next().is_some() && seen.host(host).is_some())
}

/// One member goes on: its data is made to name it as the only one, it starts, the others are moved
/// aside, and that is the end.
fn go_on(
    target: &Target,
    seen: &Observation,
    open: &RecoverRecord,
    by: &RecoveredBy,
    gone: &[MemberName],
) -> Next {
    // Its data may name it as the only one already: with others that serve there would be two.
    let others = seen.members.keys().filter(|name| seen.serves(name));
    let others: Vec<Finding> = others
        .filter(|name| **name != by.member)
        .map(|name| {
            let evidence = format!("it serves, and {} may be the only member already", by.member);
            CAME_BACK.error(name, evidence).advise(
                "stop it on its host (`systemctl disable --now etcd`), and run `etcdup recover` again",
            )
        })
        .collect();
    let findings = match others.is_empty() {
        true => unproven(target, seen, gone),
        false => others,
    };
    if !findings.is_empty() {
        return Next::Blocked(findings);
    }
    let member = target.topology.member(&by.member);
    let Some((member, host)) = member.and_then(|member| Some((member, seen.host(&member.host)?)))
    else {
        let evidence = "it was made the only member, and the file does not name it";
        return Next::Blocked(vec![RECOVER_FILE.error(&by.member, evidence)]);
    };
    if open.phase == RecoverPhase::Forcing {
        let record = open.at(RecoverPhase::Forced);
        return stop_all(target, seen).unwrap_or_else(|| force(target, seen, member, record));
    }
    if !host.processes.contains_key(&member.name) {
        return start(target, seen, member);
    }
    let Some(view) = seen
        .member(&member.name)
        .filter(|_| seen.serves(&member.name))
    else {
        let unfit = reach::unfit(target, seen, member);
        return match unfit.is_empty() {
            true => renew(target, seen, member, host).unwrap_or_else(|| wait(target, member)),
            false => Next::Blocked(unfit),
        };
    };
    // etcd before 3.5.30 leaves learners of a snapshot in the list.
    let left = view
        .listed
        .iter()
        .find(|one| one.id != view.id && by.before.contains(&one.id));
    if let Some(left) = left {
        return remove(member, left);
    }
    let others = |other: &Member| other.name != member.name;
    set_aside(target, seen, others).unwrap_or_else(|| end(target, seen, member, open))
}

fn remove(member: &Member, left: &ListedMember) -> Next {
    let name = left.name.parse().unwrap_or_else(|_| member.name.clone());
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::Remove, Some(&name)),
        title: match left.name.as_str() {
            "" => format!("remove the learner {} from the list", left.id),
            name => format!("remove {name} from the list"),
        },
        why: vec![format!("{}: a learner of before the recovery", left.id)],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Cluster(ClusterStep::Remove {
            member: name,
            id: left.id,
            snapshot: false,
        }),
        postconditions: Vec::new(),
    }))
}

fn stop_all(target: &Target, seen: &Observation) -> Option<Next> {
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in target.topology.everyone() {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let steps = stop_for_good(target, member, host);
        if !steps.is_empty() {
            why.push(format!("{} on {}", member.name, member.host));
            tasks.entry(member.host.clone()).or_default().extend(steps);
        }
    }
    let outage = Impact::Outage("no member runs until one of them goes on".to_owned());
    let title = "stop every member; no data is changed yet".to_owned();
    (!tasks.is_empty()).then(|| stage(Rule::StopAll, title, why, outage, tasks))
}

fn as_forced(member: &Member, tools: Option<HostPath>) -> ForcedMember {
    let layout = &member.layout;
    ForcedMember {
        member: member.name.clone(),
        name: member.etcd_name.clone(),
        data: layout.data.clone(),
        log: layout.wal.clone(),
        owner: layout.owner(),
        binaries: tools.unwrap_or_else(|| layout.binaries.clone()),
    }
}

fn force(target: &Target, seen: &Observation, member: &Member, record: RecoverRecord) -> Next {
    let fetched = member.layout.is_pod();
    let fetched = fetched.then(|| fetch_tools(&target.topology, member));
    let (tools, fetch) = fetched.flatten().unzip();
    let mut steps: Vec<HostStep> = fetch.into_iter().collect();
    let forced = as_forced(member, tools.clone());
    steps.push(HostStep::ForceNew(Box::new(forced)));
    steps.extend(tools.map(HostStep::Remove));
    steps.push(HostStep::NoteRecover(Box::new(record)));
    let host = seen.host(&member.host);
    steps.extend(
        host.into_iter()
            .flat_map(|host| starts(target, seen, member, host)),
    );
    let name = &member.name;
    let mut why = vec![format!(
        "a copy of its data is changed; the data itself is kept on {}",
        member.host
    )];
    why.extend(
        host.into_iter()
            .flat_map(|host| reach::due(target, seen, member, host).why),
    );
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::ForceNew, Some(name)),
        title: format!("make {name} the only member, and start it"),
        why,
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(member.host.clone(), steps)])),
        postconditions: vec![serves(target, name)],
    }))
}

/// Starts a member that was stopped, as it ran.
fn starts(target: &Target, seen: &Observation, member: &Member, host: &HostView) -> Vec<HostStep> {
    let layout = &member.layout;
    // Whoever cannot reach it would wait for it without an end.
    let due = reach::due(target, seen, member, host).artifacts;
    let mut steps: Vec<HostStep> = due.into_iter().map(HostStep::File).collect();
    if layout.is_systemd() {
        if !host
            .files
            .contains_key(&target.desired(member).settled.path)
        {
            let unit = target.desired(member).settled.clone();
            steps.extend([HostStep::File(unit), HostStep::Reload]);
        }
        steps.push(HostStep::Enable(layout.unit.clone()));
    }
    let assessed = assess(target, seen, member, Bootstrap::Complete);
    steps.extend(assessed.iter().flat_map(start_steps));
    steps
}

fn start(target: &Target, seen: &Observation, member: &Member) -> Next {
    let steps = seen
        .host(&member.host)
        .map(|host| starts(target, seen, member, host));
    let name = &member.name;
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::Start, Some(name)),
        title: format!("start {name}, the only member"),
        why: vec![format!("{name}: does not run")],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::from([(
            member.host.clone(),
            steps.unwrap_or_default(),
        )])),
        postconditions: vec![serves(target, name)],
    }))
}

/// Gives a member that runs certificates that are valid: etcd reads them again by itself.
fn renew(target: &Target, seen: &Observation, member: &Member, host: &HostView) -> Option<Next> {
    let due = reach::due(target, seen, member, host);
    let steps: Vec<HostStep> = due.artifacts.into_iter().map(HostStep::File).collect();
    (!steps.is_empty()).then(|| {
        let title = format!("give {} valid certificates", member.name);
        let tasks = BTreeMap::from([(member.host.clone(), steps)]);
        stage(Rule::RefreshFiles, title, due.why, Impact::None, tasks)
    })
}

fn wait(target: &Target, member: &Member) -> Next {
    let gate: Gate = serves(target, &member.name);
    Next::Stage(Box::new(Stage {
        key: StageKey::new(Rule::Wait, Some(&member.name)),
        title: format!("wait for {} to serve", member.name),
        why: vec![format!("{}: runs, and does not serve yet", member.name)],
        impact: Impact::None,
        preconditions: Vec::new(),
        work: Work::Hosts(BTreeMap::new()),
        postconditions: vec![gate],
    }))
}

/// Stops these members, moves their data aside and has their hosts forget the cluster.
fn set_aside(
    target: &Target,
    seen: &Observation,
    is_aside: impl Fn(&Member) -> bool,
) -> Option<Next> {
    let topology = &target.topology;
    let mut why = Vec::new();
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    for member in topology.everyone().filter(|member| is_aside(member)) {
        let Some(host) = seen.host(&member.host) else {
            continue;
        };
        let steps = stop_and_keep(target, member, host);
        // What stays on the host is known there still.
        let stays = topology.on_host(&member.host).any(|other| !is_aside(other));
        let record = host.record();
        let known = record.is_some_and(|record| match stays {
            true => record.members.contains_key(&member.etcd_name),
            false => {
                let recovers = record.recover.as_ref().is_some_and(RecoverRecord::is_open);
                record.cluster.is_some() || recovers
            }
        });
        let forget = known.then(|| match stays {
            true => HostStep::ForgetMember(member.etcd_name.clone()),
            false => HostStep::Forget,
        });
        if !steps.is_empty() || forget.is_some() {
            why.push(format!("{} on {}", member.name, member.host));
            let task = tasks.entry(member.host.clone()).or_default();
            task.extend(steps);
            task.extend(forget.filter(|forget| !task.contains(forget)));
        }
    }
    let title = "move the data of the other members aside, and forget them".to_owned();
    (!tasks.is_empty()).then(|| stage(Rule::SetAside, title, why, Impact::None, tasks))
}

fn end(target: &Target, seen: &Observation, member: &Member, open: &RecoverRecord) -> Next {
    let why = vec![
        format!("{} serves alone", member.name),
        "no other member is left on a host that answers".to_owned(),
    ];
    // Whoever joins later is on one of these hosts, or hears of it by `apply`.
    let tasks = note(target, seen, &open.at(RecoverPhase::Ended));
    let title = "end the recovery".to_owned();
    stage(Rule::EndRecover, title, why, Impact::None, tasks)
}
