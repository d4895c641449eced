//! A new CA for members whose certificates have all ended, where the old one's key is lost: nothing
//! that they accept can be made any more.

use std::collections::BTreeMap;

use etcdup_core::file::KeyPath;
use etcdup_core::finding::Finding;
use etcdup_core::host::HostId;
use etcdup_core::stage::{Content, HostStep, Impact, Rule, Stage, StageKey, TrustLeg, Work};

use crate::assess::{Assessment, Difference};
use crate::identity::Bootstrap;
use crate::plan_context::{Decision, PlanContext};
use crate::rules::grow::is_joining;
use crate::rules::restart::{all_seen, restart_steps};
use crate::rules::roll::OUTAGE;
use crate::rules::trust::{CA_WITHOUT_KEY, is_cut_off};

/// Whether only the new CA can sign, and not every member is known to trust it.
fn is_keyless(context: &PlanContext<'_>) -> bool {
    context.target.topology.trust == Some(TrustLeg::Keyless)
}

/// What of a member's own certificates and keys must be issued now, and why.
fn needs<'w, 'a>(member: &'w Assessment<'a>) -> impl Iterator<Item = &'w Difference> + use<'w, 'a> {
    let files = member.files.iter();
    let issued = files.filter(|(artifact, _)| matches!(artifact.content, Content::Issued { .. }));
    issued.map(|(_, difference)| difference)
}

/// Whether all that it shows to others has ended, so that none of them lets it in.
fn is_refused(context: &PlanContext<'_>, member: &Assessment<'_>) -> bool {
    let shown = context.target.shown_to_peers(member.member);
    let ended = shown.is_some_and(|shown| is_cut_off(context.seen, member.host, &shown.path));
    ended && !member.answers
}

fn running<'c, 'a>(context: &'c PlanContext<'a>) -> impl Iterator<Item = &'c Assessment<'a>> {
    let members = context.members.iter();
    members.filter(|member| member.process.is_some())
}

fn all_are_refused(context: &PlanContext<'_>) -> bool {
    context.unseen.is_empty() && running(context).all(|member| is_refused(context, member))
}

/// What cannot be had without the old CA's key: a certificate for a member while others, which
/// would refuse one of the new CA, are in touch with each other; a member that joins; a look at
/// members that accept nothing of what is here.
pub(crate) fn lacks_key(context: &PlanContext<'_>) -> Option<Finding> {
    if !is_keyless(context) || all_are_refused(context) {
        return None;
    }
    let refuse = |evidence: String, advice: &str| {
        let at = KeyPath::root("certificates").key("trust");
        let why =
            "not every member trusts the new CA yet, and no key that signs what all accept is here";
        let evidence = format!("{evidence}; {why}");
        Some(CA_WITHOUT_KEY.error("ca", evidence).advise(advice).at(at))
    };
    let joins = |member: &&Assessment<'_>| member.to_join || is_joining(member);
    if let Some(member) = context.members.iter().find(joins) {
        let advice = "put the old CA's key beside its certificate, ending in .key, or make this edit once the new CA \
                      has taken over";
        return refuse(format!("{} is to join", member.member.name), advice);
    }
    let mut needed = context.members.iter().filter_map(|member| {
        let difference = needs(member).next()?;
        Some(format!(
            "{}: {difference}, and another is issued for that",
            member.member.name
        ))
    });
    if let Some(evidence) = needed.next() {
        let advice = "put the old CA's key beside its certificate, ending in .key; without it, take the member out \
                      (absent = true), and add it again once the others trust the new CA";
        return refuse(evidence, advice);
    }
    let runs = running(context).next().is_some();
    let silent = runs && running(context).all(|member| !member.answers);
    let advice = "put the old CA's key beside its certificate, ending in .key, or a client certificate of it with its \
                  key beside the CA";
    let silent = silent.then(|| "no member answers what etcdup can show".to_owned());
    silent.and_then(|evidence| refuse(evidence, advice))
}

/// Restarts all members at once with the new CA and certificates of it. Connections that stand from
/// before may still make a quorum, so it may be an outage.
pub(crate) fn restart_all(context: &PlanContext<'_>) -> Decision {
    let due = is_keyless(context) && context.bootstrap == Bootstrap::Complete;
    let any = context
        .members
        .iter()
        .any(|member| needs(member).next().is_some());
    if !due || !any || !all_are_refused(context) {
        return Decision::Continue;
    }
    let evidence = "all certificates have ended, and members accept those of the new CA only once all have restarted";
    if !context.allow_outage {
        return Decision::Block(vec![OUTAGE.error("cluster", evidence)]);
    }
    let mut tasks: BTreeMap<HostId, Vec<HostStep>> = BTreeMap::new();
    let mut why = Vec::new();
    for member in context
        .members
        .iter()
        .filter(|member| member.takes_part() && !member.to_join)
    {
        let differs = member.restart_reasons();
        why.extend(differs.map(|difference| format!("{}: {difference}", member.member.name)));
        let task = tasks.entry(member.member.host.clone()).or_default();
        task.extend(restart_steps(context, member));
    }
    Decision::run(Stage {
        key: StageKey::new(Rule::Start, None),
        title: "restart all members with certificates of the new CA".to_owned(),
        why,
        impact: Impact::Outage(evidence.to_owned()),
        preconditions: Vec::new(),
        work: Work::Hosts(tasks),
        postconditions: all_seen(context),
    })
}
